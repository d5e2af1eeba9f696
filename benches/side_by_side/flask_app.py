"""What an application does by itself where nothing is in front of it: a session cookie, and `login_required`."""

from flask import Flask
from flask_login import LoginManager, UserMixin, login_required, login_user

app = Flask(__name__)
app.secret_key = "only for measuring"
logins = LoginManager(app)
BODY = "x" * 1024


class User(UserMixin):
    id = "bench"


@logins.user_loader
def load_user(_name):
    return User()


@app.get("/login")
def login():
    login_user(User())
    return BODY


@app.get("/plain")
def plain():
    return BODY


@app.get("/")
@login_required
def index():
    return BODY
