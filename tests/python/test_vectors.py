"""Embeddings over V2, end to end: the kernel distance that the collector says of them is NumPy's of the same rows."""

import json
import subprocess

import httpx
import numpy
import pytest
import typed_server
from conftest import BINARIES, collector, eventually, sidecar, stay_within_a_day
from test_reference import normal_numbers

CONFIGURATION = """
archive: {max_age: 300ms}
models:
  - name: typed
    reference: reference.json
    tensors: {x: {embedding: true}}
    windows: {pane: 1d, window: 1d, every: 1d, min_filled: 1, lateness: 0s}
"""


def features(vectors: numpy.ndarray, kernel: dict) -> numpy.ndarray:
    """What docs/reference-file.md says of vectors: cosine and sine at each frequency, each row of length 1."""
    frequencies = normal_numbers(kernel["frequencies"] * kernel["dimensions"]).reshape(-1, kernel["dimensions"])
    phases = vectors @ frequencies.T / kernel["bandwidth"]
    return numpy.hstack([numpy.cos(phases), numpy.sin(phases)]) / numpy.sqrt(kernel["frequencies"])


def mmd(reference: numpy.ndarray, window: numpy.ndarray) -> float:
    """Gretton's unbiased estimate (2012, lemma 6)."""
    (n, m), (x, y) = (len(reference), len(window)), (reference.sum(axis=0), window.sum(axis=0))
    return (x @ x - n) / (n * (n - 1)) + (y @ y - m) / (m * (m - 1)) - 2 * x @ y / (n * m)


def test_the_kernel_distance_of_vectors_over_v2_is_numpys(tmp_path):
    draw = numpy.random.default_rng(5)
    # In eighths, which 32 bits hold exactly.
    normal, moved = (numpy.round(8 * draw.normal(by, 1, (600, 3))) / 8 for by in (0, 0.7))
    with open(tmp_path / "rows.jsonl", "w") as lines:
        lines.writelines(json.dumps({"x": row}) + "\n" for row in normal.tolist())
    build = "reference build --model typed --embedding x --output reference.json rows.jsonl"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=tmp_path, check=True, capture_output=True)
    columns = json.loads((tmp_path / "reference.json").read_text())["columns"]
    kernel = next(column for column in columns if column["column"] == "x.features")["normal"]["kernel"]
    with typed_server.typed_server(tmp_path) as (rest, _), collector(tmp_path, CONFIGURATION) as url:
        stay_within_a_day()
        (tmp_path / "sidecar").mkdir()
        with sidecar(tmp_path / "sidecar", rest, url, "typed", "--flush-interval=50ms") as (address, _):
            for start in range(0, 600, 100):
                typed_server.rest_json(address, moved[start : start + 100].tolist())

        def rows() -> int:
            return httpx.get(f"{url}/api/v1/archive").json()["rows"]

        eventually(lambda: rows() >= 600, "600 rows are archived")
    # The day is not over; what is archived makes its window.
    backfill = "backfill --config driftline.yaml --model typed --from 2020-01-01 --to 2100-01-01 --format jsonl"
    made = subprocess.run([BINARIES / "driftline", *backfill.split()], cwd=tmp_path, check=True, capture_output=True)
    windows = [json.loads(line) for line in made.stdout.splitlines()]
    assert sum(window["rows"] for window in windows) == 600
    [window] = [window for window in windows if window["rows"] == 600]
    scores = next(column for column in window["columns"] if column["column"] == "x.features")["scores"]
    [score] = [score for score in scores if score["detector"] == "mmd"]
    expected = mmd(features(normal, kernel), features(moved, kernel))
    assert score["verdict"] == "drift"
    assert score["value"] == pytest.approx(expected, abs=1e-7)
    assert score["effect"] == pytest.approx(numpy.sqrt(expected), rel=1e-5)
