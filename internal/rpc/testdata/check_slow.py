"""Run where the server's package is: strangers that send a little at a time, without end."""

import socket
import threading
import time

from seer_rpc import http, server

http.STRANGE = http.SLOW = http.DRAIN = 0.2
served = server.Server("127.0.0.1", 0, "token")
threading.Thread(target=served.serve_forever, daemon=True).start()

for head, more in (
    (b"", b"A"),
    (b"GET / HTTP/1.1\r\n", b"A"),
    (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
    (b"POST /s/x/call/f HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", b"A"),
):
    with socket.create_connection(served.server_address) as stranger:
        stranger.sendall(head)
        try:
            while True:
                stranger.sendall(more)
                time.sleep(0.01)
        except OSError:
            pass

with socket.create_connection(served.server_address) as silent:
    assert silent.recv(1) == b""
print("ok")
