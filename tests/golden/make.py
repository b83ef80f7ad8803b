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


def numeric(reference: np.ndarray, window: np.ndarray) -> dict:
    ks = stats.ks_2samp(reference, window, method="asymp")
    return {
        "n_reference": len(reference),
        "n_window": len(window),
        "ks": ks.statistic,
        "ks_p_value": ks.pvalue,
        "cramer_von_mises": stats.cramervonmises_2samp(reference, window, method="asymptotic").statistic,
        "wasserstein": stats.wasserstein_distance(reference, window),
    }


def categorical(reference: pd.Series, window: pd.Series) -> dict:
    names = sorted(set(reference) | set(window))
    counts = np.array([sample.value_counts().reindex(names, fill_value=0) for sample in (reference, window)])
    p, q = counts / counts.sum(axis=1, keepdims=True)
    chi_square = stats.chi2_contingency(counts, correction=False)
    result = {
        "n_reference": len(reference),
        "n_window": len(window),
        "chi_square": chi_square.statistic,
        "chi_square_p_value": chi_square.pvalue,
        "total_variation": np.abs(p - q).sum() / 2,
        "jensen_shannon": jensenshannon(p, q, base=2),
        "hellinger": np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2),
        "l_infinity": np.abs(p - q).max(),
        "new_category_share": (~window.isin(set(reference))).mean(),
    }
    if (counts > 0).all():  # where no category is empty, every definition of PSI agrees
        result["psi"] = ((q - p) * np.log(q / p)).sum()
    return result


golden = {"scipy": scipy.__version__}
for number in (2, 7, 12):
    rows = flights[month == number]
    columns = {name: numeric(january[name].dropna().to_numpy(float), rows[name].dropna().to_numpy(float)) for name in NUMERIC}
    columns |= {name: categorical(january[name], rows[name]) for name in CATEGORICAL}
    golden[f"month_{number:02d}"] = {name: {key: float(value) for key, value in column.items()} for name, column in columns.items()}

(HERE / "flights.json").write_text(json.dumps(golden, indent=1) + "\n")
