"""What a connection costs that had one request and waits for the next: memory alone."""

import socket
import sys
from dataclasses import dataclass

from .load import Target


@dataclass
class Idle:
    before: int  # KiB of all its processes
    each: float  # bytes of each connection


def idle_gates(stage):
    """Each by itself: memory is not to be that of another case."""
    foregate = stage.foregate("idle")
    public = stage.foregate("idle, public")
    gates = {"nginx": stage.nginx(), "HAProxy": stage.haproxy(), "Envoy": stage.envoy(), "Caddy": stage.caddy()}
    gates["Traefik"] = stage.traefik()
    found = [(name, Target(port), process) for name, (port, process) in gates.items()]
    found.append(("Foregate, public route", Target(public.port, "/public/"), public.process))
    found.append(("Foregate, session cookie", Target(foregate.port, "/", (foregate.cookie,)), foregate.process))
    return found


def measure_idle(gates, count):
    found = {}
    for name, target, process in gates:
        ask(connect(target), target, name)
        before = process.settled_memory()
        connections = [connect(target) for _ in range(count)]
        for connection in connections:
            ask(connection, target, name)
        after = process.settled_memory()
        # Still there, all of them.
        for connection in (connections[0], connections[-1]):
            ask(connection, target, name)
        for connection in connections:
            connection.close()
        found[name] = Idle(before, (after - before) * 1024 / count)
    return found


def connect(target):
    connection = socket.create_connection(("127.0.0.1", target.port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, target, name):
    fields = "".join(f"{header}\r\n" for header in ("Host: 127.0.0.1", *target.headers))
    connection.sendall(f"GET {target.path} HTTP/1.1\r\n{fields}\r\n".encode())
    data = b""
    while len(data.partition(b"\r\n\r\n")[2]) < 1024:
        some = connection.recv(65536)
        if not some:
            sys.exit(f"{name}: the answer is cut: {data[:200]!r}")
        data += some
    if b" 200 " not in data[:40]:
        sys.exit(f"{name}: {data[:200]!r}")
