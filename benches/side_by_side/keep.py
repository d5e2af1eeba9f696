"""Results in a file, so that tables and the picture can be made of them again."""

import json
from dataclasses import asdict

from .idle import Idle
from .measure import Measured


def save(file, results, told):
    rows = {key: {name: asdict(row) for name, row in found.items()} for key, found in results.items()}
    with open(file, "w") as out:
        json.dump({"told": told, "results": rows}, out)


def load_all(files):
    """Of several runs, a later one before an earlier one; told is the last."""
    results, told = {}, ""
    for file in files:
        some, told = load(file)
        results.update(some)
    return results, told


def load(file):
    with open(file) as kept:
        content = json.load(kept)
    kinds = {key: Idle if key == "idle" else Measured for key in content["results"]}
    results = {
        key: {name: kinds[key](**row) for name, row in found.items()} for key, found in content["results"].items()
    }
    return results, content["told"]
