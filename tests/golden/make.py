"""Makes flights.json: what SciPy (of AUC and mean also scikit-learn and statsmodels) says of three months of flights against January.

The black-box test `golden` sends the same rows through sidecar and collector and compares.

    pip install 'scipy==1.17.1' 'scikit-learn==1.9.1' 'statsmodels==0.15.0' pandas pyarrow
    python tests/golden/make.py
"""

import json
import pathlib

import numpy as np
import pandas as pd
import scipy
import sklearn
import statsmodels
from scipy import special, stats
from scipy.stats import _hypotests
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import confint_proportions_2indep

HERE = pathlib.Path(__file__).parent
NUMERIC = ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "arr_delay", "hour"]
CATEGORICAL = ["carrier", "origin", "dest"]

flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
month = flights.date.str[5:7].astype(int)
january = flights[month == 1]


def deciles(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Counts between the reference's deciles by the inverted CDF, each up to and with its edge, and outside its range."""
    edges = np.unique(np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf"))
    edges = edges[edges < reference.max()]
    counts = []
    for sample in (reference, window):
        inside = sample[(sample >= reference.min()) & (sample <= reference.max())]
        cells = np.bincount(np.searchsorted(edges, inside, side="left"), minlength=len(edges) + 1)
        counts.append([*cells, len(sample) - len(inside)])
    return np.array(counts)


def psi(counts: np.ndarray) -> float:
    """Of cells that at least one sample fills; one that the other leaves empty counts as half a row there."""
    counts = counts[:, counts.sum(axis=0) > 0]
    p, q = np.where(counts == 0, 0.5, counts) / counts.sum(axis=1, keepdims=True)
    return ((q - p) * np.log(q / p)).sum()


def shares(counts: np.ndarray, is_range: bool) -> dict:
    """Of the cells that at least one sample fills."""
    counts = counts[:, counts.sum(axis=0) > 0]
    p, q = counts / counts.sum(axis=1, keepdims=True)
    few_cells = pooled(counts, is_range)
    g_test = stats.chi2_contingency(few_cells, lambda_="log-likelihood", correction=False)
    return {
        "chi_square": stats.chi2_contingency(counts, correction=False).statistic,
        "chi_square_p_value": stats.chi2_contingency(few_cells, correction=False).pvalue,
        "g_test": g_test.statistic,
        "g_test_p_value": g_test.pvalue,
        "g_test_effect": jensenshannon(*few_cells / counts.sum(axis=1, keepdims=True), base=2),
        "kullback_leibler": special.kl_div(q, np.where(counts[0] == 0, 0.5, counts[0]) / counts[0].sum()).sum(),
        "total_variation": np.abs(p - q).sum() / 2,
        "jensen_shannon": jensenshannon(p, q, base=2),
        "hellinger": np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2),
        "l_infinity": np.abs(p - q).max(),
        "psi": psi(counts),
    }


def pooled(counts: np.ndarray, is_range: bool) -> np.ndarray:
    """The smallest cells as one, until both samples expect five rows in it and in each of the others.

    What lies outside of a range, which the reference leaves empty, is pooled first, and never alone.
    """
    sizes = counts.sum(axis=1)
    enough = lambda rows: (rows * sizes / sizes.sum()).min() >= 5
    cells = sorted(counts.T.tolist(), key=lambda cell: (sum(cell), cell[0]))
    pool = [0, 0]
    if is_range:
        pool = [0, sum(cell[1] for cell in cells if cell[0] == 0)]
        cells = [cell for cell in cells if cell[0] > 0]
    is_done = lambda: sum(pool) == 0 or (enough(sum(pool)) and not (is_range and pool[0] == 0))
    while cells and not (is_done() and enough(sum(cells[0]))):
        smallest = cells.pop(0)
        pool = [pool[0] + smallest[0], pool[1] + smallest[1]]
    return np.array(([pool] if sum(pool) else []) + cells).T


def kuiper(reference: np.ndarray, window: np.ndarray) -> tuple:
    """The two one-sided statistics of SciPy, and Stephens' approximation with Kuiper's series."""
    value = sum(stats.ks_2samp(reference, window, alternative=side, method="asymp").statistic for side in ("less", "greater"))
    root = np.sqrt(len(reference) * len(window) / (len(reference) + len(window)))
    squares = (np.arange(1, 101) * (root + 0.155 + 0.24 / root) * value) ** 2
    return value, min(1.0, (2 * (4 * squares - 1) * np.exp(-2 * squares)).sum())


def anderson_darling(reference: np.ndarray, window: np.ndarray) -> float:
    """Scholz and Stephens' statistic before SciPy subtracts its mean and divides by its deviation."""
    values, counts = np.unique(np.concatenate([reference, window]), return_counts=True)
    return stats._morestats._anderson_ksamp_midrank(
        [np.sort(reference), np.sort(window)],
        np.repeat(values, counts),
        values,
        2,
        np.array([len(reference), len(window)]),
        counts.sum(),
    )


def most_frequent(sample) -> float:
    """Its share."""
    return np.unique(sample, return_counts=True)[1].max() / len(sample)


def squared_gap(reference: np.ndarray, window: np.ndarray) -> float:
    """The squared gap between the distribution functions, over the pooled sample and the two sides of each of its values. Without
    ties it is SciPy's statistic of Cramér and von Mises, times (n + m) / nm; that statistic grows with ties, and its p falls."""
    pooled = np.concatenate([reference, window])
    share = lambda sample, side: np.searchsorted(np.sort(sample), pooled, side=side) / len(sample)
    sides = [(share(reference, side) - share(window, side)) ** 2 for side in ("left", "right")]
    return np.mean(sides)


def p_of_squared_gap(gap: float, n: int, m: int) -> float:
    """As SciPy has it for its statistic: standardised, and held against the limiting distribution."""
    mean = (1 + 1 / (n + m)) / 6
    variance = (n + m + 1) * (4 * n * m * (n + m) - 3 * (n**2 + m**2) - 2 * n * m) / (45 * (n + m) ** 2 * 4 * n * m)
    standardised = 1 / 6 + (gap * n * m / (n + m) - mean) / np.sqrt(45 * variance)
    return 1 - _hypotests._cdf_cvm_inf(standardised)


def numeric(reference: np.ndarray, window: np.ndarray) -> dict:
    ks = stats.ks_2samp(reference, window, method="asymp")
    cramer_von_mises = stats.cramervonmises_2samp(reference, window, method="asymptotic")
    auc = stats.mannwhitneyu(window, reference, method="asymptotic")
    area = roc_auc_score(np.repeat([0, 1], [len(reference), len(window)]), np.concatenate([reference, window]))
    assert abs(area - auc.statistic / (len(reference) * len(window))) < 1e-12, "scikit-learn and SciPy agree"
    kuiper_value, kuiper_p_value = kuiper(reference, window)
    outside = ((window < reference.min()) | (window > reference.max())).sum()
    result = shares(deciles(reference, window), is_range=True) | {
        "n_reference": len(reference),
        "n_window": len(window),
        "ks": ks.statistic,
        "ks_p_value": ks.pvalue,
        "cramer_von_mises": cramer_von_mises.statistic,
        "wasserstein": stats.wasserstein_distance(reference, window),
        "anderson_darling": anderson_darling(reference, window),
        "kuiper": kuiper_value,
        "kuiper_p_value": kuiper_p_value,
        "energy": stats.energy_distance(reference, window),
        "auc": auc.statistic / (len(reference) * len(window)),
        "auc_p_value": auc.pvalue,
        "mean_shift": window.mean() - reference.mean(),
        "median_shift": np.median(window) - np.median(reference),
        **{f"p{share:02}_shift": np.quantile(window, share / 100) - np.quantile(reference, share / 100) for share in (5, 25, 75, 95)},
        "spread": window.std() / reference.std(),
        "out_of_range_share": outside / len(window),
        "out_of_range_share_p_value": stats.betabinom.sf(outside - 1, len(window), 2, len(reference) - 1),
        "stuck_share": max(0.0, most_frequent(window) - most_frequent(reference)),
    }
    n, m = len(reference), len(window)
    gap = squared_gap(reference, window)
    result["cramer_von_mises_effect"] = gap
    if gap * n * m / (n + m) < 3:  # SciPy ends its series at terms of 1e-7, and for large statistics too early
        result["cramer_von_mises_p_value"] = p_of_squared_gap(gap, n, m)
    return result


def categorical(reference: pd.Series, window: pd.Series) -> dict:
    names = sorted(set(reference) | set(window))
    counts = np.array([sample.value_counts().reindex(names, fill_value=0) for sample in (reference, window)])
    return shares(counts, is_range=False) | {
        "n_reference": len(reference),
        "n_window": len(window),
        "new_category_share": (~window.isin(set(reference))).mean(),
        "stuck_share": max(0.0, most_frequent(window) - most_frequent(reference)),
    }


def missing(reference: pd.Series, window: pd.Series) -> dict:
    """By how much more rows of the window are null, with Newcombe's interval of statsmodels."""
    seen, rows = [int(sample.isna().sum()) for sample in (window, reference)], [len(window), len(reference)]
    low, high = confint_proportions_2indep(seen[0], rows[0], seen[1], rows[1], method="newcomb")
    return {
        "null_share": max(0.0, seen[0] / rows[0] - seen[1] / rows[1]),
        "null_share_low": max(0.0, low),
        "null_share_high": max(0.0, high),
    }


golden = {"scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "statsmodels": statsmodels.__version__}
for number in (2, 7, 12):
    rows = flights[month == number]
    columns = {
        name: numeric(january[name].dropna().to_numpy(float), rows[name].dropna().to_numpy(float))
        | missing(january[name], rows[name])
        for name in NUMERIC
    }
    columns |= {name: categorical(january[name], rows[name]) for name in CATEGORICAL}
    golden[f"month_{number:02d}"] = {name: {key: float(value) for key, value in column.items()} for name, column in columns.items()}

(HERE / "flights.json").write_text(json.dumps(golden, indent=1) + "\n")
