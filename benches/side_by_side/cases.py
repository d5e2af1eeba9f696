"""What is measured beside what. A case is a set of rows that take turns; each row names its peer."""

import random
from dataclasses import dataclass, field
from typing import Callable

from .foregate import ROUTES, Foregate
from .keys import SECRET, SigningKey, Tls, claims_of, hs256, secret_jwks
from .load import Target
from .machine import free_port
from .peers import NGINX_FORWARDED

BIG = 10_000_000
QUESTION = {
    "/.auth/auth-request": ("X-Original-URL: http://127.0.0.1/", "X-Original-Method: GET"),
    "/.auth/forward-auth": (
        "X-Forwarded-Method: GET",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: 127.0.0.1",
        "X-Forwarded-Uri: /",
    ),
    "/.auth/ext-authz/": ("X-Forwarded-Proto: http",),
}


@dataclass
class Row:
    name: str
    target: Target
    counted: dict  # the processes whose time it is: all under "", some under what is said behind the name
    of: str = ""  # its peer; the first row of the case where nothing is said
    syscalls: bool = True
    warm_up: float = 1.0  # seconds


def all_of(*processes):
    return {"": processes}


@dataclass
class Case:
    key: str
    title: str
    rows: list
    load: Callable  # (load, row, seconds) -> Sample
    seconds: float = 1.0  # times those of the options
    pairs: list = field(default_factory=list)  # further ratios: (row, of)
    syscalls: bool = False  # counted, where that makes sense
    p99: bool = False  # shown: where a core is full it tells of the machine
    note: str = ""
    rate: str = "requests/s"


def by_wrk(connections=64, threads=1, on_both=False):
    return lambda load, row, seconds: load.wrk(row.target, seconds, connections, threads, on_both)


class Stage:
    """Starts what the cases ask for; who asks for the same twice gets it once."""

    def __init__(self, peers, binary, against):
        self.peers, self.binary, self.against = peers, binary, against
        self.cores = peers.cores
        self.started = {}

    def once(self, key, start):
        if key not in self.started:
            self.started[key] = start()
        return self.started[key]

    def folder(self):
        return self.once("keys", lambda: self.peers.place("keys"))

    def tls(self):
        return self.once("tls", lambda: Tls(self.folder()))

    def signing_key(self):
        return self.once("rsa", lambda: SigningKey(self.folder()))

    def application(self):
        sizes = {"/64k": 65536, "/10m": BIG}
        return self.once("application", lambda: self.peers.application(sizes, self.cores.load))

    def application_on_both(self):
        return self.once("application, both", lambda: self.peers.application({}, self.cores.both))

    def foregate(self, key="foregate", cores=None, binary=None, application=None, **settings):
        def start():
            to = application or self.application()
            return Foregate(
                self.peers, binary or self.binary, cores or self.cores.gate, to, "foregate", **settings
            ).signed_in()

        return self.once((key, binary), start)

    def asked(self, binary=None):
        """A Foregate that answers proxies on this machine."""
        return self.foregate("asked", binary=binary, trusted_proxies="[127.0.0.1]")

    def nginx(self, cores=None, tls=None, buffers=""):
        """nginx that forwards: its port and process."""

        def start():
            own = cores or self.cores.gate
            application = self.application_on_both() if cores else self.application()
            port = free_port()
            http = f"upstream app {{ server 127.0.0.1:{application}; keepalive 512; }}{NGINX_FORWARDED}{buffers}"
            server = {port: "location / { proxy_pass http://app; }"}
            return port, self.peers.nginx("nginx", own, server, http, tls)

        return self.once(("nginx", bool(cores), bool(tls), buffers), start)

    def haproxy(self, body="", cores=None, tls=None):
        def start():
            port = free_port()
            application = self.application_on_both() if cores else self.application()
            return port, self.peers.haproxy(cores or self.cores.gate, {port: body}, application, tls=tls)

        return self.once(("haproxy", body, bool(cores), bool(tls)), start)

    def granter(self):
        """Says yes to everything, at the least price that there is: nginx, `return 204`. On the gate's core."""

        def start():
            port = free_port()
            return port, self.peers.nginx("granter", self.cores.gate, {port: "location / { return 204; }"})

        return self.once("granter", start)

    def nginx_asking(self, answerer, path):
        def start():
            port = free_port()
            http = (
                f"upstream app {{ server 127.0.0.1:{self.application()}; keepalive 512; }}"
                f"upstream answerer {{ server 127.0.0.1:{answerer}; keepalive 512; }}"
            )
            server = (
                "location / { auth_request /ask; auth_request_set $user $upstream_http_remote_user;"
                f" proxy_pass http://app;{NGINX_FORWARDED} proxy_set_header Remote-User $user; }}"
                f" location = /ask {{ internal; proxy_pass http://answerer{path};"
                ' proxy_pass_request_body off; proxy_set_header Content-Length "";'
                ' proxy_http_version 1.1; proxy_set_header Connection "";'
                " proxy_set_header X-Original-URL $scheme://$http_host$request_uri;"
                " proxy_set_header X-Original-Method $request_method; }"
            )
            return port, self.peers.nginx("nginx", self.cores.gate, {port: server}, http)

        return self.once(("asking", answerer), start)

    def caddy(self, answerer=None):
        start = lambda: self.peers.caddy(self.cores.gate, self.application(), answerer)
        return self.once(("caddy", answerer), start)

    def traefik(self, answerer=None):
        start = lambda: self.peers.traefik(self.cores.gate, self.application(), answerer)
        return self.once(("traefik", answerer), start)

    def envoy(self, jwks=None, issuer=None):
        start = lambda: self.peers.envoy(self.cores.gate, self.application(), jwks, issuer)
        return self.once(("envoy", str(jwks)), start)

    def lines(self, name, lines):
        """A file for wrk's script, in no order."""
        lines = list(lines)
        random.Random(1).shuffle(lines)
        file = self.folder() / name
        file.write_text("".join(f"{line}\n" for line in lines))
        return str(file)

    def builds(self):
        """Foregate, and another build of it where one was named."""
        return [("Foregate", None)] + ([("other Foregate", self.against)] if self.against else [])


