"""The picture in the README: what a request costs that is checked, in each of the proxies. An SVG of a few kilobytes,
on a ground of its own, in the reader's colours, without fonts or scripts of elsewhere."""

from html import escape
from statistics import median

# Row of which case, and as what it is shown.
BARS = [
    ("proxy", "nginx", "nginx, which checks nothing"),
    ("proxy", "Foregate, session cookie", "Foregate, session cookie"),
    ("bearer", "Foregate, RS256, cached", "Foregate, Bearer RS256"),
    ("proxy", "nginx, auth_request to nginx", "nginx, auth_request"),
    ("bearer", "HAProxy, jwt_verify RS256", "HAProxy, jwt_verify RS256"),
    ("bearer", "Envoy, jwt_authn RS256", "Envoy, jwt_authn RS256"),
    ("proxy", "Caddy, forward_auth to nginx", "Caddy, forward_auth"),
    ("proxy", "Traefik, ForwardAuth to nginx", "Traefik, ForwardAuth"),
]
WIDTH, LEFT, RIGHT, STEP, TOP = 760, 220, 70, 30, 66
STYLE = (
    "text{font:14px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}"
    ".h{font-weight:600;font-size:16px}.s{font-size:12px;fill:#59636e}"
    ".g{fill:#fff;stroke:#d1d9e0}.b{fill:#9aa4af}.o{fill:#17594a}.w{stroke:#59636e}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.s{fill:#9198a1}.g{fill:#0d1117;stroke:#3d444d}"
    ".b{fill:#656c76}.o{fill:#4cc2a0}.w{stroke:#9198a1}}"
)


def draw(results, told):
    bars = [(label, results[case][row].cpu) for case, row, label in BARS if case in results and row in results[case]]
    most = max(max(cpu) for _, cpu in bars)
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + STEP * len(bars) + 36
    summary = "; ".join(f"{label}: {median(cpu):.0f}" for label, cpu in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>CPU time of a request, in microseconds. {escape(summary)}</title><style>{STYLE}</style>",
        f'<rect class="g" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        '<text class="h" x="20" y="30">CPU time of a request that is checked, in microseconds</text>',
        '<text class="s" x="20" y="49">Less is better. 1 KiB, 64 connections, one core; all processes of the gate counted.</text>',
    ]
    for number, (label, cpu) in enumerate(bars):
        y = TOP + STEP * number
        low, middle, high = (LEFT + scale * value for value in (min(cpu), median(cpu), max(cpu)))
        ours = "o" if label.startswith("Foregate") else "b"
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="{ours}" x="{LEFT}" y="{y + 2}" width="{middle - LEFT:.1f}" height="20" rx="2"/>'
            f'<path class="w" d="M{low:.1f} {y + 12}H{high:.1f}"/>'
            f'<text x="{high + 8:.1f}" y="{y + 16}">{median(cpu):.0f}</text>'
        )
    parts.append(f'<text class="s" x="20" y="{height - 14}">{escape(told)}</text></svg>')
    return "\n".join(parts) + "\n"
