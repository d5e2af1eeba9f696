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
    found = {row.name: Measured(row.of or case.rows[0].name) for row in case.rows}
    for row in case.rows:
        case.load(load, row, min(1, seconds))
    for number in range(rounds):
        turn = number % len(case.rows)
        for row in case.rows[turn:] + case.rows[:turn]:
            before = [process.cpu() for process in row.counted]
            sample = case.load(load, row, seconds * case.seconds)
            used = sum(process.cpu() - start for process, start in zip(row.counted, before))
            measured = found[row.name]
            measured.cpu.append(used * 1e6 / sample.requests)
            measured.rate.append(sample.rate)
            measured.p50.append(sample.p50)
            measured.p99.append(sample.p99)
    for row in case.rows:
        measured = found[row.name]
        measured.memory = sum(process.memory() for process in row.counted)
        if count_syscalls and case.syscalls and row.syscalls:
            tracing = SystemCalls(row.counted)
            requests = max(case.load(load, row, 2).requests, 1)
            measured.syscalls = {name: count / requests for name, count in tracing.end().items()}
    return found


def ratios(found, row, of, what="cpu"):
    """Of two rows, round by round."""
    pairs = zip(getattr(found[row], what), getattr(found[of], what))
    return [mine / theirs for mine, theirs in pairs if theirs] or [float("nan")]


def spread(values):
    return min(values), statistics.median(values), max(values)
