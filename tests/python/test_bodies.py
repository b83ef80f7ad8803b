"""Each protocol through the real sidecar to the real collector: typed rows in the archive."""

import contextlib
import http.server
import json
import threading

import duckdb
import httpx
from conftest import collector, eventually, sidecar

CHUNKS = [
    {"id": "c-1", "model": "llama-8b", "choices": [{"index": 0, "delta": {"content": "Os"}, "finish_reason": None}]},
    {"id": "c-1", "model": "llama-8b", "choices": [{"index": 0, "delta": {"content": "lo."}, "finish_reason": "stop"}]},
    {"id": "c-1", "model": "llama-8b", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
]
# By model: path, the request's content type and body, the answer's content type and body.
EXCHANGES = {
    "tensorflow": (
        ("/v1/models/m/versions/3:predict", "application/json", '{"inputs": {"temp": [39.02, 41], "carrier": ["UA", "DL"]}}'),
        ("application/json", '{"outputs": [0.25, 0.5]}'),
    ),
    "mlflow": (
        (
            "/invocations",
            "application/json",
            '{"dataframe_split": {"columns": ["temp", "carrier"], "data": [[39.02, "UA"], [NaN, "DL"]]}}',
        ),
        ("application/json", '{"predictions": [0.25, 0.5]}'),
    ),
    "sagemaker": (("/invocations", "text/csv", "39.02,007\n41,\n"), ("text/csv", "0.25\n0.5\n")),
    "openai": (
        ("/v1/chat/completions", "application/json", '{"stream": true, "messages": [{"role": "user", "content": "secret"}]}'),
        ("text/event-stream", "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"),
    ),
    "torchserve": (
        ("/predictions/m/2.0", "application/json", '{"age": 39, "member": true}'),
        ("application/json", '{"positive": 0.75}'),
    ),
    "generic": (
        ("/score", "application/json", '{"data": {"items": [{"customer": {"age": 39}}, {"customer": {"age": 52}}]}}'),
        ("application/json", '{"out": [{"score": 0.25}, {"score": 0.5}]}'),
    ),
}
CONFIGURATION = """
data_dir: data
archive: {folder: archive, max_age: 300ms}
models:
  - {name: sagemaker, features: [temp, code], columns: {code: text}}
  - name: generic
    body: {rows: /data/items, features: {age: /customer/age}, results: /out, predictions: {score: /score}}
"""


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        asked = (self.path, self.headers["content-type"], body)
        content_type, answer = next(answer for request, answer in EXCHANGES.values() if request == asked)
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


def test_each_protocol_gives_typed_rows_in_the_archive(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = tmp_path / "rules.yaml"
    rules.write_text("routes: [{path: /score, protocol: generic}]\n")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(collector(tmp_path, CONFIGURATION))
        for model, ((path, content_type, body), answer) in EXCHANGES.items():
            upstream = f"127.0.0.1:{server.server_port}"
            address, _ = stack.enter_context(sidecar(tmp_path, upstream, url, model, f"--rules={rules}"))
            response = httpx.post(f"{address}{path}", content=body, headers={"content-type": content_type})
            assert (response.headers["content-type"], response.text) == answer
        rows = lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"]  # noqa: E731
        eventually(lambda: rows() == 10, "all rows are archived")
    server.shutdown()

    def archived(model: str, columns: str) -> list[tuple]:
        files = str(tmp_path / "archive" / f"model={model}" / "**" / "*.parquet")
        types = ", ".join(f"typeof({column.strip()})" for column in columns.split(","))
        table = f"read_parquet('{files}', hive_partitioning = true, hive_types_autocast = false)"
        found = duckdb.connect().execute(f"SELECT {columns}, {types} FROM {table} ORDER BY row_id").fetchall()
        width = len(columns.split(","))
        return [row[:width] for row in found] + [found[0][width:]]

    double, text, whole, truth = "DOUBLE", "VARCHAR", "BIGINT", "BOOLEAN"
    assert archived("tensorflow", "version, temp, carrier, prediction") == [
        ("3", 39.02, "UA", 0.25),
        ("3", 41.0, "DL", 0.5),
        (text, double, text, double),
    ]
    first, second, types = archived("mlflow", "temp, carrier, prediction")
    assert first == (39.02, "UA", 0.25) and second[1:] == ("DL", 0.5) and second[0] != second[0]
    assert types == (double, text, double)
    assert archived("sagemaker", "temp, code, prediction") == [
        (39.02, "007", 0.25),
        (41.0, None, 0.5),
        (double, text, double),
    ]
    columns = "version, prompt_chars, prompt_tokens, completion_tokens, completion_chars, chunk_count, finish_reason, stream"
    assert archived("openai", columns) == [
        ("llama-8b", 6, 9, 2, 5, 3, "stop", True),
        (text, whole, whole, whole, whole, whole, text, truth),
    ]
    assert archived("openai", "messages, first_message_ms > 0")[0] == (4, True)
    assert archived("torchserve", "version, age, member, positive") == [
        ("2.0", 39.0, True, 0.75),
        (text, double, truth, double),
    ]
    assert archived("generic", "age, score") == [(39.0, 0.25), (52.0, 0.5), (double, double)]


def test_a_change_of_type_is_an_event_and_costs_the_value_only(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = "data_dir: data\narchive: {folder: archive, max_age: 300ms}\n"
    with (
        collector(tmp_path, configuration) as url,
        sidecar(tmp_path, f"127.0.0.1:{server.server_port}", url, "m") as (address, _),
    ):
        for temp in [39.02, "warm", "cold", 7]:
            httpx.post(f"{address}/v1/models/m:predict", json={"instances": [{"temp": temp}]}).raise_for_status()
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 4, "all rows are archived")
        events = lambda: httpx.get(f"{url}/api/v1/events").json()
        told = eventually(lambda: [event["text"] for event in events() if event["kind"] == "type_change"], "it is told")
        assert told == ["temp held what is no number; such values are kept as missing"]
        assert 'driftline_values_wrong_type_total{model="m"} 2' in httpx.get(f"{url}/metrics").text
    server.shutdown()
    files = str(tmp_path / "archive" / "**" / "*.parquet")
    kept = duckdb.connect().execute(f"SELECT temp FROM read_parquet('{files}', union_by_name = true) ORDER BY event_time").fetchall()
    assert kept == [(39.02,), (None,), (None,), (7.0,)]


class Echo(Server):
    def do_POST(self):
        rows = len(json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"])
        answer = json.dumps({"predictions": [0.5] * rows}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
