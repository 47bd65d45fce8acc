"""Fetches the files of one model onto the volume that is mounted here.

The last part of the downloader: it uses Concealer and CHUNK of conceal.py and
Hub of hub.py, with which it is sent as one program.

Reads its orders as one JSON line from stdin (the only place where the hub's
token appears) and reports as JSON lines on stdout. The manifest is written
last, atomically, after every file was verified; without it the volume counts
as unfinished, and the next run goes on where this one was ended.
"""

import concurrent.futures
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FORMAT = 1
STATE = ".seer"
SPEC_SECONDS = 120  # whoever started us died if nothing arrives for so long
PROGRESS_SECONDS = 0.5
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Failure(Exception):
    """An end that the reader of our output understands by its code."""

    def __init__(self, code, message, **fields):
        super().__init__(message)
        self.report = {"event": "error", "code": code, "message": message, **fields}


class Output:
    def __init__(self):
        self.lock = threading.Lock()

    def emit(self, **event):
        with self.lock:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()


# --- Files -----------------------------------------------------------------


def digest(path, algorithm):
    with open(path, "rb") as f:
        while chunk := f.read(CHUNK):
            algorithm.update(chunk)
    return algorithm.hexdigest()


def sha256(path):
    return digest(path, hashlib.sha256())


def verify(path, file):
    """The SHA-256 of path if it is the file the hub has, else None."""
    if not path.is_file() or path.stat().st_size != file["size"]:
        return None
    if not file.get("sha256"):
        # A small file, whose hash is the one that git gives it.
        if digest(path, hashlib.sha1(b"blob %d\0" % file["size"])) != file["blob"]:
            return None
        return sha256(path)
    found = sha256(path)
    return found if found == file["sha256"] else None


