"""Columns of categories together, end to end: pairs that go together otherwise are found in rows that come live."""

import json
import subprocess

import httpx
import numpy
import pytest
from conftest import BINARIES, collector, eventually

ROWS = 2000
CONFIGURATION = """
archive: {max_age: 300ms}
models:
  - name: m
    reference: reference.json
    windows: {pane: 1d, window: 1d, every: 1d, min_filled: 1, lateness: 0s}
"""


def rows(goes_with: float, seed: int) -> list[dict]:
    """A text, a truth and a number that is a name. The first two go together in this share of the rows, and no column changes by itself."""
    draw = numpy.random.default_rng(seed)
    color, level = draw.choice(["red", "green", "blue", "grey"], ROWS), draw.integers(1, 4, ROWS)
    late = numpy.where(draw.random(ROWS) < goes_with, numpy.isin(color, ["red", "green"]), draw.random(ROWS) < 0.5)
    # Some are missing, and count for no pair.
    return [
        {"color": None if index % 50 == 0 else str(c), "late": bool(l), "level": int(n)}
        for index, (c, l, n) in enumerate(zip(color, late, level, strict=True))
    ]


def write(path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def driftline(folder, arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([BINARIES / "driftline", *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode in codes, done.stderr
    return done.stdout


def association(columns: list[dict]) -> dict:
    [scores] = [column["scores"] for column in columns if column["column"] == "names.associations"]
    [score] = [score for score in scores if score["detector"] == "association"]
    return score


def test_names_that_go_together_otherwise_are_found_live_as_in_files(tmp_path):
    normal, changed = rows(0.0, seed=1), rows(0.5, seed=2)
    write(tmp_path / "normal.jsonl", normal)
    write(tmp_path / "changed.jsonl", changed)
    driftline(tmp_path, "reference build --model m --categorical level --joint-names --output reference.json normal.jsonl")
    with collector(tmp_path, CONFIGURATION) as url:
        lines = "".join(json.dumps({"features": row}) + "\n" for row in changed)
        httpx.post(f"{url}/v1/rows", params={"model": "m"}, content=lines).raise_for_status()
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] >= ROWS, "all rows are archived")
    # The day is not over; what is archived makes its window.
    made = driftline(tmp_path, "backfill --config driftline.yaml --model m --from 2020-01-01 --to 2100-01-01 --format jsonl")
    [window] = [window for window in map(json.loads, made.splitlines()) if window["rows"] == ROWS]
    live = association(window["columns"])
    of_files = json.loads(driftline(tmp_path, "compare --score association --format json reference.json changed.jsonl", (0, 1)))
    assert live["verdict"] == "drift"
    assert live["value"] == pytest.approx(association(of_files["columns"])["value"], rel=1e-12)
    # Half of the rows go together: V rises from nothing to about a half.
    assert live["value"] == pytest.approx(0.5, abs=0.05)
    by_themselves = [score for column in window["columns"] if column["column"] in ("color", "late", "level") for score in column["scores"]]
    assert by_themselves and all(score["verdict"] != "drift" for score in by_themselves)
