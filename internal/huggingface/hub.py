"""The hub as the downloader sees it, and what is there of a file meanwhile.

The middle part of the downloader, which is one program with conceal.py before
it and downloader.py after it.
"""

import concurrent.futures
import logging
import os
import queue
import tempfile
import threading
import urllib.parse

class Hub:
    """huggingface_hub's HTTP layer: sessions, back-off, resume, error types."""

    def __init__(self, spec):
        os.environ.update(
            HF_ENDPOINT=spec["endpoint"],
            HF_XET_CHUNK_CACHE_SIZE_BYTES="0",  # nothing is fetched twice
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            HF_HUB_DISABLE_IMPLICIT_TOKEN="1",
            HF_HUB_DISABLE_UPDATE_CHECK="1",
            HF_HUB_DOWNLOAD_TIMEOUT=str(spec["stall_seconds"]),
            HF_HUB_OFFLINE="0",
            HF_HOME=tempfile.mkdtemp(prefix="hf-"),
        )
        logging.disable(logging.CRITICAL)  # its log lines hold URLs, and they hold names
        from huggingface_hub import constants, errors, file_download, utils
        from huggingface_hub.utils import _xet

        # Written (and so kept, and counted as progress) in pieces of this size.
        constants.DOWNLOAD_CHUNK_SIZE = 128 << 10

        self.errors, self.http_get, self.url = errors, file_download.http_get, file_download.hf_hub_url
        self.stream, self.raise_for_status = utils.http_stream_backoff, utils.hf_raise_for_status
        self.metadata, self.xet_get = file_download.get_hf_file_metadata, file_download.xet_get
        self.xet_abort = _xet.abort_xet_session
        self.xet = self.ranges = True  # until it turns out otherwise
        self.connections = threading.Semaphore(spec["connections"])
        self.spec = spec
        self.headers = utils.build_hf_headers(token=spec.get("token") or False)
        self.headers["Accept-Encoding"] = "identity"  # so that a resumed range counts the file's own bytes

    def fetch(self, file, partial):
        """Goes on with a file: by the hub's own protocol for large ones, over several connections, or over one."""
        url = self.url(self.spec["repo"], file["path"], revision=self.spec["commit"], endpoint=self.spec["endpoint"])
        if partial.pieces and self.xet and not partial.have():
            try:
                if self.fetch_xet(url, partial):
                    return
            except Exception:
                self.xet = False  # whatever it was, plain requests may work
                partial.drop()
        if partial.pieces and self.ranges:
            try:
                return self.fetch_pieces(url, partial)
            except NoRanges:
                self.ranges = False
                partial.drop()
        self.fetch_whole(url, partial)

    def fetch_whole(self, url, partial):
        have = partial.begin_whole()
        with self.connections, open(partial.path, "ab") as f:
            # Without the size, for which it would refuse large files that come whole all the same.
            self.http_get(url, f, resume_size=have, headers=self.headers, _nb_retries=0)  # download() tries again, and counts
            f.flush()
            os.fsync(f.fileno())

    def fetch_pieces(self, url, partial):
        missing = queue.SimpleQueue()
        pieces = partial.missing()
        for piece in pieces:
            missing.put(piece)
        failed = threading.Event()

        def work():
            while not failed.is_set():
                try:
                    piece = missing.get_nowait()
                except queue.Empty:
                    return
                try:
                    with self.connections:
                        self.fetch_piece(url, partial, piece)
                except BaseException:
                    failed.set()  # the others end with the piece they are at, which stays
                    raise

        workers = max(1, min(self.spec["connections"], len(pieces)))
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(work) for _ in range(workers)]
        for task in tasks:
            task.result()
        partial.flush()

    def fetch_piece(self, url, partial, piece):
        """Fetches one piece; a connection that breaks off after some bytes is followed by another."""
        at, end = partial.bounds(piece)
        while at < end:
            before = at
            try:
                for chunk in self.range(url, at, end):
                    partial.write(chunk, at)
                    at += len(chunk)
                if at < end:
                    raise ConnectionError("the hub closed the connection")
            except NoRanges:
                raise
            except Exception as error:
                if at == before or not self.failure(error)[1]:
                    partial.forget(at - partial.bounds(piece)[0])
                    raise
        partial.mark(piece)

    def range(self, url, start, end):
        headers = {**self.headers, "Range": f"bytes={start}-{end - 1}"}
        with self.stream("GET", url, headers=headers, timeout=self.spec["stall_seconds"],
                         retry_on_exceptions=(), retry_on_status_codes=()) as response:
            self.raise_for_status(response)
            if response.status_code != 206:
                raise NoRanges()
            left = end - start
            for chunk in response.iter_bytes():  # as they come: what has come counts when the connection breaks off
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return

    def fetch_xet(self, url, partial):
        """Fetches a file by the hub's protocol for large ones; False = it offers none for this file."""
        offer = self.metadata(url, headers=self.headers, endpoint=self.spec["endpoint"], timeout=self.spec["stall_seconds"],
                              token=self.spec.get("token") or False).xet_file_data
        if offer is None:
            return False
        ended = threading.Event()
        failures = []

        def fetch():
            try:
                with self.connections:
                    self.xet_get(incomplete_path=partial.path, xet_file_data=offer, headers=self.headers,
                                 expected_size=partial.size, _tqdm_bar=partial.bar())
            except BaseException as error:
                failures.append(error)
            finally:
                ended.set()

        threading.Thread(target=fetch, daemon=True).start()
        seen, silent = -1, 0
        while not ended.wait(1):  # its own time limits are longer than ours, and cannot be set
            now = partial.have()
            silent = 0 if now != seen else silent + 1
            seen = now
            if silent > 2 * self.spec["stall_seconds"]:
                self.xet_abort()
                raise TimeoutError("the hub stopped sending")
        if failures:
            raise failures[0]
        partial.complete()
        return True

    def elsewhere(self, error):
        """Whether an answer came from another host than the hub: that of large files."""
        try:
            return error.response.url.netloc.decode() != urllib.parse.urlsplit(self.spec["endpoint"]).netloc.rpartition("@")[2]
        except (AttributeError, ValueError):
            return False

    def failure(self, error):
        """What an exception means: a Failure, and whether another try makes sense."""
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404, 410) and self.elsewhere(error):
            # The address of the content was good for one moment only; the hub gives another one.
            return Failure("unavailable", f"the host of the hub's files answered {status}"), True
        if isinstance(error, self.errors.GatedRepoError):
            return Failure("gated", "access to the model was not granted"), False
        if isinstance(error, self.errors.RepositoryNotFoundError):
            return Failure("not_found", "the hub does not know the model, or the token may not see it"), False
        if isinstance(error, (self.errors.RevisionNotFoundError, self.errors.EntryNotFoundError)):
            return Failure("file_not_found", "a file is gone from the hub"), False
        if status == 401 and not self.spec.get("token"):
            return Failure("not_found", "the hub does not know the model, or wants a token for it"), False
        if status in (401, 403):
            return Failure("unauthorized", f"the hub answered {status}"), False
        if status == 429:
            return Failure("rate_limited", "the hub's rate limit is reached"), True
        if status == 416:
            return Failure("corrupt", "the hub has fewer bytes than were kept"), True
        if status is not None:
            return Failure("unavailable", f"the hub answered {status}"), status >= 500
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return Failure("disk_full", "no space left on the model's volume"), False
        kind = type(error).__name__
        if "Timeout" in kind:
            return Failure("stalled", "the hub stopped sending"), True
        if "Connect" in kind:
            return Failure("offline", "the hub cannot be reached"), True
        if isinstance(error, OSError) and error.errno is not None:
            return Failure("io", f"{kind}: {os.strerror(error.errno)}"), False
        return Failure("interrupted", f"the download broke off ({kind})"), True


