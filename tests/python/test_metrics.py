"""/metrics, for Prometheus: its own linter, and a real one that scrapes."""

import http.server
import subprocess
import threading

import httpx
from conftest import collector, eventually, prometheus, sidecar


def lint(exposition: str):
    ran = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_accepts_the_collectors_metrics(demo_collector):
    def complete():
        found = httpx.get(f"{demo_collector}/metrics").text
        return all(f"\n{name}{{" in found for name in ("driftline_rows_counted_total", "driftline_alerts_firing", "driftline_score")) and found

    # What a model has to say is there once the pipeline has read its state, a moment after the start.
    text = eventually(complete, "the models' metrics are there")
    assert 'driftline_score{column="temp",model="flight-delay",score="psi",version="1"}' in text, "also after a restart"
    lint(text)


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"predictions": [0.5]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_real_prometheus_scrapes_both(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = f"127.0.0.1:{server.server_port}"
    with collector(tmp_path, "data_dir: data\n") as url, sidecar(tmp_path, upstream, url, "m") as (address, admin):
        lint(httpx.get(f"{admin}/metrics").text)
        for _ in range(20):
            httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
        targets = [url.removeprefix("http://"), admin.removeprefix("http://")]
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "driftline", "static_configs": [{"targets": targets}]}],
        }
        with prometheus(tmp_path, configuration) as value:
            eventually(lambda: value('sum(up{job="driftline"})') == [2.0], "both targets are up")
            eventually(lambda: value("driftline_rows_counted_total{model='m'}") == [20.0], "the rows are there")
            seen, delivered = "driftline_sidecar_exchanges_seen_total", "driftline_sidecar_exchanges_delivered_total"
            eventually(lambda: value(f"{seen} - {delivered}") == [0.0], "all that was seen was delivered")
    server.shutdown()
