"""What an alert says besides its value, to whoever is told and on its page: whom it concerns, what was changed; and what was done since."""

import contextlib
import os
import re
import shlex
import subprocess

import httpx
import pytest
import scipy.stats
from conftest import BINARIES, eventually
from test_silences import CONFIGURATION, TRIGGER, OnCall


@pytest.fixture
def oncall(tmp_path):
    with contextlib.ExitStack() as stack:
        yield OnCall(tmp_path, stack)


def test_an_alert_says_whom_it_concerns_and_what_was_changed_and_its_steps_are_ticked_off(oncall):
    oncall.ask(1)
    eventually(lambda: oncall.get("models"), "the model is known")
    oncall.configure(CONFIGURATION.replace("min_events: 10", "min_events: 11"))
    oncall.kill_and_start()
    oncall.model.pause = 0.15
    oncall.ask(14)
    oncall.told(TRIGGER)
    episode = oncall.firing()["id"]
    facts = {fact["name"]: fact["value"] for fact in oncall.get(f"alerts/{episode}")["facts"]}
    bad, valid = (int(number) for number in facts["Affected"].removesuffix(" requests in 10s").split(" of "))
    assert 11 <= valid <= 15 and 0 < bad <= valid, facts
    # Nobody but these has asked: LatencyBudget, which ships, has its objective of 99% on the same indicator.
    left = re.fullmatch(r"(-?[\d.,]+)% left over 30 days: (\d+) of 0\.\d+ bad events that it allows are spent \(LatencyBudget\)", facts["Budget"])
    assert left and int(left[2]) >= bad and float(left[1].replace(",", "")) < -100, facts
    chance = re.fullmatch(rf"{bad} bad ones or more of {valid} come by chance with a probability of ([\d.e-]+) where 90% are good, if each is bad on its own", facts["Confidence"])
    assert chance and float(chance[1]) == pytest.approx(scipy.stats.binom.sf(bad - 1, valid, 0.1), rel=5e-3), facts
    changed = facts["Changed before"]
    assert "the collector's configuration was changed, less than a minute before" in changed
    assert "began to send" in changed and "version unversioned was seen first" in changed

    steps = oncall.get(f"alerts/{episode}")["steps"]
    assert steps[0]["id"] == "first-five-minutes-1" and not steps[0]["done"]
    tick = lambda step, **said: httpx.post(f"{oncall.url}/api/v1/alerts/{episode}/steps/{step}", json=said)
    assert tick("first-five-minutes-1", done=True).status_code == 400, "whoever it was has a name"
    assert tick("nothing-1", done=True, by="ada").status_code == 404
    assert tick("mitigate-1", done=True, by="ada", note="pod 7 | gone").status_code == 200
    assert tick("first-five-minutes-1", done=True, by="ada").status_code == 200
    assert tick("first-five-minutes-1", done=False, by="bob").status_code == 200
    oncall.kill_and_start()
    detail = oncall.get(f"alerts/{episode}")
    done = {step["id"]: step["tick"]["by"] for step in detail["steps"] if step["done"]}
    assert done == {"mitigate-1": "ada"} and len(detail["ticks"]) == 3
    mitigation = next(step["text"] for step in detail["steps"] if step["id"] == "mitigate-1")
    draft = httpx.get(f"{oncall.url}/api/v1/alerts/{episode}/postmortem").text
    lines = [line.split(" | ", 1)[1] for line in draft.splitlines() if line.startswith("| 20")]
    expected = [
        "the collector's configuration was changed |",
        f"ada: done: {mitigation}: pod 7 \\| gone |",
        f"bob: not done after all: {steps[0]['text']} |",
    ]
    assert [line for line in lines if line in expected] == expected, draft
    assert f"When it began: {facts['Affected']}." in draft


def test_an_alert_says_how_its_rows_are_pulled_and_where_its_dashboard_is(oncall):
    links = "  links: {dashboard: 'https://grafana.test/d/x?model={{ model }}&rule={{ rule }}&from={{ from_ms }}&to={{ to_ms }}'}\n"
    archive = "archive: {max_age: 1s}\n"
    oncall.configure(archive + CONFIGURATION.replace("  targets:\n", f"{links}  targets:\n", 1))
    oncall.kill_and_start()
    oncall.ask(3)
    oncall.model.pause = 0.15
    oncall.ask(14)
    oncall.told(TRIGGER)
    alert = oncall.get(f"alerts/{oncall.firing()['id']}")
    facts = {fact["name"]: fact["value"] for fact in alert["facts"]}
    assert alert["dashboard_url"].startswith("https://grafana.test/d/x?model=m&rule=LatencySlo&from=1")
    assert oncall.receiver.payloads[0]["custom_details"]["Rows"] == facts["Rows"]

    command = shlex.split(facts["Rows"])
    assert command[:2] == ["driftline", "samples"] and "--where" in command
    environment = {**os.environ, "DRIFTLINE_CONFIG": str(oncall.folder / "driftline.yaml"), "KEY": "k" * 32}

    def slow_rows():
        ran = subprocess.run([BINARIES / "driftline", *command[1:]], env=environment, cwd=oncall.folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        head, *rows = ran.stdout.splitlines()
        latency = head.split(",").index("latency_ms")
        return [float(row.split(",")[latency]) for row in rows]

    bad = int(facts["Affected"].split(" of ")[0])
    found = eventually(lambda: len(rows := slow_rows()) >= bad and rows, "the rows are archived")
    assert min(found) > 500, "only what was too slow"
