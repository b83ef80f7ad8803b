"""The archive as a lake: manifests, Delta tables, what retention leaves of them, and Spark on its files."""

import datetime
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import duckdb
import httpx
import polars
import pyarrow.parquet
import pytest
from conftest import BINARIES, collector, eventually, process, stay_within_a_day
from deltalake import DeltaTable
from test_senders import count

CONFIGURATION = "data_dir: data\narchive: {folder: archive, max_age: 200ms, delta: true"
# What Delta Lake calls the types of columns.
DELTA_TYPES = {
    "string": "string",
    "double": "double",
    "int64": "long",
    "uint32": "long",
    "uint16": "integer",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamp",
}


def send(url: str, numbers: range, times, **features):
    """Rows of two versions, each number once."""
    lines = [
        {
            "features": {"x": number, **features},
            "prediction": number / 2,
            "id": f"row-{number}",
            "version": "1" if number % 3 else "2",
            "timestamp": times(number),
        }
        for number in numbers
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    httpx.post(f"{url}/v1/rows?model=m", content=body).raise_for_status()


def in_july(number: int) -> str:
    return f"2013-07-0{1 + number % 2}T0{number % 5}:30:00Z"


def files(folder: pathlib.Path) -> set[str]:
    """The files with rows, by their names in the archive."""
    archive = folder / "archive"
    return {str(path.relative_to(archive)) for path in archive.glob("model=*/version=*/date=*/**/*.parquet")}


def manifest(folder: pathlib.Path) -> tuple[dict, list[dict]]:
    """The index, and the lines of all manifests that follow from it. Nothing is listed."""
    own = folder / "archive" / "_driftline"
    index = json.loads((own / "manifest.json").read_text())
    lines = []
    for model in index["models"]:
        day, last = (datetime.date.fromisoformat(model[name]) for name in ("first_date", "last_date"))
        while day <= last:
            path = own / "manifest" / f"model={model['model']}" / f"date={day}.jsonl"
            lines += [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            day += datetime.timedelta(days=1)
    return index, lines


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> pathlib.Path:
    """An archive of two cuts, the second with one more column; its collector has stopped."""
    folder = tmp_path_factory.mktemp("lake")
    with collector(folder, CONFIGURATION + "}\n") as url:
        send(url, range(60), in_july)
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 60, "the first rows are archived")
        send(url, range(60, 100), in_july, gate="B7")
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 100, "all rows are archived")
        position = httpx.get(f"{url}/api/v1/status").json()["archived_position"]
        eventually(lambda: manifest(folder)[0]["archived_through"] == position, "the manifests are written")
        eventually(lambda: count(url, "driftline_archive_delta_commits_total") == 4, "the commits are written")
        assert count(url, "driftline_archive_catalogue_failures_total") == 0
    return folder


def test_manifests_say_of_each_file_what_it_is(lake):
    index, lines = manifest(lake)
    assert {line["path"] for line in lines} == files(lake) and len(lines) == len(files(lake))
    for line in lines:
        file = pyarrow.parquet.ParquetFile(lake / "archive" / line["path"])
        footer = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
        assert line["rows"] == file.metadata.num_rows == int(footer["driftline.rows"])
        assert line["bytes"] == (lake / "archive" / line["path"]).stat().st_size
        assert (line["collector"], line["run"]) == (footer["driftline.collector"], footer["driftline.run"])
        assert "-".join(map(str, line["cut"])) == footer["driftline.cut"]
        times = file.read(["event_time"])["event_time"].to_pylist()
        assert [line["first_event"], line["last_event"]] == [
            time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in (min(times), max(times))
        ]
        columns = "".join(f"{field.name} {DELTA_TYPES[str(field.type)]}\n" for field in file.schema_arrow)
        assert line["schema"] == hashlib.sha256(columns.encode()).hexdigest()[:16], columns
        assert f"/version={line['version']}/" in line["path"]
    [model] = index["models"]
    for name in ("rows", "bytes"):
        assert model[name] == sum(line[name] for line in lines)
    assert (model["files"], model["dates"], model["rows"]) == (len(lines), 2, 100)
    cuts = sorted({tuple(line["cut"]) for line in lines})
    assert cuts[0][0] == 1 and cuts[-1][1] <= index["archived_through"]
    assert all(after[0] == before[1] + 1 for before, after in zip(cuts, cuts[1:]))


def test_duckdb_finds_files_by_manifests_alone(lake):
    day = lake / "archive" / "_driftline" / "manifest" / "model=m" / "date=2013-07-02.jsonl"
    found = duckdb.execute(f"SELECT path FROM read_json('{day}') WHERE version = '1' AND first_event < '2013-07-02 02:00'")
    paths = [str(lake / "archive" / path) for (path,) in found.fetchall()]
    numbers = duckdb.execute("SELECT x FROM read_parquet(?, union_by_name = true) ORDER BY x", [paths]).fetchall()
    assert [x for (x,) in numbers] == [n for n in range(100) if n % 3 and n % 2 and n % 5 < 2]