# --- The cases ----------------------------------------------------------------------------------------------------


def proxy(stage):
    """Forwarding alone, and with a check: the cookie in Foregate, a sub-request in the others."""
    granter_port, granter = stage.granter()
    asked = stage.asked()
    port, process = stage.nginx()
    rows = [Row("nginx", Target(port), all_of(process))]
    plain = {"HAProxy": stage.haproxy(), "Envoy": stage.envoy(), "Caddy": stage.caddy(), "Traefik": stage.traefik()}
    rows += [Row(name, Target(port), all_of(process)) for name, (port, process) in plain.items()]
    for name, binary in stage.builds():
        foregate = stage.foregate(binary=binary)
        rows.append(Row(f"{name}, public route", Target(foregate.port, "/public/"), all_of(foregate.process)))
        rows.append(
            Row(f"{name}, session cookie", Target(foregate.port, "/", (foregate.cookie,)), all_of(foregate.process))
        )
    cookie = (asked.cookie,)
    asking = {
        "nginx, auth_request to nginx": (stage.nginx_asking(granter_port, "/"), granter),
        "nginx, auth_request to Foregate": (stage.nginx_asking(asked.port, "/.auth/auth-request"), asked.process),
        "Caddy, forward_auth to nginx": (stage.caddy((granter_port, "/")), granter),
        "Caddy, forward_auth to Foregate": (stage.caddy((asked.port, "/.auth/forward-auth")), asked.process),
        "Traefik, ForwardAuth to nginx": (stage.traefik((granter_port, "/")), granter),
        "Traefik, ForwardAuth to Foregate": (stage.traefik((asked.port, "/.auth/forward-auth")), asked.process),
    }
    for name, ((port, process), answerer) in asking.items():
        counted = all_of(process, answerer)
        if name == "nginx, auth_request to nginx":
            counted[", answerer not counted"] = [process]
        rows.append(Row(name, Target(port, "/", cookie), counted, syscalls=name.startswith("nginx")))
    mine = "Foregate, session cookie"
    uncounted = "nginx, auth_request to nginx, answerer not counted"
    pairs = [
        (mine, name) for name in [*asking, uncounted, "HAProxy", "Envoy", "Caddy", "Traefik", "Foregate, public route"]
    ]
    pairs += [(mine, f"other {mine}")] if stage.against else []
    return Case(
        "proxy",
        "1 KiB, 64 connections",
        rows,
        by_wrk(),
        pairs=pairs,
        syscalls=True,
        note="Who answers a sub-request runs on the gate's core; its time is counted where nothing else is said.",
    )


