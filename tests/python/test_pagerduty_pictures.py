"""The picture of a drift in PagerDuty: by an address of https that whoever looks can open, or not at all."""

import csv
import json
import random
import ssl
import subprocess

import httpx
import pytest
from certificates import Authority
from conftest import BINARIES, eventually, free_port, process
from pagerduty import PagerDuty

CONFIGURATION = """
listen: 127.0.0.1:{port}
public_url: {public_url}
tls: {{certificate: server.crt, key: server.key}}
data_dir: data
{more}
models:
  - name: m
    reference: reference.json
    event_time: {{column: at}}
    windows: {{pane: 1d, window: 1d, every: 1d, lateness: 1h, close_when_idle: 1s}}
alerts:
  targets:
    oncall: {{pagerduty: {{url: "{pagerduty}", routing_key: {{file: key}}}}}}
"""
TOKENS = "api: {tokens: [{name: ada, token: {file: key}}]}"


@pytest.mark.parametrize(
    ("public_url", "more", "is_shown"),
    [
        ("https://127.0.0.1:{port}", "", True),
        ("https://127.0.0.1:{port}", TOKENS, False),
        ("http://127.0.0.1:{port}", "", False),
    ],
)
def test_a_picture_is_shown_where_everybody_who_looks_can_open_it(tmp_path, public_url, more, is_shown):
    authority, pagerduty, port, draws = Authority(tmp_path, "ours"), PagerDuty(), free_port(), random.Random(7)
    authority.issue("server")
    (tmp_path / "key").write_text("k" * 32)
    with open(tmp_path / "reference.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x"])
        writer.writerows([draws.gauss(0, 1)] for _ in range(2000))
    build = "reference build --model m --output reference.json reference.csv"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=tmp_path, check=True)
    configuration = CONFIGURATION.format(port=port, public_url=public_url.format(port=port), more=more, pagerduty=pagerduty.url)
    (tmp_path / "driftline.yaml").write_text(configuration)
    arguments = [BINARIES / "driftline", "serve", "--config", "driftline.yaml"]
    context = ssl.create_default_context(cafile=authority.file)
    url = f"https://127.0.0.1:{port}"
    with process(arguments, tmp_path / "collector.log", cwd=tmp_path), httpx.Client(verify=context, base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200, "the collector is ready")
        for day in range(1, 5):
            row = lambda number: {"features": {"x": draws.gauss(3, 1), "at": f"2024-01-{day:02}T{number * 24 // 400:02}:00:00Z"}}
            lines = "\n".join(json.dumps(row(number)) for number in range(400))
            client.post("/v1/rows", params={"model": "m"}, content=lines, timeout=30).raise_for_status()
        drift = lambda: next((event for event in pagerduty.events if event["payload"]["class"] == "FeatureDrift"), None)
        event = eventually(drift, "PagerDuty is told")
        assert ("images" in event) == is_shown
        details = event["payload"]["custom_details"]
        assert details["Real?"] and details["Hurt?"] and "step" in details["First:"], "what the runbook says first"
        if is_shown:
            [image] = event["images"]
            shown = client.get(image["src"])
            assert shown.headers["content-type"] == "image/png" and shown.content.startswith(b"\x89PNG")
            assert image["alt"].startswith("x") and image["href"] == event["client_url"]
            assert client.get(image["href"]).status_code == 200
        path = f"/api/v1/alerts/{event['dedup_key']}/picture"
        assert client.get(path).status_code == (401 if more else 200)
    pagerduty.shutdown()
    assert pagerduty.wrong == []
