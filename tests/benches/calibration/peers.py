"""Evidently's and NannyML's defaults on windows with planted drifts; windows.py says which."""

import os

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise

import nannyml.drift.univariate.methods as nannyml
import pandas as pd
from evidently.legacy.calculations.data_drift import get_one_column_drift
from evidently.legacy.core import ColumnType
from evidently.legacy.options.data_drift import DataDriftOptions
from evidently.legacy.utils.data_operations import DatasetColumns, DatasetUtilityColumns
from nannyml.chunk import DefaultChunker
from nannyml.thresholds import StandardDeviationThreshold
from windows import ask


def evidently(reference: pd.Series):
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

    def has_drifted(window: pd.Series) -> bool:
        drift = get_one_column_drift(
            current_data=window.to_frame(),
            reference_data=reference.to_frame(),
            column_name="x",
            options=DataDriftOptions(),
            dataset_columns=names,
            column_type=ColumnType.Numerical if is_number else ColumnType.Categorical,
            agg_data=True,
        )
        return drift.drift_detected

    return has_drifted


def nanny_ml(reference: pd.Series):
    """Its method as its calculator makes it: Jensen-Shannon, three deviations above the mean of ten chunks."""
    is_number = pd.api.types.is_numeric_dtype(reference)
    method = nannyml.ContinuousJensenShannonDistance if is_number else nannyml.CategoricalJensenShannonDistance
    threshold = StandardDeviationThreshold(std_lower_multiplier=None)
    fitted = method(chunker=DefaultChunker(), threshold=threshold).fit(reference)
    return lambda window: fitted.alert(fitted.calculate(window))


ask(evidently, nanny_ml)
