"""A feed that changes its unit, end to end: rows in, and API and alert say what it looks like and since when."""

import csv
import json
import subprocess

import httpx
import pyarrow.parquet
from conftest import BINARIES, ROOT, collector, eventually

FLIGHTS = ROOT / "demo" / "data" / "flights.parquet"
#: From this day on the feed gives distances in kilometres.
CHANGED = "2013-01-21"
CONFIGURATION = """
archive: {max_age: 1s}
models:
  - name: flights
    reference: reference.json
    event_time: {column: scheduled_at}
    windows: {pane: 1d, window: 1d, every: 1d, lateness: 1h}
"""


def build_reference(folder, rows: list[dict]) -> None:
    with open(folder / "january.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["distance", "origin"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    build = "reference build --model flights --column distance,origin --output reference.json january.csv"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=folder, check=True)


def as_fed(row: dict) -> str:
    at = row["scheduled_at"].isoformat()
    factor = 1.609344 if at >= CHANGED else 1
    features = {"distance": row["distance"] * factor, "origin": row["origin"], "scheduled_at": at}
    return json.dumps({"features": features})


def test_a_change_of_unit_is_named_with_its_beginning(tmp_path):
    table = pyarrow.parquet.read_table(FLIGHTS, columns=["scheduled_at", "distance", "origin"])
    flights = sorted(table.to_pylist(), key=lambda row: row["scheduled_at"])
    january = [row for row in flights if row["scheduled_at"].isoformat() < "2013-01-27"]
    build_reference(tmp_path, january[::2])
    # The last is of the next day, so that the windows before it close.
    after = next(row for row in flights if row["scheduled_at"].isoformat() > "2013-01-27T06")
    lines = [as_fed(row) for row in [*january[1::2], after]]
    with collector(tmp_path, CONFIGURATION) as url:
        for start in range(0, len(lines), 2000):
            body = "\n".join(lines[start : start + 2000])
            httpx.post(f"{url}/v1/rows?model=flights", content=body, timeout=30).raise_for_status()

        def detail(column, **query):
            answer = httpx.get(f"{url}/api/v1/models/flights/columns/{column}", params=query)
            return answer.raise_for_status().json()

        last = eventually(
            lambda: (found := detail("distance"))["window"]["ends"] == "2013-01-27T00:00:00Z" and found,
            "the last day's window has closed",
        )
        cause = last["causes"][0]
        assert cause["change"]["kind"] == "unit_change" and cause["share"] > 0.8, last["causes"]
        assert cause["says"].startswith("a change of unit: × 1.609 (miles to kilometres"), cause
        first = "2013-01-22T00:00:00Z"
        assert last["since"] == {"detector": "psi", "first": first, "earliest": first, "latest": first}

        before = detail("distance", ends="2013-01-20T00:00:00Z")
        assert all(cause["change"]["kind"] == "unexplained" for cause in before["causes"]), before
        assert detail("origin")["causes"] == []

        (alert,) = eventually(lambda: httpx.get(f"{url}/api/v1/alerts?model=flights").json(), "the alert fires")
        facts = {fact["name"]: fact["value"] for fact in httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json()["facts"]}
        assert facts["Looks like"].startswith("a change of unit: × 1.609 (miles to kilometres"), facts
        assert facts["Looks like"].endswith("of the change), in distance")
        assert facts["Since"] == "the window 2013-01-21 to 2013-01-22 UTC"
