"""Targets that are busy, fail, hang, lose their answers and refuse: the real collector against a strict receiver of events."""

import contextlib
import json
import subprocess

import httpx
import pytest
from conftest import BINARIES, collector, eventually, sidecar
from pagerduty import PagerDuty, Wrong, change_of, event_of
from test_alert_delivery import Model, at_once, serve

KEYS = {name: name.ljust(32, "0") for name in ("fine", "busy", "broken", "loses", "hangs", "refuses")}
# Much longer than any delivery may take.
HANGS_FOR = 300.0


def configuration(pagerduty: PagerDuty) -> str:
    target = lambda name: f"    {name}: {{pagerduty: {{url: '{pagerduty.url}', routing_key: {{env: KEY_{name}}}}}, rate: 50 per 1s}}\n"
    return f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 500ms}}}}}}]
alerts:
  evaluation_interval: 200ms
  targets:
{"".join(target(name) for name in KEYS)}
  rules:
    - name: LatencySlo
      severity: page
      runbook: latency-slo
      when: {{sli: latency, below: 0.9, over: 10s, min_events: 10}}
    - name: DeliveryFailure
      severity: page
      runbook: delivery-failure
      when: {{sli: delivery, below: 1, over: 10s, min_events: 1}}
      group_by: [target]
"""


def test_whoever_accepted_a_trigger_gets_one_resolve_whatever_they_answered(tmp_path):
    pagerduty, model = PagerDuty(), serve(Model)
    pagerduty.answers = {
        KEYS["busy"]: [429, 429, 202, 429],
        KEYS["broken"]: [500, 503, 202, 500],
        KEYS["loses"]: ["lose", 202, "lose"],
        KEYS["hangs"]: [HANGS_FOR],
    }
    pagerduty.refused_actions = {(KEYS["refuses"], "resolve")}
    secrets = {f"KEY_{name}": key for name, key in KEYS.items()}
    latency = lambda name: pagerduty.of(KEYS[name], "LatencySlo")
    failure = lambda name: pagerduty.of(KEYS[name], "DeliveryFailure")
    with (
        contextlib.ExitStack() as stack,
        collector(tmp_path, configuration(pagerduty), secrets) as url,
        sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m") as (address, _),
    ):
        stack.callback(pagerduty.shutdown)
        stack.callback(model.shutdown)
        ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
        Model.pause = 0.15
        at_once(ask, 15)
        eventually(lambda: all("trigger" in latency(name) for name in KEYS), "everybody has taken the trigger")
        Model.pause = 0.0

        def over():
            [ask() for _ in range(20)]
            return all("resolve" in latency(name) for name in KEYS if name not in ("hangs", "refuses"))

        eventually(over, "everybody who answers has taken the resolve")
        so_far = latency("hangs")
        assert "resolve" not in so_far or so_far[:2] == ["trigger"] * 2, "it waits for the trigger that nobody knows of"

        # What is refused is kept, and told to the others.
        by = lambda **query: httpx.get(f"{url}/api/v1/deliveries", params=query).raise_for_status().json()
        [dead] = eventually(lambda: by(target="refuses"), "the refused end is a dead letter")
        assert (dead["action"], dead["state"]) == ("resolve", "given_up") and "400" in dead["last_error"]
        eventually(lambda: all(failure(name) == ["trigger"] for name in ("fine", "busy", "broken", "loses")), "others are told")
        assert failure("refuses") == []
        told = next(event for event in pagerduty.events if event["event_action"] == "trigger" and "refuses" in event["payload"]["summary"])
        assert "400" in told["payload"]["custom_details"]["Last error"]
        assert httpx.get(told["links"][0]["href"]).text.count(told["dedup_key"]) >= 1
        metrics = lambda: httpx.get(f"{url}/metrics").text
        eventually(lambda: 'driftline_notifications_dead_letters{target="refuses"} 1' in metrics(), "it is counted")
        assert 'driftline_target_failing{target="refuses"} 0' in metrics(), "it answers"

        # Once it takes it, it is sent again, and the trouble is over.
        pagerduty.refused_actions = set()
        command = [BINARIES / "driftline", "deliveries", "resend", "--collector", url, "--target", "refuses"]
        assert "pending" in subprocess.run(command, capture_output=True, text=True, check=True).stderr
        eventually(lambda: latency("refuses") == ["trigger", "resolve"], "the end arrives")
        eventually(lambda: failure("fine") == ["trigger", "resolve"], "the trouble is over")
        again = httpx.post(f"{url}/api/v1/deliveries/{dead['id']}/resend")
        assert again.status_code == 409 and "is delivered" in again.json()["error"]
        eventually(lambda: "resolve" in latency("hangs"), "what was in doubt was sent again, and ended")
        eventually(lambda: not by(state="pending"), "all is said")
    assert pagerduty.wrong == []
    assert set(map(tuple, pagerduty.incidents().values())) == {("opened", "resolved")}, "each began once, and ended once"
    assert latency("hangs") == ["trigger", "trigger", "resolve"] and latency("loses")[:2] == ["trigger", "trigger"]
    assert all(latency(name).count("resolve") == 1 for name in KEYS if name != "loses")


def changes_told(pagerduty: PagerDuty, name: str) -> list[str]:
    with pagerduty.lock:
        return [change["payload"]["summary"] for change in pagerduty.changes if change["routing_key"] == KEYS[name]]


def test_changes_are_told_once_whatever_became_of_the_first_tries_and_of_the_collector(tmp_path):
    pagerduty = PagerDuty()
    pagerduty.answers = {KEYS["busy"]: [429, 429], KEYS["refuses"]: [400]}
    secrets = {f"KEY_{name}": key for name, key in KEYS.items()}
    kinds = {"fine": "[version, configuration], models: [m]", "busy": "[version]", "refuses": "[version], models: [m]"}
    target = lambda name, more: f"    {name}: {{pagerduty: {{url: '{pagerduty.url}', routing_key: {{env: KEY_{name}}}{more}}}, rate: 50 per 1s}}\n"
    targets = "".join(target(name, f", changes: {{kinds: {kinds[name]}}}") for name in kinds) + target("hangs", "")
    before = f"data_dir: data\nmodels: [{{name: m}}]\nalerts:\n  targets:\n{targets}"
    told = lambda name: changes_told(pagerduty, name)
    rows = lambda url, model, version: httpx.post(
        f"{url}/v1/rows",
        params={"model": model, "version": version, "instance": "app"},
        content=json.dumps({"features": {"x": 1}, "prediction": 2, "id": version}),
    ).raise_for_status()
    with contextlib.ExitStack() as stack:
        stack.callback(pagerduty.shutdown)
        with collector(tmp_path, before, secrets) as url:
            rows(url, "m", "1")
            rows(url, "n", "9")
            eventually(lambda: told("fine") == ["m: version 1 was seen first"], "the change is told")
            eventually(lambda: sorted(told("busy")) == ["m: version 1 was seen first", "n: version 9 was seen first"], "it is told later")
            [dead] = eventually(lambda: httpx.get(f"{url}/api/v1/deliveries").json(), "what is refused is a dead letter")
            assert (dead["target"], dead["action"], dead["episode"]) == ("refuses", "change", "")
            assert dead["summary"] == "m: version 1 was seen first"
            httpx.post(f"{url}/api/v1/deliveries/{dead['id']}/resend").raise_for_status()
            eventually(lambda: told("refuses") == ["m: version 1 was seen first"], "it is sent again")
            page = next(change for change in pagerduty.changes if change["routing_key"] == KEYS["fine"])["links"][0]["href"]
            assert page.endswith("/models/m") and httpx.get(page).status_code == 200
        with collector(tmp_path, f"{before}  repeat: 4h\n", secrets) as url:
            rows(url, "m", "2")
            expected = ["m: version 1 was seen first", "the collector's configuration was changed", "m: version 2 was seen first"]
            eventually(lambda: told("fine") == expected, "the restart told nothing twice, and what was changed since")
    assert pagerduty.wrong == [] and told("hangs") == [] and pagerduty.events == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"routing_key": "short"},
        {"event_action": "trigger"},
        {"payload": {"summary": "", "source": "s", "timestamp": "2026-01-01T00:00:00Z"}},
        {"payload": {"summary": "s", "source": "s", "timestamp": "yesterday"}},
        {"payload": {"summary": "s", "severity": "info", "timestamp": "2026-01-01T00:00:00Z"}},
        {"payload": {"summary": "s", "timestamp": "2026-01-01T00:00:00Z", "custom_details": "none"}},
        {"links": []},
    ],
)
def test_the_receiver_is_strict_about_changes(wrong):
    change = {"routing_key": "k" * 32, "payload": {"summary": "s", "source": "s", "timestamp": "2026-01-01T00:00:00Z"}}
    change_of(json.dumps(change).encode())
    with pytest.raises(Wrong):
        change_of(json.dumps(change | wrong).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"routing_key": "short"},
        {"event_action": "close"},
        {"dedup_key": "d" * 256},
        {"payload": {"summary": "s" * 1025, "source": "s", "severity": "info"}},
        {"payload": {"summary": "s", "source": "s", "severity": "page"}},
        {"payload": {"summary": "s", "severity": "info"}},
        {"payload": {"summary": "s", "source": "s", "severity": "info", "custom_details": "no object"}},
        {"payload": {"summary": "s", "source": "s", "severity": "info", "timestamp": "yesterday"}},
        {"links": []},
        {"images": [{"src": "http://plain"}]},
        {"more": 1},
        {"payload": {"summary": "s", "source": "s", "severity": "info", "custom_details": {"much": "x" * 512_000}}},
    ],
)
def test_the_receiver_is_strict(change):
    event = {
        "routing_key": "k" * 32,
        "event_action": "trigger",
        "dedup_key": "d" * 255,
        "payload": {"summary": "s" * 1024, "source": "s", "severity": "info"},
    }
    event_of(json.dumps(event).encode())
    with pytest.raises(Wrong):
        event_of(json.dumps(event | change).encode())
