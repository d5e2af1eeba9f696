"""What a measurement stands on: cores, processes, ports, and the counts that the kernel keeps of them."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 30


class Cores:
    """One core for the gate, the other for the load and the application; or both for everybody."""

    def __init__(self, real_time):
        self.all = sorted(os.sched_getaffinity(0))
        if len(self.all) < 2:
            sys.exit("two cores are needed: one for the gate, one for the load")
        self.gate, self.load = {self.all[0]}, {self.all[1]}
        self.both = self.gate | self.load
        self.real_time = real_time and permits_real_time()
        self.nice = 0
        # Whoever starts a process hands it its cores: this one stays on the load's.
        os.sched_setaffinity(0, self.load)

    def placing(self, cores):
        """What a child does before it becomes the program."""

        def place():
            os.sched_setaffinity(0, cores)
            if self.real_time:
                # Round robin among themselves, before everything else on the machine.
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
            elif self.nice:
                os.nice(self.nice)

        return place

    def by_niceness(self):
        """Before others by niceness alone: with real-time priority no thread of the gate could step back behind another."""
        if self.real_time:
            self.real_time, self.nice = False, -15


def permits_real_time():
    probe = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))"
    return subprocess.run([sys.executable, "-c", probe], stderr=subprocess.DEVNULL).returncode == 0


class Process:
    """A program, and all that it starts."""

    def __init__(self, command, cores, log, place, environment=None):
        self.cores = cores
        self.log = open(log, "ab")
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=dict(os.environ, **environment) if environment else None,
            preexec_fn=place,
        )

    def pids(self):
        """The process and those below it: nginx has a master and workers."""
        found = [self.child.pid]
        for pid in found:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        return found

    def cpu(self):
        """Seconds, user and system, of all of it so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory(self):
        """KiB of all of it, a page that several share counted once (PSS)."""
        rollups = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids())
        return sum(map(int, re.findall(r"^Pss:\s+(\d+) kB", rollups, re.MULTILINE)))

    def settled_memory(self):
        """Its memory once that stands still."""
        last = self.memory()
        for _ in range(20):
            time.sleep(0.5)
            now = self.memory()
            if abs(now - last) < 64:
                return now
            last = now
        return last

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_port(port, process, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.child.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    said = Path(process.log.name).read_text(errors="replace")[-2000:] if os.path.isfile(process.log.name) else ""
    sys.exit(f"{process.child.args} does not listen on {port}:\n{said}")


class SystemCalls:
    """Counts the system calls of some processes while something goes on. The times are worthless then, the counts exact."""

    def __init__(self, processes, cores):
        pids = [pid for process in processes for pid in process.pids()]
        command = ["strace", "-c", "-f", "-U", "calls,name", "-q"]
        for pid in pids:
            command += ["-p", str(pid)]
        # Behind a load with real-time priority it would hardly get to count.
        place = cores.placing(cores.load)
        self.tracer = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=place
        )
        deadline = time.monotonic() + 5
        while not all(map(is_traced, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self):
        self.tracer.send_signal(2)
        summary = self.tracer.communicate()[1]
        calls = {name: int(count) for count, name in re.findall(r"^\s*(\d+) (\w+)$", summary, re.MULTILINE)}
        calls.pop("total", None)
        if not calls:
            sys.exit(f"strace counted nothing:\n{summary}")
        return calls


def is_traced(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^TracerPid:\s+([1-9]\d*)$", status, re.MULTILINE) is not None
