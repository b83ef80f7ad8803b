"""Makes compat.json: what Evidently and NannyML say of months of flights against January.

The test `compat` compares `driftline_detectors::compat` with it.

    pip install 'evidently==0.7.23' 'nannyml==0.13.1' 'pandas==2.3.3' 'scipy==1.17.1' pyarrow
    python tests/golden/compat.py
"""

import json
import os
import pathlib
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise

import nannyml
import numpy as np
import pandas as pd
from evidently.legacy.calculations.data_drift import get_one_column_drift
from evidently.legacy.core import ColumnType
from evidently.legacy.options.data_drift import DataDriftOptions
from evidently.legacy.utils.data_operations import DatasetColumns, DatasetUtilityColumns

HERE = pathlib.Path(__file__).parent
NUMERIC = ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "hour"]
CATEGORICAL = ["carrier", "origin", "dest"]
# Rows of January and of the other month; none is all of them.
SIZES = [(None, None), (800, 500), (800, 800), (1000, None), (1001, 300), (5000, 500)]

warnings.filterwarnings("ignore")
flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
month = flights.date.str[5:7].astype(int)

# Columns with few distinct numbers, and with infinite ones; the test makes them of the same columns.
DERIVED = {
    "third_of_the_day": lambda rows: rows.hour // 8,
    "afternoon": lambda rows: rows.hour // 12,
    "zero": lambda rows: rows.hour * 0,
    "delay_without_bound": lambda rows: rows.dep_delay.where(rows.dep_delay < 120, np.inf),
}


def columns(number: int) -> pd.DataFrame:
    rows = flights[month == number]
    derived = {name: make(rows).astype(float) for name, make in DERIVED.items()}
    return rows[NUMERIC].astype(float).assign(**derived).join(rows[CATEGORICAL]).reset_index(drop=True)


def evidently(reference: pd.Series, window: pd.Series, test: str | None) -> dict:
    kind = ColumnType.Categorical if reference.name in CATEGORICAL else ColumnType.Numerical
    is_number = kind == ColumnType.Numerical
    names = DatasetColumns(
        utility_columns=DatasetUtilityColumns(date=None, id=None, target=None, prediction=None),
        target_type=None,
        task=None,
        num_feature_names=[reference.name] if is_number else [],
        cat_feature_names=[] if is_number else [reference.name],
        text_feature_names=[],
        datetime_feature_names=[],
        target_names=None,
    )
    drift = get_one_column_drift(
        current_data=window.to_frame(),
        reference_data=reference.to_frame(),
        column_name=reference.name,
        options=DataDriftOptions(all_features_stattest=test),
        dataset_columns=names,
        column_type=kind,
        agg_data=True,
    )
    return {"value": drift.drift_score, "threshold": drift.stattest_threshold, "drifted": bool(drift.drift_detected)}


def nannyml_methods(reference: pd.Series, window: pd.Series) -> dict:
    if reference.name in CATEGORICAL:
        methods = {"categorical_methods": ["jensen_shannon", "hellinger", "l_infinity", "chi2"]}
        treated = {"treat_as_categorical": [reference.name]}
    else:
        methods = {"continuous_methods": ["jensen_shannon", "kolmogorov_smirnov", "wasserstein", "hellinger"]}
        treated = {}
    calculator = nannyml.UnivariateDriftCalculator([reference.name], **treated, **methods)
    calculator.fit(reference.to_frame())
    # The window is one chunk.
    calculator.chunker = nannyml.chunk.SizeBasedChunker(len(window))
    said = calculator.calculate(window.to_frame()).filter(period="analysis").to_df()[reference.name]
    return {
        method: {key: said[method][key].iloc[0] for key in ("value", "upper_threshold", "alert")}
        for method in list(methods.values())[0]
    }


def plain(value):
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return None if value is None or np.isnan(value) else float(value)


january, cases = columns(1), []
for number in (2, 7):
    others = columns(number)
    for n, m in SIZES:
        for name in january.columns:
            reference, window = january[name][:n], others[name][:m]
            said = {"evidently": evidently(reference, window, None)}
            said["evidently_psi"] = evidently(reference, window, "psi")
            if name != "delay_without_bound":  # of infinite values NannyML makes no bins
                said |= {f"nannyml_{method}": number for method, number in nannyml_methods(reference, window).items()}
            for method, numbers in said.items():
                case = {"month": number, "column": name, "reference_rows": n, "window_rows": m, "method": method}
                value, threshold, drifted = map(plain, numbers.values())
                cases.append(case | {"value": value, "threshold": threshold, "drifted": drifted})

lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "compat.json").write_text(f"[\n{lines}\n]\n")
