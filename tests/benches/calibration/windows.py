"""What libraries themselves say of windows with planted drifts, as JSON: for each drift, one list for each of them.

    python peers.py FOLDER WINDOW_DAYS COLUMNS     Evidently and NannyML
    python alibi.py FOLDER WINDOW_DAYS COLUMNS     alibi-detect

A drift is a folder with the rows of the reference and those after it, each with its day. Windows are of so many days, and one
ends each day. All are asked with their defaults, as if the column were one of so many. One that raises has seen nothing.
"""

import json
import pathlib
import sys
import warnings

import pandas as pd

warnings.filterwarnings("ignore")
COLUMNS = int(sys.argv[3])


def or_nothing(judge, window: pd.Series) -> bool:
    try:
        return bool(judge(window))
    except (ValueError, ZeroDivisionError):
        return False


def ask(*libraries):
    """Each is made a judge of windows by a reference."""
    said = {}
    days_of_window = int(sys.argv[2])
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        reference = pd.read_parquet(folder / "before.parquet")["x"]
        after = pd.read_parquet(folder / "after.parquet")
        judges = [library(reference) for library in libraries]
        ends = range(days_of_window - 1, after["day"].max() + 1)
        windows = [after["x"][after["day"].between(end - days_of_window + 1, end)].reset_index(drop=True) for end in ends]
        said[folder.name] = [[or_nothing(judge, window) for window in windows] for judge in judges]
    print(json.dumps(said))
