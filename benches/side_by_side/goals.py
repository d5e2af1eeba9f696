"""The goals, and what became of them. All limits stand here.

Those of CPU, of p50 and of memory are ratios within a run: the median of what each round gave.
"""

from dataclasses import dataclass
from statistics import median
from typing import Callable

from .measure import ratios

COOKIE = "Foregate, session cookie"


@dataclass
class Goal:
    what: str
    case: str
    reachable: float
    stretch: float
    moonshot: float
    measured: Callable
    more_is_better: bool = False


def cpu(row, of, what="cpu"):
    return lambda found: median(ratios(found, row, of, what))


GOALS = [
    Goal("cookie-checked proxying / nginx, which checks nothing", "proxy", 1.30, 1.15, 0.95, cpu(COOKIE, "nginx")),
    Goal(
        "cookie-checked proxying / nginx auth_request to an upstream, whose time is not counted",
        *("proxy", 0.75, 0.60, 0.45),
        cpu(COOKIE, "nginx, auth_request to nginx, answerer not counted"),
    ),
    Goal("cached RS256 / HAProxy RS256", "bearer", 0.55, 0.40, 0.30,
         cpu("Foregate, RS256, cached", "HAProxy, jwt_verify RS256")),
    Goal("cookie-checked proxying / Traefik with ForwardAuth", "proxy", 0.15, 0.10, 0.06,
         cpu(COOKIE, "Traefik, ForwardAuth to nginx")),
    Goal("cached HS256 / Envoy jwt_authn HS256", "bearer", 0.60, 0.40, 0.28,
         cpu("Foregate, HS256, cached", "Envoy, jwt_authn HS256")),
    Goal("cached HS256 / HAProxy HS256", "bearer", 1.00, 0.85, 0.70,
         cpu("Foregate, HS256, cached", "HAProxy, jwt_verify HS256")),
    Goal("HS256 verified each time / HAProxy HS256", "bearer", 1.10, 0.95, 0.80,
         cpu("Foregate, HS256, verified each time", "HAProxy, jwt_verify HS256")),
    Goal("auth_request endpoint, cookie / nginx 204", "endpoints", 1.25, 1.10, 0.97,
         cpu("Foregate, /.auth/auth-request", "nginx, return 204")),
    Goal("cookie-checked proxying over TLS / nginx TLS", "tls", 1.15, 1.00, 0.90,
         cpu("Foregate, TLS, session cookie", "nginx, TLS")),
    Goal("full TLS handshake / nginx", "handshakes", 1.10, 1.00, 0.80, cpu("Foregate, handshake", "nginx, handshake")),
    Goal("64 KiB, cookie-checked / nginx, default buffers", "64k", 0.75, 0.60, 0.45,
         cpu(COOKIE, "nginx, its default buffers")),
    Goal("64 KiB, cookie-checked / HAProxy", "64k", 1.15, 1.00, 0.85, cpu(COOKIE, "HAProxy")),
    Goal("authentication / own proxying without it", "proxy", 1.10, 1.05, 1.03, cpu(COOKIE, "Foregate, public route")),
    Goal("the same with 100,000 live sessions, scattered", "sessions", 1.15, 1.08, 1.05,
         cpu("Foregate, 100,000 sessions", "Foregate, public route")),
    Goal("system calls of a cookie-checked request", "proxy", 5.0, 4.5, 4.2, lambda found: found[COOKIE].total_syscalls()),
    Goal("p50 at 3,000 requests/s / nginx", "latency", 1.25, 1.10, 1.00, cpu(COOKIE, "nginx", "p50")),
    Goal("memory of an idle connection / HAProxy", "idle", 25, 13, 4, lambda found: found[COOKIE].each / found["HAProxy"].each),
    Goal("times cheaper than Flask's login_required, without a proxy", "flask", 12, 18, 22,
         cpu("Flask, login_required, no proxy", COOKIE), more_is_better=True),
]


def table(results):
    """In Markdown; of those whose cases were measured."""
    lines = ["| goal | reachable | stretch | moonshot | measured | |", "| --- | --- | --- | --- | --- | --- |"]
    for goal in GOALS:
        try:
            value = goal.measured(results[goal.case])
        except (KeyError, TypeError):
            continue
        limits = (goal.reachable, goal.stretch, goal.moonshot)
        shown = " | ".join(f"{limit:g}" for limit in limits)
        lines.append(f"| {goal.what} | {shown} | {value:.2f} | {verdict(goal, value)} |")
    return "\n".join(lines)


def verdict(goal, value):
    """The best that is met, and how far the next one is."""

    def misses(limit):
        return limit / value - 1 if goal.more_is_better else value / limit - 1

    met = "none"
    for name in ("reachable", "stretch", "moonshot"):
        by = misses(getattr(goal, name))
        if by > 0:
            return f"{met} met; {name} missed by {by:.0%}" if met != "none" else f"{name} missed by {by:.0%}"
        met = name
    return "moonshot met"
