"""The flights as the model sees them: the demo's, from New York in January and July 2013."""

import functools

import pyarrow.parquet
from conftest import ROOT

TEXTS = ["carrier", "origin", "dest"]
#: Of a route, which somebody else watches.
ROUTE = ["origin", "dest", "distance"]
NUMBERS = ["distance", "hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


@functools.cache
def _all() -> list[dict]:
    names = ["scheduled_at", "weather_at", "date", "late", *TEXTS, *NUMBERS]
    table = pyarrow.parquet.read_table(ROOT / "demo" / "data" / "flights.parquet", columns=names)
    return sorted(table.to_pylist(), key=lambda row: row["scheduled_at"])


def reference() -> list[dict]:
    """The even days of January: what the model was trained on, and what is normal."""
    return [row for row in _all() if row["date"][5:7] == "01" and int(row["date"][8:]) % 2 == 0]


def replayed(month: str) -> list[dict]:
    """The first fifteen odd days of a month: none of the reference."""
    return [row for row in _all() if row["date"][5:7] == month and int(row["date"][8:]) in range(1, 30, 2)]


CATEGORIES = {
    name: {value: code for code, value in enumerate(sorted({row[name] for row in reference()}))} for name in TEXTS
}


def instance(row: dict) -> dict:
    """A row as it is sent."""
    times = {name: row[name] and row[name].isoformat() for name in ("scheduled_at", "weather_at")}
    return {**times, **{name: row[name] for name in TEXTS + NUMBERS}}
