"""Foregate with one account that is signed in, in every form that is measured."""

import base64
import hashlib
import json
import os
import secrets
import ssl
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from .machine import await_port, free_port

PASSWORD = "correct horse battery staple"
PROGRAMS = 16
UNVERIFIED = ssl._create_unverified_context()
ROUTES = [
    "{ path: /public/**, access: public, upstream: app }",
    "{ path: /**, access: authenticated, credentials: [session, bearer, basic], upstream: app }",
]


class Foregate:
    """A running one. `more` are lines of YAML in place of the defaults; a second process has another store."""

    def __init__(self, peers, binary, cores, application, name="foregate", **settings):
        self.peers, self.binary, self.cores = peers, binary, cores
        self.folder, self.port = peers.place(name), free_port()
        self.tls = settings.pop("tls", None)
        self.config = self.folder / "foregate.yaml"
        written = {
            "listen": f"127.0.0.1:{self.port}",
            "store": f"sled:{self.folder}/data",
            "log": f"{{ level: {'info' if peers.log else 'warn'} }}",
            # A login stands before each measurement, and is not what is measured.
            "password": "{ min_score: 0, argon2: { memory: 7MiB, iterations: 1 } }",
            "tokens": "{ access_ttl: 1d }",
            "session": "{ idle_timeout: 1d }",
            "limits": "{ connections: 18000, idle_timeout: 600s }",
            "upstreams": f'{{ app: {{ servers: ["http://127.0.0.1:{application}"], timeouts: {{ idle: 600s }} }} }}',
            "routes": "\n  - " + "\n  - ".join(settings.pop("routes", ROUTES)),
        }
        if self.tls:
            written["public_url"] = f"https://127.0.0.1:{self.port}"
            written["tls"] = f"{{ certificates: [{{ cert: {self.tls.certificate}, key: {self.tls.key} }}] }}"
        written.update(settings)
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in written.items()))
        # The lines go nowhere, at the price of writing them.
        if peers.log or "info" in written["log"]:
            os.symlink("/dev/null", self.folder / "output")
        self.process = None

    def command(self, *arguments, say=b"", out=None):
        done = subprocess.run(
            [self.binary, *arguments, "--config", str(self.config)], input=say, capture_output=out is None, stdout=out
        )
        if done.returncode:
            raise SystemExit(f"foregate {' '.join(arguments)}:\n{(done.stderr or b'').decode()}")
        return done.stdout

    def serve(self, under=()):
        """`under` is a program that starts it and looks on."""
        command = [*under, self.binary, "serve", "--config", str(self.config)]
        self.process = self.peers.start(command, self.cores, self.folder)
        await_port(self.port, self.process, 120)
        return self

    def stop(self):
        self.process.stop()
        self.peers.processes.remove(self.process)

    def signed_in(self):
        """With an account, its session and its token."""
        account = ["user", "add", "bench", "--email", "bench@example.com", "--role", "staff", "--password-stdin"]
        self.command(*account, say=PASSWORD.encode())
        self.serve()
        self.cookie = self.login()
        self.token = self.post("/.auth/token")[0]["access_token"]
        self.bearer = f"Authorization: Bearer {self.token}"
        self.basic = "Authorization: Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode()
        return self

    def login(self):
        return "Cookie: " + self.post("/.auth/login")[1]["set-cookie"].split(";")[0]

    def post(self, path, **fields):
        body = json.dumps(fields or {"username": "bench", "password": PASSWORD}).encode()
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, context=UNVERIFIED if self.tls else None) as reply:
            return json.load(reply), reply.headers

    def tokens(self, count):
        """Distinct ones, made by several programs at once: each costs a refresh, which waits for the disk."""

        def refresh(_):
            got = self.post("/.auth/token")[0]
            found = []
            while len(found) < count // PROGRAMS:
                found.append(got["access_token"])
                got = self.post("/.auth/token", grant_type="refresh_token", refresh_token=got["refresh_token"])[0]
            return found

        with ThreadPoolExecutor(PROGRAMS) as programs:
            return [
                f"Authorization: Bearer {token}" for part in programs.map(refresh, range(PROGRAMS)) for token in part
            ]

    def with_sessions(self, count):
        """The account with so many sessions beside its own, as after so many logins; gives their cookies.

        A hundred thousand logins would take an hour of hashing. The sessions come in by the door that a store has for
        rows of elsewhere: a backup of the one session is made many, and restored.
        """
        name, _, _ = self.cookie.removeprefix("Cookie: ").partition("=")
        lines = self.command("store", "backup", "-").splitlines(keepends=True)
        self.stop()
        rows = [json.loads(line) for line in lines[1:-1]]
        session = next(row for row in rows if unpacked(row["k"])[:1] == b"S")
        digest = unpacked(session["k"])[1:]
        # Its row, its place in the list of its account, and in that of what expires.
        pattern = [row for row in rows if digest in unpacked(row["k"])]
        cookies = []
        for _ in range(count):
            token = packed_url(secrets.token_bytes(32))
            other = digest_of(token, name, self.cookie, digest)
            cookies.append(f"Cookie: {name}={token}")
            for row in pattern:
                key = unpacked(row["k"]).replace(digest, other)
                lines.insert(-1, json.dumps({"k": packed(key), "v": row["v"]}, separators=(",", ":")).encode() + b"\n")
        content = b"".join(lines[:-1])
        foot = {"rows": len(lines) - 2, "sha256": hashlib.sha256(content).hexdigest()}
        backup = self.folder / "sessions.backup"
        backup.write_bytes(content + json.dumps(foot, separators=(",", ":")).encode() + b"\n")
        (self.folder / "data").rename(self.folder / "data.old")
        self.command("store", "restore", str(backup), "--with-sessions")
        self.serve()
        return cookies


def digest_of(token, name, known_cookie, known_digest):
    """How the store calls a session: told from the one that is known, so that it need not be written down here."""
    known = known_cookie.removeprefix(f"Cookie: {name}=")
    for form in (str.encode, lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))):
        if hashlib.sha256(form(known)).digest() == known_digest:
            return hashlib.sha256(form(token)).digest()
    raise SystemExit("the store knows its sessions by something else than SHA-256 of the cookie")


def packed(data):
    return base64.b64encode(data).rstrip(b"=").decode()


def packed_url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))
