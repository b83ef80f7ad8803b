"""The archive, read as it lies by engines that we did not write."""

import pathlib
import re
import subprocess
import sys

import duckdb
import polars
import pyarrow.dataset

README = pathlib.Path(__file__).parent.parent.parent / "README.md"


def pattern(demo_folder) -> str:
    return str(demo_folder / "archive" / "**" / "*.parquet")


def ask(demo_folder, select: str) -> list[tuple]:
    """Asks DuckDB about the archive, which it knows as `rows`."""
    rows = f"(SELECT * FROM read_parquet('{pattern(demo_folder)}', hive_partitioning = true)) AS rows"
    return duckdb.connect().execute(select.replace("rows", rows, 1)).fetchall()


def test_duckdb_reads_one_typed_table(demo_folder, summary):
    types = {row[0]: row[1] for row in ask(demo_folder, "DESCRIBE SELECT * FROM rows")}
    assert types["event_time"] == types["received_at"] == types["weather_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["temp"] == types["late_probability"] == types["latency_ms"] == "DOUBLE"
    assert types["carrier"] == types["row_id"] == "VARCHAR" and types["status"] == "USMALLINT"
    counts = "count(*), count(DISTINCT row_id), min(status), max(status), count(temp)"
    counted = ask(demo_folder, f"SELECT {counts} FROM rows")[0]
    sent = summary["requests"]["sent"]
    assert counted[:4] == (sent, sent, 200, 200) and 0 < counted[4] < sent
    assert ask(demo_folder, "SELECT DISTINCT model, version FROM rows") == [("flight-delay", 1)]
    assert types["weight"] == types["messages"] == "UINTEGER" and types["in_sample"] == "BOOLEAN"
    assert types["column.hour"] == types["first_message_ms"] == "DOUBLE", "the folder's hour hides no column"
    assert ask(demo_folder, "SELECT DISTINCT weight, in_sample, messages FROM rows") == [(1, True, None)]
    day = "strftime(event_time AT TIME ZONE 'UTC', '%Y-%m-%d')"
    assert ask(demo_folder, f"SELECT count(*) FROM rows WHERE {day} != CAST(date AS VARCHAR)") == [(0,)]


def test_pyarrow_and_polars_read_the_same(demo_folder, summary):
    dataset = pyarrow.dataset.dataset(demo_folder / "archive", partitioning="hive")
    july = dataset.to_table(columns=["temp", "carrier"], filter=pyarrow.dataset.field("date") == "2013-07-04")
    frame = polars.scan_parquet(pattern(demo_folder), hive_partitioning=True, try_parse_hive_dates=False)
    july_too = frame.filter(polars.col("date") == "2013-07-04").select("temp", "carrier").collect()
    assert july.num_rows == july_too.height > 500
    assert abs(sum(filter(None, july["temp"].to_pylist())) - july_too["temp"].sum()) < 1e-6
    assert frame.select(polars.len()).collect().item() == summary["rows"]["archived"]


def test_predictions_in_the_archive_are_the_models(demo_folder):
    p = "late_probability"
    low, high, mean = ask(demo_folder, f"SELECT min({p}), max({p}), avg({p}) FROM rows")[0]
    assert 0 < low < 0.2 < mean < 0.3 < high < 1


def test_the_readmes_query_works_as_printed(demo_folder, tmp_path):
    (tmp_path / "driftline-demo").symlink_to(demo_folder)
    queries = re.findall(r"```python\n(import duckdb.*?)```", README.read_text(), re.DOTALL)
    assert queries, "the README shows a query"
    for query in queries:
        ran = subprocess.run([sys.executable, "-c", query], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "predicted_late" in ran.stdout and "2013-07-04" in ran.stdout, ran.stdout
