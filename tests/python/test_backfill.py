"""Windows made again from the archive: the same as the collector found them, under another reference, and written."""

import csv
import datetime
import io
import json
import shutil
import sqlite3
import subprocess
import time

import httpx
import pytest
from conftest import BINARIES, collector, eventually

YEAR = ("--from=2013-01-01", "--to=2014-01-01")
NUMBERS = "value upper effect interval_low interval_high null_mean n_reference n_window p_value noise_independent noise_blocks noise_budget threshold verdict".split()


def run(command: str, *more: str, code: int = 0) -> subprocess.CompletedProcess:
    ran = subprocess.run([BINARIES / "driftline", *command.split(), *more], capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    return ran


def backfill(config, *more: str, code: int = 0) -> subprocess.CompletedProcess:
    return run("backfill --model=flight-delay", f"--config={config}", *more, code=code)


def made_again(config, *more: str) -> list[dict]:
    return [json.loads(line) for line in backfill(config, *YEAR, "--format=jsonl", *more).stdout.splitlines()]


def stored(folder) -> tuple[list[tuple], dict]:
    """Windows and scores of a database, as the live collector left them."""
    database = sqlite3.connect(f"file:{folder / 'data' / 'driftline.db'}?mode=ro", uri=True)
    windows = database.execute(
        "SELECT version, strftime('%Y-%m-%dT%H:%M:%SZ', ends / 1000000, 'unixepoch'), rows, filled, panes, reference"
        " FROM windows ORDER BY ends, version"
    ).fetchall()
    scores = {}
    for version, ends, column, detector, *numbers in database.execute(
        "SELECT version, strftime('%Y-%m-%dT%H:%M:%SZ', ends / 1000000, 'unixepoch'), column_name, detector,"
        f" {', '.join(NUMBERS)} FROM scores"
    ):
        scores[version, ends, column, detector] = numbers
    database.close()
    return windows, scores


def scores_of(windows: list[dict]) -> dict:
    return {
        (w["version"], w["ends"], c["column"], s["detector"]): [s[number] for number in NUMBERS]
        for w in windows
        for c in w["columns"]
        for s in c["scores"]
    }


@pytest.fixture
def copy(demo_folder, tmp_path):
    """A copy of the demo's collector, with a database of its own on the same archive."""
    (tmp_path / "data").mkdir()
    source = sqlite3.connect(f"file:{demo_folder / 'data' / 'driftline.db'}?mode=ro", uri=True)
    target = sqlite3.connect(tmp_path / "data" / "driftline.db")
    source.backup(target)
    source.close(), target.close()
    shutil.copy(demo_folder / "reference.json", tmp_path)
    text = (demo_folder / "driftline.yaml").read_text().replace("folder: archive", f"folder: {demo_folder / 'archive'}")
    # Without targets: what would be told is seen in the database.
    (tmp_path / "driftline.yaml").write_text(text.split("\nalerts:")[0] + "\n")
    return tmp_path


def test_windows_made_again_are_those_that_the_collector_found(demo_folder):
    windows, scores = stored(demo_folder)
    again = made_again(demo_folder / "driftline.yaml")
    names = ("version", "ends", "rows", "filled", "panes", "reference")
    # The last days' windows were still open when the demo ended.
    again = again[: len(windows)]
    assert [tuple(w[name] for name in names) for w in again] == windows and len(windows) > 80
    found = scores_of(again)
    assert found.keys() == scores.keys() and len(scores) > 5000
    for key, numbers in scores.items():
        if key[3] == "wasserstein":
            # A pane of this model lies in two partitions, so that its rows are added up in another order.
            assert found[key][:-1] == pytest.approx(numbers[:-1], rel=1e-9) and found[key][-1] == numbers[-1], key
        else:
            assert found[key] == numbers, key


def test_table_and_csv_say_the_same_of_the_windows_that_end_in_a_stretch(demo_folder):
    config, days = demo_folder / "driftline.yaml", ("--from=2013-07-10T05:00:00Z", "--to=2013-07-12T05:00:00Z")
    of_all = list(csv.DictReader(io.StringIO(backfill(config, *days, "--format=csv").stdout)))
    lines = [line for line in of_all if line["segment"] == "" and line["against"] == "reference"]
    assert {line["ends"] for line in lines} == {"2013-07-11T05:00:00Z", "2013-07-12T05:00:00Z"}
    table = backfill(config, *days, "--score=ks").stdout.splitlines()
    columns = {line["column"] for line in lines}
    assert len(table) == 1 + 2 * len(columns) and "ks" in table[0]
    of_ks = {(line["ends"], line["column"]): line["verdict"] for line in lines if line["detector"] == "ks"}
    assert of_ks and sum(line.endswith(("ok", "drift", "data")) for line in table[1:]) == len(of_ks)
    _, scores = stored(demo_folder)
    for line in lines:
        if line["detector"] != "wasserstein":
            live = scores[line["version"], line["ends"], line["column"], line["detector"]]
            assert float(line["effect"]) == live[2] and line["verdict"] == live[-1]
    by_window = [json.loads(line) for line in backfill(config, *days, "--format=jsonl").stdout.splitlines()]
    parts = [(w, segment["segment"], c) for w in by_window for segment in w["segments"] for c in segment["columns"]]
    parts += [(w, "", c) for w in by_window for c in w["columns"]]
    scores = {(w["ends"], part, c["column"], "reference", s["detector"]): s for w, part, c in parts for s in c["scores"]}
    for w, part, c in parts:
        for beside in c.get("beside", []):
            scores |= {(w["ends"], part, c["column"], beside["against"], s["detector"]): s for s in beside["scores"]}
    keys = ("ends", "segment", "column", "against", "detector")
    assert {tuple(line[key] for key in keys) for line in of_all} == scores.keys()
    for line in of_all:
        score = scores[tuple(line[key] for key in keys)]
        assert float(line["effect"]) == score["effect"] and line["verdict"] == score["verdict"]
    assert {line["segment"] for line in of_all} > {""}


def test_a_window_against_itself_as_reference_has_not_moved(demo_folder, tmp_path):
    config, reference, rows = demo_folder / "driftline.yaml", tmp_path / "july.json", tmp_path / "july.parquet"
    window = ("--from=2013-07-02T05:00:00Z", "--to=2013-07-12T05:00:00Z")
    run("samples --model=flight-delay --format=parquet", f"--config={config}", *window, f"--output={rows}")
    # It is archived under another name, for a folder is called so.
    names = {c["column"] for w in made_again(config) for c in w["columns"]} - {"hour"}
    run("reference build --model=flight-delay", str(rows), f"--column={','.join(names)}", f"--output={reference}")
    against_july = {w["ends"]: w for w in made_again(config, f"--reference={reference}")}
    itself = {(key[2], key[3]): numbers for key, numbers in scores_of([against_july["2013-07-12T05:00:00Z"]]).items()}
    psi = [numbers[2] for (_, detector), numbers in itself.items() if detector in ("psi", "ks", "total_variation")]
    assert len(psi) > len(names) and set(psi) == {0.0}
    january = scores_of([against_july["2013-01-12T05:00:00Z"]])
    assert january["1", "2013-01-12T05:00:00Z", "temp", "psi"][-1] == "drift"


def test_windows_are_written_where_pages_and_api_find_them_and_nobody_is_told(copy):
    config, database = copy / "driftline.yaml", copy / "data" / "driftline.db"
    before = stored(copy)
    told = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM episodes), (SELECT max(position) FROM progress)"
    with sqlite3.connect(database) as db:
        untold = db.execute(told).fetchone()
        last = db.execute("SELECT max(ends) FROM windows").fetchone()[0]
        db.execute("DELETE FROM windows WHERE ends % 3 = 0 AND ends < ?", [last])
        db.execute("UPDATE scores SET value = 7, verdict = 'drift' WHERE ends < ?", [last])
        db.execute("INSERT INTO scores SELECT model, version, ends, 'gone', detector, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, 1, 'ok' FROM scores WHERE detector = 'psi' AND column_name = 'temp' AND ends < ?", [last])
        # One that has more rows than the archive, and one whose time is not over.
        db.execute("UPDATE windows SET rows = rows + 1 WHERE ends = ?", [last])
        db.execute("UPDATE window_progress SET closed_through = ?", [last])
    db.close()
    for _ in range(2):
        said = backfill(config, *YEAR, "--write").stderr
        assert f"{len(before[0]) - 1} windows are written" in said, said
        assert "1 are left as they are, because the archive has fewer rows" in said
        assert "9 are still open, and the collector will close them" in said
        windows, scores = stored(copy)
        assert [w[:2] for w in windows] == [w[:2] for w in before[0]]
        assert scores.keys() == before[1].keys(), "columns that a window has no more are gone"
        assert all(scores[key] == numbers for key, numbers in before[1].items() if key[3] != "wasserstein")
    with sqlite3.connect(database) as db:
        assert db.execute(told).fetchone() == untold
        db.execute("UPDATE window_progress SET closed_through = NULL")
    db.close()
    assert "0 windows are written; 98 are still open" in backfill(config, *YEAR, "--write").stderr
    with sqlite3.connect(database) as db:
        db.execute("UPDATE window_progress SET closed_through = ?", [last])
    db.close()
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("listen:", "public_url:"))]
    with collector(copy, "\n".join(lines) + "\n") as url:
        matrix = httpx.get(f"{url}/api/v1/models/flight-delay/scores", params={"limit": 1000}).json()
        assert [w["ends"] for w in matrix["windows"]] == [w[1] for w in before[0]]
        # An alert may begin right after the start.
        newest = httpx.get(f"{url}/api/v1/events", params={"limit": 20}).text
        assert "were made again from the archive" in newest
        refused = backfill(config, *YEAR, "--write", code=1)
        assert "another collector runs on" in refused.stderr


