"""Senders that are not our sidecar: loggers with CloudEvents, and applications that send rows."""

import datetime
import io
import json
import pathlib

import httpx
import polars
import pyarrow
import pyarrow.ipc
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from conftest import BINARIES, collector, eventually, process
from test_senders import count

KSERVE, SELDON = "org.kubeflow.serving.inference", "io.seldon.serving.inference"
CONFIGURATION = (
    "data_dir: data\narchive: {folder: archive, max_age: 200ms}\n"
    "models: [{name: flights, windows: {pane: 1h, window: 24h}}]\n"
)


def archived(folder: pathlib.Path, rows: int) -> polars.DataFrame:
    """The archive's rows, once there are so many."""

    def read():
        files = list((folder / "archive").rglob("*.parquet"))
        frame = polars.concat([polars.read_parquet(file) for file in files], how="diagonal") if files else None
        assert frame is not None and len(frame) >= rows, f"{0 if frame is None else len(frame)} of {rows} rows"
        return [frame]

    return eventually(read, "the rows are archived")[0].sort("row_id", maintain_order=True)


def event(kind: str, data: dict, **attributes) -> CloudEvent:
    all_attributes = {"type": kind, "source": "http://localhost:9081/", "datacontenttype": "application/json", **attributes}
    return CloudEvent(all_attributes, data)


def post(url: str, made: CloudEvent, form=to_binary) -> httpx.Response:
    headers, body = form(made)
    return httpx.post(url, headers=headers, content=body)


@pytest.mark.parametrize("form", [to_binary, to_structured])
def test_what_kserves_and_seldons_loggers_send_becomes_rows(tmp_path, form):
    with collector(tmp_path, CONFIGURATION) as url:
        kserve = {"inferenceservicename": "flights", "namespace": "models", "component": "predictor", "endpoint": "default"}
        request, answer = {"instances": [{"temp": 39.02}, {"temp": None}]}, {"predictions": [0.25, 0.5]}
        # The answer overtakes its request, and both come twice.
        for kind, data in [("response", answer), ("request", request), ("request", request), ("response", answer)]:
            assert post(url, event(f"{KSERVE}.{kind}", data, id="k-1", **kserve), form).status_code == 200
        seldon = {"inferenceservicename": "flights", "modelid": "classifier", "requestid": "s-1", "namespace": "models"}
        request = {"inputs": [{"name": "temp", "shape": [1], "datatype": "FP64", "data": [7.1]}]}
        answer = {"model_name": "c", "outputs": [{"name": "prediction", "shape": [1], "datatype": "FP64", "data": [0.75]}]}
        for number, (kind, data) in enumerate([("request", request), ("response", answer)]):
            # Its ids differ: what joins them is the request's.
            made = event(f"{SELDON}.{kind}", data, id=f"event-{number}", **seldon)
            assert post(f"{url}/v1/cloudevents", made, form).status_code == 200
        assert post(url, event("io.seldon.serving.feedback", {}, id="f"), form).status_code == 200
        rows = archived(tmp_path, 3)
        assert rows["temp"].to_list() == [39.02, None, 7.1]
        assert rows["prediction"].to_list() == [0.25, 0.5, 0.75]
        assert rows["request_id"].to_list() == ["k-1", "k-1", "s-1"]
        assert rows["latency_ms"].to_list() == [None] * 3, "nobody measured it"
        assert rows["instance"].to_list() == ["http://localhost:9081/"] * 3
        eventually(lambda: count(url, "driftline_rows_counted_total", model="flights") == 3, "the rows are counted")
        for sli in ("latency", "availability"):
            assert count(url, "driftline_sli_valid_total", model="flights", sli=sli) == 0
        events = {
            outcome: count(url, "driftline_cloud_events_total", outcome=outcome)
            for outcome in ["waits", "joined", "repeated", "ignored"]
        }
        assert events == {"waits": 2, "joined": 2, "repeated": 2, "ignored": 1}


