"""Plays a Jupyter server that takes one second to boot."""

import http.server
import json
import sys
import time

time.sleep(1)

options = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:] if "=" in argument)
token = ""
if "config" in options:
    with open(options["config"]) as file:
        token = json.load(file)["IdentityProvider"]["token"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = self.path == "/api" or self.headers.get("Authorization") == f"token {token}"
        body = json.dumps({"started": "now", "kernels": 0} if known else {}).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(options.get("ServerApp.port") or options["port"])
http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
