"""alibi-detect's tests, KS for numbers and chi-square for categories, on windows with planted drifts; windows.py says which.

Its Bonferroni correction divides by the columns that it is given, and here that is one, so its p-value is divided before. A
missing value would make every p-value NaN, which is no drift to it, so it gets the values that are there.
"""

import pandas as pd
from alibi_detect.cd import ChiSquareDrift, KSDrift
from windows import COLUMNS, ask

P_VALUE = 0.05  # its default


def alibi_detect(reference: pd.Series):
    detector = KSDrift if pd.api.types.is_numeric_dtype(reference) else ChiSquareDrift
    fitted = detector(values(reference), p_val=P_VALUE / COLUMNS)
    return lambda window: fitted.predict(values(window))["data"]["is_drift"]


def values(column: pd.Series):
    return column.dropna().to_numpy().reshape(-1, 1)


ask(alibi_detect)
