"""Who may send and who may read, and how much: by curl, httpx and the real sidecar."""

import contextlib
import json
import re
import ssl
import subprocess
import time

import httpx
import pytest
from certificates import Authority
from conftest import BINARIES, collector, eventually, free_port, process, sidecar
from test_metrics import Model
from test_wire import serve

TOKEN, OTHER = "a-token-that-nobody-prints", "another-token"
BODY = {"instances": [{"x": 1.5}]}


@contextlib.contextmanager
def secure_collector(folder, authority, configuration):
    """A collector with TLS; gives its port."""
    port = free_port()
    config = folder / "driftline.yaml"
    config.write_text(
        f"listen: 127.0.0.1:{port}\ntls: {{certificate: server.crt, key: server.key, client_ca: {authority.file}}}\n"
        + configuration
    )
    log = folder / "collector.log"
    with process([BINARIES / "driftline", "serve", "--config", config], log) as child:

        def ready():
            assert child.poll() is None, log.read_text()
            return httpx.get(f"https://127.0.0.1:{port}/readyz", verify=context(authority)).status_code == 200

        eventually(ready, "the collector is ready")
        yield port


def context(authority, identity=None):
    made = ssl.create_default_context(cafile=authority.file)
    if identity:
        made.load_cert_chain(*identity)
    return made


