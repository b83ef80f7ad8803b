"""What Evidently and NannyML themselves say of windows with planted drifts, as JSON: for each drift, one list for each of them.

    python peers.py FOLDER WINDOW_DAYS

A drift is a folder with the rows of the reference and those after it, each with its day. Windows are of so many days, and one
ends each day. Both libraries are asked with their defaults. One that raises has seen nothing.
"""

import json
import os
import pathlib
import sys
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"

import nannyml.drift.univariate.methods as nannyml
import pandas as pd
from evidently.legacy.calculations.data_drift import get_one_column_drift
from evidently.legacy.core import ColumnType
from evidently.legacy.options.data_drift import DataDriftOptions
from evidently.legacy.utils.data_operations import DatasetColumns, DatasetUtilityColumns
from nannyml.chunk import DefaultChunker
from nannyml.thresholds import StandardDeviationThreshold

warnings.filterwarnings("ignore")


def evidently(reference: pd.Series, window: pd.Series) -> bool:
    is_number = pd.api.types.is_numeric_dtype(reference)
    names = DatasetColumns(
        utility_columns=DatasetUtilityColumns(date=None, id=None, target=None, prediction=None),
        target_type=None,
        task=None,
        num_feature_names=["x"] if is_number else [],
        cat_feature_names=[] if is_number else ["x"],
        text_feature_names=[],
        datetime_feature_names=[],
        target_names=None,
    )
    drift = get_one_column_drift(
        current_data=window.to_frame(),
        reference_data=reference.to_frame(),
        column_name="x",
        options=DataDriftOptions(),
        dataset_columns=names,
        column_type=ColumnType.Numerical if is_number else ColumnType.Categorical,
        agg_data=True,
    )
    return bool(drift.drift_detected)


def fitted(reference: pd.Series):
    """NannyML's method as its calculator makes it: Jensen-Shannon, three deviations above the mean of ten chunks."""
    is_number = pd.api.types.is_numeric_dtype(reference)
    method = nannyml.ContinuousJensenShannonDistance if is_number else nannyml.CategoricalJensenShannonDistance
    threshold = StandardDeviationThreshold(std_lower_multiplier=None)
    return method(chunker=DefaultChunker(), threshold=threshold).fit(reference)


def or_nothing(judge) -> bool:
    try:
        return bool(judge())
    except (ValueError, ZeroDivisionError):
        return False


said = {}
days_of_window = int(sys.argv[2])
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    reference = pd.read_parquet(folder / "before.parquet")["x"]
    after = pd.read_parquet(folder / "after.parquet")
    method = fitted(reference)
    ends = range(days_of_window - 1, after["day"].max() + 1)
    windows = [after["x"][after["day"].between(end - days_of_window + 1, end)].reset_index(drop=True) for end in ends]
    said[folder.name] = [
        [or_nothing(lambda: evidently(reference, window)) for window in windows],
        [or_nothing(lambda: method.alert(method.calculate(window))) for window in windows],
    ]
print(json.dumps(said))
