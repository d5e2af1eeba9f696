"""Tokens by PyJWT or python-jose, and the set of keys for them: `issue.py LIBRARY ISSUER AUDIENCE` prints both as JSON."""

import json
import sys
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

library, issuer, audience = sys.argv[1:]
now = int(time.time())


def claims(name):
    return {
        "iss": issuer,
        "aud": [audience, "another"],
        "sub": name,
        "exp": now + 300,
        "iat": now,
        "nbf": now,
        "groups": ["staff"],
    }


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
}
published, tokens = [], {}
if library == "pyjwt":
    import jwt
    from jwt.algorithms import get_default_algorithms

    keys["PS256"] = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    keys["ES512"] = ec.generate_private_key(ec.SECP521R1())
    keys["EdDSA"] = ed25519.Ed25519PrivateKey.generate()
    for alg, key in keys.items():
        kid = f"pyjwt-{alg}"
        tokens[alg] = jwt.encode(claims(kid), pem(key), algorithm=alg, headers={"kid": kid})
        public = get_default_algorithms()[alg].to_jwk(key.public_key(), as_dict=True)
        published.append({**public, "kid": kid})
else:
    from jose import jwk, jwt

    for alg, key in keys.items():
        kid = f"jose-{alg}"
        tokens[alg] = jwt.encode(claims(kid), pem(key), algorithm=alg, headers={"kid": kid})
        published.append({**jwk.construct(pem(key), alg).public_key().to_dict(), "kid": kid})
print(json.dumps({"jwks": {"keys": published}, "tokens": tokens}, default=lambda text: text.decode()))
