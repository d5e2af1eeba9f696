"""What each feature of Foregate costs: the same request with it and without it, in the same rounds."""

from .cases import Case, Row, all_of, by_wrk
from .load import Target
from .machine import free_port

QUIET = "{ level: warn }"
APP = "http://127.0.0.1:{}"


def features(stage):
    """The base is a session cookie over plain HTTP/1.1, without an access log and without identity headers."""

    def variant(key, **settings):
        return stage.foregate(
            f"feature {key}", **{"log": QUIET, "identity_headers": "{}", "routes": route(), **settings}
        )

    def route(more="", access="authenticated"):
        return [f"{{ path: /**, access: {access}, credentials: [session, bearer, basic], upstream: app{more} }}"]

    to = APP.format(stage.application())
    base = variant("base", routes=["{ path: /public/**, access: public, upstream: app }", *route()])
    rows = [Row("session cookie (the base)", Target(base.port, "/", (base.cookie,)), all_of(base.process))]

    def add(name, foregate, *headers, path="/", tls=False, port=None):
        headers = headers or (foregate.cookie,)
        rows.append(Row(name, Target(port or foregate.port, path, headers, tls), all_of(foregate.process)))

    rows.append(Row("no check (public route)", Target(base.port, "/public/", (base.cookie,)), all_of(base.process)))
    add("Bearer in place of the cookie", base, base.bearer)
    add("Basic in place of the cookie", base, base.basic)
    add(
        "four identity headers",
        variant(
            "identity",
            identity_headers="{ Remote-User: '{username}', "
            "Remote-Email: '{email}', Remote-Name: '{name}', Remote-Groups: '{roles}' }",
        ),
    )
    add("access log", variant("log", log="{ level: info }"))
    add("access log as JSON", variant("json", log="{ level: info, format: json }"))
    add("metrics listener", variant("metrics", admin=f"{{ listen: 127.0.0.1:{free_port()} }}"))
    add(
        "assertion for the upstream",
        variant("assertion", upstreams=f'{{ app: {{ servers: ["{to}"], assertion: true }} }}'),
    )
    add("roles required", variant("roles", routes=route(", require: { roles: [staff] }")))
    add(
        "prefix cut off",
        variant("strip", routes=["{ path: /app/**, strip_prefix: /app, upstream: app }"]),
        path="/app/",
    )
    add(
        "two headers set, two removed",
        variant(
            "edits",
            routes=route(
                ", headers: { X-Tenant: blue, Accept-Language: null }, response_headers: { Server: null, X-Frame-Options: DENY }"
            ),
        ),
    )
    add("cross-site protection", variant("csrf", routes=route(", csrf: true")))
    other = APP.format(stage.peers.application({}, stage.cores.load))
    two = f'{{ app: {{ servers: ["{to}", "{other}"], health: {{ path: /, interval: 1s }} }} }}'
    add("two servers, health checks", variant("servers", upstreams=two))
    trusted = variant("trusted", trusted_proxies="[127.0.0.1]")
    add("behind a trusted proxy", trusted, trusted.cookie, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http")
    add("TLS", variant("tls", tls=stage.tls()), tls=True)
    return Case(
        "features", "What each feature costs, 1 KiB, 64 connections", rows, by_wrk(), note=features.__doc__.strip()
    )


def features_http2(stage):
    """By another load, as wrk has no HTTP/2: h2load, with 16 connections and 4 requests at once on each of HTTP/2."""
    plain, tls = stage.foregate("h2, plain"), stage.foregate("h2, TLS", tls=stage.tls())

    def load(load, row, seconds):
        http2 = "HTTP/2" in row.name
        return load.h2load(row.target, seconds, 16 if http2 else 64, 4 if http2 else 1, http2)

    kinds = [
        ("HTTP/1.1", plain, False),
        ("HTTP/2", plain, False),
        ("HTTP/1.1, TLS", tls, True),
        ("HTTP/2, TLS", tls, True),
    ]
    rows = [
        Row(name, Target(foregate.port, "/", (foregate.cookie,), secure), all_of(foregate.process))
        for name, foregate, secure in kinds
    ]
    return Case(
        "features, HTTP/2",
        "64 requests at once, 1 KiB",
        rows,
        load,
        note=features_http2.__doc__.strip(),
        pairs=[("HTTP/2, TLS", "HTTP/1.1, TLS")],
    )


def features_proxy(stage):
    """A line for each connection, hence nothing for each request; a HAProxy that passes bytes stands before both rows."""
    rows = []
    for name, send, settings in (
        ("no PROXY line", "", {}),
        ("PROXY line (v2)", " send-proxy-v2", {"proxy_protocol": "true"}),
    ):
        # Trusted is who comes from this address; the login before comes from another one, without a line.
        foregate = stage.foregate(name, trusted_proxies="[127.0.0.2]", log=QUIET, **settings)
        port, server = free_port(), f"{foregate.port} source 127.0.0.2{send}"
        stage.peers.haproxy(stage.cores.load, {port: ""}, server, mode="tcp")
        rows.append(Row(name, Target(port, "/", (foregate.cookie,)), all_of(foregate.process)))
    return Case("features, PROXY protocol", "64 connections", rows, by_wrk(), note=features_proxy.__doc__.strip())


FEATURES = {"features": features, "features-http2": features_http2, "features-proxy": features_proxy}
