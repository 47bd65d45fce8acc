"""The same function behind Python's own HTTP server: `plain_server.py single|threading`."""

import http.server
import json
import sys


def add(a, b):
    return a + b


class Handler(http.server.BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"result": add(**given)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if sys.argv[1] == "threading":
    Handler.protocol_version = "HTTP/1.1"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
else:
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
