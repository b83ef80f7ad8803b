"""The archive, read as it lies by engines that we did not write."""

import pathlib
import re
import subprocess
import sys

import duckdb
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet

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


def test_pyarrow_pandas_and_polars_read_the_same(demo_folder, summary):
    dataset = pyarrow.dataset.dataset(demo_folder / "archive", partitioning="hive")
    july = dataset.to_table(columns=["temp", "carrier"], filter=pyarrow.dataset.field("date") == "2013-07-04")
    frame = polars.scan_parquet(pattern(demo_folder), hive_partitioning=True, try_parse_hive_dates=False)
    july_too = frame.filter(polars.col("date") == "2013-07-04").select("temp", "carrier").collect()
    assert july.num_rows == july_too.height > 500
    assert abs(sum(filter(None, july["temp"].to_pylist())) - july_too["temp"].sum()) < 1e-6
    assert frame.select(polars.len()).collect().item() == summary["rows"]["archived"]
    columns = ["event_time", "temp", "carrier", "in_sample"]
    rows = pandas.read_parquet(demo_folder / "archive", columns=columns, filters=[("date", "==", "2013-07-04")])
    assert [str(kind) for kind in rows.dtypes[["event_time", "temp", "in_sample"]]] == ["datetime64[us, UTC]", "float64", "bool"]
    assert rows["carrier"].value_counts().to_dict() == dict(july_too["carrier"].value_counts().iter_rows())
    assert abs(rows["temp"].sum() - july_too["temp"].sum()) < 1e-6
    assert set(rows["event_time"].dt.date.astype(str)) == {"2013-07-04"}


def test_columns_are_encoded_by_what_they_hold(demo_folder):
    footer = pyarrow.parquet.ParquetFile(next((demo_folder / "archive").rglob("*.parquet"))).metadata
    group = footer.row_group(0)
    columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
    for name, encoding in {"temp": "PLAIN", "row_id": "PLAIN", "carrier": "RLE_DICTIONARY", "event_time": "DELTA_BINARY_PACKED"}.items():
        column = columns[name]
        assert encoding in column.encodings and column.compression == "ZSTD", (name, column.encodings)
        assert column.has_dictionary_page == (name == "carrier"), name
    assert columns["event_time"].statistics.has_min_max, "engines leave row groups out by it"


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
