"""Makes flights.json: what SciPy says of three months of flights against January.

The black-box test `golden` sends the same rows through sidecar and collector and compares.

    pip install 'scipy==1.17.1' pandas pyarrow
    python tests/golden/make.py
"""

import json
import pathlib

import numpy as np
import pandas as pd
import scipy
from scipy import stats
from scipy.spatial.distance import jensenshannon

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


def numeric(reference: np.ndarray, window: np.ndarray) -> dict:
    ks = stats.ks_2samp(reference, window, method="asymp")
    cramer_von_mises = stats.cramervonmises_2samp(reference, window, method="asymptotic")
    counts = deciles(reference, window)
    result = {
        "n_reference": len(reference),
        "n_window": len(window),
        "ks": ks.statistic,
        "ks_p_value": ks.pvalue,
        "cramer_von_mises": cramer_von_mises.statistic,
        "wasserstein": stats.wasserstein_distance(reference, window),
        "jensen_shannon": jensenshannon(*counts / counts.sum(axis=1, keepdims=True), base=2),
        "psi": psi(counts),
    }
    if cramer_von_mises.statistic < 3:  # SciPy ends its series at terms of 1e-7, and for large statistics too early
        result["cramer_von_mises_p_value"] = cramer_von_mises.pvalue
    return result


def categorical(reference: pd.Series, window: pd.Series) -> dict:
    names = sorted(set(reference) | set(window))
    counts = np.array([sample.value_counts().reindex(names, fill_value=0) for sample in (reference, window)])
    p, q = counts / counts.sum(axis=1, keepdims=True)
    chi_square = stats.chi2_contingency(counts, correction=False)
    return {
        "n_reference": len(reference),
        "n_window": len(window),
        "chi_square": chi_square.statistic,
        "chi_square_p_value": chi_square.pvalue,
        "total_variation": np.abs(p - q).sum() / 2,
        "jensen_shannon": jensenshannon(p, q, base=2),
        "hellinger": np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2),
        "l_infinity": np.abs(p - q).max(),
        "new_category_share": (~window.isin(set(reference))).mean(),
        "psi": psi(counts),
    }


golden = {"scipy": scipy.__version__}
for number in (2, 7, 12):
    rows = flights[month == number]
    columns = {name: numeric(january[name].dropna().to_numpy(float), rows[name].dropna().to_numpy(float)) for name in NUMERIC}
    columns |= {name: categorical(january[name], rows[name]) for name in CATEGORICAL}
    golden[f"month_{number:02d}"] = {name: {key: float(value) for key, value in column.items()} for name, column in columns.items()}

(HERE / "flights.json").write_text(json.dumps(golden, indent=1) + "\n")
