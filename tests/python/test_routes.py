"""Routes and schedules: who is told of what at which hours, through a restart, and what the command says of it beforehand."""

import contextlib
import datetime
import itertools
import json
import subprocess

import httpx
import pytest
from conftest import BINARIES, eventually
from test_silences import OnCall

# `later` begins in twelve hours by the clocks of a place that has no summer time.
CLOCK = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
LATER = [(CLOCK + datetime.timedelta(hours=hours)).strftime("%H:%M") for hours in (12, 13)]
CONFIGURATION = f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 500ms}}}}}}]
alerts:
  evaluation_interval: 200ms
  targets:
    oncall: {{pagerduty: {{url: "http://127.0.0.1:%(port)s/oncall", routing_key: {{env: KEY}}}}}}
    desk: {{pagerduty: {{url: "http://127.0.0.1:%(port)s/desk", routing_key: {{env: KEY}}}}}}
    team: {{pagerduty: {{url: "http://127.0.0.1:%(port)s/team", routing_key: {{env: KEY}}}}}}
    rest: {{pagerduty: {{url: "http://127.0.0.1:%(port)s/rest", routing_key: {{env: KEY}}}}}}
  schedules:
    later: {{hours: [{{from: "{LATER[0]}", until: "{LATER[1]}"}}], time_zone: Asia/Kolkata}}
  routes:
    - {{matching: [severity=page], during: later, targets: [desk]}}
    - {{matching: [severity=page, model=~m|n], targets: [oncall], continue: true}}
    - {{matching: [severity!=page], wait_for: later, targets: [team]}}
    - {{targets: [rest]}}
  rules:
    - {{name: LatencySlo, severity: page, runbook: latency-slo, when: {{sli: latency, below: 0.9, over: 10s, min_events: 10}}}}
    - {{name: AvailabilitySlo, severity: ticket, runbook: availability-slo, when: {{sli: availability, below: 0.9, over: 10s, min_events: 10}}}}
"""


@pytest.fixture
def oncall(tmp_path):
    with contextlib.ExitStack() as stack:
        yield OnCall(tmp_path, stack, CONFIGURATION)


def routes(oncall, *words):
    arguments = [BINARIES / "driftline", "routes", "test", "--config", oncall.folder / "driftline.yaml", *words]
    return subprocess.run(arguments, capture_output=True, text=True)


def test_a_page_goes_its_ways_at_once_and_a_ticket_waits_for_its_hours_and_each_hears_of_its_end(oncall):
    said = json.loads(routes(oncall, "rule=LatencySlo", "model=m", "--json").stdout)
    assert (said["routes"], said["now"], said["later"]) == ([2, 4], ["oncall", "rest"], [])
    said = routes(oncall, "severity=ticket", "model=m")
    assert said.returncode == 0 and "by route 3: severity!=page\n" in said.stdout and "team, who waits for later" in said.stdout
    assert routes(oncall, "model=m").returncode == 64 and routes(oncall, "rule=Nothing").returncode == 64

    oncall.model.pause = 0.15
    oncall.ask(12)
    eventually(lambda: len(oncall.receiver.events) == 2, "two are told of the page")
    page = [(who, "trigger", "latencyslo") for who in ("oncall", "rest")]
    assert sorted(oncall.receiver.events) == page
    # Half of the calls fail now: that is a ticket; and those that are answered are in time again.
    oncall.model.pause, oncall.model.statuses = 0.0, itertools.cycle([500, 200])
    oncall.ask(25)
    waits = [{"by": "schedule", "id": "later"}]
    eventually(lambda: oncall.firing("AvailabilitySlo"), "the ticket begins")
    eventually(lambda: oncall.firing("AvailabilitySlo")["muted_by"] == waits, "nobody is told of it yet")
    (waiting,) = oncall.get(f"alerts/{oncall.firing('AvailabilitySlo')['id']}")["waiting"]
    assert (waiting["target"], waiting["schedule"]) == ("team", "later")
    assert datetime.datetime.fromisoformat(waiting["at"]).astimezone(CLOCK.tzinfo).strftime("%H:%M") == LATER[0]
    ends = page + [(who, "resolve", "latencyslo") for who in ("oncall", "rest")]

    def page_ends():
        oncall.ask(5)
        return sorted(oncall.receiver.events) == sorted(ends)

    eventually(page_ends, "who was told of the page hears of its end")

    # By a schedule that is on, the hour has come.
    oncall.configure(CONFIGURATION.replace(f'from: "{LATER[0]}", until: "{LATER[1]}"', "from: 00:00, until: 00:00"))
    oncall.kill_and_start()

    def team_is_told():
        oncall.ask(5)
        return ("team", "trigger", "availabilityslo") in oncall.receiver.events

    eventually(team_is_told, "the team is told when its hours begin")
    oncall.resolves("AvailabilitySlo")
    of_the_ticket = lambda: [event for event in oncall.receiver.events if event[2] == "availabilityslo"]
    told = [("team", "trigger", "availabilityslo"), ("team", "resolve", "availabilityslo")]
    eventually(lambda: of_the_ticket() == told, f"and of its end: {oncall.receiver.events}")


STAGING = """  routes:
    - {matching: [severity=page, model=m], severity: ticket, continue: true}
    - {matching: [severity=page], targets: [oncall]}
    - {targets: [team]}
