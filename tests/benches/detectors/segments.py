"""What pandas, SciPy and NumPy take for KS, PSI and the missing share of each column of each segment, in seconds of one core, as JSON.

    python segments.py FOLDER

The folder has the segment of each row as bytes, and a file of doubles for each column, of the reference and of the window. The
reference's groups and their deciles are made before; the window is grouped once.
"""

import json
import os
import pathlib
import sys
import time
import warnings

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

warnings.filterwarnings("ignore")
folder = pathlib.Path(sys.argv[1])
columns = sorted(path.stem for path in folder.glob("*.reference") if path.stem != "segments")


def frame(sample: str) -> pd.DataFrame:
    values = {name: np.fromfile(folder / f"{name}.{sample}") for name in columns}
    return pd.DataFrame(values | {"segment": np.fromfile(folder / f"segments.{sample}", dtype=np.uint8)})


def shares(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    counts = np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1)
    return np.maximum(counts / len(values), 1e-4)


known = {}
for segment, rows in frame("reference").groupby("segment"):
    for name in columns:
        values = rows[name].to_numpy()
        cuts = np.unique(np.quantile(values, np.arange(0.1, 1.0, 0.1)))
        known[segment, name] = (values, cuts, shares(values, cuts))
window = frame("window")

began = time.process_time()
found = []
for segment, rows in window.groupby("segment"):
    missing = rows.isna().mean()
    for name in columns:
        reference, cuts, expected = known[segment, name]
        values = rows[name].dropna().to_numpy()
        actual = shares(values, cuts)
        psi = float(np.sum((actual - expected) * np.log(actual / expected)))
        found.append((psi, ks_2samp(reference, values, method="asymp").statistic, missing[name]))
spent = time.process_time() - began
assert len(found) == len(known), f"{len(found)} of {len(known)} groups"
print(json.dumps(spent))
