"""Tables of what was measured, for a terminal."""

from statistics import median

from .measure import ratios, spread


def conditions(versions, cores, options):
    fields = "; the fields of a browser" if options.browser else ""
    log = "on, to /dev/null, everywhere" if options.log == "on" else "off everywhere"
    return (
        f"{'; '.join(versions)}\nThe gate on core {min(cores.gate)} with one worker or thread, application and load on core"
        f" {min(cores.load)}{', all with real-time priority' if cores.real_time else ''}.\n"
        f"{options.rounds} rounds of {options.seconds:g} s; connections are kept on both sides; access log {log}{fields}.\n"
        "Ratios are taken within a round: least, median, most. Memory is that of all its processes (PSS).\n"
    )


def table(case, found):
    width = max(map(len, found))
    print(f"== {case.key}: {case.title}. {case.note}".rstrip())
    print(
        f"{'':{width}}  CPU us/request          {case.rate:>12}      p50  memory   calls  ratio of CPU"
        f"      of {case.rate:13}of p50          of memory, of"
    )
    print(
        f"{'':{width}}     min    med    max           med       us     MiB    each   min  med  max"
        "    min  med  max    min  med  max   med"
    )
    for name, measured in found.items():
        calls = measured.total_syscalls()
        line = "".join(f" {value:6.1f}" for value in spread(measured.cpu))
        line += f"  {median(measured.rate):12,.0f} {median(measured.p50):8.0f} {measured.memory / 1024:7.1f}"
        line += f"   {calls:5.2f}" if calls else "       -"
        if measured.of != name:
            for what in ("cpu", "rate", "p50"):
                line += "  " + "".join(f" {value:4.2f}" for value in spread(ratios(found, name, measured.of, what)))
            line += f"  {measured.memory / found[measured.of].memory:4.2f}  {measured.of}"
        print(f"{name:{width}} {line}")
    for row, of in case.pairs:
        if row in found and of in found:
            print("  {} / {}: {:.2f} {:.2f} {:.2f}".format(row, of, *spread(ratios(found, row, of))))
    if case.p99:
        print("  p99 us: " + ", ".join(f"{name} {median(measured.p99):.0f}" for name, measured in found.items()))
    print(flush=True)


def syscalls(found):
    if not any(measured.syscalls for measured in found.values()):
        return
    print("  System calls of each request:")
    for name, measured in found.items():
        if measured.syscalls:
            often = sorted(measured.syscalls.items(), key=lambda call: -call[1])
            print(f"  {name}: " + "  ".join(f"{call} {count:.2f}" for call, count in often if count > 0.02))
    print(flush=True)


def idle(found, count):
    print(f"== idle: {count} connections that had one request each and wait for the next")
    width = max(map(len, found))
    print(f"{'':{width}}  before MiB  KiB each   of HAProxy")
    for name, row in found.items():
        of = row.each / found["HAProxy"].each
        print(f"{name:{width}}  {row.before / 1024:10.1f}  {row.each / 1024:8.2f}   {of:10.2f}")
    print(flush=True)


def features(found):
    """In Markdown, of the rows and the first of them."""
    lines = ["| | CPU us of a request | more than the first (least to most) |", "| --- | --- | --- |"]
    for name, measured in found.items():
        low, middle, high = (100 * (ratio - 1) for ratio in spread(ratios(found, name, measured.of)))
        more = "" if measured.of == name else f"{middle:+.0f} % ({low:+.0f} to {high:+.0f})"
        lines.append(f"| {name} | {median(measured.cpu):.1f} | {more} |")
    return "\n".join(lines)
