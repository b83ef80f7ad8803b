"""One airport whose feed changes its unit, end to end: the segment drifts, the whole does not, and a restart changes nothing."""

import csv
import json
import subprocess

import httpx
import pyarrow.parquet
import pytest
from conftest import BINARIES, ROOT, collector, eventually

FLIGHTS = ROOT / "demo" / "data" / "flights.parquet"
#: From this day on the feed of one small part of the flights gives minutes as hours.
CHANGED = "2013-01-23"
CONFIGURATION = """
archive: {max_age: 1s, folder: archive}
models:
  - name: flights
    reference: reference.json
    event_time: {column: scheduled_at}
    windows: {pane: 6h, window: 2d, every: 1d, min_filled: 4, lateness: 1h}
    segments:
      - {column: carrier, most: 8}
      - {name: long_haul, where: distance > 1500}
"""
COLUMNS = ["dep_delay", "distance", "carrier"]


def flights() -> list[dict]:
    table = pyarrow.parquet.read_table(FLIGHTS, columns=["scheduled_at", *COLUMNS])
    rows = sorted(table.to_pylist(), key=lambda row: row["scheduled_at"])
    return [row for row in rows if row["scheduled_at"].isoformat() < "2013-01-29"]


def build_reference(folder, rows: list[dict]) -> None:
    with open(folder / "january.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["scheduled_at", *COLUMNS])
        writer.writeheader()
        writer.writerows({**row, "scheduled_at": row["scheduled_at"].isoformat()} for row in rows)
    (folder / "driftline.yaml").write_text(CONFIGURATION)
    build = "reference build --model flights --config driftline.yaml --output reference.json january.csv"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=folder, check=True)


def as_fed(row: dict) -> str:
    at, delay = row["scheduled_at"].isoformat(), row["dep_delay"]
    if row["carrier"] == "US" and at >= CHANGED and delay is not None:
        delay /= 60
    return json.dumps({"features": {**{name: row[name] for name in COLUMNS}, "dep_delay": delay, "scheduled_at": at}})


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The answers of a collector that was stopped in the middle of a window, and of its database."""
    folder = tmp_path_factory.mktemp("segments")
    rows = flights()
    build_reference(folder, rows[::2])
    lines = [as_fed(row) for row in rows[1::2]]

    def send(url, part):
        for start in range(0, len(part), 2000):
            body = "\n".join(part[start : start + 2000])
            httpx.post(f"{url}/v1/rows?model=flights", content=body, timeout=30).raise_for_status()

    middle = len(lines) // 2
    with collector(folder, CONFIGURATION) as url:
        send(url, lines[:middle])
    with collector(folder, CONFIGURATION) as url, httpx.Client(base_url=f"{url}/api/v1") as client:
        send(url, lines[middle:])

        def get(path, **query):
            return client.get(path, params=query).raise_for_status().json()

        eventually(
            lambda: get("/models/flights")["window"]["ends"] >= "2013-01-28T00:00:00Z", "the last whole day has closed"
        )
        yield get, folder, url, rows[1::2]


def test_one_carrier_drifts_and_all_flights_together_do_not(watched):
    get, *_ = watched
    ends = "2013-01-27T00:00:00Z"
    whole = {score["detector"]: score for score in get("/models/flights/columns/dep_delay", ends=ends)["scores"]}
    segments = {one["segment"]: one for one in get("/models/flights/segments", ends=ends)["segments"]}
    worst = segments["carrier=US"]["worst"]
    assert worst["column"] == "dep_delay" and worst["limits"] > 2, worst
    assert segments["carrier=US"]["verdict"] == "drift"
    assert whole["psi"]["verdict"] == whole["ks"]["verdict"] == "ok", whole
    before = {one["segment"]: one for one in get("/models/flights/segments", ends="2013-01-22T00:00:00Z")["segments"]}
    assert before["carrier=US"]["worst"]["limits"] < worst["limits"] / 2
    detail = get("/models/flights/segments/carrier=US", ends=ends)
    (delay,) = [column for column in detail["columns"] if column["column"] == "dep_delay"]
    assert {score["detector"] for score in delay["scores"]} == {"psi", "ks", "missing_share"}
    assert delay["causes"] and delay["causes"] == worst["causes"]


def test_rows_are_those_of_their_segments_through_a_restart(watched):
    get, _, _, rows = watched
    answer = get("/models/flights/segments", ends="2013-01-16T00:00:00Z")
    window = [row for row in rows if "2013-01-14" <= row["scheduled_at"].isoformat()[:10] < "2013-01-16"]
    counts = {one["segment"]: one["rows"] for one in answer["segments"]}
    assert len(window) == answer["window"]["rows"]
    named = {name.removeprefix("carrier=") for name in counts if name.startswith("carrier=")} - {"other"}
    assert len(named) == 8
    for carrier in named:
        assert counts[f"carrier={carrier}"] == sum(row["carrier"] == carrier for row in window)
    assert counts["carrier=other"] == sum(row["carrier"] not in named for row in window)
    assert counts["long_haul"] == sum(row["distance"] > 1500 for row in window)


def test_windows_made_again_have_the_same_segments(watched):
    get, folder, url, _ = watched

    def archived():
        status = get("/status")
        return status["archived_position"] == status["journal_position"]

    eventually(archived, "all rows are archived")
    command = [BINARIES / "driftline", "backfill", "--config", folder / "driftline.yaml", "--model", "flights"]
    ran = subprocess.run(
        [*command, "--from=2013-01-10", "--to=2013-01-28", "--format=jsonl"], capture_output=True, text=True, check=True
    )
    again = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(again) == 18
    for window in again:
        live = {one["segment"]: one for one in get("/models/flights/segments", ends=window["ends"])["segments"]}
        assert {one["segment"]: one["rows"] for one in window["segments"]} == {name: one["rows"] for name, one in live.items()}
        for one in window["segments"]:
            columns = get(f"/models/flights/segments/{one['segment']}", ends=window["ends"])["columns"]
            scores = {(c["column"], s["detector"]): s["effect"] for c in columns for s in c["scores"]}
            assert scores == {(c["column"], s["detector"]): s["effect"] for c in one["columns"] for s in c["scores"]}


def test_the_alert_is_a_ticket_that_names_the_segment(watched):
    get, *_ = watched
    alerts = lambda: [one for one in get("/alerts", model="flights") if one["rule"] == "SegmentDrift"]
    (alert,) = eventually(alerts, "the segment's alert fires")
    assert alert["severity"] == "ticket" and "dep_delay in segment carrier=US" in alert["summary"], alert
    facts = {fact["name"]: fact["value"] for fact in get(f"/alerts/{alert['id']}")["facts"]}
    assert "in dep_delay in segment carrier=US" in facts["Looks like"], facts


def test_metrics_say_how_many_limits_the_worst_score_is(watched):
    _, _, url, _ = watched
    lines = lambda: httpx.get(f"{url}/metrics").text.splitlines()
    worst = lambda: [line for line in lines() if line.startswith("driftline_segment_worst_score{") and 'segment="carrier=US"' in line]
    of = eventually(worst, "it is shown")
    assert len(of) == 1 and float(of[0].split()[-1]) > 1
    limit = [line for line in lines() if line.startswith("driftline_segment_worst_limit{") and 'segment="carrier=US"' in line]
    assert len(limit) == 1 and float(limit[0].split()[-1]) >= 0.1


PAGE = """alerts:
  rules:
    - {name: Page, severity: page, runbook: segment-drift, when: {score: segment_psi, windows: 2 of 3}, group_by: [model]}
