"""Rows pulled out of the archive by the command line, against what an engine that we did not write finds there."""

import csv
import io
import json
import subprocess

import duckdb
import pyarrow.parquet
from conftest import BINARIES

DAY = ("--from=2013-07-04", "--to=2013-07-05")
CONDITION = "carrier in ('UA', 'DL') and temp >= 80 and not dest = 'ORD'"


def samples(demo_folder, *more: str, code: int = 0) -> subprocess.CompletedProcess:
    command = [BINARIES / "driftline", "samples", f"--config={demo_folder / 'driftline.yaml'}", "--model=flight-delay"]
    ran = subprocess.run([*command, *more], capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    return ran


def expected(demo_folder, select: str, condition: str = "true") -> list[tuple]:
    day = "event_time >= '2013-07-04T00:00:00Z' AND event_time < '2013-07-05T00:00:00Z'"
    rows = f"read_parquet('{demo_folder / 'archive'}/**/*.parquet', hive_partitioning = true)"
    query = f"SELECT {select} FROM {rows} WHERE {day} AND {condition} ORDER BY row_id"
    return duckdb.connect().execute(query).fetchall()


def test_csv_lines_are_the_rows_that_the_condition_holds_for(demo_folder):
    ran = samples(demo_folder, *DAY, f"--where={CONDITION}", "--columns=row_id,carrier,temp,late_probability")
    lines = list(csv.reader(io.StringIO(ran.stdout)))
    assert lines[0] == ["row_id", "carrier", "temp", "late_probability"]
    found = sorted((row, carrier, float(temp), float(p)) for row, carrier, temp, p in lines[1:])
    want = expected(demo_folder, "row_id, carrier, temp, late_probability", CONDITION)
    assert found == want and len(found) > 20
    assert f"{len(found)} rows of" in ran.stderr


def test_json_lines_and_parquet_hold_every_column(demo_folder, tmp_path):
    rows = [json.loads(line) for line in samples(demo_folder, *DAY, "--format=jsonl").stdout.splitlines()]
    file = tmp_path / "rows.parquet"
    samples(demo_folder, *DAY, "--format=parquet", f"--output={file}")
    table = pyarrow.parquet.read_table(file)
    want = expected(demo_folder, "row_id, temp, carrier, event_time::VARCHAR IS NOT NULL, status")
    assert len(rows) == table.num_rows == len(want) > 500
    assert sorted((r["row_id"], r["temp"], r["carrier"], "T" in r["event_time"], r["status"]) for r in rows) == want
    assert sorted(table["row_id"].to_pylist()) == [row[0] for row in want]
    assert set(table.column_names) == set(rows[0]), "the same columns in both"


def test_a_limit_is_kept_to_and_mistakes_are_explained(demo_folder):
    assert len(samples(demo_folder, *DAY, "--limit=7").stdout.splitlines()) == 8
    assert "0 rows of 0 files" in samples(demo_folder, "--from=1999-01-01", "--to=1999-01-02").stderr
    assert "there is no column tmep; there are event_time" in samples(demo_folder, *DAY, "--columns=tmep", code=1).stderr
    assert "after 5 characters: a comparison" in samples(demo_folder, *DAY, "--where=temp nothing", code=64).stderr
    assert "not a time" in samples(demo_folder, "--from=yesterday", "--to=2013-07-05", code=64).stderr
    assert "--from is not before --to" in samples(demo_folder, "--from=2013-07-05", "--to=2013-07-05", code=64).stderr
