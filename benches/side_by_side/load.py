"""Requests: as many as go or so many a second (wrk), over HTTP/2 (h2load); and TLS handshakes without any (openssl).

Each gives a `Sample`: what was answered, how fast, and in which time half of it was.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass

BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://app.test/",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
]

# One request after the other from a file: on each line a path and header fields, with tabs between. They are in no
# order already. Made before the clock starts.
ROTATING = """
local requests, at = {}, 0
function init(arguments)
    for line in io.lines(arguments[1]) do
        local path, headers = nil, {}
        for part in line:gmatch("[^\\t]+") do
            if path == nil then path = part else
                local name, value = part:match("^([^:]+): (.*)$")
                headers[name] = value
            end
        end
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
"""


# Each connection waits before it asks again, so that all of them together ask so often, at times of no pattern.
STEADY = """
local least, most
function init(arguments)
    least, most = tonumber(arguments[1]), tonumber(arguments[2])
end
function delay()
    return math.random(least, most)
end
"""


@dataclass
class Sample:
    requests: int
    rate: float
    p50: float  # microseconds
    p99: float = 0.0


@dataclass
class Target:
    """What is asked for: with which fields, over TLS or not, always the same or from a file."""

    port: int
    path: str = "/"
    headers: tuple = ()
    tls: bool = False
    rotating: str = ""

    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.path}"


class Load:
    """Whoever sends requests: with which cores, and with the fields of a browser or not."""

    def __init__(self, cores, browser):
        self.cores = cores
        self.more = BROWSER if browser else []
        self.scripts = {name: script(text) for name, text in (("rotating", ROTATING), ("steady", STEADY))}

    def run(self, command, on_both):
        place = self.cores.placing(self.cores.both if on_both else self.cores.load)
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=place)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def headers(self, target):
        return [part for header in (*target.headers, *self.more) for part in ("-H", header)]

    def wrk(self, target, seconds, connections, threads=1, on_both=False, rate=None):
        """As many as go, each connection asking again as soon as it has its answer; or about `rate` a second in all."""
        command = [
            "wrk",
            "--latency",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "10s",
        ]
        command += self.headers(target)
        if rate:
            pause = connections * 1000 / rate
            command += [f"-s{self.scripts['steady'].name}", target.url(), "--", "1", str(round(2 * pause - 1))]
        elif target.rotating:
            command += [f"-s{self.scripts['rotating'].name}", target.url(), "--", target.rotating]
        else:
            command.append(target.url())
        output = self.run(command, on_both)
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"{target.url()}: not every request was answered well\n{output}")
        requests = int(re.search(r"(\d+) requests in", output).group(1))
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
        p50, p99 = (
            float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
            for value, unit in re.findall(r"(?:50|99)%\s+([\d.]+)(us|ms|s)", output)
        )
        return Sample(requests, rate, p50, p99)

    def h2load(self, target, seconds, connections, streams=1, http2=True):
        """As many as go, over HTTP/2 with several requests at once on a connection, or over HTTP/1.1."""
        command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{max(1, round(seconds))}"]
        output = self.run(command + ([] if http2 else ["--h1"]) + self.headers(target) + [target.url()], False)
        done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", output)
        if not done or done.group(2) != "0" or re.search(r"[1-9]\d* [345]xx", output):
            sys.exit(f"{target.url()}: not every request was answered well\n{output}")
        requests = int(done.group(1))
        return Sample(requests, requests / seconds, 0.0)

    def handshakes(self, target, seconds, clients=4):
        """Full TLS handshakes and nothing behind them, by several clients."""
        command = ["openssl", "s_time", "-new", "-connect", f"127.0.0.1:{target.port}", "-time", str(seconds)]
        place = self.cores.placing(self.cores.load)
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=place)
            for _ in range(clients)
        ]
        outputs = [client.communicate()[0] for client in running]
        counts = [re.search(r"(\d+) connections in (\d+) real seconds", output) for output in outputs]
        if not all(counts):
            sys.exit(f"{target.url()}: openssl s_time made no connections\n{outputs}")
        done = sum(int(count.group(1)) for count in counts)
        return Sample(done, done / seconds, clients * seconds * 1e6 / max(done, 1))


def script(text):
    file = tempfile.NamedTemporaryFile("w", suffix=".lua")
    file.write(text)
    file.flush()
    return file