"""


def test_what_a_segment_may_reach_is_what_the_budget_allows(watched):
    get, *_ = watched
    limits = {}
    for segment in ("carrier=US", "carrier=UA", "long_haul"):
        columns = get(f"/models/flights/segments/{segment}", ends="2013-01-16T00:00:00Z")["columns"]
        limits |= {(segment, c["column"], s["detector"]): s for c in columns for s in c["scores"]}
    assert len(limits) == 3 * 8, limits.keys()
    for where, score in limits.items():
        assert score["noise_budget"] is not None, where
        assert score["limit"] == max(score["threshold"], score["noise_budget"]), where
    small, large = limits["carrier=US", "dep_delay", "psi"], limits["carrier=UA", "dep_delay", "psi"]
    assert small["noise_budget"] > large["noise_budget"], "fewer rows a day reach farther"


def test_a_smaller_budget_is_a_higher_limit(watched):
    _, folder, *_ = watched

    def limits(false_pages: str) -> dict:
        config = folder / f"{false_pages[0]}.yaml"
        config.write_text(CONFIGURATION + f"    false_pages: {false_pages}\n")
        command = [BINARIES / "driftline", "backfill", "--config", config, "--model", "flights"]
        dates = ["--from=2013-01-15", "--to=2013-01-17", "--format=jsonl"]
        ran = subprocess.run([*command, *dates], capture_output=True, text=True, check=True)
        (window, *_) = [json.loads(line) for line in ran.stdout.splitlines()]
        return {
            (one["segment"], column["column"], score["detector"]): score["noise_budget"]
            for one in window["segments"] for column in one["columns"] for score in column["scores"]
        }  # fmt: skip

    monthly, yearly = limits("1 per month"), limits("2 per year")
    assert monthly.keys() == yearly.keys() and all(yearly[where] >= limit for where, limit in monthly.items())
    assert sum(yearly[where] > limit for where, limit in monthly.items()) > len(monthly) / 2
    assert set(limits("off").values()) == {None}


def test_rules_page_for_segments_only_within_a_budget(watched, tmp_path):
    """`driftline check` and the start say which rule it is, why not, and what to do."""
    _, folder, *_ = watched

    def checked(configuration: str, reference: dict) -> subprocess.CompletedProcess:
        (tmp_path / "reference.json").write_text(json.dumps(reference))
        (tmp_path / "driftline.yaml").write_text(configuration)
        command = [BINARIES / "driftline", "check", "--config", tmp_path / "driftline.yaml"]
        return subprocess.run(command, capture_output=True, text=True)

    reference = json.loads((folder / "reference.json").read_text())
    assert checked(CONFIGURATION + PAGE, reference).returncode == 0
    off = checked(CONFIGURATION + "    false_pages: off\n" + PAGE, reference)
    assert off.returncode != 0 and "'Page' pages on segments" in off.stderr and "'false_pages' of the model is off" in off.stderr
    old = json.loads((folder / "reference.json").read_text()) | {"version": 3}
    for by in old["segments"]["by"]:
        for segment in by["segments"]:
            for column in segment["columns"]:
                column.pop("nulls", None)
    assert checked(CONFIGURATION, old).returncode == 0, "a file from before segments had histories is read"
    refused = checked(CONFIGURATION + PAGE, old)
    assert refused.returncode != 0 and "build it again with --time-column" in refused.stderr, refused.stderr