def bearer(stage):
    """The same token for all, where a key can be given; Foregate's own secret for HS256."""
    key = stage.signing_key()
    rs256 = stage.foregate("rs256", tokens=f"{{ access_ttl: 1d, keys: [{key.private}] }}")
    issuer = claims_of(rs256.token)["iss"]
    hs = hs256(claims_of(rs256.token))

    def verifying(algorithm, by):
        return (
            "http-request set-var(txn.bearer) http_auth_bearer\n"
            " http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')\n"
            f" http-request deny unless {{ var(txn.alg) -m str {algorithm} }}\n"
            f' http-request deny unless {{ var(txn.bearer),jwt_verify(txn.alg,"{by}") 1 }}\n'
        )

    shown = (f"Authorization: Bearer {hs}",)
    peers = {
        "HAProxy, jwt_verify HS256": (stage.haproxy(verifying("HS256", SECRET)), shown),
        "HAProxy, jwt_verify RS256": (stage.haproxy(verifying("RS256", key.public)), (rs256.bearer,)),
        "Envoy, jwt_authn HS256": (stage.envoy(secret_jwks(), issuer), shown),
        "Envoy, jwt_authn RS256": (stage.envoy(key.jwks(), issuer), (rs256.bearer,)),
    }
    rows = [
        Row(name, Target(port, "/", headers), all_of(process)) for name, ((port, process), headers) in peers.items()
    ]
    pairs = []
    for name, binary in stage.builds():
        own_hs = stage.foregate("hs256", binary=binary, tokens="{ access_ttl: 1d, algorithm: HS256 }")
        own_rs = stage.foregate("rs256", binary=binary, tokens=f"{{ access_ttl: 1d, keys: [{key.private}] }}")
        eddsa = stage.foregate(binary=binary)
        # More tokens than its cache and the 2048 places before it hold, so that each is verified each time.
        small = stage.foregate(
            "uncached", binary=binary, cache="{ capacity: 16 }", tokens="{ access_ttl: 1d, algorithm: HS256 }"
        )
        many = stage.once(("many", binary), lambda: small.tokens(4000))
        file = stage.lines(f"tokens-{bool(binary)}", (f"/\t{token}" for token in many))
        kinds = {
            "HS256, cached": (own_hs, Target(own_hs.port, "/", (own_hs.bearer,)), "HAProxy, jwt_verify HS256"),
            "RS256, cached": (own_rs, Target(own_rs.port, "/", (own_rs.bearer,)), "HAProxy, jwt_verify RS256"),
            "EdDSA, cached": (eddsa, Target(eddsa.port, "/", (eddsa.bearer,)), "HAProxy, jwt_verify HS256"),
            "HS256, verified each time": (small, Target(small.port, rotating=file), "HAProxy, jwt_verify HS256"),
        }
        for kind, (foregate, target, of) in kinds.items():
            rows.append(Row(f"{name}, {kind}", target, all_of(foregate.process), of))
    pairs += [
        ("Foregate, HS256, cached", "Envoy, jwt_authn HS256"),
        ("Foregate, RS256, cached", "Envoy, jwt_authn RS256"),
    ]
    return Case(
        "bearer",
        "Bearer tokens, 1 KiB, 64 connections",
        rows,
        by_wrk(),
        pairs=pairs,
        syscalls=True,
        note="HAProxy verifies the signature alone; Envoy and Foregate check issuer, audience and times as well.",
    )


def endpoints(stage):
    """What another proxy asks for each of its requests."""
    port, process = stage.granter()
    cookie = stage.asked().cookie
    rows = [Row("nginx, return 204", Target(port, "/", (cookie, *QUESTION["/.auth/auth-request"])), all_of(process))]
    for name, binary in stage.builds():
        asked = stage.asked(binary)
        for path, question in QUESTION.items():
            target = Target(asked.port, path, (asked.cookie, *question))
            rows.append(Row(f"{name}, {path}", target, all_of(asked.process)))
    return Case("endpoints", "Sub-requests, 64 connections", rows, by_wrk(), syscalls=True)


