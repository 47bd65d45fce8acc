"""The connection of a generated library to its service. Standard library only, 3.9 and up.

Address and token are read when a function is called, never stored in a file of
this package: from SEER_RPC_<NAME>_URL and SEER_RPC_<NAME>_TOKEN, or from the
JSON file {"url": ..., "token": ...} that SEER_RPC_<NAME>_FILE names, which only
its owner may be able to read.
"""

import base64
import builtins
import functools
import http.client
import inspect
import ipaddress
import json
import os
import select
import ssl
import stat
import threading
import time
import urllib.parse
import urllib.request
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type, TypeVar, cast

from . import _seer_values as _values

_F = TypeVar("_F", bound=Callable[..., Any])
_CONNECT_ATTEMPTS = 5
_NOT_RAISED = (StopIteration, StopAsyncIteration, UnicodeError)


class RemoteError(Exception):
    """A call failed in the service.

    An error that is a builtin exception there (such as ValueError) is raised
    here as a class that is both that exception and a RemoteError.
    """

    function: str
    type: str
    traceback: str

    def __init__(self, function: str, type: str, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self._tell(function, type, message, traceback)

    def _tell(self, function: str, type: str, message: str, traceback: str) -> None:
        self.function = function
        self.type = type
        self.traceback = traceback
        self._said = message
        if not hasattr(self, "message"):  # the message of a group is its own
            self.message = message
        self._told: Dict[str, Any] = {"type": type, "message": message, "traceback": traceback}

    def __str__(self) -> str:
        shown = f"{self.function}: {self.type}: {self._said}"
        return f"{shown}\n\n{self.traceback}" if self.traceback else shown

    def __reduce__(self) -> Any:
        return _raised, (self.function, self._told)


class Default:
    """Stands for a default value that only the service knows."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default(text: str) -> Any:
    return Default(text)


class Service:
    """Calls the functions of one service; usable from many threads and after a fork."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._prefix = "SEER_RPC_" + name.upper()
        self._local = threading.local()

    def function(self, how: str, shown: Optional[Dict[str, str]] = None) -> Callable[[_F], _F]:
        """Makes a function of a stub, which has its signature; `shown` are annotations that no library can import."""

        def make(stub: _F) -> _F:
            if shown:
                stub.__annotations__.update(shown)
            signature, name = inspect.signature(stub), stub.__name__
            send = {"call": self.call, "stream": self.stream, "open": self.open}[how]

            @functools.wraps(stub)
            def called(*args: Any, **kwargs: Any) -> Any:
                try:
                    given = signature.bind(*args, **kwargs).arguments
                except TypeError:
                    stub(*args, **kwargs)  # Python's own words for what is wrong
                    raise
                return send(name, given)

            return cast(_F, called)

        return make

    def call(self, function: str, arguments: Dict[str, Any]) -> Any:
        """One call and its result."""
        connection, response = self._send(function, arguments)
        return self._result(function, connection, response)

    def open(self, function: str, arguments: Dict[str, Any]) -> Any:
        """One call that is sent at once: an iterator where the service streams, and otherwise the result."""
        connection, response = self._send(function, arguments)
        if response.getheader("Content-Type", "").startswith("application/x-ndjson"):
            return self._items(function, connection, response)
        return self._result(function, connection, response)

    def _result(self, function: str, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Any:
        try:
            data = self._read(function, response.read)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, response)
        if response.status != 200:
            raise _error(function, data, response.status)
        return _values.loads(data)["result"]

    def stream(self, function: str, arguments: Dict[str, Any]) -> Iterator[Any]:
        """One call whose items come as the service yields them, sent when the first one is asked for."""
        connection, response = self._send(function, arguments)
        yield from self._items(function, connection, response)

    def _items(
        self, function: str, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> Iterator[Any]:
        whole = False
        try:
            if response.status != 200:
                raise _error(function, self._read(function, response.read), response.status)
            while True:
                line = self._read(function, response.readline)
                if not line:
                    raise ConnectionError(f"{function}: the service closed the connection before the last item")
                record = _values.loads(line)
                if "error" in record:
                    raise _error(function, line, response.status)
                if "item" not in record:
                    break
                yield record["item"]
            self._read(function, response.read)
            whole = True
        finally:
            if whole:
                self._keep(connection, response)
            else:
                connection.close()

    def _settings(self) -> Tuple[str, str]:
        url, token = os.environ.get(self._prefix + "_URL"), os.environ.get(self._prefix + "_TOKEN")
        if url and token:
            return url, token
        path = os.environ.get(self._prefix + "_FILE")
        if not path:
            raise ConnectionError(
                f"{self._name}: set {self._prefix}_URL and {self._prefix}_TOKEN, or {self._prefix}_FILE"
            )
        with open(path, "rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise PermissionError(f"{path}: others may read it; make it 0600")
            found = json.load(file)
        return str(found["url"]), str(found["token"])

    def _send(self, function: str, arguments: Dict[str, Any]) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        url, token = self._settings()
        given = {name: value for name, value in arguments.items() if not isinstance(value, Default)}
        try:
            body = _values.dumps(given, arrays=True)
        except _values.Unsendable as error:
            raise TypeError(f"{function}: argument{error.where} {error.reason}") from None
        connection, target, headers = self._connection(url)
        headers.update({
            "Authorization": "Bearer " + token,
            "Content-Type": "application/json",
            "X-Seer-Arguments": "tagged",
            "X-Seer-Values": "tagged",
        })
        try:
            try:
                connection.request("POST", f"{target}/call/{urllib.parse.quote(function)}", body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # an answer that refuses the request may be there already
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _broken(function, error) from error
        except BaseException:
            connection.close()
            raise

    def _read(self, function: str, read: Any) -> bytes:
        try:
            return bytes(read())
        except (OSError, http.client.HTTPException) as error:
            raise _broken(function, error) from error

    def _connection(self, url: str) -> Tuple[http.client.HTTPConnection, str, Dict[str, str]]:
        """A connection of this thread, kept or new, with the request target and headers of a proxy."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path.rstrip("/")
        proxy = _proxy(parts.scheme, host)
        target, headers = path, {}
        if proxy is not None and parts.scheme == "http":
            target, headers = f"http://{host}:{port}{path}", _proxy_headers(proxy)
        kept = getattr(self._local, "kept", None)
        self._local.kept = None
        if kept is not None:
            key, connection = kept
            if key == (os.getpid(), url) and connection.sock is not None and not _readable(connection.sock):
                return connection, target, headers
            connection.close()
        address = (host, port) if proxy is None else (proxy.hostname or "", proxy.port or 80)
        made: http.client.HTTPConnection
        if parts.scheme == "https":
            made = http.client.HTTPSConnection(*address, context=ssl.create_default_context())
            if proxy is not None:
                made.set_tunnel(host, port, _proxy_headers(proxy))
        elif parts.scheme == "http":
            made = http.client.HTTPConnection(*address)
        else:
            raise ConnectionError(f"{self._name}: {parts.scheme or 'no scheme'} is neither http nor https")
        self._connect(made)
        setattr(made, "_seer_key", (os.getpid(), url))
        return made, target, headers

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        for attempt in range(1, _CONNECT_ATTEMPTS + 1):
            try:
                connection.connect()
                return
            except ssl.SSLCertVerificationError as error:
                raise ConnectionError(f"{self._name}: {error}") from error
            except OSError as error:
                connection.close()
                if attempt == _CONNECT_ATTEMPTS:
                    raise ConnectionError(f"{self._name}: the service cannot be reached: {error}") from error
            time.sleep(0.05 * 2**attempt)

    def _keep(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.will_close or getattr(self._local, "kept", None) is not None:
            connection.close()
        else:
            self._local.kept = (getattr(connection, "_seer_key"), connection)


def _broken(function: str, error: Exception) -> ConnectionError:
    why = str(error) or type(error).__name__
    return ConnectionError(f"{function}: the connection broke and the call may or may not have run: {why}")


def _readable(sock: Any) -> bool:
    """An idle connection with something to read was closed by the other side."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy(scheme: str, host: str) -> Optional[urllib.parse.SplitResult]:
    found = None if _loopback(host) else urllib.request.getproxies().get(scheme)
    if not found or urllib.request.proxy_bypass(host):
        return None
    return urllib.parse.urlsplit(found if "://" in found else "http://" + found)


def _proxy_headers(proxy: urllib.parse.SplitResult) -> Dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}


def _error(function: str, data: bytes, status: int) -> RemoteError:
    try:
        error = json.loads(data)["error"]
        return _raised(function, {**error, "type": str(error["type"]), "message": str(error["message"])})
    except (ValueError, KeyError, TypeError):
        return RemoteError(function, "HTTPError", f"the service answered with HTTP status {status}")


def _raised(function: str, error: Dict[str, Any]) -> RemoteError:
    """The exception that an answer tells of."""
    kind, message, traceback = str(error["type"]), str(error["message"]), str(error.get("traceback", ""))
    members = [_raised(function, member) for member in error.get("exceptions") or ()]
    made = _made(function, kind, message, traceback, error.get("bases") or [kind], str(error.get("group", message)), members)
    made._told = error
    if error.get("notes"):
        setattr(made, "__notes__", [str(note) for note in error["notes"]])
    if isinstance(made, OSError):
        for name, value in (error.get("os") or {}).items():
            if name in ("errno", "strerror", "filename", "filename2"):
                setattr(made, name, value)
    if members and not hasattr(made, "exceptions"):
        setattr(made, "exceptions", tuple(members))  # a Python without groups
    return made


def _made(
    function: str, kind: str, message: str, traceback: str, names: List[str], group: str, members: List[RemoteError]
) -> RemoteError:
    found = _class(kind, names, bool(members))
    if members and found is not RemoteError:
        make: Any = found.__new__  # of a group, which is made of its message and members
        one: RemoteError = make(found, group, members)
        one.args = (group, members)
        one._tell(function, kind, message, traceback)
        return one
    try:
        return found(function, kind, message, traceback)
    except Exception:  # a builtin exception that is not made of a text
        return RemoteError(function, kind, message, traceback)


def _class(kind: str, names: List[str], group: bool) -> Type[RemoteError]:
    for name in names:
        base = getattr(builtins, str(name), None)
        if not isinstance(base, type) or not issubclass(base, Exception) or issubclass(base, _NOT_RAISED):
            continue
        if group == hasattr(base, "exceptions"):
            return type(kind, (RemoteError, base), {"__module__": __name__})
    return RemoteError
