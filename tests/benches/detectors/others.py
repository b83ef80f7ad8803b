"""What other libraries take for the same columns, in nanoseconds of one core for a value, as JSON.

    python others.py FOLDER

The folder has two files for each column, of doubles. Who reads both samples for an answer is given both samples' values to
divide by; who was fitted before, those of the window.
"""

import json
import os
import pathlib
import sys
import time
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"

import nannyml.drift.univariate.methods as nannyml
import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import ks_stat_test, psi_stat_test, wasserstein_stat_test
from evidently.legacy.core import ColumnType
from nannyml.chunk import DefaultChunker
from nannyml.thresholds import StandardDeviationThreshold
from river.drift import KSWIN
from scipy.stats import ks_2samp

warnings.filterwarnings("ignore")
KSWIN_VALUES = 1000  # it takes a second for some thousands

folder = pathlib.Path(sys.argv[1])
spent: dict[str, list[float]] = {}


def timed(name: str, values: int, work):
    began = time.process_time()
    result = work()
    sums = spent.setdefault(name, [0.0, 0.0])
    sums[0] += time.process_time() - began
    sums[1] += values
    return result


def evidently(test, reference: pd.Series, window: pd.Series):
    return test(reference, window, ColumnType.Numerical, test.default_threshold)


def fitted(method, reference: pd.Series):
    threshold = StandardDeviationThreshold(std_lower_multiplier=None)
    return method(chunker=DefaultChunker(), threshold=threshold).fit(reference)


for path in sorted(folder.glob("*.reference")):
    reference = pd.Series(np.fromfile(path), name="x")
    window = pd.Series(np.fromfile(path.with_suffix(".window")), name="x")
    both = len(reference) + len(window)
    timed("SciPy ks_2samp", both, lambda: ks_2samp(reference, window))
    for name, test in [("PSI", psi_stat_test), ("KS", ks_stat_test), ("Wasserstein", wasserstein_stat_test)]:
        timed(f"Evidently {name}", both, lambda: evidently(test, reference, window))
    for name, method in [
        ("Jensen-Shannon", nannyml.ContinuousJensenShannonDistance),
        ("KS", nannyml.KolmogorovSmirnovStatistic),
        ("Wasserstein", nannyml.WassersteinDistance),
    ]:
        method = fitted(method, reference)
        timed(f"NannyML {name}, fitted before", len(window), lambda: method.calculate(window))
    detector = KSWIN(seed=1)
    timed("river KSWIN", KSWIN_VALUES, lambda: [detector.update(value) for value in window[:KSWIN_VALUES]])

print(json.dumps({name: 1e9 * seconds / values for name, (seconds, values) in spent.items()}))
