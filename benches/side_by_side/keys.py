"""Certificates, keys and tokens for whoever has to show or to verify one. Made by openssl, for one run."""

import base64
import hashlib
import hmac
import json
import re
import subprocess

SECRET = "a-secret-of-64-characters-for-measuring-and-for-nothing-else-0001"


class Tls:
    """A certificate for 127.0.0.1 of its own making: ECDSA P-256."""

    def __init__(self, folder):
        self.key, self.certificate, self.both = (folder / name for name in ("tls.key", "tls.crt", "tls.pem"))
        openssl(
            *"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost".split(),
            *["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", self.key, "-out", self.certificate],
        )
        self.both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())


class SigningKey:
    """An RSA key with which Foregate signs, and by which the others verify: the same token for everybody."""

    def __init__(self, folder):
        self.private, self.public = folder / "rsa.pem", folder / "rsa.pub"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.private)
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)

    def jwks(self):
        told = openssl("rsa", "-in", self.private, "-noout", "-modulus").decode()
        modulus = bytes.fromhex(re.search(r"Modulus=([0-9A-F]+)", told).group(1))
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "n": text(modulus), "e": "AQAB"}]}


def secret_jwks():
    return {"keys": [{"kty": "oct", "alg": "HS256", "use": "sig", "k": text(SECRET.encode())}]}


def hs256(claims):
    """A token under our secret, for those who can be given one. Foregate makes its own."""
    parts = [
        text(json.dumps(part, separators=(",", ":")).encode()) for part in ({"alg": "HS256", "typ": "at+jwt"}, claims)
    ]
    signed = ".".join(parts)
    return f"{signed}.{text(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    return done.stdout
