"""Windows beside earlier ones, on real flights: a feed that changes its unit for good is new for a week, and then it is the reference
that is old. Killed in between, and made again from the archive."""

import csv
import json
import subprocess

import httpx
import pyarrow.parquet
import pytest
from conftest import BINARIES, ROOT, collector, eventually

FLIGHTS = ROOT / "demo" / "data" / "flights.parquet"
#: From this day on the feed gives distances in kilometres.
CHANGED = "2013-01-15"
CONFIGURATION = """
archive: {max_age: 1s}
models:
  - name: flights
    reference: reference.json
    event_time: {column: scheduled_at}
    windows: {pane: 12h, window: 1d, every: 12h, lateness: 1h}
    compare_with: {recent: {over: 7d}, same_hour: {weeks: 2}}
"""


@pytest.fixture(scope="module")
def flights() -> list[dict]:
    table = pyarrow.parquet.read_table(FLIGHTS, columns=["scheduled_at", "distance", "origin"]).to_pylist()
    rows = sorted(table, key=lambda row: row["scheduled_at"])
    return [row for row in rows if row["scheduled_at"].isoformat() < "2013-01-29"]


def build_reference(folder, rows: list[dict]) -> None:
    with open(folder / "rows.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["distance", "origin"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    build = "reference build --model flights --column distance,origin --output reference.json rows.csv"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=folder, check=True)


def as_fed(row: dict) -> str:
    at = row["scheduled_at"].isoformat()
    factor = 1.609344 if at >= CHANGED else 1
    features = {"distance": row["distance"] * factor, "origin": row["origin"], "scheduled_at": at}
    return json.dumps({"features": features})


def feed(url: str, lines: list[str]) -> None:
    """Sends rows; sent again, each counts once."""
    for start in range(0, len(lines), 200):
        body, key = "\n".join(lines[start : start + 200]), {"idempotency-key": f"from {start}"}
        httpx.post(f"{url}/v1/rows?model=flights", content=body, headers=key, timeout=30).raise_for_status()


def day(number: int) -> str:
    return f"2013-01-{number:02}T00:00:00Z"


def test_a_change_that_stays_is_new_for_a_week_and_then_the_reference_is_old(flights, tmp_path):
    january = [row for row in flights if row["scheduled_at"].isoformat() < "2013-01-28"]
    build_reference(tmp_path, january[::2])
    # The last is of the next day, so that the windows before it close.
    after = next(row for row in flights if row["scheduled_at"].isoformat() > "2013-01-28T06")
    lines = [as_fed(row) for row in [*january[1::2], after]]
    killed = {"DRIFTLINE_FAILPOINT": "checkpoint_due:5"}
    with collector(tmp_path, CONFIGURATION, killed) as url, pytest.raises(httpx.HTTPError):
        while True:
            feed(url, lines)
    with collector(tmp_path, CONFIGURATION) as url:
        feed(url, lines)

        def detail(column, **query):
            answer = httpx.get(f"{url}/api/v1/models/flights/columns/{column}", params=query)
            return answer.raise_for_status().json()

        def standing(number):
            return detail("distance", ends=day(number))["standing"]["kind"]

        eventually(lambda: detail("distance")["window"]["ends"] == day(28), "the last day's window has closed")
        # A window is named by its end, and five of seven days are enough.
        assert detail("distance", ends=day(5))["standing"] is None
        assert [standing(number) for number in range(7, 16)] == ["unchanged"] * 9
        assert [standing(number) for number in range(16, 23)] == ["new_change"] * 7
        assert [standing(number) for number in range(23, 29)] == ["skew"] * 6
        assert {detail("origin", ends=day(number))["standing"]["kind"] for number in range(10, 29)} == {"unchanged"}

        last = detail("distance", ends=day(28))
        recent, same_hour = sorted(last["beside"], key=lambda beside: beside["against"])
        assert (recent["windows"], recent["starts"], recent["ends"]) == (7, day(20), day(27))
        assert (same_hour["windows"], same_hour["starts"], same_hour["ends"]) == (2, day(13), day(21))
        rows = httpx.get(f"{url}/api/v1/models/flights/scores", params={"against": "recent", "limit": 100}).json()
        rows = {window["ends"]: window["rows"] for window in rows["windows"]}
        (psi,) = [score for score in recent["scores"] if score["detector"] == "psi"]
        assert (psi["n_reference"], psi["n_window"]) == (sum(rows[day(n)] for n in range(21, 28)), rows[day(28)])
        told = "distance has stayed changed"
        events = httpx.get(f"{url}/api/v1/events", params={"limit": 1000}).json()
        assert sum(event["text"].startswith(told) for event in events) == 1, "it is said once"

        def alerts(rule):
            listed = httpx.get(f"{url}/api/v1/alerts?model=flights").json()
            return [httpx.get(f"{url}/api/v1/alerts/{a['id']}").json() for a in listed if a["rule"] == rule]

        (new,) = eventually(lambda: alerts("NewChange"), "the rule fires")
        facts = {fact["name"]: fact["value"] for fact in new["facts"]}
        assert facts["Is it new"].startswith("new: unlike the reference, and unlike the 7 windows of 2013-01-"), facts
        assert facts["Looks like"].startswith("a change of unit: × 1.609 (miles to kilometres"), facts
        assert new["resolved_at"] is not None, "a week later it is what is normal"
        (old,) = alerts("FeatureDrift")
        assert old["resolved_at"] is None, "the reference does not forget"
        assert new["summary"].startswith("flights: distance has changed lately (recent_psi "), new
        metrics = httpx.get(f"{url}/metrics").text
        assert 'driftline_score_beside_earlier{against="recent",column="distance",model="flights",score="psi"' in metrics

        refused = httpx.get(f"{url}/api/v1/models/flights/scores?against=yesterday")
        assert refused.status_code == 400 and "reference, recent, same_hour" in refused.text
        refused = httpx.get(f"{url}/api/v1/models/flights/scores?against=recent&detector=energy")
        assert refused.status_code == 400 and "psi, ks, wasserstein, missing_share" in refused.text
        live = {number: detail("distance", ends=day(number)) for number in range(2, 29)}
        eventually(lambda: httpx.get(f"{url}/api/v1/status").json()["archive_lag_seconds"] is None, "all is archived")
    made_again(tmp_path, live)
    tried(tmp_path)


def made_again(folder, live: dict[int, dict]) -> None:
    """The archive says the same of every window, although some of the rows were sent again after the collector was killed."""
    command = ["backfill", "--model=flights", "--from=2013-01-01", "--to=2013-02-01", "--format=jsonl", "--config=driftline.yaml"]
    ran = subprocess.run([BINARIES / "driftline", *command], cwd=folder, capture_output=True, text=True, check=True)
    windows = {window["ends"]: window for window in map(json.loads, ran.stdout.splitlines())}
    for number, detail in live.items():
        (column,) = [column for column in windows[day(number)]["columns"] if column["column"] == "distance"]
        for again, found in zip(column["beside"], detail["beside"], strict=True):
            assert {**again, "scores": None} == {**found, "scores": None}
            for one, other in zip(again["scores"], found["scores"], strict=True):
                if one["detector"] == "wasserstein":
                    assert one["effect"] == pytest.approx(other["effect"], rel=1e-9)
                else:
                    assert one == other


def tried(folder) -> None:
    """A backtest that begins after the change has the week before it, too."""
    command = ["backtest", "--from=2013-01-15", "--to=2013-02-01", "--format=json", "--config=driftline.yaml"]
    ran = subprocess.run([BINARIES / "driftline", *command], cwd=folder, capture_output=True, text=True, check=True)
    episodes = json.loads(ran.stdout)["present"]["episodes"]
    (new,) = [episode for episode in episodes if episode["rule"] == "NewChange"]
    assert new["fired"] < day(17) and new["resolved"] > day(22), new