def test_a_request_without_its_response_is_archived_and_counts_where_only_requests_are_sent(tmp_path):
    for alone, counted in [("archive", 0), ("count", 1)]:
        folder = tmp_path / alone
        folder.mkdir()
        ingest = f"ingest: {{cloud_events: {{join_within: 300ms, requests_alone: {alone}}}}}\n"
        with collector(folder, CONFIGURATION + ingest) as url:
            target = f"{url}/v1/cloudevents?model=flights"
            assert post(target, event(f"{KSERVE}.request", {"instances": [{"temp": 1.5}]}, id="1")).status_code == 200
            assert post(target, event(f"{KSERVE}.response", {"predictions": [1]}, id="2")).status_code == 200
            rows = archived(folder, 1)
            assert rows["temp"].to_list() == [1.5] and rows["status"].to_list() == [200 * counted]
            assert count(url, "driftline_rows_counted_total", model="flights") == counted
            alone_responses = lambda: count(url, "driftline_cloud_events_total", outcome="response_alone") == 1
            eventually(alone_responses, "the response is given up on")
            assert count(url, "driftline_cloud_events_total", outcome="request_alone") == 1
            assert post(target, event(f"{KSERVE}.response", {"predictions": [1]}, id="1")).status_code == 200
            assert count(url, "driftline_cloud_events_total", outcome="late") == 1


def test_events_that_cannot_be_taken_say_why(tmp_path):
    with collector(tmp_path, CONFIGURATION) as url:
        answer = httpx.post(url, content=b"{}")
        assert answer.status_code == 400 and "ce-specversion is missing" in answer.text
        answer = post(url, event(f"{KSERVE}.request", {}, id="1"))
        assert answer.status_code == 400 and "names no model" in answer.text
        answer = httpx.post(url, content=b"[1]", headers={"content-type": "application/cloudevents-batch+json"})
        assert answer.status_code == 400 and "event 1 of the batch" in answer.text


def test_events_are_kept_when_the_collector_is_killed_between_the_halves(tmp_path):
    made = {"inferenceservicename": "flights", "id": "1"}
    with collector(tmp_path, CONFIGURATION) as url:
        pass
    command = [BINARIES / "driftline", "serve", "--config", tmp_path / "driftline.yaml"]
    with process(command, tmp_path / "killed.log") as child:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200, "the collector is ready")
        assert post(url, event(f"{KSERVE}.request", {"instances": [{"temp": 2.5}]}, **made)).status_code == 200
        child.kill()
    with collector(tmp_path, CONFIGURATION) as url:
        assert post(url, event(f"{KSERVE}.response", {"predictions": [1]}, **made)).status_code == 200
        assert archived(tmp_path, 1)["prediction"].to_list() == [1.0]


