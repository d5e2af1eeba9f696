"""The figures in the README, between two comments: what was measured replaces what stands there."""

from . import goals, report

BEGIN, END = "<!-- side_by_side: begin -->\n", "<!-- side_by_side: end -->\n"


def rewrite(file, results, told, rounds):
    text = file.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{file} has no place for the figures: {BEGIN.strip()} and {END.strip()}")
    said = f"{told}. CPU time in microseconds, medians of {rounds} rounds."
    parts = [said, goals.comparison(results)]
    if "features" in results:
        parts.append("What a feature adds to a request with a session cookie, each measured alone:")
        parts.append(report.features(results["features"]))
    if "features-http2" in results:
        parts.append(report.features(results["features-http2"]))
    file.write_text(before + BEGIN + "\n\n".join(parts) + "\n" + END + after)
