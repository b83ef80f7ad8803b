"""Rows that hold no usable value, of real flights: each kind apart, with the shares, p-values and intervals that SciPy has."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from conftest import BINARIES, ROOT

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import theirs  # noqa: E402

KINDS = ["null_share", "nan_share", "infinite_share", "wrong_type_share"]


def delays(month: int) -> list:
    """Of a month: cancelled flights have none, and nothing is missing otherwise."""
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet", columns=["date", "arr_delay"])
    of_month = flights[flights.date.str[5:7].astype(int) == month].arr_delay
    return [None if pd.isna(delay) else float(delay) for delay in of_month]


def spoilt(delays: list, late: float) -> list:
    """What a broken feed makes of them: of long delays 0 divided by 0, and of the longest something over nothing."""
    limits = [(4 * late, np.inf), (3 * late, -np.inf), (late, np.nan)]
    return [
        delay if delay is None else next((value for limit, value in limits if delay > limit), delay) for delay in delays
    ]


def kinds(rows: list) -> dict:
    """How many rows are of each kind, by looking at each."""
    is_float = [isinstance(row, float) for row in rows]
    return {
        "null_share": sum(row is None for row in rows),
        "nan_share": sum(row != row for row, number in zip(rows, is_float) if number),
        "infinite_share": sum(row in (np.inf, -np.inf) for row, number in zip(rows, is_float) if number),
        "wrong_type_share": sum(isinstance(row, str) for row in rows),
    }


def usable(rows: list) -> np.ndarray:
    return np.array([row for row in rows if isinstance(row, float) and np.isfinite(row)])


def write(path, rows: list):
    if path.suffix == ".parquet":
        # Not by way of pandas, to which null and NaN are one.
        column = pyarrow.array(rows, type=pyarrow.float64(), from_pandas=False)
        pyarrow.parquet.write_table(pyarrow.table({"arr_delay": column}), path)
    else:
        path.write_text("".join(json.dumps({"arr_delay": row}) + "\n" for row in rows))
    return path


def compared(normal, rows) -> dict:
    command = [BINARIES / "driftline", "compare", normal, rows, "--format=json"]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert said.returncode in (0, 1, 2), said.stderr
    [column] = json.loads(said.stdout)["columns"]
    return {score["detector"]: score for score in column["scores"]}


JANUARY, JULY = delays(1), delays(7)
CASES = {
    "as they are": (JANUARY, JULY, "parquet"),
    "as they were in July": (JULY, JANUARY, "parquet"),
    "spoilt since": (JANUARY, spoilt(JULY, 60), "parquet"),
    "spoilt as ever": (spoilt(JANUARY, 60), spoilt(JANUARY[:3000], 50), "parquet"),
    "less spoilt": (spoilt(JANUARY, 30), spoilt(JULY[:500], 100), "parquet"),
    "written as texts": (JANUARY, ["late" if delay and delay > 90 else delay for delay in JULY[:4000]], "jsonl"),
    "nearly nothing left": (JANUARY, [delay if delay and delay > 200 else "n/a" for delay in JULY], "jsonl"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_is_counted_apart_and_is_as_unlikely_as_scipy_says(tmp_path, name):
    before, now, ending = CASES[name]
    scores = compared(write(tmp_path / "before.parquet", before), write(tmp_path / f"now.{ending}", now))
    sizes, (of_before, of_now) = (len(before), len(now)), (kinds(before), kinds(now))
    expected = {}
    for kind in KINDS:
        expected |= theirs.excess(kind, (of_before[kind], of_now[kind]), sizes)
    expected |= theirs.excess("missing_share", (sum(of_before.values()), sum(of_now.values())), sizes)
    of_ranks = theirs.of_ranks(usable(before), usable(now))
    expected |= {field: number for field, number in of_ranks.items() if field.startswith(("out_of_range", "stuck"))}
    for field, number in expected.items():
        detector, _, kind = field.partition(".")
        ours = scores[detector][kind]
        tolerance = 1e-6 if kind == "p_value" else 1e-9
        is_nothing = kind == "p_value" and max(ours, number) < 1e-250
        assert is_nothing or ours == pytest.approx(number, rel=tolerance, abs=1e-14 if kind != "p_value" else 0), field
        assert scores[detector]["value"] == scores[detector]["effect"] == scores[detector]["upper"] or detector == "stuck_share"
    # What is no number is in no distribution.
    assert (scores["ks"]["n_reference"], scores["ks"]["n_window"]) == (len(usable(before)), len(usable(now)))
    assert (scores["nan_share"]["n_reference"], scores["nan_share"]["n_window"]) == sizes


def test_the_cases_hold_every_kind_on_either_side():
    for side in (0, 1):
        held = {kind for case in CASES.values() for kind, rows in kinds(case[side]).items() if rows}
        assert held >= set(KINDS[:3]) and (side == 0 or held == set(KINDS))
