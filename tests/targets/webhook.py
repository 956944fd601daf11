"""A web server on a free port of this machine, which it prints; then each body that is posted to it, on one line."""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        print(self.headers["Content-Type"])
        print(body.decode().replace("\n", " "))
        sys.stdout.flush()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print("ready")
print(server.server_port)
sys.stdout.flush()
server.serve_forever()
