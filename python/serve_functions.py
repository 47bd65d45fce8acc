"""Runs the server of a scoped sandbox's functions, unless it runs, and tells its control token.

Standard input has one JSON object: the server's files, the address and port to
listen on, the working directory of services, and the token for a sandbox that
has none yet. Standard output gets one: the token. It is kept in memory, where
no snapshot finds it, and is never an argument, nor in an environment.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import sys
import urllib.request

HOME = "/run/seer/functions"
FILES = os.path.join(HOME, "server")
LOG = os.path.join(HOME, "log")
SECRETS = "/dev/shm/seer-functions"
TOKEN = os.path.join(SECRETS, "token")


def kept():
    """The token of the server that runs here or ran here before."""
    try:
        with open(TOKEN) as file:
            return file.read() or None
    except FileNotFoundError:
        return None


def keep(token):
    os.makedirs(SECRETS, mode=0o700, exist_ok=True)
    descriptor = os.open(TOKEN, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(token)


def answers(port, token):
    """Whether what listens on the port knows the token, which is not sent."""
    nonce = secrets.token_hex(16)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/healthz?nonce={nonce}", timeout=10) as response:
            given = json.load(response)["proof"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    proof = hmac.new(token.encode(), f"seer-rpc health  {nonce}".encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(str(given), proof)


def write(files):
    for name, content in files.items():
        path = os.path.join(FILES, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)


def note(pid, path):
    """Keeps which process it is, for whoever ends it."""
    with open(f"/proc/{pid}/stat") as stat, open(path, "w") as file:
        file.write(f"{pid} {stat.read().rpartition(')')[2].split()[19]}")


def start(host, port, token):
    with open(LOG, "wb") as log:
        server = subprocess.Popen(
            [sys.executable, FILES], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    note(server.pid, os.path.join(HOME, "process"))
    settings = {"token": token, "host": host, "port": port}
    try:
        server.stdin.write(json.dumps(settings).encode() + b"\n")
        server.stdin.close()
    except BrokenPipeError:
        pass  # it has ended, and its log says why
    if not server.stdout.readline():
        status = server.wait()
        with open(LOG, errors="replace") as log:
            sys.stderr.write("".join(log.readlines()[-20:]))
        sys.exit(f"the server of functions ended with status {status}")


def main():
    wanted = json.load(sys.stdin)
    os.umask(0o022)
    os.makedirs(HOME, exist_ok=True)
    os.chmod(HOME, 0o700)
    os.makedirs(wanted["root"], exist_ok=True)
    with open(os.path.join(HOME, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        token = kept()
        if token is None or not answers(wanted["port"], token):
            token = token or wanted["token"]
            keep(token)
            write(wanted["files"])
            start(wanted["host"], wanted["port"], token)
    json.dump({"token": token}, sys.stdout)


main()
