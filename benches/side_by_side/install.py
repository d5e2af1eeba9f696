"""The programs that are measured and those that measure: from Debian where it has them, else from PyPI."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "strace": "strace",
    "openssl": "openssl",
    "valgrind": "valgrind",
}
# What this benchmark needs; others ask for theirs.
SIDE_BY_SIDE = tuple(program for program in PACKAGES if program != "valgrind")


def which(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def install_debian(programs=SIDE_BY_SIDE):
    missing = [PACKAGES[program] for program in programs if not which(program)]
    if not missing:
        return
    # Else a package would start a server of its own, on port 80.
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    print("installing", *missing, flush=True)
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", *missing]):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


class Wheels:
    """Traefik, Envoy, and an application in Flask, in an environment with exactly the packages of the list."""

    def __init__(self):
        self.folder = TARGET / "components" / "peers"
        wanted = Path(__file__).with_name("requirements.txt")
        installed = self.folder / "installed.txt"
        if installed.is_file() and filecmp.cmp(wanted, installed, shallow=False):
            return
        print("installing Traefik, Envoy and Flask into", self.folder, flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        pip = [self.folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", wanted], check=True, stdin=subprocess.DEVNULL)
        shutil.copy(wanted, installed)

    def program(self, name):
        return str(self.folder / "bin" / name)

    def envoy(self):
        """The program itself: what is in `bin` starts it from Python."""
        return str(next(self.folder.glob("lib/*/site-packages/envoy/_bin/envoy")))


def build(profile="release"):
    every_core = set(range(os.cpu_count()))
    print("building Foregate", flush=True)
    command = ["cargo", "build", "--profile", profile, "--quiet", "--locked", "--bin", "foregate"]
    subprocess.run(command, check=True, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, every_core))
    # Both profiles put it there.
    return str(TARGET / "release" / "foregate")