def tls(stage):
    certificate = stage.tls()
    port, process = stage.nginx(tls=certificate)
    rows = [Row("nginx, TLS", Target(port, tls=True), all_of(process))]
    port, process = stage.haproxy(tls=certificate)
    rows.append(Row("HAProxy, TLS", Target(port, tls=True), all_of(process)))
    for name, binary in stage.builds():
        foregate = stage.foregate("tls", binary=binary, tls=certificate)
        gate = all_of(foregate.process)
        rows.append(Row(f"{name}, TLS, public route", Target(foregate.port, "/public/", tls=True), gate))
        rows.append(Row(f"{name}, TLS, session cookie", Target(foregate.port, "/", (foregate.cookie,), True), gate))
    pairs = [("Foregate, TLS, session cookie", "HAProxy, TLS")]
    return Case("tls", "TLS 1.3, 1 KiB, 64 connections", rows, by_wrk(), pairs=pairs)


def handshakes(stage):
    certificate = stage.tls()
    gates = {"nginx, handshake": stage.nginx(tls=certificate), "HAProxy, handshake": stage.haproxy(tls=certificate)}
    for name, binary in stage.builds():
        foregate = stage.foregate("tls", binary=binary, tls=certificate)
        gates[f"{name}, handshake"] = (foregate.port, foregate.process)
    rows = [Row(name, Target(port, tls=True), all_of(process)) for name, (port, process) in gates.items()]
    by_openssl = lambda load, row, seconds: load.handshakes(row.target, max(round(seconds), 1))
    return Case(
        "handshakes",
        "Full TLS 1.3 handshakes, ECDSA P-256, four clients",
        rows,
        by_openssl,
        pairs=[("Foregate, handshake", "HAProxy, handshake")],
        rate="handshakes/s",
    )


def bodies(stage, path, size, connections, key):
    larger = " proxy_buffers 16 32k; proxy_buffer_size 32k; proxy_busy_buffers_size 256k;"
    gates = {
        "nginx, its default buffers": stage.nginx(),
        "nginx, larger buffers": stage.nginx(buffers=larger),
        "HAProxy": stage.haproxy(),
    }
    rows = [Row(name, Target(port, path), all_of(process)) for name, (port, process) in gates.items()]
    for name, binary in stage.builds():
        foregate = stage.foregate(binary=binary)
        rows.append(Row(f"{name}, public route", Target(foregate.port, f"/public{path}"), all_of(foregate.process)))
        rows.append(
            Row(f"{name}, session cookie", Target(foregate.port, path, (foregate.cookie,)), all_of(foregate.process))
        )
    pairs = [("Foregate, session cookie", "nginx, larger buffers"), ("Foregate, session cookie", "HAProxy")]
    return Case(
        key, f"{size}, {connections} connections", rows, by_wrk(connections), pairs=pairs, syscalls=size == "64 KiB"
    )


def body_64k(stage):
    return bodies(stage, "/64k", "64 KiB", 64, "64k")


def body_10m(stage):
    return bodies(stage, "/10m", "10 MB", 8, "10m")


def few_rows(stage, key, title, load, cores=None):
    """The four that matter most, in another setting."""
    port, process = stage.nginx(cores)
    rows = [Row("nginx", Target(port), all_of(process))]
    port, process = stage.haproxy(cores=cores)
    rows.append(Row("HAProxy", Target(port), all_of(process)))
    for name, binary in stage.builds():
        application = stage.application_on_both() if cores else None
        foregate = stage.foregate(f"foregate{' on both' if cores else ''}", cores, binary, application)
        rows.append(Row(f"{name}, public route", Target(foregate.port, "/public/"), all_of(foregate.process)))
        rows.append(
            Row(f"{name}, session cookie", Target(foregate.port, "/", (foregate.cookie,)), all_of(foregate.process))
        )
    return Case(key, title, rows, load, pairs=[("Foregate, session cookie", "HAProxy")])


def connections_512(stage):
    return few_rows(stage, "512", "1 KiB, 512 connections", by_wrk(512))


