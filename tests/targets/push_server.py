"""A server that takes profiles, as Pyroscope or an OpenTelemetry collector does, and does what it is told.

    push_server.py FOLDER [CERTIFICATE KEY]

Prints its port; then for each request a line of JSON: when it came (seconds), its path and headers, and the files in
FOLDER with what was in it. A line of JSON on its input says how the next requests are answered: a list of [status,
headers, seconds to wait before]; when the list is used up, they are taken.
"""
import gzip
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

folder = sys.argv[1]
answers = []
lock = threading.Lock()
count = 0


def fields(data):
    """Fields of a protobuf message whose values are messages or texts, as (number, bytes)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2, "push.proto has messages, texts and bytes only"
        length = varint()
        assert at + length <= len(data)
        yield tag >> 3, data[at:at + length]
        at += length


def keep(data):
    global count
    with lock:
        count += 1
        path = os.path.join(folder, "%d.bin" % count)
    with open(path, "wb") as file:
        file.write(data)
    return path


def series_of(body):
    """The series of a PushRequest: their labels, and each profile's id and file."""
    for number, series in fields(body):
        assert number == 1
        labels, profiles = {}, []
        for number, part in fields(series):
            pair = dict(fields(part))
            if number == 1:
                assert pair[1].decode() not in labels, "a label is there once"
                labels[pair[1].decode()] = pair.get(2, b"").decode()
            else:
                profiles.append([pair[2].decode(), keep(pair[1])])
        yield {"labels": labels, "profiles": profiles}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        came = time.time()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"came": came, "path": self.path, "headers": headers, "bytes": len(body)}
        if self.path.endswith("/Push"):
            told["series"] = list(series_of(body))
        else:
            told["file"] = keep(body)
        with lock:
            status, headers, wait = answers.pop(0) if answers else (200, {}, 0)
            told["status"] = status
            print(json.dumps(told))
            sys.stdout.flush()
        time.sleep(wait)
        text = b"" if status == 200 else b"\x1b[31mas told\n"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if len(sys.argv) > 2:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready")
print(server.server_address[1])
sys.stdout.flush()
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    with lock:
        answers[:] = json.loads(line)
