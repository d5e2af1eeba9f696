"""A client of an application with Flask-JWT-Extended. It is told a base URL and nothing else, and prints what it saw: one JSON
array a step, without what differs from one login to the next."""

import base64
import json
import sys
import time

import requests

BASE = sys.argv[1]
PASSWORD = "correct horse battery"


def say(step, *seen):
    print(json.dumps([step, *seen]), flush=True)


def told(reply):
    """What a client reads: the status, and either `msg` or the application's own answer."""
    body = reply.json()
    return [reply.status_code, body["msg"] if "msg" in body else {k: body[k] for k in sorted(body)}]


def ask(step, method, path, session=requests, **options):
    say(step, *told(session.request(method, BASE + path, timeout=20, **options)))


def log_in(name="alice", session=None):
    session = session or requests.Session()
    reply = session.post(BASE + "/login", json={"username": name, "password": PASSWORD}, timeout=20)
    assert reply.status_code == 200, reply.text
    return session, reply


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def encoded(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# --- The header --------------------------------------------------------------------------------------------------

ask("wrong password", "POST", "/login", json={"username": "alice", "password": "x"})
_, reply = log_in()
tokens = reply.json()
access, refresh = tokens["access_token"], tokens["refresh_token"]
for path in ["/header", "/cookie", "/query", "/anywhere", "/optional", "/fresh"]:
    ask(f"nothing at {path}", "GET", path)
    ask(f"a header at {path}", "GET", path, headers=bearer(access))
    ask(f"a header at {path}, writing", "POST", path, headers=bearer(access))
    ask(f"a query at {path}", "GET", path, params={"jwt": access, "x": "1"})
    ask(f"a cookie at {path}", "GET", path, cookies={"access_token_cookie": access})
head, payload, signature = access.split(".")
other = ("B" if signature.startswith("A") else "A") + signature[1:]
BAD = {
    "no token": "",
    "one part": "x",
    "two parts": "a.b",
    "four parts": f"{access}.x",
    "a header that is no base64": f"!.{payload}.{signature}",
    "a payload that is no base64": f"{head}.!.{signature}",
    "a signature that is no base64": f"{head}.{payload}.!",
    "a padded signature": f"{head}.{payload}.a===",
    "none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
    "another signature": f"{head}.{payload}.{other}",
    "no signature": f"{head}.{payload}.",
    "another secret": f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.{encoded(b'x' * 32)}",
    "a refresh token": refresh,
}
for name, token in BAD.items():
    for path in ["/header", "/anywhere", "/optional"]:
        ask(f"{name} in the header at {path}", "GET", path, headers=bearer(token))
    if token:
        ask(f"{name} in a cookie", "GET", "/cookie", cookies={"access_token_cookie": token})
        ask(f"{name} in the query", "GET", "/query", params={"jwt": token})
for value in ["Basic YWxpY2U6eA==", "Bearer", "Token x", access, f"Bearer {access} x"]:
    shown = value.replace(access, "TOKEN")
    ask(f"Authorization: {shown}", "GET", "/header", headers={"Authorization": value})

# --- Cookies -----------------------------------------------------------------------------------------------------

session, reply = log_in()
cookies = sorted(
    [cookie.name, cookie.path, cookie.has_nonstandard_attr("HttpOnly"), cookie.secure, cookie.expires]
    for cookie in session.cookies
)
say("the cookies of a login", cookies)
ask("reading", "GET", "/cookie", session)
another, _ = log_in("bob")
for method in ["POST", "PUT", "PATCH", "DELETE"]:
    ask(f"{method} without a double", method, "/cookie", session)
    double = {"X-CSRF-TOKEN": session.cookies["csrf_access_token"]}
    ask(f"{method} with its double", method, "/cookie", session, headers=double)
    ask(f"{method} with it anywhere", method, "/anywhere", session, headers=double)
    wrong = {"X-CSRF-TOKEN": another.cookies["csrf_access_token"]}
    ask(f"{method} with another's double", method, "/cookie", session, headers=wrong)
    wrong = {"X-CSRF-TOKEN": session.cookies["csrf_refresh_token"]}
    ask(f"{method} with the refresh token's double", method, "/cookie", session, headers=wrong)

before = session.cookies["access_token_cookie"]
ask("a refresh without a double", "POST", "/refresh", session)
double = {"X-CSRF-TOKEN": session.cookies["csrf_access_token"]}
ask("a refresh with the access token's double", "POST", "/refresh", session, headers=double)
double = {"X-CSRF-TOKEN": session.cookies["csrf_refresh_token"]}
reply = session.post(BASE + "/refresh", headers=double, timeout=20)
say("a refresh", reply.status_code, session.cookies["access_token_cookie"] != before)
ask("after it", "GET", "/cookie", session)
double = {"X-CSRF-TOKEN": session.cookies["csrf_access_token"]}
ask("writing after it", "POST", "/cookie", session, headers=double)
reply = session.post(BASE + "/logout", timeout=20)
say("signing out", reply.status_code, sorted(session.cookies.keys()))
ask("after that", "GET", "/cookie", session)
ask("a refresh after that", "POST", "/refresh", requests, cookies={})
ask("a refresh with an access token", "POST", "/refresh", headers=bearer(access))
ask("a refresh with another scheme", "POST", "/refresh", headers={"Authorization": f"Token {refresh}"})

# --- Revoked, refreshed, fresh, expired --------------------------------------------------------------------------

_, reply = log_in()
gone = reply.json()["access_token"]
reply = requests.delete(BASE + "/logout", headers=bearer(gone), timeout=20)
say("revoking", reply.status_code)
ask("a revoked token", "GET", "/header", headers=bearer(gone))
ask("a revoked token in the query", "GET", "/query", params={"jwt": gone})
ask("a revoked token in a cookie", "GET", "/cookie", cookies={"access_token_cookie": gone})

_, reply = log_in()
ask("a fresh token", "GET", "/fresh", headers=bearer(reply.json()["access_token"]))
time.sleep(4)
reply = requests.post(BASE + "/refresh", headers=bearer(reply.json()["refresh_token"]), timeout=20)
say("a refresh in the header", reply.status_code)
stale = reply.json()["access_token"]
ask("a refreshed token", "GET", "/header", headers=bearer(stale))
ask("one that is not fresh", "GET", "/fresh", headers=bearer(stale))

deadline = time.time() + 90
while requests.get(BASE + "/header", headers=bearer(stale), timeout=20).status_code == 200:
    assert time.time() < deadline, "it does not expire"
    time.sleep(1)
for path in ["/header", "/anywhere", "/optional"]:
    ask(f"an expired token at {path}", "GET", path, headers=bearer(stale))
ask("an expired token in the query", "GET", "/query", params={"jwt": stale})
ask("an expired token in a cookie", "GET", "/cookie", cookies={"access_token_cookie": stale})
head, payload, signature = stale.split(".")
other = ("B" if signature.startswith("A") else "A") + signature[1:]
ask("an expired one that nobody signed", "GET", "/header", headers=bearer(f"{head}.{payload}.{other}"))
