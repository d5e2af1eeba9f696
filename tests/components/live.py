"""An application whose pages stay alive: live.py PAGES SOCKETS, two addresses.

At the first, `/events` is a stream of events without an end, and everything else a page. At the second is a WebSocket that
says whom it was told of, and then sends back what comes. What ends is told on standard output.
"""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

PAGE = b"<!doctype html><html lang=en><title>Live</title><link rel=icon href=data:,><h1>Live</h1>"


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/events":
            return self.events()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def events(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            while True:
                self.wfile.write(f"data: {self.headers['remote-user']}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True
            print("events ended", flush=True)


def talk(socket):
    try:
        socket.send(f"hello {socket.request.headers['remote-user']}")
        for message in socket:
            socket.send(message)
    except ConnectionClosed:
        pass
    print("socket ended", flush=True)


def place(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


pages = ThreadingHTTPServer(place(sys.argv[1]), Pages)
threading.Thread(target=pages.serve_forever, daemon=True).start()
with serve(talk, *place(sys.argv[2]), max_size=None) as sockets:
    sockets.serve_forever()
