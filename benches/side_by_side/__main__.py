"""What a request costs in Foregate, and in the proxies that people would put in its place, side by side.

    python3 benches/side_by_side                     # builds Foregate, installs the others; about five minutes
    python3 benches/side_by_side --full              # more and longer rounds: what the README's figures are from
    python3 benches/side_by_side --cases proxy,tls   # some of them; --list names all
    python3 benches/side_by_side --features          # what each feature of Foregate costs
    python3 benches/side_by_side --against OTHER     # another build of Foregate in the same rounds

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

from side_by_side import report  # noqa: E402
from side_by_side.cases import CASES, Stage  # noqa: E402
from side_by_side.features import FEATURES  # noqa: E402
from side_by_side.idle import idle_gates, measure_idle  # noqa: E402
from side_by_side.install import Wheels, build, install_debian, which  # noqa: E402
from side_by_side.load import Load  # noqa: E402
from side_by_side.machine import Cores  # noqa: E402
from side_by_side.measure import measure  # noqa: E402
from side_by_side.peers import Peers  # noqa: E402


IDLE = "idle"


def main():
    options = arguments()
    if options.list:
        print(*CASES, IDLE, *FEATURES)
        return
    install_debian()
    wheels = Once(Wheels)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = Cores(options.real_time)
    binary = os.path.abspath(options.foregate) if options.foregate else build()
    report.explain(versions(binary), cores, options)
    began = time.monotonic()
    load = Load(cores, options.browser)
    results = {}
    for key in options.cases:
        with stage(cores, wheels, binary, options) as on:
            if key == IDLE:
                results[key] = measure_idle(idle_gates(on), options.connections)
                report.idle(results[key], options.connections)
                continue
            case = {**CASES, **FEATURES}[key](on)
            case.rows = [row for row in case.rows if wanted(row, case, options.rows)]
            results[key] = measure(case, load, options.rounds, options.seconds, options.syscalls)
            report.table(case, results[key])
            report.syscalls(results[key])
    print(f"{time.monotonic() - began:.0f} s")


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
    parser.add_argument("--features", action="store_true", help="what each feature of Foregate costs, in place of the peers")
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
    usual = list(FEATURES) if options.features else [*CASES, IDLE]
    options.cases = options.cases.split(",") if options.cases else usual
    unknown = [key for key in options.cases if key not in known]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def versions(binary):
    def first_line(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0].strip()

    return "; ".join([first_line(which("nginx"), "-v"), first_line(which("haproxy"), "-v"), first_line(binary, "--version")])


if __name__ == "__main__":
    main()
