"""Rules on the collector's own metrics: those that somebody writes, and those that ship, each with what it tells of."""

import json
import subprocess

import httpx
import pytest
from conftest import BINARIES, collector, eventually, free_port
from test_explained import Sidecar, firing


def facts(alert: dict) -> dict[str, str]:
    return {fact["name"]: fact["value"] for fact in alert["facts"]}


def metric(url: str, series: str) -> float:
    line = next((line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(series + " ")), "x 0")
    return float(line.rsplit(" ", 1)[1])


OWN = """
data_dir: data
models: [{name: m}, {name: n}]
alerts:
  evaluation_interval: 200ms
  targets:
    gone: {webhook: {url: {env: GONE}}}
    there: {email: {from: a@example.com, to: [b@example.com], directory: mails}}
  rules:
    - {name: Begins, severity: info, runbook: room, when: "driftline_disk_free_bytes > 0", group_by: []}
    - {name: Fails, severity: ticket, runbook: delivery-failure, when: 'driftline_notifications_total{outcome=~"retried|failed"}[10m] >= 1', group_by: [target], targets: []}
    - {name: Busy, severity: ticket, runbook: latency-slo, when: "driftline_exchanges_received_total[10s] >= 5 and availability.valid[10s] >= 5", targets: []}
    - {name: Whole, severity: ticket, runbook: latency-slo, when: "driftline_exchanges_received_total[10s] = 0", group_by: [model], targets: []}
"""


def test_gauges_are_read_as_they_are_and_counters_by_what_they_grow(tmp_path):
    gone = f"http://127.0.0.1:{free_port()}/"
    with collector(tmp_path, OWN, {"GONE": gone}) as url:
        begins = eventually(lambda: firing(url).get("Begins"), "the disk is not full")
        assert begins["labels"] == {} and "driftline_disk_free_bytes" in facts(begins)["Values"]
        assert not {"Busy", "Whole"} & firing(url).keys(), "nothing was counted, and what came before the start is not known"
        fails = eventually(lambda: firing(url).get("Fails"), "one target is away")
        assert fails["labels"] == {"target": "gone"}, "of the other nothing failed"
        Sidecar(url, "pod-a").send(9)
        busy = eventually(lambda: firing(url).get("Busy"), "nine came")
        assert busy["labels"] == {"model": "m"} and facts(busy)["Values"] == "driftline_exchanges_received_total[10s] 9, availability.valid[10s] 9"
        whole = eventually(lambda: (found := firing(url)) and "Busy" not in found and found.get("Whole"), "ten seconds are over", 60)
        assert whole["labels"]["model"] in ("m", "n")
        # Read by its page, its list and Prometheus' rules as every other.
        assert httpx.get(f"{url}/alerts/{whole['id']}").status_code == 200
        assert 'driftline_alerts_firing{rule="Whole",severity="ticket"}' in httpx.get(f"{url}/metrics").text


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("driftline_batchs_total[5m] > 1", "did you mean 'driftline_batches_total'?"),
        ('driftline_batches_total{outcom="x"}[5m] > 1', "did you mean 'outcome'?"),
        ("driftline_batches_total > 1", "it needs a time over which it grows"),
        ("driftline_target_failing = 1 and driftline_notifications_pending > 1", 'say which one, as in driftline_target_failing{target="…"}'),
    ],
)
def test_what_is_no_metric_is_refused_at_its_line(tmp_path, when, said):
    config = tmp_path / "driftline.yaml"
    config.write_text(f"alerts:\n  rules:\n    - name: A\n      severity: info\n      runbook: room\n      when: {json.dumps(when)}\n")
    ran = subprocess.run([BINARIES / "driftline", "check", "--config", config], capture_output=True, text=True)
    assert ran.returncode == 64 and f"{config}:6:" in ran.stderr and said in ran.stderr, ran.stderr


def test_a_label_that_no_alert_would_have_is_refused(tmp_path):
    config = tmp_path / "driftline.yaml"
    rule = "alerts: {{rules: [{{name: A, severity: info, runbook: room, when: 'driftline_reactions_total[1h] > 1', {}}}]}}\n"
    for field, said in [("group_by: [reactio]", "did you mean 'reaction'?"), ("group_by: [model]", "labels are outcome, reaction")]:
        config.write_text(rule.format(field))
        ran = subprocess.run([BINARIES / "driftline", "check", "--config", config], capture_output=True, text=True)
        assert ran.returncode == 64 and said in ran.stderr, ran.stderr


SHIPPED = "data_dir: data\nalerts: {evaluation_interval: 200ms}\n"


