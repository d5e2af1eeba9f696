"""Hashes passwords as applications do, with the libraries that they do it with.

Standard input has a password as a JSON string; each line of the output is a JSON list: what made the hash, the
password, the hash. The first argument says which library: `werkzeug`, the one on PYTHONPATH, or `others`.
"""

import hashlib
import json
import sys
import warnings

warnings.simplefilter("ignore")


def werkzeug(password):
    from werkzeug.security import check_password_hash, generate_password_hash

    yield "default", generate_password_hash(password)
    methods = "pbkdf2:sha1 pbkdf2:sha256 pbkdf2:sha512 pbkdf2:sha256:1000 sha1 sha256 sha512 scrypt scrypt:16384:8:1"
    for method in methods.split():
        try:
            made = generate_password_hash(password, method, 8)
        except (TypeError, ValueError):
            # Each version knows some of them.
            continue
        assert check_password_hash(made, password)
        yield method, made


def others(password):
    import argon2
    import bcrypt
    import django.conf
    import passlib.hash
    from django.contrib.auth.hashers import make_password

    if not django.conf.settings.configured:
        names = "PBKDF2 PBKDF2SHA1 Argon2 BCrypt Scrypt".split()
        hashers = [f"django.contrib.auth.hashers.{name}PasswordHasher" for name in names]
        django.conf.settings.configure(PASSWORD_HASHERS=hashers)
    for hasher in "pbkdf2_sha256 pbkdf2_sha1 argon2 bcrypt scrypt".split():
        yield f"django {hasher}", make_password(password, hasher=hasher)
    for prefix in (b"2a", b"2b"):
        salt = bcrypt.gensalt(6, prefix)
        yield f"bcrypt {prefix}", bcrypt.hashpw(password.encode(), salt).decode()
    yield "bcrypt 2y", "$2y$" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(6)).decode()[4:]
    for kind in (argon2.Type.I, argon2.Type.ID):
        hasher = argon2.PasswordHasher(time_cost=2, memory_cost=8192, parallelism=2, type=kind)
        yield f"argon2-cffi {kind}", hasher.hash(password)
    for name in "pbkdf2_sha1 pbkdf2_sha256 pbkdf2_sha512 django_pbkdf2_sha256 apr_md5_crypt ldap_sha1".split():
        yield f"passlib {name}", getattr(passlib.hash, name).hash(password)
    yield "passlib scrypt", passlib.hash.scrypt.using(rounds=12).hash(password)
    yield "passlib pbkdf2 with few rounds", passlib.hash.pbkdf2_sha256.using(rounds=1000, salt_size=64).hash(password)
    yield "the tutorials' own", "sha256$$" + hashlib.sha256(password.encode()).hexdigest()


password = json.load(sys.stdin)
library = {"werkzeug": werkzeug, "others": others}[sys.argv[1]]
for name, made in library(password):
    print(json.dumps([name, password, made]))
