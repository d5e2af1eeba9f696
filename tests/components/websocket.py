"""WebSockets through Foregate against the same without it: not a byte may differ.

    websocket.py serve ADDRESS                          a server that sends back what comes, frame by frame
    websocket.py compare DIRECT GATEWAY COOKIE COUNT    runs COUNT generated exchanges with each, and compares

The server is the protocol of the package `websockets` on plain sockets, so that what it answers hangs on the order of
the bytes alone. It also tells at `/seen/NUMBER` what it saw. The client is made of sockets and sends what no package
would: frames that aren't sound, halves of frames, and ends without a word.
"""

import hashlib
import json
import random
import socket
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 20
SMALL = [0, 1, 2, 64, 125, 126, 127, 1000, 1024, 4096]
LARGE = [65_535, 65_536, 65_537, 200_000, 1_000_000]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


# --- The server ---------------------------------------------------------------------------------------------------


def serve(address):
    host, port = address.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=256)
    seen = {}
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, seen), daemon=True).start()


def talk(connection, seen):
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE)
        Talk(connection, seen).run()
    except OSError:
        pass
    finally:
        connection.close()


class Talk:
    def __init__(self, connection, seen):
        from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
        from websockets.server import ServerProtocol

        self.connection = connection
        self.all_seen = seen
        self.seen = {"frames": [], "code": None}
        self.held = b""
        self.protocol = ServerProtocol(
            extensions=[ServerPerMessageDeflateFactory()],
            subprotocols=["echo", "other"],
            select_subprotocol=lambda _, offered: next((name for name in offered if name in ("echo", "other")), None),
            max_size=1 << 20,
        )

    def run(self):
        head = self.until(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        if path.startswith("/seen/"):
            body = json.dumps(self.all_seen.get(path[6:])).encode()
            answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
            self.connection.sendall(answer % (len(body), body))
            return
        self.all_seen[path.strip("/").split("?")[0]] = self.seen
        self.protocol.receive_data(head)
        for request in self.protocol.events_received():
            self.protocol.send_response(self.protocol.accept(request))
        while self.send() and self.frame():
            pass
        # Whoever still sends is heard out: closing now would take the last bytes along.
        while self.connection.recv(65536):
            pass

    def until(self, end):
        while end not in self.held:
            self.more()
        return self.take(self.held.index(end) + len(end))

    def more(self):
        data = self.connection.recv(65536)
        if not data:
            raise EOFError
        self.held += data

    def take(self, count):
        while len(self.held) < count:
            self.more()
        data, self.held = self.held[:count], self.held[count:]
        return data

    def frame(self):
        """Hands over one frame, its head first; false at the end."""
        try:
            head = self.take(2)
            length = head[1] & 0x7F
            if length > 125:
                head += self.take(2 if length == 126 else 8)
                length = int.from_bytes(head[2:], "big")
            self.protocol.receive_data(head)
            if not self.protocol.close_expected():
                self.protocol.receive_data(self.take(length + (4 if head[1] & 0x80 else 0)))
        except EOFError:
            self.protocol.receive_data(self.held)
            self.protocol.receive_eof()
            self.answer()
            self.send()
            return False
        return self.answer()

    def answer(self):
        for frame in self.protocol.events_received():
            self.seen["frames"].append([int(frame.opcode), frame.fin, len(frame.data), digest(frame.data)])
            if frame.opcode == CLOSE:
                self.seen["code"] = self.protocol.close_code
            elif frame.data == b"please close":
                self.protocol.send_close(1001, "going away")
            elif frame.data == b"please drop":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise ConnectionResetError
            elif frame.opcode == TEXT:
                self.protocol.send_text(frame.data, fin=frame.fin)
            elif frame.opcode == BINARY:
                self.protocol.send_binary(frame.data, fin=frame.fin)
            elif frame.opcode == 0:
                self.protocol.send_continuation(frame.data, fin=frame.fin)
        return True

    def send(self):
        """False once nothing more will be sent."""
        for data in self.protocol.data_to_send():
            if data:
                self.connection.sendall(data)
            else:
                self.connection.shutdown(socket.SHUT_WR)
                return False
        return True


# --- The exchanges ------------------------------------------------------------------------------------------------


class Exchange:
    """What a client sends, in which pieces, and how it leaves. The same for the same number."""

    def __init__(self, number):
        self.random = random.Random(number)
        self.number = number
        self.headers = []
        self.deflate = None
        pick = self.random.random()
        if pick < 0.35:
            offer = self.random.choice(
                [
                    "permessage-deflate",
                    "permessage-deflate; client_no_context_takeover",
                    "permessage-deflate; server_no_context_takeover; client_max_window_bits",
                    "x-unknown, permessage-deflate; server_max_window_bits=10",
                ]
            )
            self.headers.append(f"Sec-WebSocket-Extensions: {offer}")
            bits = 15
            self.deflate = zlib.compressobj(wbits=-bits)
            self.takeover = "client_no" not in offer
            self.bits = bits
        if self.random.random() < 0.3:
            self.headers.append(f"Sec-WebSocket-Protocol: {self.random.choice(['echo', 'other, echo', 'unknown, other'])}")
        self.version = 12 if self.random.random() < 0.02 else 13
        self.key = "" if self.random.random() < 0.02 else "dGhlIHNhbXBsZSBub25jZQ=="
        self.frames = b"".join(self.message() for _ in range(self.random.choice([0, 1, 2, 5, 20])))
        # Sent before the server has agreed.
        self.early = self.random.random() < 0.25
        self.end = self.random.choice(
            ["close", "close", "close", "half", "cut", "abort", "invalid", "invalid", "server", "drop"]
        )
        self.last = getattr(self, "end_" + self.end)()

    def frame(self, opcode, data, fin=True, rsv=0, masked=True, length=None):
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        length = len(data) if length is None else length
        mark = 0x80 if masked else 0
        if length < 126:
            head += bytes([mark | length])
        elif length < 65_536:
            head += bytes([mark | 126]) + struct.pack("!H", length)
        else:
            head += bytes([mark | 127]) + struct.pack("!Q", length)
        if not masked:
            return head + data
        mask = self.random.randbytes(4)
        long_mask = int.from_bytes(mask * (len(data) // 4 + 1), "big") >> 8 * (4 - len(data) % 4)
        return head + mask + (int.from_bytes(data, "big") ^ long_mask).to_bytes(len(data), "big")

    def data(self, text):
        size = self.random.choice(SMALL if self.random.random() < 0.9 else LARGE)
        if text:
            return ("žlutý kůň " * (size // 14 + 1)).encode()[:size].decode(errors="ignore").encode()
        return self.random.randbytes(size) if self.random.random() < 0.5 else bytes(size)

    def message(self):
        kind = self.random.random()
        if kind < 0.12:
            return self.frame(self.random.choice([PING, PONG]), self.random.randbytes(self.random.choice([0, 1, 125])))
        text = self.random.random() < 0.5
        data, opcode, rsv = self.data(text), TEXT if text else BINARY, 0
        if self.deflate and self.random.random() < 0.7:
            data, rsv = self.compressed(data), 4
        if kind < 0.7:
            return self.frame(opcode, data, rsv=rsv)
        # In fragments, some of them empty, with pings between.
        sent = b""
        while True:
            part = self.random.choice([0, 1, 125, 126, 5000])
            if part >= len(data):
                return sent + self.frame(opcode, data, rsv=rsv)
            sent += self.frame(opcode, data[:part], fin=False, rsv=rsv)
            data, opcode, rsv = data[part:], 0, 0
            if len(data) > 65_536:
                return sent + self.frame(0, data)
            if self.random.random() < 0.3:
                sent += self.frame(PING, b"between")

    def compressed(self, data):
        if not self.takeover:
            self.deflate = zlib.compressobj(wbits=-self.bits)
        done = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        return done[:-4]

    def end_close(self):
        code = self.random.choice([None, 1000, 1001, 1002, 1011, 3000, 4999, 1005, 1006, 999, 0, 5000])
        reason = self.random.choice([b"", b"bye", "žluť".encode(), b"x" * 123, b"\xff\xfe"])
        payload = b"" if code is None else struct.pack("!H", code) + reason
        return self.frame(CLOSE, self.random.choice([payload, payload, payload, b"\x03"]))

    def end_half(self):
        return b""

    def end_cut(self):
        whole = self.frame(BINARY, self.random.randbytes(self.random.choice([10, 200, 70_000])))
        return whole[: self.random.randrange(1, len(whole))]

    def end_abort(self):
        return self.frame(PING, b"in step")

    def end_invalid(self):
        frame = self.frame
        return self.random.choice(
            [
                lambda: frame(TEXT, b"reserved", rsv=2),
                lambda: frame(TEXT, b"reserved", rsv=1),
                lambda: frame(TEXT, b"not compressed at all", rsv=4),
                lambda: frame(3, b"opcode"),
                lambda: frame(11, b"opcode"),
                lambda: frame(TEXT, b"bare", masked=False),
                lambda: frame(PING, b"x" * 126),
                lambda: frame(PING, b"x", fin=False),
                lambda: frame(CLOSE, b"", fin=False),
                lambda: frame(0, b"of nothing"),
                lambda: frame(TEXT, b"begun", fin=False) + frame(TEXT, b"again"),
                lambda: frame(BINARY, b"", length=1 << 63),
                lambda: frame(BINARY, b"", length=(1 << 20) + 1),
                lambda: frame(BINARY, bytes((1 << 20) + 1)),
                lambda: b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n",
                lambda: b"\x81\x7e\x00\x01",
            ]
        )()

    def end_server(self):
        return self.frame(TEXT, b"please close")

    def end_drop(self):
        return self.frame(PING, b"in step")

    def pieces(self, data):
        """In one piece, or in many of any size."""
        choice = random.Random(self.number + 1_000_000)
        if choice.random() < 0.5:
            return [data] if data else []
        pieces = []
        while data:
            size = choice.choice([1, 2, 7, 1400, 16_384, 300_000])
            pieces.append(data[:size])
            data = data[size:]
            if len(pieces) > 60:
                return pieces + ([data] if data else [])
        return pieces

    def run(self, address, name, cookie):
        """Everything that came back, and the same as the server saw it."""
        connection = socket.create_connection(address, PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = [f"Sec-WebSocket-Key: {self.key}"] if self.key else []
        lines = [f"GET /{name} HTTP/1.1", "Host: app.test", "Upgrade: websocket", "Connection: Upgrade", *key]
        lines += [f"Sec-WebSocket-Version: {self.version}", *self.headers, *cookie, "", ""]
        head = "\r\n".join(lines).encode()
        come = Reader(connection)
        frames = self.frames
        if self.early:
            head, frames = head + frames, b""
        try:
            connection.sendall(head)
            come.wait_for(b"\r\n\r\n")
            if come.data.startswith(b"HTTP/1.1 101"):
                self.talk(connection, come, frames)
            else:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        come.thread.join(PATIENCE)
        ended = not come.thread.is_alive()
        connection.close()
        head, _, rest = bytes(come.data).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        kept = [line for line in lines[1:] if line.lower().startswith("sec-websocket")]
        if self.early and self.frames and b" 101 " not in head[:13]:
            # Nobody agreed on frames: what was sent early is no part of the exchange.
            rest = b""
        kept = sorted(line.split(":")[0].lower() + line[line.index(":") :] for line in kept)
        return {"status": lines[0][:12], "fields": kept, "length": len(rest), "digest": digest(rest),
                "last": rest[-200:].hex(), "ended": ended}

    def talk(self, connection, come, frames):
        for piece in self.pieces(frames + self.last):
            connection.sendall(piece)
        if self.end in ("half", "cut"):
            connection.shutdown(socket.SHUT_WR)
        if self.end in ("abort", "drop"):
            # What was under way when a connection breaks is anybody's guess; so nothing is.
            come.wait_for(b"\x8a\x07in step")
        if self.end == "abort":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)
            come.thread.join(PATIENCE)
            connection.close()
        if self.end == "server":
            come.wait_for(b"\x88\x0c\x03\xe9going away")
            if self.number % 2:
                connection.sendall(self.frame(CLOSE, b"\x03\xe9going away"))
            else:
                connection.shutdown(socket.SHUT_WR)
        if self.end == "drop":
            connection.sendall(self.frame(TEXT, b"please drop"))


class Reader:
    """Keeps what comes while something else is sent."""

    def __init__(self, connection):
        self.connection = connection
        self.data = bytearray()
        self.changed = threading.Condition()
        self.done = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.done:
            try:
                some = self.connection.recv(262_144)
            except OSError:
                some = b""
            with self.changed:
                self.data += some
                self.done = self.done or not some
                self.changed.notify_all()

    def wait_for(self, text):
        """Until it is among the first or the last that came."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.done or text in self.data[:4096] or text in self.data[-100:], PATIENCE
            )


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def seen(direct, name):
    with socket.create_connection(direct, PATIENCE) as connection:
        connection.sendall(f"GET /seen/{name} HTTP/1.1\r\nhost: app.test\r\n\r\n".encode())
        data = b""
        while some := connection.recv(65536):
            data += some
    return json.loads(data.partition(b"\r\n\r\n")[2])


def compare(direct, gateway, cookie, count):
    direct, gateway = address(direct), address(gateway)

    def one(number):
        first = Exchange(number).run(direct, f"direct-{number}", [])
        second = Exchange(number).run(gateway, f"gateway-{number}", [f"Cookie: {cookie}"])
        views = seen(direct, f"direct-{number}"), seen(direct, f"gateway-{number}")
        exchange = Exchange(number)
        return number, exchange, first, second, views

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, range(count)))
    kinds, frames, failures = {}, 0, 0
    for number, exchange, first, second, (direct_view, gateway_view) in results:
        kinds[exchange.end] = kinds.get(exchange.end, 0) + 1
        frames += len(direct_view["frames"]) if direct_view else 0
        if first != second or direct_view != gateway_view or not first["ended"]:
            failures += 1
            if failures < 6:
                print(f"exchange {number}, which ends by {exchange.end}, early {exchange.early}: direct, then Foregate")
                print(first, second, sep="\n")
                if direct_view != gateway_view:
                    print("the server saw", str(direct_view)[:1000], str(gateway_view)[:1000], sep="\n")
    print(json.dumps({"exchanges": count, "frames": frames, "failures": failures, "ends": kinds}))
    switched = sum(first["status"] == "HTTP/1.1 101" for _, _, first, _, _ in results)
    if failures or switched < count * 0.9:
        sys.exit(f"{failures} of {count} differ, {switched} were switched")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        compare(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
