"""Data sets that scikit-learn carries, in two halves and in two classes: the same scores as SciPy's and scikit-learn's."""

import json
import subprocess

import numpy as np
import pytest
from conftest import BINARIES
from scipy import stats
from sklearn import datasets
from sklearn.metrics import roc_auc_score

SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}


def expected(reference: np.ndarray, window: np.ndarray) -> dict:
    """Of two samples of numbers, by score: its value, and its p-value where theirs is of the same distribution."""
    labels = np.repeat([0, 1], [len(reference), len(window)])
    ks = stats.ks_2samp(reference, window, method="exact" if len(reference) * len(window) <= 100_000 else "asymp")
    moved = lambda share: np.quantile(window, share, method="linear") - np.quantile(reference, share, method="linear")
    scores = {
        "ks": (ks.statistic, ks.pvalue),
        "cramer_von_mises": (stats.cramervonmises_2samp(reference, window, method="asymptotic").statistic, None),
        "wasserstein": (stats.wasserstein_distance(reference, window), None),
        "energy": (stats.energy_distance(reference, window), None),
        "auc": (roc_auc_score(labels, np.concatenate([reference, window])), None),
        "mean_shift": (window.mean() - reference.mean(), None),
        "median_shift": (moved(0.5), None),
        "spread": (window.std(ddof=0) / reference.std(ddof=0), None) if reference.std() > 0 else (None, None),
    }
    if len(np.unique(np.concatenate([reference, window]))) > 1:
        anderson = stats.anderson_ksamp([reference, window], variant="midrank", method=stats.PermutationMethod(n_resamples=2))
        # SciPy subtracts the mean of 1 and divides by the deviation.
        scores["anderson_darling"] = (anderson.statistic * deviation(len(reference), len(window)) + 1, None)
    return scores


def deviation(n: int, m: int) -> float:
    """Of the two-sample statistic (Scholz and Stephens 1987, equation 4)."""
    total, k = n + m, 2
    inverse = 1 / n + 1 / m
    h = sum(1 / i for i in range(1, total))
    g = sum(1 / ((total - i) * j) for i in range(1, total - 1) for j in range(i + 1, total))
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    return ((a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3))) ** 0.5


@pytest.mark.parametrize("name", SETS)
def test_scores_of_a_packaged_data_set_are_theirs(tmp_path, name):
    data = SETS[name](as_frame=True)
    rows, classes = data.data.astype(float), data.target
    halves = (rows[rows.index % 2 == 0], rows[rows.index % 2 == 1])
    # Those below the middle class, or the middle value, and those above: other things altogether.
    apart = (rows[classes <= classes.median()], rows[classes > classes.median()])
    if len(apart[1]) == 0:
        apart = (rows[classes < classes.median()], rows[classes >= classes.median()])
    compared = 0
    for what, (reference, window) in {"halves": halves, "apart": apart}.items():
        files = [tmp_path / f"{what}-{side}.parquet" for side in ("reference", "window")]
        reference.to_parquet(files[0])
        window.to_parquet(files[1])
        said = subprocess.run(
            [BINARIES / "driftline", "compare", *map(str, files), "--format=json"], capture_output=True, text=True
        )
        assert said.returncode in (0, 1, 2), said.stderr
        columns = {column["column"]: column["scores"] for column in json.loads(said.stdout)["columns"]}
        assert set(columns) == set(rows.columns)
        for column, scores in columns.items():
            theirs = expected(reference[column].to_numpy(), window[column].to_numpy())
            for score in scores:
                value, p_value = theirs.get(score["detector"], (None, None))
                if value is None:
                    continue
                where = f"{name}, {what}, {column}, {score['detector']}"
                assert score["value"] == pytest.approx(value, rel=1e-9, abs=1e-9), where
                if p_value is not None and p_value > 1e-12:
                    assert score["p_value"] == pytest.approx(p_value, rel=1e-6), where
                compared += 1
    assert compared > 12 * len(rows.columns), f"only {compared} numbers were compared"
