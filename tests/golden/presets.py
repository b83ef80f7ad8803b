"""Makes presets.json: what Evidently's data drift preset and NannyML's univariate calculator, each left to its defaults, say of
months of flights against January. The test `test_presets` compares `driftline compare --preset` with it.

    pip install 'evidently==0.7.23' 'nannyml==0.13.1' 'pandas==2.3.3' 'scipy==1.17.1' pyarrow
    python tests/golden/presets.py
"""

import json
import os
import pathlib
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise

import nannyml
import numpy as np
import pandas as pd
from evidently.legacy.metric_preset import DataDriftPreset
from evidently.legacy.pipeline.column_mapping import ColumnMapping
from evidently.legacy.report import Report

HERE = pathlib.Path(__file__).parent
NUMERIC = ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "hour"]
CATEGORICAL = ["carrier", "origin", "dest"]
# The month, and rows of January and of it; none is all of them.
CASES = [(2, None, None), (7, None, None), (2, 800, 505), (7, 1001, 300)]

warnings.filterwarnings("ignore")
flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
month = flights.date.str[5:7].astype(int)


def rows(number: int, count: int | None) -> pd.DataFrame:
    of_month = flights[month == number]
    return of_month[NUMERIC].astype(float).join(of_month[CATEGORICAL]).reset_index(drop=True)[:count]


def evidently(reference: pd.DataFrame, window: pd.DataFrame) -> dict:
    report = Report(metrics=[DataDriftPreset()])
    named = ColumnMapping(numerical_features=NUMERIC, categorical_features=CATEGORICAL)
    report.run(reference_data=reference, current_data=window, column_mapping=named)
    whole, table = (metric["result"] for metric in report.as_dict()["metrics"])
    columns = {
        name: {"value": said["drift_score"], "threshold": said["stattest_threshold"], "drifted": bool(said["drift_detected"])}
        for name, said in table["drift_by_columns"].items()
    }
    return {"drifted": bool(whole["dataset_drift"]), "share": whole["share_of_drifted_columns"], "columns": columns}


def plain(value) -> float | None:
    return None if np.isnan(value) else float(value)


def chunks(reference: pd.DataFrame, window: pd.DataFrame) -> dict:
    """Of each column: its threshold, and the first row, value and alert of each chunk."""
    calculator = nannyml.UnivariateDriftCalculator(NUMERIC + CATEGORICAL)
    calculator.fit(reference)
    said = calculator.calculate(window).filter(period="analysis").to_df()
    columns = {}
    for name in NUMERIC + CATEGORICAL:
        of_column = said[name].droplevel(0, axis=1)
        columns[name] = {
            "threshold": float(of_column.upper_threshold.iloc[0]),
            "chunks": [
                [int(first), plain(value), bool(alert)]
                for first, value, alert in zip(said["chunk"]["chunk"].start_index, of_column.value, of_column.alert)
            ],
        }
    return {"columns": columns}


cases = []
for number, n, m in CASES:
    sides = rows(1, n), rows(number, m)
    case = {"month": number, "reference_rows": n, "window_rows": m}
    cases.append(case | {"evidently": evidently(*sides), "nannyml": chunks(*sides)})

(HERE / "presets.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