def two_cores(stage):
    both = by_wrk(64, threads=2, on_both=True)
    case = few_rows(stage, "two-cores", "Two workers, 1 KiB, 64 connections", both, stage.cores.both)
    case.note = "The load and the application share both cores with the gate."
    return case


def latency(stage):
    """At a rate that everybody keeps up with."""
    steady = lambda load, row, seconds: load.wrk(row.target, seconds, 32, rate=3000)
    case = few_rows(stage, "latency", "3,000 requests/s, 32 connections", steady)
    port, process = stage.nginx_asking(stage.granter()[0], "/")
    case.rows.append(Row("nginx, auth_request to nginx", Target(port), all_of(process, stage.granter()[1])))
    case.p99 = True
    return case


def sessions(stage):
    """Requests of so many people at once. Each session has its own row, cache entry and identity."""
    rows = []
    port, process = stage.nginx()
    file = stage.lines("nothing", ["/\tCookie: a=b"])
    rows.append(Row("nginx", Target(port, rotating=file), all_of(process)))
    for name, binary in stage.builds():
        foregate = stage.foregate(binary=binary)
        file = stage.lines("public", ["/public/\tCookie: a=b"])
        public = f"{name}, public route"
        rows.append(Row(public, Target(foregate.port, rotating=file), all_of(foregate.process)))
        for count in (1, 1000, 100_000):
            # Kept for longer than the measurement takes: it is about those that are known.
            crowd = stage.foregate(f"{count} sessions", binary=binary, cache="{ ttl: 10m }")
            cookies = stage.once(("cookies", count, binary), lambda: crowd.with_sessions(count))
            file = stage.lines(f"sessions-{count}-{bool(binary)}", (f"/\t{cookie}" for cookie in cookies))
            target, counted = Target(crowd.port, rotating=file), all_of(crowd.process)
            # Long enough for each of them to be seen once.
            rows.append(Row(f"{name}, {count:,} sessions", target, counted, public, warm_up=1 + count / 10_000))
    pairs = [("Foregate, 100,000 sessions", "Foregate, 1 sessions")]
    return Case(
        "sessions",
        "Live sessions, scattered over the requests; 1 KiB, 64 connections",
        rows,
        by_wrk(),
        2,
        pairs,
        note="All are in the cache. It forgets them after 30 s otherwise, and the store is asked once.",
    )


def routes(stage):
    """A thousand routes, all of which are asked for in no order."""
    file = stage.lines("paths", (f"/r{number}/page\tCookie: a=b" for number in range(1000)))
    rows = []
    for name, binary in stage.builds():
        one = stage.foregate("1 route", binary=binary, routes=["{ path: /**, access: public, upstream: app }"])
        many = [f"{{ path: /r{number}/**, access: public, upstream: app }}" for number in range(1000)] + ROUTES
        thousand = stage.foregate("1,000 routes", binary=binary, routes=many)
        for count, foregate in (("1 route", one), ("1,000 routes", thousand)):
            of = f"{name}, 1 route"
            rows.append(Row(f"{name}, {count}", Target(foregate.port, rotating=file), all_of(foregate.process), of))
    return Case("routes", "Routes, all of them asked for; 1 KiB, 64 connections", rows, by_wrk())


def flask(stage):
    """What the check costs where the application makes it, with nothing in front."""
    port, process = stage.once("flask", lambda: stage.peers.flask(stage.cores.gate))
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/login") as reply:
        cookie = "Cookie: " + reply.headers["set-cookie"].split(";")[0]
    foregate = stage.foregate()
    mine = Target(foregate.port, "/", (foregate.cookie,))
    rows = [
        Row("Flask, login_required, no proxy", Target(port, "/", (cookie,)), all_of(process)),
        Row("Flask, no check, no proxy", Target(port, "/plain"), all_of(process)),
        Row("Foregate, session cookie", mine, all_of(foregate.process)),
    ]
    return Case("flask", "An application's own check, 1 KiB, 8 connections", rows, by_wrk(8))


CASES = {
    "proxy": proxy,
    "bearer": bearer,
    "endpoints": endpoints,
    "tls": tls,
    "handshakes": handshakes,
    "64k": body_64k,
    "10m": body_10m,
    "512": connections_512,
    "two-cores": two_cores,
    "latency": latency,
    "sessions": sessions,
    "routes": routes,
    "flask": flask,
}
