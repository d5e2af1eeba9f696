"""Rounds: in each of them every row of a case has its turn, so that what else the machine does meets all of them.

Ratios are taken within a round, and their median counts.
"""

import statistics
from dataclasses import dataclass, field

from .machine import SystemCalls


@dataclass
class Measured:
    """A row's samples, by round."""

    of: str
    cpu: list = field(default_factory=list)  # microseconds per request
    rate: list = field(default_factory=list)
    p50: list = field(default_factory=list)
    p99: list = field(default_factory=list)
    memory: int = 0  # KiB of the gate at the end
    syscalls: dict = field(default_factory=dict)  # per request

    def total_syscalls(self):
        return sum(self.syscalls.values()) if self.syscalls else None


def measure(case, load, rounds, seconds, count_syscalls):
    """Row by row what came out."""
    found = {}
    for row in case.rows:
        for label in row.counted:
            found[row.name + label] = Measured(row.of or case.rows[0].name)
        case.load(load, row, max(row.warm_up, min(1, seconds)))
    for number in range(rounds):
        turn = number % len(case.rows)
        for row in case.rows[turn:] + case.rows[:turn]:
            before = {label: cpu(processes) for label, processes in row.counted.items()}
            sample = case.load(load, row, seconds * case.seconds)
            for label, processes in row.counted.items():
                measured = found[row.name + label]
                measured.cpu.append((cpu(processes) - before[label]) * 1e6 / sample.requests)
                measured.rate.append(sample.rate)
                measured.p50.append(sample.p50)
                measured.p99.append(sample.p99)
    for row in case.rows:
        for label, processes in row.counted.items():
            found[row.name + label].memory = sum(process.memory() for process in processes)
        if count_syscalls and case.syscalls and row.syscalls:
            found[row.name].syscalls = count_calls(case, row, load)
    return found


def count_calls(case, row, load):
    """Of each request. Long enough that those of connecting don't matter, if that can be had."""
    for seconds in (1, 4):
        tracing = SystemCalls(row.counted[""], load.cores)
        requests = case.load(load, row, seconds).requests
        calls = tracing.end()
        if requests > 1000:
            break
    return {name: count / max(requests, 1) for name, count in calls.items()}


def cpu(processes):
    return sum(process.cpu() for process in processes)


def ratios(found, row, of, what="cpu"):
    """Of two rows, round by round."""
    pairs = zip(getattr(found[row], what), getattr(found[of], what))
    return [mine / theirs for mine, theirs in pairs if theirs] or [float("nan")]


def spread(values):
    return min(values), statistics.median(values), max(values)
