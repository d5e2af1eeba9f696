"""Two applications that are the same to a client: one that protects itself with Flask-JWT-Extended, and one that knows no
token and believes the gateway in front of it."""

from datetime import timedelta

from flask import Flask, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
    set_access_cookies,
    set_refresh_cookies,
    unset_jwt_cookies,
)

USERS = {"alice": "correct horse battery", "bob": "correct horse battery"}
EVERYWHERE = ["headers", "cookies", "query_string"]

original = Flask("original")
original.config.update(
    JWT_SECRET_KEY="not a secret, for it stands in a test of the repository",
    JWT_TOKEN_LOCATION=EVERYWHERE,
    JWT_COOKIE_SAMESITE="Lax",
    # As long as the gateway takes one of a second, clocks being what they are.
    JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=31),
)
manager = JWTManager(original)
revoked = set()


@manager.token_in_blocklist_loader
def is_revoked(_, claims):
    return claims["jti"] in revoked


@original.post("/login")
def login():
    asked = request.get_json()
    name = asked.get("username")
    if USERS.get(name) != asked.get("password"):
        return jsonify(msg="Incorrect username or password."), 401
    access = create_access_token(identity=name, fresh=True)
    refresh = create_refresh_token(identity=name)
    response = jsonify(access_token=access, refresh_token=refresh)
    set_access_cookies(response, access)
    set_refresh_cookies(response, refresh)
    return response


@original.post("/refresh")
@jwt_required(refresh=True, locations=["headers", "cookies"])
def refresh():
    access = create_access_token(identity=get_jwt_identity(), fresh=False)
    response = jsonify(access_token=access)
    set_access_cookies(response, access)
    return response


@original.delete("/logout")
@jwt_required(locations=["headers"])
def logout():
    revoked.add(get_jwt()["jti"])
    return jsonify(msg="signed out")


@original.post("/logout")
def forget():
    response = jsonify(msg="signed out")
    unset_jwt_cookies(response)
    return response


def seen(user):
    """The query without the token, which only one of the two is shown."""
    query = [pair for pair in request.query_string.decode().split("&") if not pair.startswith("jwt=")]
    return jsonify(user=user, method=request.method, query="&".join(query))


def protected(path, **options):
    @jwt_required(**options)
    def view(rest=""):
        return seen(get_jwt_identity())

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    original.add_url_rule(path, endpoint=path, view_func=view, methods=methods)


protected("/header", locations=["headers"])
protected("/cookie", locations=["cookies"])
protected("/query", locations=["query_string"])
protected("/anywhere", locations=EVERYWHERE)
protected("/optional", optional=True, locations=["headers"])
protected("/fresh", fresh=True, locations=["headers"])

behind = Flask("behind")


@behind.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def page(path):
    assert not request.cookies and "Authorization" not in request.headers
    assert path not in ("query", "anywhere") or "jwt" not in request.args
    return seen(request.headers.get("Remote-User"))
