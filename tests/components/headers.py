"""An application that says what reached it: every WSGI variable that comes from a header."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@app.route("/<path:path>", methods=["GET", "POST"])
def seen(path):
    variables = {name: str(value) for name, value in request.environ.items() if name.isupper()}
    return jsonify(
        environ=variables,
        headers=[[name, value] for name, value in request.headers],
        body=request.get_data(as_text=True),
        user=request.headers.get("Remote-User"),
    )
