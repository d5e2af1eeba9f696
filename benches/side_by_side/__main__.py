"""What a request costs in Foregate, and in the proxies that people would put in its place, side by side.

    python3 benches/side_by_side                     # builds Foregate, installs the others; then about six minutes
    python3 benches/side_by_side --full              # all cases, more and longer rounds; about twenty minutes
    python3 benches/side_by_side --cases proxy,tls   # some of them; --list names all
    python3 benches/side_by_side --goals             # and which goals are met
    python3 benches/side_by_side --features          # what each feature of Foregate costs
    python3 benches/side_by_side --growth            # a million accounts, 100,000 sessions, a crowd that signs in
    python3 benches/side_by_side --against OTHER     # another build of Foregate in the same rounds

What the README shows was made by

    python3 benches/side_by_side --full --cases proxy,bearer,endpoints,tls,handshakes,64k,latency,sessions,idle,flask \\
        --features --real-time --picture benches/side_by_side.svg --readme README.md

The main figure is CPU microseconds per request: user and system time of all processes of the gate, from /proc, divided
by the requests that were answered. The gate runs on the first of two cores, the application and the load on the second.

Linux, Python 3, and root or the Debian packages nginx, haproxy, caddy, wrk, nghttp2-client, strace and openssl.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

if not __package__:
    # Run as a folder; the modules know each other as a package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
sys.dont_write_bytecode = True

from side_by_side import goals, keep, picture, readme, report  # noqa: E402
from side_by_side.cases import CASES, Stage  # noqa: E402
from side_by_side.features import FEATURES  # noqa: E402
from side_by_side.growth import growth  # noqa: E402
from side_by_side.idle import idle_gates, measure_idle  # noqa: E402
from side_by_side.install import Wheels, build, install_debian, which  # noqa: E402
from side_by_side.load import Load  # noqa: E402
from side_by_side.machine import Cores  # noqa: E402
from side_by_side.measure import measure  # noqa: E402
from side_by_side.peers import Peers  # noqa: E402

IDLE = "idle"
# What the short run leaves out.
FULL_ALONE = ("10m", "512", "two-cores", "routes")


def main():
    options = arguments()
    if options.list:
        print(*CASES, IDLE, *FEATURES)
        return
    results, told = keep.load_all(options.kept) if options.kept else run(options)
    if options.save:
        keep.save(options.save, results, told)
    if options.goals:
        print(goals.table(results))
    if options.picture:
        Path(options.picture).write_text(picture.draw(results, told))
    if options.readme:
        readme.rewrite(Path(options.readme), results, told, len(next(iter(results["proxy"].values())).cpu))


def run(options):
    """Results by case, and with which programs they came about."""
    install_debian()
    wheels = Once(Wheels)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = Cores(options.real_time)
    binary = os.path.abspath(options.foregate) if options.foregate else build()
    print(report.conditions(versions(binary), cores, options), flush=True)
    began = time.monotonic()
    load = Load(cores, options.browser)
    results = {}
    for key in options.cases:
        since = time.monotonic()
        with stage(cores, wheels, binary, options) as on:
            if key == IDLE:
                results[key] = measure_idle(idle_gates(on), options.connections)
                report.idle(results[key], options.connections)
                continue
            case = {**CASES, **FEATURES}[key](on)
            case.rows = [row for row in case.rows if wanted(row, case, options.rows)]
            if not case.rows:
                continue
            results[key] = measure(case, load, options.rounds, options.seconds, options.syscalls)
            report.table(case, results[key])
            report.syscalls(results[key])
            if key in FEATURES:
                print(report.features(results[key]) + "\n", flush=True)
            print(f"({time.monotonic() - since:.0f} s)\n", flush=True)
    if options.growth:
        # The last, as it lays real-time priority down.
        with stage(cores, wheels, binary, options) as on:
            growth(on, load, options)
    print(f"{time.monotonic() - began:.0f} s\n", flush=True)
    return results, "; ".join(versions(binary))


@contextmanager
def stage(cores, wheels, binary, options):
    """A folder and processes for each case: what was started for another takes no part."""
    with tempfile.TemporaryDirectory(prefix="side_by_side.") as folder:
        os.chmod(folder, 0o755)
        peers = Peers(Path(folder), cores, wheels, options.log == "on")
        try:
            yield Stage(peers, binary, options.against)
        finally:
            peers.stop()


class Once:
    """Calls something when it is first needed."""

    def __init__(self, make):
        self.make, self.made = make, None

    def __call__(self):
        if self.made is None:
            self.made = self.make()
        return self.made


def wanted(row, case, expression):
    """Those that match, and the peers that they are measured by."""
    matching = [other for other in case.rows if re.search(expression, other.name)]
    return row in matching or row.name in {other.of or case.rows[0].name for other in matching}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", help="their names, with commas between; default: all")
    parser.add_argument("--rows", default="", help="only rows whose name matches this expression, and their peers")
    parser.add_argument("--features", action="store_true", help="what each feature costs; alone, or after the cases")
    parser.add_argument("--growth", action="store_true", help="accounts, sessions, logins; alone, or after the cases")
    parser.add_argument("--users", type=int, default=1_000_000, help="of --growth")
    parser.add_argument("--goals", action="store_true", help="a table of goals, in Markdown, behind the others")
    parser.add_argument("--picture", metavar="FILE", help="draw one; it needs the cases proxy and bearer")
    parser.add_argument("--readme", metavar="FILE", help="put the figures into it, between its two comments")
    parser.add_argument("--save", metavar="FILE", help="keep what was measured")
    parser.add_argument("--kept", metavar="FILE", nargs="+", help="take what was kept, and measure nothing")
    parser.add_argument("--connections", type=int, default=1000, help="of the case idle")
    parser.add_argument("--list", action="store_true", help="the names of the cases")
    parser.add_argument("--full", action="store_true", help="seven rounds of two seconds, in place of three of one")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each row in each round")
    parser.add_argument("--browser", action="store_true", help="send the header fields that a browser sends")
    parser.add_argument("--log", choices=["on", "off"], default="off", help="access logs, everywhere alike")
    parser.add_argument("--foregate", help="a program that is built already")
    parser.add_argument("--against", help="another build of Foregate, measured beside")
    parser.add_argument("--no-syscalls", dest="syscalls", action="store_false", help="without the runs under strace")
    parser.add_argument("--real-time", action="store_true", help="gate and load before everything else on the machine")
    options = parser.parse_args()
    options.rounds = options.rounds or (7 if options.full else 3)
    options.seconds = options.seconds or (2 if options.full else 1)
    known = [*CASES, IDLE, *FEATURES]
    chosen = options.cases.split(",") if options.cases else []
    if not chosen and not (options.features or options.growth):
        chosen = [key for key in [*CASES, IDLE] if options.full or key not in FULL_ALONE]
    options.cases = chosen + (list(FEATURES) if options.features else [])
    unknown = [key for key in options.cases if key not in known]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def versions(binary):
    def first_line(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0].strip()

    found = {"nginx": r"nginx/(\S+)", "haproxy": r"version (\d[\d.]*)", "caddy": r"v?(\d\S*)"}
    flags = {"nginx": ["-v"], "haproxy": ["-v"], "caddy": ["version"]}
    told = [f"{name} {re.search(found[name], first_line(which(name), *flags[name])).group(1)}" for name in found]
    wheels = Path(__file__).with_name("requirements.txt").read_text()
    told += [f"{name} {version}" for name, version in re.findall(r"^(envoy|traefik)-\w+==(\S+)", wheels, re.MULTILINE)]
    return [first_line(binary, "--version"), *told]


if __name__ == "__main__":
    main()
