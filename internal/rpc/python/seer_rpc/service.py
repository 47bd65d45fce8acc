"""Services by name: loading, replacing, restarting and removing them."""

import secrets
import threading
import time

from . import log
from .process import Process

RESTARTS = 5  # within so many seconds, before a service stays down:
RESTART_WINDOW = 60.0
DRAIN = 30.0


class Unavailable(Exception):
    """The service cannot take a call now: type and message for the caller."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Service:
    """One name: its spec, its worker and its log."""

    def __init__(self, name, spec, process, functions, output, generation):
        self.name = name
        self.spec = spec
        self.token = spec["token"]
        self.log = output
        self.generation = generation
        self.functions = functions
        self.changed = threading.Condition()
        self.process = process
        self.failure = ""
        self.gone = ""
        self.restarts = []
        self.watch(process)

    def state(self):
        with self.changed:
            return "failed" if self.failure else "ready" if self.process else "restarting"

    def watch(self, process):
        threading.Thread(target=self.restart_when_ended, args=(process,), daemon=True).start()

    def restart_when_ended(self, process):
        process.ended.wait()
        with self.changed:
            if self.gone:
                return
            self.process = None
            now = time.monotonic()
            self.restarts = [moment for moment in self.restarts if now - moment < RESTART_WINDOW] + [now]
            if len(self.restarts) > RESTARTS:
                self.fail(f"its process {process.fate()}, for the {len(self.restarts)}th time in a minute")
                return
        self.log.append(f"[server] the process of {self.name} {process.fate()}; loading it again")
        self.reload()

    def reload(self):
        process = Process(self.spec, self.log.append)
        functions, failure = process.load()
        with self.changed:
            if self.gone:
                process.kill()
                return
            if failure:
                self.log.append(failure["traceback"])
                self.fail(f"it could not be loaded again after its process ended: {failure['type']}")
                return
            self.functions, self.process = functions, process
            self.changed.notify_all()
        self.watch(process)

    def fail(self, reason):
        self.failure = reason
        self.log.append(f"[server] {self.name} is down: {reason}")
        self.changed.notify_all()

    def enter(self, deadline):
        """The worker for one call, which must leave it again."""
        with self.changed:
            while True:
                if self.gone:
                    raise Unavailable(*self.ending())
                if self.failure:
                    raise Unavailable("ServiceCrashed", f"service {self.name} is down: {self.failure}")
                if self.process is not None and self.process.enter():
                    return self.process
                if self.process is not None and self.process.ended.is_set():
                    self.process = None
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise Unavailable("TimeoutError", f"service {self.name} is still loading after a restart")
                self.changed.wait(left)

    def ending(self):
        kind = "ServiceReplaced" if self.gone == "replaced" else "ServiceRemoved"
        return kind, f"service {self.name} was {self.gone}"

    def lost(self, process, function):
        """What to tell the caller of a call whose worker went away."""
        if self.gone:
            kind, message = self.ending()
            return kind, f"{message} while {function} ran"
        process.ended.wait(5)
        return "ServiceCrashed", f"the process of service {self.name} {process.fate()} while {function} ran"

    def end(self, why):
        with self.changed:
            self.gone = why
            process, self.process = self.process, None
            self.changed.notify_all()
        if process is not None:
            process.retire(why, self.spec.get("drain", DRAIN) if why == "replaced" else 0)


class Registry:
    """All services of a server."""

    def __init__(self):
        self.lock = threading.Lock()
        self.services = {}
        self.logs = {}
        self.generation = 0
        self.loading = set()
        self.closed = False
        self.decoy = secrets.token_hex(32)

    def get(self, name):
        with self.lock:
            return self.services.get(name)

    def enter(self, service, deadline):
        """A service and its worker for one call: what took the name since the caller was let in, if it takes the same token."""
        while True:
            try:
                return service, service.enter(deadline)
            except Unavailable:
                successor = self.get(service.name)
                if successor in (None, service) or successor.token != service.token:
                    raise
                service = successor

    def token(self, name):
        """A service's token; for a name that is not served, one that nobody has."""
        service = self.get(name)
        return service.token if service else self.decoy

    def names(self):
        with self.lock:
            return sorted(self.services)

    def twin(self, name):
        """A served name that differs from this one in case alone, or None."""
        with self.lock:
            return next((other for other in self.services if other != name and other.upper() == name.upper()), None)

    def log(self, name):
        with self.lock:
            return self.logs.setdefault(name, log.Log())

    def begin(self, name, spec, on_line):
        """Starts the worker of a service that is not served yet."""
        output = self.log(name)

        def sink(line):
            output.append(line)
            on_line(line)

        with self.lock:
            if self.closed:
                raise Unavailable("ServiceRemoved", "the server is ending")
            self.generation += 1
            process = Process(spec, sink)
            self.loading.add(process)
            return process, self.generation

    def commit(self, name, spec, process, functions, generation):
        """Puts a loaded worker in the place of what the name served before."""
        with self.lock:
            self.loading.discard(process)
            old = self.services.get(name)
            if self.closed or (old and old.generation > generation):
                process.kill()
                return None
            output = self.logs.setdefault(name, log.Log())
            service = Service(name, spec, process, functions, output, generation)
            self.services[name] = service
        if old:
            old.end("replaced")
        return service

    def abandon(self, process):
        with self.lock:
            self.loading.discard(process)
        process.kill()

    def remove(self, name):
        with self.lock:
            service = self.services.pop(name, None)
            output = self.logs.pop(name, None)
        if output:
            output.close()
        if service:
            service.end("removed")
        return service is not None

    def close(self):
        with self.lock:
            self.closed = True
            services, loading = list(self.services.values()), list(self.loading)
        for process in loading:
            process.kill()
        ending = [(service, service.process) for service in services]
        for service, _ in ending:
            service.end("removed")
        for process in (*loading, *(process for _, process in ending if process)):
            process.ended.wait(2)  # what it kept on disk is gone then
