"""Verifies access tokens as a backend does: with PyJWT and with python-jose, by the published keys alone.

Arguments: the address of the key set, the issuer, the audience. Tokens come on standard input, one a line; each is
answered with a line of JSON: the subject's name by either library, or null where it refuses the token.
"""

import json
import sys

import jwt
import requests
from jose import jwt as jose
from jose.exceptions import JOSEError

address, issuer, audience = sys.argv[1:]
algorithms = ["EdDSA", "ES256", "RS256"]
keys = jwt.PyJWKClient(address)


def by_pyjwt(token):
    try:
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(
            token,
            key.key,
            algorithms=algorithms,
            issuer=issuer,
            audience=audience,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
        )
    except jwt.PyJWTError:
        return None
    return claims["preferred_username"]


def by_jose(token):
    # It knows no EdDSA.
    known = requests.get(address, timeout=10).json()
    try:
        kid = jose.get_unverified_header(token)["kid"]
        key = next((key for key in known["keys"] if key["kid"] == kid), None)
        if key is None:
            return None
        claims = jose.decode(token, key, algorithms=["ES256", "RS256"], issuer=issuer, audience=audience)
    except (JOSEError, KeyError):
        return None
    return claims["preferred_username"]


for line in sys.stdin:
    token = line.strip()
    print(json.dumps([by_pyjwt(token), by_jose(token)]), flush=True)
