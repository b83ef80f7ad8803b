"""Data sets that scikit-learn, NannyML and river carry: all scores are those of SciPy, scikit-learn and NumPy."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import BINARIES, ROOT
from data_sets import MOST_ROWS, SETS, load

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import theirs  # noqa: E402

#: Relative, by field. P-values end in tails that either side works out its own way.
TOLERANCES = {"value": 1e-9, "effect": 1e-9, "interval_low": 1e-9, "interval_high": 1e-9, "p_value": 1e-6}
#: Smaller p-values than this are nothing but small: SciPy's have lost their digits there.
SMALLEST = 1e-250
#: Differences of numbers of a column's own size keep its rounding.
IN_UNITS = ("mean_shift", "median_shift", "p05_shift", "p25_shift", "p75_shift", "p95_shift", "wasserstein")
#: Roots of sums whose terms cancel where shares are nearly the same: SciPy's keep their square's rounding.
ROOTS = ("jensen_shannon.value", "g_test.effect", "hellinger.value")
#: Of names with more than this, rare ones are scored together.
MOST_NAMES = 500


def compared(folder, reference: pd.DataFrame, window: pd.DataFrame, *options: str) -> dict:
    """What `driftline compare` says of each column: field by field, `ks.value` and so on."""
    files = [folder / "reference.parquet", folder / "window.parquet"]
    for file, rows in zip(files, (reference, window), strict=True):
        rows.to_parquet(file, index=False)
    command = [BINARIES / "driftline", "compare", *map(str, files), "--format=json", *options]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode in (0, 1, 2), said.stderr
    columns = json.loads(said.stdout)["columns"]
    return {
        column["column"]: {f"{score['detector']}.{field}": number for score in column["scores"] for field, number in score.items()}
        for column in columns
    }


def is_of_numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def as_names(column: pd.Series) -> pd.Series:
    """As they are written."""
    return column.map({True: "true", False: "false"}) if pd.api.types.is_bool_dtype(column) else column.astype(str)


def expected(reference: pd.Series, window: pd.Series) -> dict:
    """What others say of one column."""
    seen = [int(column.isna().sum()) for column in (reference, window)]
    result = theirs.excess("missing_share", seen, (len(reference), len(window)))
    result |= theirs.excess("null_share", seen, (len(reference), len(window)))
    reference, window = reference.dropna(), window.dropna()
    if is_of_numbers(reference):
        return result | theirs.numeric(reference.to_numpy(float), window.to_numpy(float))
    return result | theirs.categorical(as_names(reference), as_names(window))


def is_close(field: str, ours: float, other: float, unit: float) -> bool:
    detector, _, kind = field.partition(".")
    if kind == "p_value" and max(ours, other) < SMALLEST:
        return True
    rounding = 1e-13 * unit if detector in IN_UNITS and kind == "value" else 1e-14 if kind != "p_value" else 0.0
    if field in ROOTS:
        # Of the square, as much as its terms are rounded by.
        return abs(ours**2 - other**2) <= 2 * TOLERANCES[kind] * other**2 + 1e-16
    return abs(ours - other) <= TOLERANCES[kind] * abs(other) + rounding


@pytest.mark.parametrize("name", SETS)
def test_scores_of_a_packaged_data_set_are_theirs(tmp_path, name):
    reference, window = (rows[:MOST_ROWS].reset_index(drop=True) for rows in load(name))
    few_names = [
        column
        for column in reference
        if (is_of_numbers(reference[column]) or reference[column].nunique() <= MOST_NAMES) and reference[column].notna().any()
        and window[column].notna().any()
    ]
    reference, window = reference[few_names], window[few_names]
    ours, wrong, held = compared(tmp_path, reference, window), [], 0
    assert set(ours) == set(few_names)
    for column in few_names:
        unit = max(np.abs(side[column].dropna().to_numpy(float)).max() for side in (reference, window)) if is_of_numbers(reference[column]) else 1.0
        for field, number in expected(reference[column], window[column]).items():
            if field not in ours[column]:
                wrong.append(f"{column}: {field} is missing, theirs is {number}")
            elif not is_close(field, ours[column][field], number, unit):
                wrong.append(f"{column}: {field} is {ours[column][field]!r}, theirs is {number!r}")
            held += 1
    assert not wrong, "\n".join(wrong)
    assert held > 24 * len(few_names), f"only {held} numbers were compared"


BOUNDED = ["ks", "kuiper", "cramer_von_mises", "anderson_darling", "auc", "wasserstein", "energy", "median_shift", "p05_shift", "p95_shift"]


@pytest.mark.parametrize("name", ["synthetic_car_loan", "synthetic_sample", "regression_synthetic", "mc"])
def test_of_more_values_than_a_grid_holds_theirs_lie_within_the_bounds(tmp_path, name):
    reference, window = load(f"nannyml: {name}")
    columns = [column for column in reference if is_of_numbers(reference[column]) and reference[column].nunique() > 4096]
    assert columns
    ours = compared(tmp_path, reference[columns], window[columns])
    for column in columns:
        before, now = (side[column].dropna().to_numpy(float) for side in (reference, window))
        others = theirs.of_ranks(before, now) | theirs.moments(before, now) | theirs.quantiles(before, now)
        for detector in BOUNDED:
            number = others[f"{detector}.value"]
            low, high = (ours[column][f"{detector}.{field}"] for field in ("value", "upper"))
            rounding = 1e-9 * abs(number)
            assert low - rounding <= number <= high + rounding, f"{column}: {detector} in {low} to {high}, theirs is {number}"
        for detector in ("ks", "kuiper"):
            low, high = (ours[column][f"{detector}.{field}"] for field in ("value", "upper"))
            assert high - low < 4 / 1024, f"{column}: {detector} lies between {low} and {high}, no closer"
