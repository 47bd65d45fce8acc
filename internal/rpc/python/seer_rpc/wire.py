"""The framing between the server and its workers, over socket pairs.

A request is one head (length of the JSON, length of the body), the JSON and
the body. An answer is frames: a kind, a length and a payload.
"""

import json
import struct

_REQUEST = struct.Struct(">IQ")
_FRAME = struct.Struct(">cQ")
CONTROL = struct.Struct(">cQ")

RESULT, ERROR, ITEM, DONE = b"R", b"E", b"I", b"D"
CONNECT, CANCEL = b"C", b"X"

CHUNK = 1 << 18
_SMALL = 1 << 13  # what an ordinary call takes: a buffer of CHUNK costs more to allocate than to fill


class Closed(ConnectionError):
    """The other side is gone."""


def receive(sock, size):
    """Exactly `size` bytes."""
    if size <= CHUNK:
        data = sock.recv(size) if size else b""
        if len(data) == size:
            return data
        if not data:
            raise Closed("connection closed")
        data = bytearray(data)
    else:
        data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 4 * CHUNK))
        if not part:
            raise Closed("connection closed")
        data += part
    return bytes(data)


def send_request(sock, meta, body=b""):
    head = json.dumps(meta).encode("ascii")
    head = _REQUEST.pack(len(head), len(body)) + head
    if len(body) <= CHUNK:
        sock.sendall(head + body)
    else:
        sock.sendall(head)
        sock.sendall(body)


def receive_request(sock):
    """One request; nothing follows it before it is answered, so a small one is read at once."""
    data = sock.recv(_SMALL)
    if len(data) < _REQUEST.size:
        data += receive(sock, _REQUEST.size - len(data))
    meta_size, body_size = _REQUEST.unpack_from(data)
    missing = _REQUEST.size + meta_size + body_size - len(data)
    if missing:
        data += receive(sock, missing)
    start = _REQUEST.size + meta_size
    return json.loads(data[_REQUEST.size:start]), data[start:]


def send_frame(sock, kind, payload):
    head = _FRAME.pack(kind, len(payload))
    if len(payload) <= CHUNK:
        sock.sendall(head + payload)
    else:
        sock.sendall(head)
        sock.sendall(payload)


def receive_frame_head(sock):
    return _FRAME.unpack(receive(sock, _FRAME.size))