def test_what_is_not_archived_yet_is_not_written_and_mistakes_are_explained(copy):
    config = copy / "driftline.yaml"
    with sqlite3.connect(copy / "data" / "driftline.db") as db:
        db.execute("INSERT INTO journal (received_at, skip_through, frame) VALUES (0, 0, x'')")
    db.close()
    assert "1 batches are counted and not archived" in backfill(config, *YEAR, "--write", code=1).stderr
    assert "no window of model 'flight-delay' ends in" in backfill(config, "--from=2013-07-04T06:00:00Z", "--to=2013-07-04T07:00:00Z", code=1).stderr
    assert "--from is not before --to" in backfill(config, "--from=2013-07-05", "--to=2013-07-05", code=64).stderr
    assert "no score; the scores are psi" in backfill(config, *YEAR, "--score=pis", code=64).stderr
    assert "nope.json: " in backfill(config, *YEAR, "--reference=nope.json", code=1).stderr
    assert "0 windows of 0 rows of 0 files" in backfill(config, "--from=1999-01-01", "--to=2000-01-01").stderr


def test_a_window_that_is_made_again_takes_its_own_events_place_among_slices(tmp_path):
    """Half an hour ago a window was good. The rows that came too late for it make it bad, once and for all, however often it is written."""
    minute = int(time.time()) // 60 * 60 - 1800
    rows = tmp_path / "normal.csv"
    rows.write_text("x\n" + "\n".join(str(i % 50) for i in range(2000)) + "\n")
    run("reference build --model=m", str(rows), "--column=x", f"--output={tmp_path / 'reference.json'}")
    model = "{name: m, reference: reference.json, event_time: {column: at, unit: seconds}, false_pages: off,"
    windows = "windows: {pane: 1m, window: 1m, every: 1m, lateness: 0s, min_filled: 1, close_when_idle: 1s}"
    slices = "slis: {slices: [{name: gaps, score: missing_share, below: 0.5}]}}"
    configuration = f"data_dir: data\narchive: {{folder: rows, max_age: 1s}}\nmodels:\n  - {model}\n     {windows},\n     {slices}\n"

    def send(url: str, count: int, at: int, value: float | None):
        row = json.dumps({"features": {"x": value, "at": at}, "prediction": 1.0})
        httpx.post(f"{url}/v1/rows?model=m", content="\n".join([row] * count), headers={"content-type": "application/x-ndjson"}).raise_for_status()

    def counted(url: str) -> list[int]:
        one = {sli["sli"]: sli for sli in httpx.get(f"{url}/api/v1/models/m").json()["slis"]}["slices"]
        return [one["good"], one["valid"], one["unknown"]]

    with collector(tmp_path, configuration) as url:
        send(url, 400, minute, 7.0)
        send(url, 400, minute + 60, 7.0)
        eventually(lambda: counted(url) == [2, 2, 0], "both windows are good")
        send(url, 1200, minute, None)
        late = 'driftline_rows_late_total{model="m"} 1200'
        eventually(lambda: late in httpx.get(f"{url}/metrics").text, "they are late")
        assert counted(url) == [2, 2, 0]
        status = lambda: httpx.get(f"{url}/api/v1/status").json()
        eventually(lambda: (now := status())["archived_position"] == now["journal_position"] and now, "all are archived")
    stretch = [f"--{name}={spelled(minute + offset)}" for name, offset in (("from", 0), ("to", 600))]
    for recounted in ("; 1 events of slices are counted again", ""):
        said = run("backfill --model=m --write", f"--config={tmp_path / 'driftline.yaml'}", *stretch).stderr
        assert f"2 windows are written{recounted}\n" in said, said
    with collector(tmp_path, configuration) as url:
        assert counted(url) == [1, 2, 0], "it counts once, as what it is now"


def spelled(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
