"""Data sets that packages carry, as two samples of the same columns: what somebody would take for reference and window."""

import gzip
import io
import os
import pathlib
import zipfile

import pandas as pd
import pytest
from sklearn import datasets

#: Of tables with more, so many rows on each side: every value then has a cell of its own, and scores are exact.
MOST_ROWS = 2000
#: What tells rows apart, and no more.
KEYS = ["id", "timestamp", "date", "PassengerId", "Name", "Ticket", "period", "year"]


def folder() -> pathlib.Path:
    """Where the packages of data-sets.txt are."""
    if "DRIFTLINE_DATA_SETS" not in os.environ:
        pytest.skip("DRIFTLINE_DATA_SETS names no folder of packages; tests/run makes one")
    return pathlib.Path(os.environ["DRIFTLINE_DATA_SETS"])


def halves(rows: pd.DataFrame) -> tuple:
    """The first rows and those that came later."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def of_nannyml(name: str) -> tuple:
    """The reference and the analysis period that NannyML's tutorials use."""
    data = folder() / "nannyml" / "datasets" / "data"
    files = [next(data.glob(f"{name}_{period}.*")) for period in ("reference", "analysis")]
    reference, analysis = [pd.read_parquet(file) if file.suffix == ".pq" else pd.read_csv(file) for file in files]
    both = [column for column in reference.columns if column in analysis.columns and column not in KEYS]
    return reference[both], analysis[both]


def of_river(file: str) -> tuple:
    """The first half of a stream and the second."""
    path = folder() / "river" / "datasets" / file
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            [name] = [name for name in archive.namelist() if not name.startswith("__")]
            text = archive.read(name).decode()
    else:
        text = gzip.decompress(path.read_bytes()).decode()
    if file == "banana.zip":
        # As LIBSVM has it: a class, and each place with its value.
        rows = [line.split() for line in text.splitlines()]
        values = [{"class": row[0]} | {f"x{place}": float(x) for place, x in (pair.split(":") for pair in row[1:])} for row in rows]
        table = pd.DataFrame(values)
    else:
        table = pd.read_csv(io.StringIO(text))
    return halves(table.drop(columns=KEYS, errors="ignore"))


def of_scikit_learn(load, split: str) -> tuple:
    """Every other row; or what is below the middle class and what is above it, which are other things altogether."""
    data = load(as_frame=True)
    rows, classes = data.data.astype(float), data.target
    if split == "halves":
        return rows[rows.index % 2 == 0], rows[rows.index % 2 == 1]
    apart = (rows[classes <= classes.median()], rows[classes > classes.median()])
    return apart if len(apart[1]) else (rows[classes < classes.median()], rows[classes >= classes.median()])


SETS = {
    f"scikit-learn: {name}, {split}": (of_scikit_learn, getattr(datasets, f"load_{name}"), split)
    for name in ("iris", "wine", "breast_cancer", "diabetes", "digits")
    for split in ("halves", "apart")
}
SETS |= {
    f"nannyml: {name}": (of_nannyml, name)
    for name in (
        "synthetic_car_loan",
        "synthetic_car_loan_dq",
        "synthetic_sample",
        "regression_synthetic",
        "california_housing",
        "employment_MA",
        "mc",
        "titanic",
    )
}
SETS |= {
    f"river: {file.partition('.')[0]}": (of_river, file)
    for file in (
        "phishing.csv.gz",
        "banana.zip",
        "segment.csv.zip",
        "trump_approval.csv.gz",
        "shuttle.csv.gz",
        "sp500.csv.gz",
        "solar-flare.csv.zip",
    )
}


def load(name: str) -> tuple:
    """Reference and window of a set."""
    make, *arguments = SETS[name]
    return make(*arguments)