class NoRanges(Exception):
    """The hub sends files whole only."""


class Partial:
    """What is there of a file.

    A small file comes over one connection and grows. A large one comes in
    pieces, in any order: which are there stands in a file beside it, a byte a
    piece, so that the next run goes on. What was kept of a file that grew
    counts as its first pieces.
    """

    def __init__(self, path, size, spec):
        self.path, self.size, self.piece = path, size, spec["piece_bytes"]
        self.pieces = path.with_suffix(".pieces") if size >= spec["parallel_bytes"] else None
        self.lock = threading.Lock()
        self.received = 0  # of pieces, while they are fetched
        self.marks = None  # open meanwhile

    def bounds(self, piece):
        return piece * self.piece, min((piece + 1) * self.piece, self.size)

    def count(self):
        return -(-self.size // self.piece)

    def there(self):
        """The pieces that are there."""
        try:
            marks = self.pieces.read_bytes()
            if not self.path.exists():
                return []
        except FileNotFoundError:
            grown = self.path.stat().st_size if self.path.exists() else 0
            return range(min(grown // self.piece, self.count()))
        return [n for n in range(self.count()) if marks[n:n + 1] == b"+"]

    def missing(self):
        there = set(self.there())
        if self.marks is None:
            self.marks = os.open(self.pieces, os.O_RDWR | os.O_CREAT, 0o600)
            self.content = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            for piece in there:
                self.mark(piece)
            self.received = sum(end - start for start, end in map(self.bounds, there))
        return [n for n in range(self.count()) if n not in there]

    def write(self, chunk, at):
        view = memoryview(chunk)
        while view:
            n = os.pwrite(self.content, view, at)
            at, view = at + n, view[n:]
        with self.lock:
            self.received += len(chunk)

    def mark(self, piece):
        os.pwrite(self.marks, b"+", piece)

    def forget(self, received):
        with self.lock:
            self.received -= received

    def flush(self):
        os.fsync(self.content)

    def begin_whole(self):
        """Prepares for the rest of the file to be appended, and tells how much is there."""
        if self.pieces:
            self.drop()
        have = self.have()
        if have > self.size:
            self.drop()
            have = 0
        return have

    def bar(self):
        """What the hub's protocol for large files tells its progress."""
        partial = self

        class Bar:
            n = total = 0

            def update(self, received):
                with partial.lock:
                    partial.received += int(received)

            def __getattr__(self, _):
                return lambda *_, **__: None

        return Bar()

    def complete(self):
        self.received = self.size

    def have(self):
        if self.received or self.marks is not None:
            return self.received
        if self.pieces:
            return sum(end - start for start, end in map(self.bounds, self.there()))
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def close(self):
        if self.marks is not None:
            os.close(self.marks)
            os.close(self.content)
            self.marks = None

    def drop(self):
        self.close()
        self.received = 0
        for path in (self.path, self.pieces):
            if path:
                path.unlink(missing_ok=True)

    def finish(self, whole):
        self.close()
        os.replace(self.path, whole)
        self.received = 0
        if self.pieces:
            self.pieces.unlink(missing_ok=True)