def test_applications_send_rows_and_each_request_counts_once(tmp_path):
    rows = [
        {"features": {"temp": 39.02, "carrier": "UA"}, "prediction": 0.25, "id": "a", "timestamp": "2013-01-01T05:00:00Z"},
        {"features": {"temp": 7, "carrier": None}, "prediction": {"late": 0.5, "score": 2}, "id": "b", "version": "2"},
        {"features": {"temp": 1}, "id": "c"},
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    with collector(tmp_path, CONFIGURATION) as url:
        target = f"{url}/v1/rows?model=flights&version=1&instance=app-3"
        send = lambda body, key: httpx.post(target, content=body, headers={"idempotency-key": key})
        assert send(lines, "batch-1").json() == {"stored": 3, "repeated": False}
        assert send(lines, "batch-1").json() == {"stored": 3, "repeated": True}
        answer = send(lines + "\n", "batch-1")
        assert answer.status_code == 422 and "was used for other rows" in answer.text
        answer = httpx.post(target, content=lines + '\n{"features": 1}')
        assert answer.status_code == 400 and "line 4" in answer.text, "all are stored, or none"
        frame = archived(tmp_path, 3)
        assert frame["row_id"].to_list() == ["a", "b", "c"]
        assert frame["temp"].to_list() == [39.02, 7, 1] and frame["carrier"].to_list() == ["UA", None, None]
        assert frame["prediction"].to_list() == [0.25, None, None] and frame["late"].to_list() == [None, 0.5, None]
        assert frame["instance"].to_list() == ["app-3"] * 3
        assert frame["event_time"][0].isoformat() == "2013-01-01T05:00:00+00:00"
        assert (tmp_path / "archive/model=flights/version=2").is_dir()
        assert count(url, "driftline_exchanges_received_total", model="flights") == 3
        counted = lambda: count(url, "driftline_rows_counted_total") + count(url, "driftline_rows_late_total")
        eventually(lambda: counted() == 3, "the rows are counted, or late")


ARROW = "application/vnd.apache.arrow.stream"
UTC = datetime.timezone.utc


def pyarrow_stream(table: pyarrow.Table, **options) -> bytes:
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def polars_stream(frame: polars.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return sink.getvalue()


def test_data_frames_are_sent_as_arrow_streams(tmp_path):
    at = datetime.datetime(2013, 1, 1, 5, tzinfo=UTC)
    categories = polars.Series("carrier", ["UA", None, "DL"], dtype=polars.Categorical)
    frame = polars.DataFrame(
        {
            "flight": [1, 2, 3],
            "temp": polars.Series([39.02, None, 7.5], dtype=polars.Float32),
            "delay": [2, None, -3],
            "carrier": categories,
            "origin": ["a text that is longer than a view", "JFK", None],
            "is_weekend": [True, False, None],
            "scheduled": [at, at + datetime.timedelta(minutes=1), None],
            "late": [0.25, 0.5, None],
        }
    )
    half = pyarrow.array([1.5, None, float("nan")], pyarrow.float16())
    table = pyarrow.table(
        {
            "features": pyarrow.StructArray.from_arrays(
                [half, pyarrow.array(["UA", None, "DL"]).dictionary_encode(), pyarrow.array([b"x".decode()] * 3, pyarrow.large_string())],
                ["temp", "carrier", "origin"],
            ),
            "prediction": pyarrow.StructArray.from_arrays([pyarrow.array([0.1, 0.2, 0.3])], ["late"]),
            "id": ["p1", "p2", "p3"],
            "timestamp": pyarrow.array([at] * 3, pyarrow.timestamp("ms", "Europe/Oslo")),
            "version": pyarrow.array(["7"] * 3, pyarrow.string_view()),
        }
    )
    with collector(tmp_path, CONFIGURATION) as url:
        target = f"{url}/v1/rows?model=flights&instance=job"

        def send(body: bytes, query: str = "", key: str = "k"):
            return httpx.post(f"{target}{query}", content=body, headers={"content-type": ARROW, "idempotency-key": key})

        roles = "&id=flight&timestamp=scheduled&prediction=late"
        assert send(polars_stream(frame), roles).json() == {"stored": 3, "repeated": False}
        assert send(polars_stream(frame), roles).json() == {"stored": 3, "repeated": True}
        assert send(pyarrow_stream(table), key="p").json() == {"stored": 3, "repeated": False}
        rows = archived(tmp_path, 6)
        assert rows["row_id"].to_list() == ["1", "2", "3", "p1", "p2", "p3"]
        flat, nested = rows[:3], rows[3:]
        assert flat["temp"].to_list() == frame["temp"].cast(polars.Float64).to_list()
        assert flat["delay"].to_list() == [2, None, -3]
        for column in ["origin", "is_weekend", "late"]:
            assert flat[column].to_list() == frame[column].to_list(), column
        assert rows["carrier"].to_list() == ["UA", None, "DL"] * 2
        assert flat["event_time"].to_list()[:2] == [at, at + datetime.timedelta(minutes=1)]
        assert abs(flat["event_time"][2] - datetime.datetime.now(UTC)) < datetime.timedelta(minutes=1), "it happened when it came"
        assert nested["temp"].to_list()[:2] == [1.5, None]
        assert nested["late"].to_list() == [0.1, 0.2, 0.3] and nested["event_time"].to_list() == [at] * 3
        assert (tmp_path / "archive/model=flights/version=7").is_dir()
        # What cannot be taken says why, and nothing of it is stored.
        whole = pyarrow_stream(table)
        refusals = [
            (whole[: len(whole) // 2], "no Arrow stream that can be read"),
            (pyarrow_stream(table, compression="zstd"), "its buffers are compressed"),
            (pyarrow_stream(pyarrow.table({"x": [b"\xff"]})), "column 'x' is of type Binary"),
            (pyarrow_stream(pyarrow.table({"x": [1], "version": ["a/b"]})), "row 1: version"),
        ]
        for number, (body, why) in enumerate(refusals):
            answer = send(body, key=f"bad-{number}")
            assert answer.status_code == 400 and why in answer.text, answer.text
        assert count(url, "driftline_exchanges_received_total", model="flights") == 6
