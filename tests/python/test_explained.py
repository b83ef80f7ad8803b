"""The shipped rules as they ship, live: what is stale, lost or silent tells of itself, and keeps back what it explains."""

import datetime
import json
import re
import sqlite3
import struct
import subprocess
import time
import uuid

import httpx
import pyarrow
from conftest import BINARIES, collector, eventually
from wire import messages

MICROS = 1_000_000
MODELS = "models: [{name: m, slis: {latency: {below: 100ms}, freshness: [{column: weather_at, max_age: 1h}]}}]\n"
# The same rule, which needs no five minutes of looks.
SOONER = """
  rules:
    - {name: SidecarSilent, severity: ticket, runbook: sidecar-silent, when: {sli: sidecars, below: 0.5, over: 10s, min_events: 1}}
"""


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


class Sidecar:
    """Sends batches as a sidecar does, with an account of its own."""

    def __init__(self, url: str, instance: str):
        self.url, self.instance, self.boot, self.sent = url, instance, uuid.uuid4().bytes, 0
        self.batch = messages()["Batch"]

    def send(self, exchanges: int, micros: int = 1000, status: int = 200, **account) -> None:
        first, self.sent = self.sent + 1, self.sent + exchanges
        batch = self.batch(boot_id=self.boot, model="m", instance=self.instance, first_sequence=first, last_sequence=self.sent)
        batch.sent_at_micros = int(time.time() * MICROS)
        batch.account.seen, batch.account.delivered = account.get("seen", self.sent), account.get("delivered", first - 1)
        for reason, count in account.get("dropped", {}).items():
            batch.account.dropped.add(reason=reason, count=count)
        for sequence in range(first, self.sent + 1):
            exchange = batch.exchanges.add(sequence=sequence, method="POST", target="/v1/models/m:predict", status=status, end=1)
            exchange.started_at_micros, exchange.duration_micros = batch.sent_at_micros - micros, micros
        raw = batch.SerializeToString()
        payload = pyarrow.Codec("zstd").compress(raw, asbytes=True)
        head = b"DRFT" + bytes([1, 1, 0, 0]) + struct.pack("<I", len(raw))
        frame = head + struct.pack("<I", crc32c(head + payload)) + payload
        kind = {"content-type": "application/vnd.driftline.v1+protobuf"}
        httpx.post(f"{self.url}/v1/exchanges", content=frame, headers=kind).raise_for_status()


def firing(url: str) -> dict[str, dict]:
    """The alerts that fire, in full, by their rules."""
    alerts = httpx.get(f"{url}/api/v1/alerts?state=firing").json()
    return {alert["rule"]: httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json() for alert in alerts}


def test_stale_features_page_and_lost_captures_are_a_ticket(tmp_path):
    with collector(tmp_path, f"data_dir: data\n{MODELS}alerts: {{evaluation_interval: 200ms}}\n") as url:
        row = {"features": {"weather_at": "2026-01-01T00:00:00Z"}, "prediction": 1.0}
        httpx.post(f"{url}/v1/rows?model=m", content="\n".join([json.dumps(row)] * 120)).raise_for_status()
        stale = eventually(lambda: firing(url).get("StaleFeatures"), "nothing is fresh")
        assert stale["severity"] == "page" and stale["members"][0]["what"] == "weather_at" and stale["members"][0]["value"] == "0%"
        Sidecar(url, "pod-a").send(1, seen=200, delivered=150, dropped={"budget": 49})
        lost = eventually(lambda: firing(url).get("CaptureLoss"), "a quarter was dropped")
        facts = {fact["name"]: fact["value"] for fact in lost["facts"]}
        assert facts["Affected"] == "49 of 199 exchanges in 15m"
        assert facts["Dropped"] == "budget 49; by pod-a since its start"
        assert not lost["muted_by"] and not stale["muted_by"], "neither explains the other"


def test_rows_of_another_form_name_their_columns_and_a_silent_model_when_it_was_heard(tmp_path):
    (tmp_path / "rows.csv").write_text("fare,temp\n" + "".join(f"{row},{row % 7}\n" for row in range(200)))
    build = "reference build --model m --column fare,temp --output m.json rows.csv"
    subprocess.run([BINARIES / "driftline", *build.split()], cwd=tmp_path, check=True)
    models = "models: [{name: m, reference: m.json, slis: {heard: {max_age: 2s}}}]\n"
    silent = "{name: ModelSilent, severity: page, runbook: model-silent, when: {sli: heard, below: 0.5, over: 30s, min_events: 1}}"
    with collector(tmp_path, f"data_dir: data\n{models}alerts: {{evaluation_interval: 200ms, rules: [{silent}]}}\n") as url:
        rows = [{"features": {"fare": 1.0}}] * 90 + [{"features": {"fare": 1.0, "temp": "mild"}}] * 60
        httpx.post(f"{url}/v1/rows?model=m", content="\n".join(map(json.dumps, rows))).raise_for_status()
        sent = time.time()
        facts = lambda rule: {fact["name"]: fact["value"] for fact in firing(url)[rule]["facts"]}
        misfits = eventually(lambda: facts("SchemaChange")["Misfits"], "temp is not what it was")
        assert misfits == "temp is absent in 90, temp is of another type in 60 (of the last half hour)"
        heard = eventually(lambda: facts("ModelSilent")["Last heard"], "nothing came since")
        at = datetime.datetime.strptime(heard, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=datetime.UTC).timestamp()
        assert abs(at - sent) < 60, heard


