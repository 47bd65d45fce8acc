"""What the Python library does to start a sandbox, with Modal's Python client.

It reads a line of JSON for each thing to do and answers with a line. One thing
comes after the other, a file takes a call for each folder above it and six of
its own, and services are waited for in fixed intervals: as docs/performance.md
describes.
"""

import json
import os
import ssl
import sys
import time
import urllib.request

import modal

APP = "seer-benchmarks"
POLL = 2.0  # seconds between looks at a service
SETTLE = 2.0  # seconds before the first look


class Flow:
    def __init__(self):
        self.sandbox = None

    def start(self, image, port, files, repos, volumes, jupyter, env):
        began = time.perf_counter()
        app = modal.App.lookup(APP, create_if_missing=True)
        self.sandbox = modal.Sandbox.create(
            app=app,
            image=modal.Image.from_id(image),
            timeout=3600,
            encrypted_ports=[port],
            secrets=[modal.Secret.from_dict(env)],
            volumes={path: modal.Volume.from_name(name) for path, name in (volumes or {}).items()},
        )
        for name, content in (files or {}).items():
            self.write(name, content)
        for url, target in (repos or {}).items():
            self.run("git", "clone", "--quiet", url, target)
        self.sandbox.exec(*jupyter)
        time.sleep(SETTLE)
        url = self.sandbox.tunnels()[port].url
        while not answers(url + "/api"):
            time.sleep(POLL)
        return {"seconds": time.perf_counter() - began}

    def write(self, name, content):
        folder = ""
        for part in name.strip("/").split("/")[:-1]:
            folder += "/" + part
            try:
                self.sandbox.mkdir(folder)
            except Exception:  # it may be there
                pass
        with self.sandbox.open(name, "w") as f:
            f.write(content)

    def run(self, *command):
        process = self.sandbox.exec(*command)
        out = process.stdout.read()
        if process.wait() != 0:
            raise RuntimeError(f"{command}: {process.stderr.read()}")
        return out

    def exec(self, command):
        began = time.perf_counter()
        self.run(*command)
        return {"seconds": time.perf_counter() - began}

    def write_all(self, names, content):
        began = time.perf_counter()
        for name in names:
            self.write(name, content)
        return {"seconds": time.perf_counter() - began}

    def end(self):
        self.sandbox.terminate()
        return {}


def answers(url):
    trusted = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    try:
        with urllib.request.urlopen(url, timeout=5, context=trusted):
            return True
    except OSError:
        return False


def main():
    flow = Flow()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(flow, request.pop("do"))(**request)
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


main()