def test_each_version_is_a_delta_table(lake):
    numbers = {"1": [n for n in range(100) if n % 3], "2": [n for n in range(100) if n % 3 == 0]}
    for version, expected in numbers.items():
        table = DeltaTable(lake / "archive" / "model=m" / f"version={version}")
        rows = table.to_pyarrow_table()
        assert sorted(rows["x"].to_pylist()) == expected
        assert sorted(zip(rows["x"].to_pylist(), rows["prediction"].to_pylist())) == [(n, n / 2) for n in expected]
        assert [n for n, gate in zip(rows["x"].to_pylist(), rows["gate"].to_pylist()) if gate != "B7"] == [
            n for n in rows["x"].to_pylist() if n < 60
        ]
        places = [(str(date), hour) for date, hour in zip(rows["date"].to_pylist(), rows["hour"].to_pylist())]
        assert places == [(in_july(n)[:10], n % 5) for n in rows["x"].to_pylist()]
        assert table.version() == 1 and [commit["operation"] for commit in table.history()] == ["WRITE", "WRITE"]
        early = table.to_pyarrow_table(filters=[("date", "=", datetime.date(2013, 7, 1)), ("hour", "=", 2)])
        assert sorted(early["x"].to_pylist()) == [n for n in expected if n % 2 == 0 and n % 5 == 2]
        # Its own reader takes the folders above the table for columns, and finds them missing.
        frame = polars.scan_delta(str(lake / "archive" / "model=m" / f"version={version}"), use_pyarrow=True)
        assert frame.select(polars.len(), polars.col("x").sum()).collect().row(0) == (len(expected), sum(expected))
        table.load_as_version(0)
        before = table.to_pyarrow_table()
        assert sorted(before["x"].to_pylist()) == [n for n in expected if n < 60] and "gate" not in before.column_names


@pytest.mark.timeout(1200)
def test_spark_reads_the_files_and_leaves_out_what_it_need_not_read(lake, tmp_path):
    python = os.environ.get("DRIFTLINE_SPARK")
    if not python:
        pytest.skip("DRIFTLINE_SPARK names no Python with PySpark; tests/run makes one")
    archive = tmp_path / "archive"
    shutil.copytree(lake / "archive", archive)
    # Whoever reads the other day fails.
    for file in archive.rglob("date=2013-07-02/**/*.parquet"):
        file.write_bytes(b"PAR1 not really")
    script = pathlib.Path(__file__).parent / "spark_reader.py"
    run = [python, script, tmp_path, lake / "archive", archive]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=1100)
    assert ran.returncode == 0, ran.stderr[-4000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["rows"] == [[n, n / 2, "B7" if n >= 60 else None, int("1" if n % 3 else "2")] for n in range(100)]
    assert found["types"]["event_time"] == "timestamp" and found["types"]["x"] == "double"
    assert found["of_one_day"] == [n for n in range(100) if n % 2 == 0]
    assert found["of_one_hour"] == [n for n in range(100) if n % 2 == 0 and n % 5 == 3]


def test_files_that_are_too_old_go_once_and_everything_that_lists_them_knows(tmp_path):
    # Today's files are kept for as long as today goes on.
    stay_within_a_day()
    keeps, configuration = (f"{CONFIGURATION}, {more}partition: day}}\n" for more in ("", "retention: 3s, "))
    now = datetime.datetime.now(datetime.UTC).isoformat()

    def told() -> int:
        return sum(len(DeltaTable(table).file_uris()) for table in (tmp_path / "archive").glob("model=*/version=*"))

    with collector(tmp_path, keeps) as url:
        send(url, range(60), in_july)
        send(url, range(60, 70), lambda _: now)
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 70, "all rows are archived")
    everything = files(tmp_path)
    mine = tmp_path / "archive" / sorted(everything)[0]
    mine = mine.with_name("mine.parquet")
    mine.write_bytes(b"somebody's own")
    config = tmp_path / "driftline.yaml"
    config.write_text(config.read_text().replace(keeps, configuration))
    command, dies = [BINARIES / "driftline", "serve", "--config", config], {**os.environ, "DRIFTLINE_FAILPOINT": "file_deleted:2"}
    with process(command, tmp_path / "killed.log", env=dies) as child:
        assert child.wait(120) != 0, "the collector dies after its second deletion"
    assert len(everything - files(tmp_path)) == 2
    old = {path for path in everything if "date=2013" in path}
    assert told() == len(manifest(tmp_path)[1]) == len(everything - old), "what is deleted is told of nowhere before"
    with collector(tmp_path, configuration) as url:
        own = str(mine.relative_to(tmp_path / "archive"))
        eventually(lambda: files(tmp_path) == (everything - old) | {own}, "files that are too old are deleted")
        left = {line["path"] for line in manifest(tmp_path)[1]}
        assert left == everything - old, "of the day that goes on nothing is deleted"
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 10, "no list has them")
        eventually(lambda: count(url, "driftline_archive_files_deleted_total") >= len(old) - 2, "they are counted")
        assert count(url, "driftline_archive_bytes_deleted_total") > 0
        # A new cut brings nothing back.
        send(url, range(70, 80), lambda _: now)
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 20, "the next rows are archived")
        eventually(lambda: told() == len(files(tmp_path)) - 1, "the next files are committed")
    assert not old & files(tmp_path)
    tables = [DeltaTable(table) for table in (tmp_path / "archive").glob("model=*/version=*")]
    numbers = [x for table in tables for x in table.to_pyarrow_table()["x"].to_pylist()]
    assert sorted(numbers) == list(range(60, 80))
    assert all("DELETE" in [commit["operation"] for commit in table.history()] for table in tables)
