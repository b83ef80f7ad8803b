"""Spans of exchanges, taken by a real OTLP receiver."""

import pathlib
import sysconfig

import httpx
from conftest import eventually, free_port, process, sidecar
from test_clients import chat  # noqa: F401


def test_an_otlp_receiver_takes_a_span_of_each_exchange(tmp_path, chat):  # noqa: F811
    agent = pathlib.Path(sysconfig.get_paths()["purelib"]) / "rotel" / "rotel-agent"
    grpc, http = free_port(), free_port()
    command = [agent, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
    command += ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    log = tmp_path / "rotel.log"
    with process(command, log):
        eventually(lambda: httpx.get(f"http://127.0.0.1:{http}/").status_code, "the receiver is up")
        with sidecar(
            tmp_path, chat, "http://127.0.0.1:9", "m", f"--otlp-endpoint=http://127.0.0.1:{http}", "--flush-budget=0s"
        ) as (address, admin):
            parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
            body = {"instances": [[1]]}
            httpx.post(f"{address}/v1/models/m:predict", json=body, headers={"traceparent": parent}).raise_for_status()
            httpx.post(f"{address}/v1/models/broken:predict", json=body)
            unsampled = f"00-{'ef' * 16}-{'cd' * 8}-00"
            httpx.post(f"{address}/v1/models/m:predict", json=body, headers={"traceparent": unsampled}).raise_for_status()
            sent = "driftline_sidecar_spans_sent_total 2"
            eventually(lambda: sent in httpx.get(f"{admin}/metrics").text, "the spans are taken")
        text = eventually(lambda: "broken" in log.read_text() and log.read_text(), "the receiver shows them")
    for part in ["ab" * 16, "cd" * 8, "POST /v1/models/m:predict", "http.response.status_code", "service.name"]:
        assert part in text, f"{part} is missing in\n{text[-5000:]}"
    assert "ef" * 16 not in text, "its caller does not record that trace"
