"""Rows for the pictures of docs/scores.md: a January of real flights, and what may become of it."""

import sys
from pathlib import Path

import pandas as pd

flights = pd.read_parquet(Path(__file__).parents[2] / "demo" / "data" / "flights.parquet")
month = pd.to_datetime(flights.date).dt.month
january = flights[month == 1].sample(frac=1, random_state=2013).reset_index(drop=True)
half = len(january) // 2
normal, other = january[:half], january[half:]

pictures = {
    "same": other[["temp"]],
    "few": other[["temp"]].head(40),
    "unit": other[["temp"]].assign(temp=(other.temp - 32) / 1.8),
    "season": flights[month == 7][["temp"]],
    "filled": other[["temp"]].assign(temp=other.temp.where(other.index % 5 != 0, 0.0)),
    "renamed": other[["carrier"]].replace({"carrier": {"UA": "ua", "B6": "b6"}}),
}

folder = Path(sys.argv[1])
normal[["temp", "carrier"]].to_parquet(folder / "normal.parquet")
for name, rows in pictures.items():
    rows.to_parquet(folder / f"{name}.parquet")
