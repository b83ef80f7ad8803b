"""Makes flights.json: what SciPy and scikit-learn (`theirs.py`), and of missing values statsmodels, say of three months of flights
against January.

The black-box test `golden` sends the same rows through sidecar and collector and compares.

    pip install 'scipy==1.17.1' 'scikit-learn==1.9.1' 'statsmodels==0.15.0' pandas pyarrow
    python tests/golden/make.py
"""

import json
import pathlib

import pandas as pd
import scipy
import sklearn
import statsmodels
from statsmodels.stats.proportion import confint_proportions_2indep

import theirs

HERE = pathlib.Path(__file__).parent
NUMERIC = ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "arr_delay", "hour"]
CATEGORICAL = ["carrier", "origin", "dest"]

flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
month = flights.date.str[5:7].astype(int)
january = flights[month == 1]


def missing(reference: pd.Series, window: pd.Series) -> dict:
    """By how much more rows of the window are null, with the interval of statsmodels."""
    seen, rows = [int(sample.isna().sum()) for sample in (reference, window)], [len(reference), len(window)]
    ours = theirs.excess("null_share", seen, rows)
    low, high = confint_proportions_2indep(seen[1], rows[1], seen[0], rows[0], method="newcomb")
    assert abs(ours["null_share.interval_low"] - max(0.0, low)) < 1e-12, "statsmodels agrees"
    assert abs(ours["null_share.interval_high"] - max(0.0, high)) < 1e-12, "statsmodels agrees"
    return ours


golden = {"scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "statsmodels": statsmodels.__version__}
for number in (2, 7, 12):
    rows = flights[month == number]
    columns = {}
    for name in NUMERIC + CATEGORICAL:
        reference, window = january[name].dropna(), rows[name].dropna()
        scores = (
            theirs.numeric(reference.to_numpy(float), window.to_numpy(float))
            if name in NUMERIC
            else theirs.categorical(reference, window)
        )
        scores |= missing(january[name], rows[name])
        scores |= {"psi.n_reference": len(reference), "psi.n_window": len(window)}
        columns[name] = {field: float(value) for field, value in scores.items()}
    golden[f"month_{number:02d}"] = columns

(HERE / "flights.json").write_text(json.dumps(golden, indent=1) + "\n")
