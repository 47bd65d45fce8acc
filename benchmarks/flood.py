"""Sends 256 MiB to everyone who connects to port argv[1] and sends a byte."""

import socket
import sys

server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(server.getsockname()[1], flush=True)
chunk = bytes(1 << 20)
while True:
    connection, _ = server.accept()
    with connection:
        if connection.recv(1):
            for _ in range(256):
                connection.sendall(chunk)