def test_a_budget_that_its_own_page_tells_of_is_listed_under_it(tmp_path):
    with collector(tmp_path, f"data_dir: data\n{MODELS}alerts: {{evaluation_interval: 200ms}}\n") as url:
        Sidecar(url, "pod-a").send(1200, micros=500_000)
        alerts = eventually(lambda: (found := firing(url)).keys() >= {"LatencySlo", "LatencyBudget"} and found, "both fire")
        explains = lambda: firing(url)["LatencySlo"]["explains"]
        assert [child["rule"] for child in eventually(explains, "the budget is its child")] == ["LatencyBudget"]
        muted = eventually(lambda: firing(url)["LatencyBudget"]["muted_by"], "it is told to nobody")
        assert [mute["id"] for mute in muted] == [alerts["LatencySlo"]["id"]]


def test_a_sidecar_whose_requests_nobody_has_is_missed_and_named(tmp_path):
    configuration = f"data_dir: data\n{MODELS}alerts:\n  evaluation_interval: 200ms{SOONER}"
    with collector(tmp_path, configuration) as url:
        for instance in ("pod-a", "pod-b"):
            Sidecar(url, instance).send(1, seen=10_000, delivered=0)
        eventually(lambda: len(httpx.get(f"{url}/api/v1/status").json()["sidecars"]) == 2, "both are known")
    # An hour in a moment: both were heard all the time, one of them until three minutes ago, and since then half as much comes.
    now = int(time.time() * MICROS)
    silent_since = now - 180 * MICROS
    with sqlite3.connect(tmp_path / "data" / "driftline.db") as database:
        database.execute("UPDATE senders SET first_heard_at = ?", [now - 3600 * MICROS])
        database.execute("UPDATE senders SET heard_at = ? WHERE instance = 'pod-b'", [silent_since])
        for slice in range(now // (10 * MICROS) - 40, now // (10 * MICROS)):
            at = slice * 10 * MICROS
            requests = 200 if at < silent_since else 100
            database.execute("INSERT OR REPLACE INTO sli_counts VALUES ('m', 'availability', '', ?, ?, ?, 0)", [at, requests, requests])
    database.close()
    with collector(tmp_path, configuration) as url:
        missed = eventually(lambda: firing(url).get("SidecarSilent"), "pod-b is missed")
        facts = [fact["value"] for fact in missed["facts"] if fact["name"] == "Silent sidecar"]
        # As many as the other in a shorter time.
        assert len(facts) == 1 and re.fullmatch(r"pod-b, heard last at [-0-9]+ [:0-9]+ UTC, had 51\.\d% of the requests", facts[0]), facts
        Sidecar(url, "pod-b").send(1, seen=1)
        eventually(lambda: "SidecarSilent" not in firing(url), "it is heard again")


def test_a_collector_that_was_down_says_so_afterwards_and_from_when_to_when(tmp_path):
    configuration = f"data_dir: data\n{MODELS}alerts: {{evaluation_interval: 200ms}}\n"
    with collector(tmp_path, configuration):
        pass
    # The run before this one ended twelve minutes ago, after two minutes.
    database = sqlite3.connect(tmp_path / "data" / "driftline.db")
    this = int(time.time()) // 10
    with database:
        database.execute("DELETE FROM sli_counts WHERE sli = 'running'")
        for slice in range(this - 84, this - 72):
            database.execute("INSERT INTO sli_counts VALUES ('', 'running', '', ?, 1, 1, 0)", [slice * 10 * MICROS])
    database.close()
    with collector(tmp_path, configuration) as url:
        down = eventually(lambda: firing(url).get("CollectorDown"), "it was down")
        facts = {fact["name"]: fact["value"] for fact in down["facts"]}
        started = time.strftime("%H:%M", time.gmtime((this - 72) * 10))
        assert down["severity"] == "ticket" and started in facts["Down"], facts