"""


def test_a_page_of_staging_is_a_ticket_from_its_beginning_to_its_end(oncall):
    before, after = CONFIGURATION.split("  routes:\n")
    rules = after[after.index("  rules:"):]
    oncall.configure(before + STAGING + rules)
    oncall.kill_and_start()
    said = routes(oncall, "rule=LatencySlo", "model=m")
    assert "by route 1: severity=page, model=m: severity ticket\n" in said.stdout and "as ticket, which was page\n" in said.stdout
    assert json.loads(routes(oncall, "rule=LatencySlo", "model=m", "--json").stdout)["severity"] == "ticket"
    said = json.loads(routes(oncall, "rule=LatencySlo", "model=other", "--json").stdout)
    assert (said["severity"], said["now"]) == ("page", ["oncall"])

    oncall.model.pause = 0.15
    oncall.ask(12)
    alert = eventually(lambda: oncall.firing("LatencySlo"), "the alert begins")
    assert alert["severity"] == "ticket"
    facts = {fact["name"]: fact["value"] for fact in oncall.get(f"alerts/{alert['id']}")["facts"]}
    assert facts["Severity"] == "ticket by a route; the rule says page"
    eventually(lambda: oncall.receiver.events == [("team", "trigger", "latencyslo")], "it is told")
    assert oncall.receiver.payloads[0]["severity"] == "warning"
    shown = lambda severity: f'driftline_alerts_firing{{rule="LatencySlo",severity="{severity}"}}'
    metrics = lambda: httpx.get(f"{oncall.url}/metrics").text
    eventually(lambda: f"{shown('ticket')} 1" in metrics() and f"{shown('page')} 0" in metrics(), "it is shown")

    # What has begun stays as it is, whatever the routes say by then; and a silence of tickets is about it.
    oncall.configure(before + STAGING.replace("severity: ticket", "severity: info") + rules)
    oncall.kill_and_start()
    silenced = oncall.driftline("silence", "add", "--match", "severity=ticket", "--for", "1h", "--comment", "a test")
    assert silenced.returncode == 0, silenced.stderr
    eventually(lambda: oncall.firing("LatencySlo")["muted_by"], "it is silenced as a ticket")
    assert oncall.firing("LatencySlo")["severity"] == "ticket"
    eventually(lambda: f"{shown('ticket')} 1" in metrics(), "it is shown as one")
    oncall.resolves("LatencySlo")
    eventually(lambda: oncall.receiver.events[-1] == ("team", "resolve", "latencyslo"), "its end is told")
    eventually(lambda: f"{shown('ticket')} 1" not in metrics(), "it is shown no more")
    assert all(who == "team" for who, _, _ in oncall.receiver.events)


def test_routes_by_which_something_would_reach_nobody_are_refused(oncall):
    oncall.configure(CONFIGURATION.replace("    - {targets: [rest]}\n", ""))
    checked = subprocess.run([BINARIES / "driftline", "check", "--config", oncall.folder / "driftline.yaml"], capture_output=True, text=True)
    assert checked.returncode == 64
    # A ticket waits, and is told; a page of another model would be lost.
    assert "alerts of the rule LatencySlo may reach nobody" in checked.stderr
    assert "AvailabilitySlo may" not in checked.stderr
