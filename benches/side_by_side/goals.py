"""The goals, and what became of them. All limits stand here.

Those of CPU and of p50 are ratios within a run: the median of what each round gave.
"""

from dataclasses import dataclass
from statistics import median

from .measure import ratios, spread

COOKIE = "Foregate, session cookie"


@dataclass
class Goal:
    what: str
    case: str
    row: str
    of: str
    limits: tuple  # reachable, stretch, moonshot
    by: str = "cpu"

    def found(self, found):
        """Of the row, of its peer, and the ratio: least, median, most."""
        if self.by == "memory":
            mine, theirs = found[self.row].each / 1024, found[self.of].each / 1024
            return mine, theirs, (mine / theirs,) * 3
        if self.by == "calls":
            mine, theirs = found[self.row].total_syscalls(), found[self.of].total_syscalls()
            return mine, theirs, (mine / theirs,) * 3
        mine, theirs = (median(getattr(found[row], self.by)) for row in (self.row, self.of))
        return mine, theirs, spread(ratios(found, self.row, self.of, self.by))

    def value(self, found):
        mine, _, (_, ratio, _) = self.found(found)
        # The one goal that is a count, and the one that says how many times cheaper.
        return mine if self.by == "calls" else 1 / ratio if self.case == "flask" else ratio


GOALS = [
    Goal("cookie-checked request / nginx, which checks nothing", "proxy", COOKIE, "nginx", (1.30, 1.15, 0.95)),
    Goal(
        "cookie-checked request / nginx, auth_request (who answers it is not counted)",
        "proxy",
        COOKIE,
        "nginx, auth_request to nginx, answerer not counted",
        (0.75, 0.60, 0.45),
    ),
    Goal(
        "cookie-checked request / Traefik, ForwardAuth",
        "proxy",
        COOKIE,
        "Traefik, ForwardAuth to nginx",
        (0.15, 0.10, 0.06),
    ),
    Goal(
        "Bearer RS256 / HAProxy, jwt_verify",
        "bearer",
        "Foregate, RS256, cached",
        "HAProxy, jwt_verify RS256",
        (0.55, 0.40, 0.30),
    ),
    Goal(
        "Bearer HS256 / HAProxy, jwt_verify",
        "bearer",
        "Foregate, HS256, cached",
        "HAProxy, jwt_verify HS256",
        (1.00, 0.85, 0.70),
    ),
    Goal(
        "Bearer HS256 / Envoy, jwt_authn",
        "bearer",
        "Foregate, HS256, cached",
        "Envoy, jwt_authn HS256",
        (0.60, 0.40, 0.28),
    ),
    Goal(
        "Bearer HS256, another token each time / HAProxy, jwt_verify",
        "bearer",
        "Foregate, HS256, verified each time",
        "HAProxy, jwt_verify HS256",
        (1.10, 0.95, 0.80),
    ),
    Goal(
        "sub-request, cookie / nginx, return 204",
        "endpoints",
        "Foregate, /.auth/auth-request",
        "nginx, return 204",
        (1.25, 1.10, 0.97),
    ),
    Goal(
        "cookie-checked request over TLS / nginx, TLS",
        "tls",
        "Foregate, TLS, session cookie",
        "nginx, TLS",
        (1.15, 1.00, 0.90),
    ),
    Goal("full TLS handshake / nginx", "handshakes", "Foregate, handshake", "nginx, handshake", (1.10, 1.00, 0.80)),
    Goal(
        "64 KiB, cookie-checked / nginx, its default buffers",
        "64k",
        COOKIE,
        "nginx, its default buffers",
        (0.75, 0.60, 0.45),
    ),
    Goal("64 KiB, cookie-checked / HAProxy, which checks nothing", "64k", COOKIE, "HAProxy", (1.15, 1.00, 0.85)),
    Goal("cookie-checked request / public route", "proxy", COOKIE, "Foregate, public route", (1.10, 1.05, 1.03)),
    Goal(
        "cookie-checked request of 100,000 live sessions, scattered / public route",
        "sessions",
        "Foregate, 100,000 sessions",
        "Foregate, public route",
        (1.15, 1.08, 1.05),
    ),
    Goal(
        "system calls of a cookie-checked request, beside nginx", "proxy", COOKIE, "nginx", (5.0, 4.5, 4.2), by="calls"
    ),
    Goal("p50 at 3,000 requests/s, cookie-checked / nginx", "latency", COOKIE, "nginx", (1.25, 1.10, 1.00), by="p50"),
    Goal("memory of an idle connection / HAProxy", "idle", COOKIE, "HAProxy", (25, 13, 4), by="memory"),
    # Here the limits say how many times cheaper.
    Goal(
        "cookie-checked request / Flask's login_required, without a proxy",
        "flask",
        COOKIE,
        "Flask, login_required, no proxy",
        (12, 18, 22),
    ),
]
UNITS = {"cpu": " us", "p50": " us", "calls": "", "memory": " KiB"}


def measured(results):
    """Those whose rows were measured."""
    for goal in GOALS:
        found = results.get(goal.case, {})
        if goal.row in found and goal.of in found and (goal.by != "calls" or found[goal.row].syscalls):
            yield goal, found


def table(results):
    """In Markdown: what was to be reached, and what was."""
    lines = ["| goal | reachable | stretch | moonshot | measured | |", "| --- | --- | --- | --- | --- | --- |"]
    for goal, found in measured(results):
        value = goal.value(found)
        shown = " | ".join(f"{limit:g}" for limit in goal.limits)
        lines.append(f"| {goal.what} | {shown} | {value:.2f} | {verdict(goal, value)} |")
    return "\n".join(lines)


def verdict(goal, value):
    """The best that is met, and by how much the next one is missed."""
    met = ""
    for name, limit in zip(("reachable", "stretch", "moonshot"), goal.limits):
        missed = limit / value - 1 if goal.limits[0] < goal.limits[-1] else value / limit - 1
        if missed > 0:
            return f"{met}{name} missed by {missed:.0%}"
        met = f"{name} met, "
    return "moonshot met"


def comparison(results):
    """In Markdown, for readers: both figures, and the ratio with its spread."""
    lines = ["| | Foregate | beside it | ratio (least to most) |", "| --- | --- | --- | --- |"]
    for goal, found in measured(results):
        mine, theirs, (low, middle, high) = goal.found(found)
        unit = UNITS[goal.by]
        digits = 0 if unit == " us" and min(mine, theirs) >= 100 else 1
        spread = f" ({low:.2f} to {high:.2f})" if low != high else ""
        lines.append(f"| {goal.what} | {mine:.{digits}f}{unit} | {theirs:.{digits}f}{unit} | {middle:.2f}{spread} |")
    return "\n".join(lines)
