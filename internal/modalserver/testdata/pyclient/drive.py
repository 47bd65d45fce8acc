"""Drives a sandbox with Modal's Python client and prints what it saw as JSON.

usage: drive.py DIRECTORY (holds greeting.txt, big.bin, tree/ and helper.py)
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import modal

HERE = Path(sys.argv[1])
seen = {"client": modal.__version__}

app = modal.App.lookup("pyclient", create_if_missing=True)
volume = modal.Volume.from_name("pyclient-data", create_if_missing=True)
sys.path.insert(0, str(HERE))
image = (
    modal.Image.debian_slim()
    .env({"BUILT_WITH": "env"})
    .run_commands("echo built > /built")
    .add_local_file(HERE / "greeting.txt", "/copied/greeting.txt", copy=True)
    .run_commands("cat /copied/greeting.txt > /seen-by-build")
    .add_local_file(HERE / "big.bin", "/mounted/big.bin")
    .add_local_dir(HERE / "tree", "/mounted/tree")
    .add_local_python_source("helper")
)


def read(process):
    out, err = process.stdout.read(), process.stderr.read()
    return {"out": out, "err": err, "code": process.wait()}


sandbox = modal.Sandbox.create(
    # What is mounted is there before the command runs.
    "sh", "-c", "cat /mounted/tree/a/one; exec sleep infinity",
    app=app,
    name="pyclient",
    image=image,
    timeout=300,
    workdir="/tmp",
    secrets=[modal.Secret.from_dict({"FROM_SECRET": "s3"})],
    volumes={"/data": volume},
    encrypted_ports=[8000],
    cpu=0.5,
    memory=512,
)
sandbox.set_tags({"made-by": "python"})
seen["id"] = sandbox.object_id
seen["tags"] = sandbox.get_tags()
seen["poll"] = sandbox.poll()
seen["stdout"] = next(iter(sandbox.stdout))
seen["echo"] = read(sandbox.exec("echo", "hello"))
seen["fails"] = read(sandbox.exec("sh", "-c", "echo out; echo err >&2; exit 3"))
seen["workdir"] = read(sandbox.exec("pwd"))["out"]
seen["env"] = read(sandbox.exec("sh", "-c", "echo $BUILT_WITH $FROM_SECRET $INLINE", secrets=[modal.Secret.from_dict({"INLINE": "i"})]))["out"]
seen["build"] = read(sandbox.exec("cat", "/built", "/seen-by-build"))["out"]
seen["big"] = read(sandbox.exec("sha256sum", "/mounted/big.bin"))["out"].split()[0]
seen["tree"] = read(sandbox.exec("find", "/mounted/tree", "-type", "f"))["out"].split()
seen["helper"] = read(sandbox.exec("python", "-c", "import helper; print(helper.ANSWER)", workdir="/root"))

process = sandbox.exec("cat")
process.stdin.write("typed\n")
process.stdin.write_eof()
process.stdin.drain()
seen["stdin"] = read(process)
seen["volume"] = read(sandbox.exec("sh", "-c", "echo kept > /data/file; cat /data/file"))

if hasattr(sandbox, "open"):  # the file API of clients before 1.4
    sandbox.mkdir("/made/below", parents=True)
    with sandbox.open("/made/below/file", "w") as f:
        f.write("by the file API")
    with sandbox.open("/made/below/file", "r") as f:
        seen["file"] = f.read()
    seen["ls"] = sandbox.ls("/made/below")
    # Relative paths begin in the working directory.
    sandbox.mkdir("relative")
    with sandbox.open("relative/file", "w") as f:
        f.write("relative")
    seen["relative"] = read(sandbox.exec("cat", "/tmp/relative/file"))["out"] + ",".join(sandbox.ls("relative"))
    try:
        sandbox.open("/no/such/file", "r")
    except FileNotFoundError:
        seen["relative"] += " and not found"
sandbox.reload_volumes()

server = sandbox.exec("python", "-c", """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"through the tunnel")
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
""")
next(iter(server.stdout))
url = sandbox.tunnels()[8000].url
seen["scheme"] = url.split(":")[0]
# In a process of its own: what it trusts comes from the environment.
seen["tunnel"] = subprocess.run(
    [sys.executable, "-c", "import requests, sys; print(requests.get(sys.argv[1], timeout=20).text)", url],
    capture_output=True, text=True, check=True).stdout

snapshot = sandbox.snapshot_filesystem()
seen["listed"] = [s.object_id for s in modal.Sandbox.list(app_id=app.app_id)]
seen["by_name"] = modal.Sandbox.from_name("pyclient", "pyclient").object_id
same = modal.Sandbox.from_id(sandbox.object_id)
seen["reconnected"] = read(same.exec("cat", "/built"))["out"]
sandbox.terminate()
sandbox.wait(raise_on_termination=False)
seen["returncode"] = sandbox.returncode

again = modal.Sandbox.create("sleep", "infinity", app=app, image=snapshot, volumes={"/data": volume})
seen["restored"] = read(again.exec("cat", "/built", "/data/file"))["out"]
again.terminate()
seen["left"] = [s.object_id for s in modal.Sandbox.list(app_id=app.app_id)]

print(json.dumps(seen), flush=True)
