"""Small samples, dealt out in every way that there is: p-values are what docs/scores.md says of them."""

import itertools
import math
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats
from test_packaged import compared

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import theirs  # noqa: E402

#: Rows of the reference and of the window in each category.
TABLES = [
    [(2, 8), (9, 3)],
    [(31, 29), (39, 1)],
    [(5, 5), (2, 6), (7, 0)],
    [(16, 4), (12, 8), (8, 12), (14, 6)],
    [(24, 16), (6, 0), (0, 4), (0, 3)],
    [(4, 1), (1, 4), (4, 1), (3, 2), (5, 0), (1, 4)],
]
NUMBERS = {
    "normal": (np.random.default_rng(3).normal, 9, 8),
    "skewed": (np.random.default_rng(4).exponential, 12, 5),
    "ties": (lambda size: np.random.default_rng(5).integers(0, 6, size).astype(float), 9, 8),
}


def tables(rows: list, drawn: int):
    """How many rows of each category a draw may take."""
    if len(rows) == 1:
        if drawn <= rows[0]:
            yield (drawn,)
        return
    for first in range(min(rows[0], drawn) + 1):
        if drawn - first <= sum(rows[1:]):
            yield from ((first, *rest) for rest in tables(rows[1:], drawn - first))


def exact(table: list) -> dict:
    """The share of all splits whose distance is as large."""
    reference, window = np.array(table).T
    rows, n, m = reference + window, reference.sum(), window.sum()
    every = np.array(list(tables(rows.tolist(), int(m))))
    ways = np.array([math.prod(math.comb(int(row), int(w)) for row, w in zip(rows, split)) for split in every], dtype=float)
    differences = np.abs((rows - every) / n - every / m)
    found = np.abs(reference / n - window / m)
    result = {}
    for name, of in (("l_infinity", np.max), ("total_variation", np.sum)):
        reaches = of(differences, axis=1) >= of(found) * (1 - 1e-9)
        result[name] = ways[reaches].sum() / ways.sum()
    return result


@pytest.mark.parametrize("table", TABLES)
def test_of_categories_p_values_are_exact_or_bounds(tmp_path, table):
    samples = [pd.DataFrame({"x": [f"c{i}" for i, rows in enumerate(table) for _ in range(rows[side])]}) for side in (0, 1)]
    ours, whole = compared(tmp_path, *samples)["x"], exact(table)
    largest, total = (ours[f"{name}.p_value"] for name in ("l_infinity", "total_variation"))
    if len(table) == 2:
        assert largest == pytest.approx(whole["l_infinity"], rel=1e-9)
        assert total == pytest.approx(whole["total_variation"], rel=1e-9)
    else:
        assert whole["l_infinity"] * (1 - 1e-9) <= largest
        assert whole["total_variation"] <= total
    # Bonferroni's bound, term by term.
    reference, window = np.array(table).T
    n, m, rows = reference.sum(), window.sum(), reference + window
    tails = theirs.tail_of_largest_difference(np.abs(reference / n - window / m).max(), (n, m), rows, np.ones(len(rows)), False)
    assert largest == pytest.approx(tails, rel=1e-9)


@pytest.mark.parametrize("shape", NUMBERS)
def test_of_numbers_the_p_value_of_the_energy_distance_is_near_that_of_all_splits(tmp_path, shape):
    draw, n, m = NUMBERS[shape]
    values = draw(size=n + m)
    splits = [list(drawn) for drawn in itertools.combinations(range(n + m), m)]
    distances = np.array([stats.energy_distance(np.delete(values, drawn), values[drawn]) for drawn in splits])
    for share in (0.5, 0.1):
        drawn = splits[int(np.abs(distances - np.quantile(distances, 1 - share)).argmin())]
        reference, window = np.delete(values, drawn), values[drawn]
        whole = (distances >= stats.energy_distance(reference, window) * (1 - 1e-9)).mean()
        ours = compared(tmp_path, *(pd.DataFrame({"x": sample}) for sample in (reference, window)))["x"]["energy.p_value"]
        assert 0.65 < ours / whole < 1.35, f"{share}: {ours}, of all splits {whole}"
