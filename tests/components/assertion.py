"""An application that believes nobody but the signed assertion: PyJWT, and the gateway's published keys."""

import os

import jwt
from flask import Flask, jsonify, request

app = Flask(__name__)
keys = jwt.PyJWKClient(os.environ["JWKS"])


@app.route("/<audience>")
def verified(audience):
    assertion = request.headers.get("X-Foregate-Assertion", "")
    try:
        claims = jwt.decode(
            assertion,
            keys.get_signing_key_from_jwt(assertion).key,
            algorithms=["EdDSA", "ES256", "RS256"],
            audience=audience,
            issuer=os.environ["ISSUER"],
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        return jsonify(error=type(error).__name__), 403
    return jsonify(claims=claims, assertion=assertion, life=claims["exp"] - claims["iat"])
