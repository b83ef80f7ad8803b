"""Rows for the pictures of docs/scores.md and docs/alerts.md: a January of real flights, and what may become of it."""

import json
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

# Days like January, like July, and like January again: drift begins, and ends. A day's rows are drawn from all of the month, for a
# single day's weather is a drift of its own.
columns = ["temp", "dewp", "wind_speed", "carrier", "origin"]
(folder / "told").mkdir()
normal[columns].to_csv(folder / "told" / "reference.csv", index=False)
july = flights[month == 7]
for number, source in enumerate([other] * 3 + [july] * 4 + [other] * 5, 1):
    rows = source[columns].sample(400, random_state=number).astype(object)
    times = pd.date_range(f"2026-03-{number:02}", periods=len(rows), freq="216s", tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
    records = rows.where(rows.notna(), None).to_dict("records")
    lines = [json.dumps({"features": {**row, "at": at}}) for row, at in zip(records, times, strict=True)]
    (folder / "told" / f"day-{number:02}.jsonl").write_text("\n".join(lines))