def flush(path):
    """Makes a file or the names in a directory survive a crash."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        # Some network file systems have no fsync for directories.
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def write_atomically(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)
    flush(path.parent)


def move(source, target):
    flush(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    flush(target.parent)


def sync(root):
    """Commits the volume, where volumes have commits."""
    subprocess.run(["sync", str(root)], check=True, stdin=subprocess.DEVNULL)


# --- The volume ------------------------------------------------------------


class Volume:
    def __init__(self, spec, output):
        self.spec, self.output = spec, output
        self.root = Path(spec["root"])
        self.staging = self.root / STATE / "staging"
        self.manifest = self.root / STATE / "manifest.json"
        self.concealer = Concealer(spec["conceal"]) if spec.get("conceal") else None
        self.lock = threading.Lock()
        self.done = {}  # path on the hub -> entry of the manifest
        self.partials = {}  # path on the hub -> Partial

    def target(self, file):
        return self.concealer.path(file["path"]) if self.concealer else file["path"]

    def staged(self, file, suffix):
        return self.staging / (hashlib.sha256(file["path"].encode()).hexdigest()[:32] + suffix)

    def partial(self, file):
        """What is there of a file, the same object for all who ask."""
        with self.lock:
            if file["path"] not in self.partials:
                self.partials[file["path"]] = Partial(self.staged(file, ".part"), file["size"], self.spec)
            return self.partials[file["path"]]

    def restore(self):
        """Takes over what the manifest vouches for and is still so; true if nothing is missing."""
        try:
            manifest = json.loads(self.manifest.read_bytes())
            entries = {e["path"]: e for e in manifest["files"]}
            if manifest["format"] != FORMAT or manifest["volume"] != self.spec["volume"]:
                return False
        except (OSError, ValueError, KeyError, TypeError):
            return False
        for file in self.spec["files"]:
            entry = entries.get(self.target(file))
            if entry is None:
                continue
            path = self.root / entry["path"]
            if not path.is_file() or path.stat().st_size != entry["size"]:
                continue
            if self.spec.get("rehash") and sha256(path) != entry["sha256"]:
                continue
            self.finish(file, entry)
        return len(self.done) == len(self.spec["files"])

    def finish(self, file, entry):
        with self.lock:
            self.done[file["path"]] = entry

    def obtain(self, hub, file):
        """Brings one file, verified, to where it belongs (plain) or to the staging area (hidden)."""
        target = self.root / self.target(file)
        whole, partial = self.staged(file, ".whole"), self.partial(file)
        for path in (target, whole):
            if found := verify(path, file):
                break
        else:
            whole.unlink(missing_ok=True)
            found = self.download(hub, file, partial)
            partial.finish(whole)
            path = whole
        if path == whole and not self.concealer:
            move(whole, target)
        self.finish(file, {"path": self.target(file), "size": file["size"], "sha256": found})

    def download(self, hub, file, partial):
        """Tries until the bytes are right. A try that brought something does not count."""
        failures = 0
        while True:
            before = partial.have()
            try:
                hub.fetch(file, partial)
                if found := verify(partial.path, file):
                    return found
                partial.drop()
                failure, again = Failure("corrupt", "a file differs from what the hub announced"), True
            except Exception as error:
                failure, again = hub.failure(error)
                if failure.report["code"] == "corrupt":
                    partial.drop()
            after = partial.have()
            failures = 1 if after > before else failures + 1
            if not again or failures > self.spec["retries"]:
                failure.report["path"] = self.target(file)
                raise failure
            time.sleep(min(2 ** failures * self.spec["pause_seconds"], 30))

    def conceal(self):
        """Rewrites the staged files, moves them into place and makes sure that no name is left."""
        files = self.spec["files"]
        where = {f["path"]: self.staged(f, ".whole") for f in files}
        for file in files:
            if not where[file["path"]].exists():
                where[file["path"]] = self.root / self.target(file)
        if len({self.target(f) for f in files}) != len(files):
            raise CannotHide("two files have the same path without the model's name")
        configurations = []
        for file in files:
            if file["path"].endswith(".json") and Path(file["path"]).name not in VOCABULARIES | {"tokenizer.json"}:
                try:
                    configurations.append(json.loads(where[file["path"]].read_bytes()))
                except ValueError:
                    pass
        self.concealer.learn(configurations)
        for file in files:
            path, entry = where[file["path"]], self.done[file["path"]]
            if self.concealer.rewrite(path, file["path"]):
                entry["sha256"] = sha256(path)
                entry["size"] = path.stat().st_size
            if path.parent == self.staging:
                move(path, self.root / self.target(file))
        shutil.rmtree(self.root / STATE, ignore_errors=True)
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = Path(directory) / name
                self.concealer.check(path, path.relative_to(self.root).as_posix())

    def acquire(self):
        """Waits for other programs' downloads: only those of one server learn of each other by name.

        The lock ends with the process. Volumes that are not local have none, and one server.
        """
        directory = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError:
            os.close(directory)

    def fill(self):
        self.acquire()
        if self.restore():
            if self.spec.get("rehash"):
                self.stamp()
            return True
        self.manifest.unlink(missing_ok=True)
        self.staging.mkdir(parents=True, exist_ok=True)
        flush(self.manifest.parent)
        hub = Hub(self.spec)
        missing = [f for f in self.spec["files"] if f["path"] not in self.done]
        missing.sort(key=lambda f: -f["size"])  # the longest first, so that none is left alone at the end
        pool = concurrent.futures.ThreadPoolExecutor(self.spec["workers"])
        tasks = [pool.submit(self.obtain, hub, f) for f in missing]
        for task in concurrent.futures.as_completed(tasks):
            task.result()  # the first failure ends the process, and with it the other downloads
        pool.shutdown()
        if self.concealer:
            self.conceal()
        shutil.rmtree(self.staging, ignore_errors=True)
        self.write_manifest()
        return False

    def write_manifest(self):
        manifest = {"format": FORMAT, "volume": self.spec["volume"]}
        if not self.concealer:
            manifest |= {"model": self.spec["repo"], "commit": self.spec["commit"], "revision": self.spec["revision"]}
            manifest["left_out"] = self.spec.get("left_out") or []
        manifest["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        manifest["files"] = sorted(self.done.values(), key=lambda e: e["path"])
        write_atomically(self.manifest, json.dumps(manifest, indent=1).encode())
        self.stamp()

    def stamp(self):
        """Makes the manifest no older than any file: what is newer was changed behind its back."""
        newest = max((self.root / e["path"]).stat().st_mtime_ns for e in self.done.values())
        newest = max(newest, time.time_ns())
        os.utime(self.manifest, ns=(newest, newest))
        sync(self.root)

    def progress(self, event="progress", **fields):
        with self.lock:
            done = set(self.done)
        have = 0
        for file in self.spec["files"]:
            if file["path"] in done:
                have += file["size"]
                continue
            if there := self.partial(file).have():
                have += min(there, file["size"])
                continue
            for path in (self.staged(file, ".whole"), self.root / self.target(file)):
                try:
                    have += min(path.stat().st_size, file["size"])
                    break
                except FileNotFoundError:
                    pass
        total = sum(f["size"] for f in self.spec["files"])
        self.output.emit(event=event, bytes=have, total=total, files=len(done), of=len(self.spec["files"]), **fields)


def read_spec():
    signal.alarm(SPEC_SECONDS)
    line = sys.stdin.readline()
    signal.alarm(0)
    try:
        return json.loads(line)
    except ValueError:
        raise Failure("spec", "stdin held no orders") from None


def run(output):
    spec = read_spec()
    for file in spec["files"]:
        parts = file["path"].split("/")
        if not all(parts) or {"..", "."} & set(parts) or parts[0] == STATE:
            raise Failure("spec", "a file would lie outside of the volume")
    volume = Volume(spec, output)
    ended = threading.Event()

    def report():
        while not ended.wait(PROGRESS_SECONDS):
            volume.progress()

    volume.progress()
    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        cached = volume.fill()
    finally:
        ended.set()
        reporter.join()
    volume.progress("done", cached=cached)


def main():
    output = Output()

    def interrupted(*_):
        # What was fetched stays on the volume. Threads may hold the output's
        # lock, so this writes past it.
        os.write(1, b'\n{"event": "error", "code": "stopped", "message": "the download was stopped"}\n')
        os._exit(143)

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    try:
        run(output)
    except Failure as failure:
        output.emit(**failure.report)
        os._exit(1)  # without waiting for threads that still fetch
    except CannotHide as error:
        output.emit(event="error", code="cannot_hide", message=str(error))
        os._exit(1)
    except OSError as error:
        code = "disk_full" if error.errno in DISK_FULL else "io"
        output.emit(event="error", code=code, message=os.strerror(error.errno or errno.EIO))
        os._exit(1)
    except Exception as error:
        # The text of an unforeseen exception may hold a name or a URL.
        line = error.__traceback__
        while line.tb_next:
            line = line.tb_next
        output.emit(event="error", code="internal", message=f"{type(error).__name__} in line {line.tb_lineno}")
        os._exit(1)


main()
