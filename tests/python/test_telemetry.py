"""The collector's own traces and metrics, taken by a real OTLP receiver; and one that is not there."""

import contextlib
import json
import pathlib
import re
import sysconfig

import httpx
from conftest import collector, eventually, free_port, process
from test_senders import count

CONFIGURATION = "data_dir: data\narchive: {folder: archive, max_age: 200ms}\n"
QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_BSP_SCHEDULE_DELAY": "200"}
ROW = json.dumps({"features": {"x": 1.5}, "prediction": 2, "model": "flights"})


@contextlib.contextmanager
def receiver(folder: pathlib.Path):
    """Gives its URL, and the log in which it shows what it takes."""
    agent = pathlib.Path(sysconfig.get_paths()["purelib"]) / "rotel" / "rotel-agent"
    grpc, http, log = free_port(), free_port(), folder / "rotel.log"
    command = [agent, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
    command += ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "metrics", "--debug-log-verbosity", "detailed"]
    with process(command, log):
        eventually(lambda: httpx.get(f"http://127.0.0.1:{http}/").status_code, "the receiver is up")
        yield f"http://127.0.0.1:{http}", log


def test_an_otlp_receiver_takes_the_collectors_spans_and_metrics(tmp_path):
    with receiver(tmp_path) as (endpoint, log):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": "watcher",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            **QUICK,
        }
        with collector(tmp_path, CONFIGURATION, environment) as url:
            for trace, flag in [("ab", "01"), ("ef", "00")]:
                headers = {"traceparent": f"00-{trace * 16}-{'cd' * 8}-{flag}"}
                httpx.post(f"{url}/v1/rows", content=ROW, headers=headers).raise_for_status()
            spans = ["POST /v1/rows", "journal write", "pipeline round", "checkpoint", "archive cut", "archive put"]
            shown = lambda: all(span in log.read_text() for span in spans) and "driftline_archive_rows_total" in log.read_text()
            eventually(shown, "the receiver shows every span")
            assert count(url, "driftline_spans_total", outcome="dropped") == 0
            assert count(url, "driftline_otlp_requests_total", signal="metrics", outcome="failed") == 0
            metrics = set(re.findall(r"^# TYPE (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE))
            all_metrics = lambda: metrics <= set(re.findall(r"[a-z_0-9]+", log.read_text()))
            eventually(all_metrics, "the receiver shows every metric that /metrics shows")
        text = log.read_text()
    for part in ["ab" * 16, "cd" * 8, "watcher", "deployment.environment.name", "driftline.path", "http.response.status_code"]:
        assert part in text, f"{part} is missing in\n{text[-5000:]}"
    assert "ef" * 16 not in text, "its caller does not record that trace"


def test_a_receiver_that_is_not_there_costs_nothing_but_its_count(tmp_path):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", **QUICK}
    with collector(tmp_path, CONFIGURATION, environment) as url:
        assert httpx.post(f"{url}/v1/rows", content=ROW).json()["stored"] == 1
        dropped = lambda: count(url, "driftline_spans_total", outcome="dropped") > 0
        eventually(dropped, "spans are dropped and counted")
        for signal in ["traces", "metrics"]:
            eventually(lambda: count(url, "driftline_otlp_requests_total", signal=signal, outcome="failed") > 0, signal)
        assert httpx.get(f"{url}/readyz").status_code == 200
        archived = lambda: count(url, "driftline_archive_rows_total") == 1
        eventually(archived, "the row is archived all the same")


def test_a_protocol_that_is_not_spoken_is_left_out_and_said(tmp_path):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with collector(tmp_path, CONFIGURATION, environment):
        pass
    log = (tmp_path / "collector.log").read_text()
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' cannot be used; allowed is http/protobuf" in log


def test_logs_are_an_object_in_each_line(tmp_path):
    with collector(tmp_path, CONFIGURATION, {"DRIFTLINE_LOG_FORMAT": "json"}) as url:
        assert httpx.post(f"{url}/v1/rows", content="no row").status_code == 400
        httpx.post(f"{url}/v1/rows", content=ROW).raise_for_status()
    lines = [json.loads(line) for line in (tmp_path / "collector.log").read_text().splitlines()]
    assert all({"timestamp", "level", "target", "message"} <= line.keys() for line in lines) and len(lines) >= 3, lines
    [seen] = [line for line in lines if line["message"] == "a model is seen for the first time"]
    assert (seen["level"], seen["model"]) == ("INFO", "flights")
