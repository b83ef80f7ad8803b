"""From a client's call to typed rows in the archive: a real server, the real sidecar and the real collector between them."""

import contextlib
import json

import binary_tensors
import duckdb
import grpc
import httpx
import pyarrow as pa
import pyarrow.dataset
import pytest
import tensorflow_predict
import typed_server
from conftest import collector, eventually, sidecar
from typed_server import grpc_failed, grpc_raw, grpc_stream, grpc_typed, rest_gzip, rest_json

# Exact in every precision.
ROWS = [[1.0, 0.5, 0.25], [0.125, 0.0, -1.0]]


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    with typed_server.typed_server(tmp_path_factory.mktemp("typed")) as servers:
        yield servers


@contextlib.contextmanager
def archived(folder, tensors: dict):
    """A collector that archives the model 'typed'; gives its address, and what waits for rows and reads them in their order."""
    configuration = f"""
data_dir: data
archive: {{max_age: 300ms}}
models: [{{name: typed, tensors: {json.dumps(tensors)}}}]
"""
    with collector(folder, configuration) as url:

        def rows(count: int) -> pa.Table:
            eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] >= count, f"{count} rows are archived")
            files = pyarrow.dataset.dataset(folder / "data" / "archive", partitioning="hive")
            # Without a version there were no predictions: not every file has every column.
            schemas = [files.schema, *(file.physical_schema for file in files.get_fragments())]
            table = files.replace_schema(pa.unify_schemas(schemas)).to_table()
            assert table.num_rows == count
            return table.sort_by([("event_time", "ascending"), ("row_id", "ascending")])

        yield url, rows


def test_every_form_of_v2_gives_the_same_typed_rows(tmp_path, typed):
    tensors = {"x": {"columns": ["a", "b", "c"]}, "vector": {"embedding": True}}
    rest, calls = typed
    with archived(tmp_path, tensors) as (url, rows):
        for folder, upstream, scheme, forms in [
            ("rest", rest, "http://", [rest_json, rest_gzip]),
            ("grpc", calls, "", [grpc_raw, grpc_typed, grpc_stream, grpc_failed]),
        ]:
            (tmp_path / folder).mkdir()
            with sidecar(tmp_path / folder, upstream, url, "typed", "--flush-interval=50ms") as (address, _):
                for form in forms:
                    # Enough rows that the server finds its answer worth compressing.
                    form(scheme + address.removeprefix("http://"), ROWS * 20 if form is rest_gzip else ROWS)
        table = rows(2 + 40 + 2 + 2 + 2 + 2)
        undecodable = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if "undecodable_total{" in line]
    assert all(line.endswith(" 0") for line in undecodable), undecodable
    wanted = {
        "a": pa.float64(),
        "total": pa.float64(),
        "rounded": pa.int64(),
        "is_high": pa.bool_(),
        "label": pa.string(),
    }
    assert {name: table.schema.field(name).type for name in wanted} == wanted
    vector = table.schema.field("vector").type
    assert pa.types.is_list(vector) and vector.value_type == pa.float32()
    assert set(table["version"].to_pylist()) == {"v1", "unversioned"}
    names = ["a", "b", "c", "total", "rounded", "is_high", "label", "vector"]
    found = [tuple(row.values()) for row in table.select(names).to_pylist()]
    answers = [
        (1.75, 2, True, "höher", [1.75, 0.875, 0.4375, 0.21875]),
        (-0.875, -1, False, "low", [-0.875, -0.4375, -0.21875, -0.109375]),
    ]
    answered = [(*row, *answer) for row, answer in zip(ROWS, answers)]
    failed = [(*row, *[None] * 5) for row in ROWS]
    assert sorted(found, key=repr) == sorted(answered * 24 + failed, key=repr)
    archive = f"read_parquet('{tmp_path}/data/archive/**/*.parquet', union_by_name = true)"
    found = duckdb.sql(f"SELECT DISTINCT typeof(vector), list_sum(vector) FROM {archive} WHERE label = 'low'").fetchall()
    assert found == [("FLOAT[]", -1.640625)]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_binary_tensors_of_tritons_client_are_rows(tmp_path, compression):
    with binary_tensors.server() as upstream, archived(tmp_path, {}) as (url, rows):
        with sidecar(tmp_path, upstream, url, "typed", "--flush-interval=50ms") as (address, _):
            binary_tensors.call(address.removeprefix("http://"), compression)
        table = rows(2)
    names = ["int16", "fp32", "plain_0", "plain_1", "fp16", "bool", "bytes", "half", "count", "label"]
    assert [tuple(row.values()) for row in table.select(names).to_pylist()] == [
        (1, 1.0, 1, 2, 1.0, True, "a", 0.5, 7, "höher"),
        (0, 0.0, 3, 4, 0.0, False, "ö", -2.0, 255, ""),
    ]
    assert table.schema.field("count").type == pa.int64() and table.schema.field("half").type == pa.float64()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_calls_of_tensorflows_predict_are_rows(tmp_path, compression):
    with tensorflow_predict.server() as upstream, archived(tmp_path, {"wind": {"columns": ["speed", "gust"]}}) as (url, rows):
        with sidecar(tmp_path, upstream, url, "typed", "--flush-interval=50ms") as (address, _):
            tensorflow_predict.call(address.removeprefix("http://"), compression)
            tensorflow_predict.call_failed(address.removeprefix("http://"))
        table = rows(3 + 1)
    names = ["carrier", "gate", "minute", "is_weekend", "pressure", "speed", "gust", "rate", "half", "label", "late", "threshold"]
    found = [tuple(row.values()) for row in table.select(names).to_pylist() if row["rate"] is not None]
    assert found == [
        ("UA", 7, 5, True, 1.0, 1.0, 2.0, 0.5, 0.25, "höher", 0.5, 0.75),
        ("ö", 255, -1, False, -0.5, 3.0, -0.25, 0.5, -2.0, "", 0.5, 0.75),
        ("", 0, 2**53 + 1, False, 65504.0, -0.25, -0.25, 0.5, 1.5, "low", 0.5, 0.75),
    ]
    assert table.schema.field("minute").type == pa.int64() and table.schema.field("half").type == pa.float64()
    assert set(table["version"].to_pylist()) == {"3", "unversioned"}


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_calls_of_tensorflows_with_examples_are_rows(tmp_path, compression):
    with tensorflow_predict.server() as upstream, archived(tmp_path, {"wind": {"columns": ["speed", "gust"]}}) as (url, rows):
        with sidecar(tmp_path, upstream, url, "typed", "--flush-interval=50ms") as (address, _):
            tensorflow_predict.call_with_examples(address.removeprefix("http://"), compression)
        table = rows(3 * 2)
    features = [("ö", 2**53 + 1, 1.0, 2.0), ("DL", None, 3.0, -0.25)]
    expected = {
        ("site", "late", "höher"): [(None, 0.25, 0.75), (None, 0.5, 0.5)],
        ("site", "prediction"): [(None, 1.5), (None, 0.0)],
        ("site", "delay.prediction", "kind.late", "kind.höher"): [("north", 1.5, 0.25, 0.75), ("north", 0.0, 0.5, 0.5)],
    }
    for index, (names, answers) in enumerate(expected.items()):
        columns = ["carrier", "minute", "speed", "gust", *names]
        found = [tuple(row.values()) for row in table.select(columns).slice(2 * index, 2).to_pylist()]
        assert found == [(*row, *answer) for row, answer in zip(features, answers)]
    # A version that is a number everywhere is one when it is read from the path.
    assert set(table["version"].to_pylist()) == {3}