def count(url, name, **labels):
    """The sum of a metric's series with these labels."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    series = [line.rsplit(" ", 1) for line in lines if line.split("{")[0].split(" ")[0] == name]
    return sum(float(value) for key, value in series if all(label in key for label in wanted))


@pytest.fixture(scope="module")
def model():
    server = serve(Model)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_sidecar_is_known_by_certificate_and_token_and_loses_nothing_until_it_is(tmp_path, model):
    authority = Authority(tmp_path, "ca")
    authority.issue("server")
    identity = authority.issue("pod", "pod-7.flights.test")
    (tmp_path / "flights.token").write_text(f"{TOKEN}\n")
    (tmp_path / "sidecar.token").write_text("not-the-token-yet\n")
    configuration = "ingest: {tokens: [{name: flights, token: {file: flights.token}, models: ['fl*']}]}\n"
    with secure_collector(tmp_path, authority, configuration) as port:
        url = f"https://127.0.0.1:{port}"
        flags = [
            f"--collector-ca={authority.file}",
            f"--collector-certificate={identity[0]}",
            f"--collector-key={identity[1]}",
            f"--collector-token-file={tmp_path / 'sidecar.token'}",
            "--flush-interval=50ms",
        ]
        with sidecar(tmp_path, model, url, "flights", *flags) as (address, admin):
            for _ in range(20):
                httpx.post(f"{address}/v1/models/m:predict", json=BODY).raise_for_status()
            requests = "driftline_sidecar_collector_requests_total"
            eventually(lambda: count(admin, requests, outcome="unauthorized") >= 2, "the sidecar is refused, and comes back")
            (tmp_path / "sidecar.token").write_text(f"{TOKEN}\n")
            delivered = "driftline_sidecar_exchanges_delivered_total"
            eventually(lambda: count(admin, delivered) == 20, "everything is delivered with the right token")
            assert count(admin, "driftline_sidecar_exchanges_dropped_total") == 0
        # The token for one model is not good for another.
        with sidecar(tmp_path, model, url, "weather", *flags, "--flush-budget=0s") as (address, admin):
            httpx.post(f"{address}/v1/models/m:predict", json=BODY).raise_for_status()
            eventually(lambda: count(admin, requests, outcome="unauthorized") >= 1, "another model is refused")

        outcome = json.dumps({"model": "flights", "row_id": "1", "outcome": True})
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, verify=context(authority, identity)) as known:
            for sent, status, says in [
                ({}, 401, "a token is needed"),
                ({"authorization": "Bearer wrong"}, 401, "not known here"),
                (headers, 200, "stored"),
            ]:
                answer = known.post("/v1/outcomes", content=outcome, headers=sent)
                assert (answer.status_code, says in answer.text) == (status, True), answer.text
            answer = known.post("/v1/outcomes", content=outcome.replace("flights", "weather"), headers=headers)
            assert answer.status_code == 403 and "is not for model 'weather'" in answer.text
        with httpx.Client(base_url=url, verify=context(authority)) as unknown:
            answer = unknown.post("/v1/outcomes", content=outcome, headers=headers)
            assert answer.status_code == 401 and "certificate is needed" in answer.text
            status = unknown.get("/api/v1/status").raise_for_status().json()  # Reading needs no certificate.
            assert -1 < status["sidecars"][0]["clock_offset_seconds"] < 600, "one clock, and what the refusals took"
            exposition = unknown.get("/metrics").text
        for reason in ["no_token", "unknown_token", "no_certificate", "model_not_allowed"]:
            assert f'driftline_requests_refused_total{{reason="{reason}"}} 0' not in exposition, reason
        # h2 over TLS, by another stack.
        curl = ["curl", "-sS", "--http2", "--cacert", authority.file, "-w", "%{http_version}", "-o", "/dev/null"]
        assert subprocess.check_output([*curl, f"{url}/readyz"], text=True) == "2"
        # A renewed certificate is taken up, and a certificate of nobody's is not let in.
        before = ssl.get_server_certificate(("127.0.0.1", port))
        authority.issue("server")
        eventually(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != before, "the new certificate is in force")
        stranger = Authority(tmp_path, "stranger").issue("stranger")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/readyz", verify=context(authority, stranger))
    logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert TOKEN not in logs and "wait until its token or certificate is put right" in logs
    plain = re.sub(r"\x1b\[\d+m", "", logs)
    assert 'a model is seen for the first time model="flights" sender="flights"' in plain, plain


def test_pages_and_metrics_are_for_those_with_a_token_and_a_browser_asks_for_it(tmp_path):
    configuration = "api: {tokens: [{name: team, token: {env: READ_TOKEN}}], protect: [metrics]}\n"
    with collector(tmp_path, configuration, {"READ_TOKEN": OTHER}) as url:
        for path in ["/", "/api/v1/models", "/metrics"]:
            answer = httpx.get(f"{url}{path}")
            assert answer.status_code == 401 and "Basic" in answer.headers["www-authenticate"], path
            assert httpx.get(f"{url}{path}", headers={"authorization": f"Bearer {OTHER}"}).status_code == 200
            assert httpx.get(f"{url}{path}", auth=("anybody", OTHER)).status_code == 200
        assert httpx.get(f"{url}/livez").status_code == 200
        outcome = json.dumps({"model": "m", "row_id": "1", "outcome": 1})
        assert httpx.post(f"{url}/v1/outcomes", content=outcome).status_code == 200, "sending is not reading"


def test_a_sender_that_is_too_fast_is_told_when_to_come_back_and_loses_nothing(tmp_path, model):
    # Slower than the slowest machine sends them.
    configuration = "ingest: {per_model: {exchanges_per_second: 2}}\n"
    with collector(tmp_path, configuration) as url:
        with sidecar(tmp_path, model, url, "m", "--flush-interval=20ms") as (address, admin):
            with httpx.Client() as client:
                for _ in range(20):
                    client.post(f"{address}/v1/models/m:predict", json=BODY).raise_for_status()
                    time.sleep(0.01)
            delivered = "driftline_sidecar_exchanges_delivered_total"
            eventually(lambda: count(admin, delivered) == 20, "everything is delivered in time", patience=120)
        assert count(url, "driftline_requests_refused_total", reason="rate") >= 1
        assert count(url, "driftline_exchanges_received_total", model="m") == 20


def test_a_full_disk_is_said_before_anything_is_read(tmp_path):
    with collector(tmp_path, "ingest: {min_free_bytes: 1000000000000000}\n", probe="/livez") as url:
        unready = httpx.get(f"{url}/readyz")
        assert unready.status_code == 503 and "ingest.min_free_bytes" in unready.text, unready.text
        answer = httpx.post(f"{url}/v1/outcomes", content="not read")
        assert answer.status_code == 503 and "ingest.min_free_bytes" in answer.text, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert count(url, "driftline_requests_refused_total", reason="disk_full") == 1
        assert count(url, "driftline_disk_free_bytes") > 0
