"""An application that records each request as it made it out, a line each in the file `seen`, and answers with the same."""

import os


def fingerprint(method, target, probe, body):
    number = 0x811C9DC5
    for byte in body:
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    what = "early" if "/early/" in target else f"{len(body)}-{number:08x}"
    return "".join(c if c < "\x80" else "?" for c in f"{method} {target} {probe} {what}")


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    target = environ.get("RAW_URI") or environ["REQUEST_URI"]
    seen = fingerprint(environ["REQUEST_METHOD"], target, environ.get("HTTP_X_PROBE", ""), body)
    with open(os.environ["SEEN"], "a") as file:
        file.write(seen + "\n")
    start_response("200 OK", [("x-seen", seen), ("content-length", "5")])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"hello"]