def test_bodies_that_give_no_rows_are_told_of_and_few_of_them_only_with_evidence(tmp_path):
    with collector(tmp_path, SHIPPED + "models: [{name: m}]\n") as url:
        few = Sidecar(url, "pod-a")
        # No bodies: nothing to read.
        few.send(3)
        eventually(lambda: httpx.get(f"{url}/api/v1/models/m").json()["requests"] == 3, "they are counted")
        assert "UndecodableBodies" not in firing(url), "three may be chance"
        few.send(20)
        alert = eventually(lambda: firing(url).get("UndecodableBodies"), "twenty are none")
        assert alert["severity"] == "ticket" and alert["runbook_url"].split("?")[0].endswith("/runbooks/undecodable"), alert
        assert {"name": "Not read", "value": "malformed 23 (of the last half hour)"} in alert["facts"], alert["facts"]
        slis = {sli["sli"]: sli for sli in httpx.get(f"{url}/api/v1/models/m").json()["slis"]}
        assert (slis["decoded"]["good"], slis["decoded"]["valid"]) == (0, 23)


def test_a_disk_that_is_nearly_full_is_a_ticket_and_one_that_is_full_a_page(tmp_path):
    # More has to stay free than there is, so that it is full from the beginning.
    config = SHIPPED + "ingest: {min_free_bytes: 100000000000000}\n"
    with collector(tmp_path, config, probe="/livez") as url:
        low = eventually(lambda: firing(url).get("RoomLow"), "it is nearly full")
        assert low["severity"] == "ticket" and low["summary"].startswith("the collector is running out of room (driftline_database_bytes "), low["summary"]
        pod = Sidecar(url, "pod-a")
        for _ in range(3):
            with pytest.raises(httpx.HTTPStatusError, match="503"):
                pod.send(1)
        page = eventually(lambda: firing(url).get("RoomFull"), "senders are told to wait")
        assert page["severity"] == "page" and page["members"][0]["what"] == "reason disk_full", page["members"]
        assert page["summary"] == "the collector has no room, and senders are told to wait: reason disk_full"
        eventually(lambda: firing(url)["RoomLow"]["muted_by"], "one of the two tells")


def test_senders_that_are_turned_away_are_told_of_by_reason(tmp_path):
    config = SHIPPED + "ingest: {tokens: [{name: m, token: {env: TOKEN}, models: [m]}]}\n"
    with collector(tmp_path, config, {"TOKEN": "right"}) as url:
        send = lambda token: httpx.post(f"{url}/v1/exchanges", content=b"x", headers={"authorization": f"Bearer {token}"}).status_code
        assert {send("wrong") for _ in range(19)} == {401}
        assert "SendersRefused" not in firing(url)
        [send("wrong") for _ in range(5)]
        alert = eventually(lambda: firing(url).get("SendersRefused"), "more than twenty were")
        assert [member["what"] for member in alert["members"]] == ["reason unknown_token"], alert["members"]


def test_rows_that_come_late_are_told_of(tmp_path):
    config = SHIPPED + "models: [{name: m, event_time: {column: at, unit: seconds}, windows: {pane: 1h, window: 1h, every: 1h, lateness: 1m, close_when_idle: 1s}}]\n"
    with collector(tmp_path, config) as url:
        rows = lambda at, count: httpx.post(f"{url}/v1/rows?model=m", content="\n".join(json.dumps({"features": {"at": at, "x": 1}, "prediction": 1.0}) for _ in range(count))).raise_for_status()
        day = 1_750_000_000
        rows(day, 200)
        eventually(lambda: metric(url, 'driftline_rows_counted_total{model="m"}') == 200, "they are counted")
        rows(day + 86_400, 1)
        eventually(lambda: metric(url, 'driftline_windows_closed_total{model="m"}') > 0, "a window closed")
        rows(day, 150)
        late = eventually(lambda: firing(url).get("LateRows"), "they are late")
        assert late["labels"] == {"model": "m"} and "driftline_rows_late_total[1h] 150" in facts(late)["Values"]


def test_an_archive_that_is_left_to_somebody_else_and_a_server_without_metadata_are_told_of(tmp_path):
    """The shipped conditions, over times that a test has."""
    rules = f"""
  rules:
    - {{name: MetadataUnreadable, severity: ticket, runbook: metadata-unreadable, when: 'driftline_model_metadata_requests_total{{outcome="failed"}}[10s] >= 2 and driftline_model_metadata_requests_total{{outcome="ok"}}[10s] = 0'}}
"""
    config = f"data_dir: data\nmodels: [{{name: m, metadata: 'http://127.0.0.1:{free_port()}/v2/models/m'}}, {{name: n}}]\nalerts:\n  evaluation_interval: 200ms\n{rules}"
    with collector(tmp_path, config) as url:
        alert = eventually(lambda: firing(url).get("MetadataUnreadable"), "nobody answers", 60)
        assert alert["labels"] == {"model": "m"}
