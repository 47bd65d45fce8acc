"""Runs a service in the sandbox, unless it runs already, and tells its secret.

The argument is one JSON object:

    name       of the service, and of its directory below /run/seer
    probe      "jupyter" or "vscode": how to find out that it is ours
    port       where it listens
    python     modules that it needs, and the packages that have them;
               arguments for it by the module that must be there for each
    command    arguments; those of Python when python is set
    directory  where it runs; made if need be
    environ    what it gets on top of the environment, and null for what not
    config     the content of its file config.json; null for nothing else
    secret     the keys that lead to the place of its secret in config
    settings   the content of another file of it by its path; one that is
               there stays as it is; null for none

Standard output gets one JSON object with the secret of the service that
answers: one made here, which is neither an argument nor in any environment.
"""

import base64
import fcntl
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time


def take(lock):
    """Takes the lock, once whoever starts the service has started it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        import http.client  # which takes its time, and there is some now

        fcntl.flock(lock, fcntl.LOCK_EX)


def ask(port, path, data=None, headers=None):
    import http.client  # takes its time, which a service that boots has too

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST" if data else "GET", path, data, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()


def is_jupyter(port, secret):
    """Whether Jupyter knows the secret. It answers 500 while a kernel starts."""
    until = time.monotonic() + 5
    while True:
        status, _, body = ask(port, "/api/status", headers={"Authorization": f"token {secret}"})
        if status != 500 or time.monotonic() > until:
            return status == 200 and b'"kernels"' in body
        time.sleep(0.02)


def is_vscode(port, secret):
    """Whether VS Code lets in who knows the password, and nobody else."""
    healthy, _, body = ask(port, "/healthz")
    if healthy != 200 or b'"status"' not in body:
        return False
    stranger, headers, _ = ask(port, "/")
    if stranger != 302 or "login" not in headers.get("Location", ""):
        return False
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, headers, _ = ask(port, "/login", f"password={secret}", form)
    return status == 302 and "Set-Cookie" in headers


PROBES = {"jupyter": is_jupyter, "vscode": is_vscode}


def install(modules, packages):
    if all(importlib.util.find_spec(name) for name in modules):
        return
    command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--root-user-action=ignore", "--"]
    if subprocess.call(command + packages, stdin=subprocess.DEVNULL, stdout=sys.stderr) != 0:
        sys.exit(f"could not install {', '.join(modules)}")
    importlib.invalidate_caches()


def write(path, content):
    """Writes a file that only we may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(content, file)


def note(pid, path):
    """Keeps which process it is, for whoever ends it."""
    with open(f"/proc/{pid}/stat") as stat, open(path, "w") as file:
        file.write(f"{pid} {stat.read().rpartition(')')[2].split()[19]}")


def new_secret():
    return base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()


def with_secret(config, keys, secret):
    *above, last = keys
    place = config
    for key in above:
        place = place.setdefault(key, {})
    place[last] = secret
    return config


def start(wanted, home, secret, ready):
    command = wanted["command"]
    if wanted["python"]:
        install(wanted["python"]["modules"], wanted["python"]["packages"])
        extras = [argument for module, argument in wanted["python"]["extras"].items() if importlib.util.find_spec(module)]
        command = [sys.executable, *command, *extras]
    os.makedirs(wanted["directory"], exist_ok=True)
    write(os.path.join(home, "config.json"), with_secret(wanted["config"] or {}, wanted["secret"], secret))
    for path, content in (wanted["settings"] or {}).items():
        path = os.path.expanduser(path)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write(path, content)
    environ = {name: value for name, value in (os.environ | wanted["environ"]).items() if value is not None}
    path = os.path.join(home, "log")
    with open(path, "wb") as log:
        process = subprocess.Popen(
            command, cwd=wanted["directory"], env=environ,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    note(process.pid, os.path.join(home, "process"))
    while not ready(secret):
        if process.poll() is not None:
            with open(path, errors="replace") as log:
                sys.stderr.write("".join(log.readlines()[-20:]))
            sys.exit(f"{wanted['name']} ended with status {process.returncode}")
        time.sleep(0.02)


def main():
    wanted = json.loads(sys.argv[1])
    os.umask(0o022)
    home = os.path.join("/run/seer", wanted["name"])
    os.makedirs(home, exist_ok=True)
    os.chmod(home, 0o700)

    def ready(secret):
        return PROBES[wanted["probe"]](wanted["port"], secret)

    kept = os.path.join(home, "secret.json")
    with open(os.path.join(home, "lock"), "w") as lock:
        take(lock)
        try:
            with open(kept) as file:
                secret = json.load(file)
        except (OSError, ValueError):
            secret = None
        if secret is None or not ready(secret):
            secret = new_secret()
            start(wanted, home, secret, ready)
            write(kept, secret)
    json.dump({"secret": secret}, sys.stdout)


main()
