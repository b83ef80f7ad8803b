"""What people say of alerts: silences, acknowledgements, causes; kept through kill -9, and heard by a strict receiver."""

import contextlib
import email
import email.policy
import http.server
import itertools
import json
import subprocess
import time
from concurrent import futures

import httpx
import pytest
from conftest import BINARIES, collector, eventually, free_port, process, sidecar
from test_alert_delivery import SLOW, serve
from test_explained import Sidecar, firing

# So many seconds after whoever is on call was told, the lead is.
LEAD_AFTER = 8
CONFIGURATION = """
data_dir: data
models: [{name: m, slis: {latency: {below: 500ms}}}]
alerts:
  evaluation_interval: 200ms
  targets:
    oncall: {pagerduty: {url: "http://127.0.0.1:%(port)s/oncall", routing_key: {env: KEY}}}
    lead: {pagerduty: {url: "http://127.0.0.1:%(port)s/lead", routing_key: {env: KEY}}}
  rules:
    - name: LatencySlo
      severity: page
      runbook: latency-slo
      when: {sli: latency, below: 0.9, over: 10s, min_events: 10}
      targets: [oncall]
      escalate: [{after: 8s, to: [lead]}]
      explained_by: [{rule: AvailabilitySlo}]
    - name: AvailabilitySlo
      severity: page
      runbook: availability-slo
      when: {sli: availability, below: 0.9, over: 10s, min_events: 10}
      keep_firing_for: 8s
      targets: [oncall]
"""


class Receiver(http.server.BaseHTTPRequestHandler):
    """Events as PagerDuty documents them: (who was told, what, of which episode)."""

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert event["event_action"] in ("trigger", "acknowledge", "resolve") and len(event["routing_key"]) == 32
        assert event["event_action"] != "trigger" or {"summary", "source", "severity"} <= set(event["payload"])
        self.server.events.append((self.path[1:], event["event_action"], event["dedup_key"].split("-")[0]))
        self.server.payloads.append(event.get("payload"))
        body = json.dumps({"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}).encode()
        self.send_response(202)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(max(self.server.pause, SLOW) if self.server.pause else 0)
        body = b'{"predictions": [0.5]}'
        self.send_response(next(self.server.statuses))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OnCall:
    """A collector, a sidecar and a model; and whoever is on call."""

    def __init__(self, folder, stack, configuration=CONFIGURATION):
        self.folder, self.stack = folder, stack
        self.receiver, self.model = serve(Receiver), serve(Model)
        stack.callback(self.receiver.shutdown)
        stack.callback(self.model.shutdown)
        self.receiver.events, self.receiver.payloads = [], []
        self.model.pause, self.model.statuses = 0.0, itertools.cycle([200])
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.configure(configuration)
        self.start()
        upstream = f"127.0.0.1:{self.model.server_port}"
        self.address, _ = stack.enter_context(sidecar(folder, upstream, self.url, "m"))

    def configure(self, configuration):
        listening = f"listen: 127.0.0.1:{self.port}\npublic_url: {self.url}\n"
        (self.folder / "driftline.yaml").write_text(listening + configuration % {"port": self.receiver.server_port})

    def start(self):
        arguments = [BINARIES / "driftline", "serve", "--config", self.folder / "driftline.yaml"]
        log = self.folder / "collector.log"
        self.child = self.stack.enter_context(process(arguments, log, env={"KEY": "k" * 32}))
        eventually(lambda: httpx.get(f"{self.url}/readyz").status_code == 200, "the collector is ready")

    def kill_and_start(self):
        self.child.kill()
        self.child.wait()
        self.start()

    def ask(self, times):
        """One after another; where the model takes its time, all at once."""
        one = lambda _: httpx.post(f"{self.address}/v1/models/m:predict", json={"instances": [[1.0]]})
        with futures.ThreadPoolExecutor(times if self.model.pause else 1) as callers:
            list(callers.map(one, range(times)))

    def driftline(self, *words):
        arguments = [str(BINARIES / "driftline"), *words]
        environment = {"DRIFTLINE_COLLECTOR": self.url, "USER": "ada"}
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)

    def get(self, path):
        return httpx.get(f"{self.url}/api/v1/{path}").raise_for_status().json()

    def firing(self, rule="LatencySlo"):
        return next((alert for alert in self.get("alerts?state=firing") if alert["rule"] == rule), None)

    def muted(self):
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(line for line in lines if line.startswith('driftline_alerts_muted{rule="LatencySlo"'))[-1] == "1"

    def told(self, *expected):
        def all_are():
            assert self.receiver.events == list(expected), self.receiver.events
            return True

        eventually(all_are, f"told: {expected}")
        self.told_at = time.monotonic()

    def until_the_lead_is_due(self):
        """Waits until the lead would be told, and a little longer."""
        time.sleep(max(0.0, self.told_at + LEAD_AFTER + 1.5 - time.monotonic()))

    def resolves(self, rule="LatencySlo"):
        def is_resolved():
            self.ask(20)
            return self.firing(rule) is None

        self.model.pause, self.model.statuses = 0.0, itertools.cycle([200])
        eventually(is_resolved, "the alert is resolved")


@pytest.fixture
def oncall(tmp_path):
    with contextlib.ExitStack() as stack:
        yield OnCall(tmp_path, stack)


TRIGGER, LEAD, RESOLVE = (("oncall", "trigger", "latencyslo"), ("lead", "trigger", "latencyslo"), ("oncall", "resolve", "latencyslo"))


def test_a_silence_keeps_back_all_but_the_end_also_when_the_collector_is_killed(oncall):
    oncall.model.pause = 0.15
    oncall.ask(12)
    oncall.told(TRIGGER)
    made = oncall.driftline("silence", "add", "--match", "model=m", "--match", "severity=p*", "--for", "1h", "--comment", "new rack")
    assert made.returncode == 0, made.stderr
    eventually(lambda: (oncall.firing() or {}).get("muted_by") == [{"by": "silence", "id": made.stdout.strip()}], "it is muted")
    eventually(oncall.muted, "the metric says so")
    oncall.kill_and_start()
    oncall.ask(12)
    oncall.until_the_lead_is_due()
    assert oncall.receiver.events == [TRIGGER], "the lead is not called while it is muted"
    eventually(oncall.muted, "the metric says so after a restart, too")
    assert oncall.firing()["muted_by"]
    listed = oncall.driftline("silence", "list").stdout
    assert made.stdout.strip() in listed and "model=m severity=p*" in listed and "ada: new rack" in listed
    oncall.resolves()
    oncall.told(TRIGGER, RESOLVE)


def test_what_was_silent_from_the_beginning_is_told_when_the_silence_ends_and_an_acknowledgement_keeps_the_lead_asleep(oncall):
    silence = {"matching": {"rule": "LatencySlo"}, "until": "2999-01-01", "comment": "a test", "author": "ada"}
    assert "366 days" in httpx.post(f"{oncall.url}/api/v1/silences", json=silence).json()["error"]
    made = oncall.driftline("silence", "add", "--match", "rule=LatencySlo", "--for", "1h", "--comment", "a test").stdout.strip()
    oncall.model.pause = 0.15
    oncall.ask(12)
    eventually(oncall.firing, "it fires")
    time.sleep(1.5)
    assert oncall.receiver.events == []
    assert oncall.driftline("silence", "end", made).returncode == 0
    oncall.told(TRIGGER)
    episode = oncall.firing()["id"]
    assert oncall.driftline("acknowledge", episode, "--note", "scaling up").returncode == 0
    oncall.told(TRIGGER, ("oncall", "acknowledge", "latencyslo"))
    again = oncall.driftline("acknowledge", episode, "--by", "bob")
    assert again.returncode == 1 and "ada is on it since" in again.stderr
    oncall.kill_and_start()
    oncall.ask(12)
    oncall.until_the_lead_is_due()
    acknowledged = oncall.get(f"alerts/{episode}")["acknowledged"]
    assert (acknowledged["by"], acknowledged["note"]) == ("ada", "scaling up")
    oncall.resolves()
    oncall.told(TRIGGER, ("oncall", "acknowledge", "latencyslo"), RESOLVE)
    late = httpx.post(f"{oncall.url}/api/v1/alerts/{episode}/acknowledgement", json={"by": "bob"})
    assert late.status_code == 409


def test_nobody_on_it_calls_the_lead_and_a_cause_keeps_back_what_it_explains(oncall):
    # Half of the calls fail, and the others are slow: only answers have a latency that counts.
    oncall.model.pause, oncall.model.statuses = 0.15, itertools.cycle([500, 200])
    oncall.ask(26)
    cause = ("oncall", "trigger", "availabilityslo")
    oncall.told(cause)
    parent = eventually(lambda: oncall.firing("AvailabilitySlo"), "the cause fires")
    eventually(lambda: (oncall.firing() or {}).get("muted_by") == [{"by": "alert", "id": parent["id"]}], "the other is explained")
    assert [alert["rule"] for alert in oncall.get(f"alerts/{parent['id']}")["explains"]] == ["LatencySlo"]
    oncall.model.statuses = itertools.cycle([200])

    def recovers():
        oncall.ask(6)
        return oncall.firing("AvailabilitySlo")["standing"] == "recovering" and oncall.firing()["muted_by"]

    eventually(recovers, "nothing is over any more, and it is no end yet")

    def is_told():
        oncall.ask(6)
        return TRIGGER in oncall.receiver.events

    eventually(is_told, "what is left when the cause is gone is told")
    eventually(lambda: LEAD in oncall.receiver.events, "nobody is on it, so the lead is called")
    oncall.resolves()
    ends = [("lead", "resolve", "latencyslo"), RESOLVE]
    eventually(lambda: sorted(oncall.receiver.events[-2:]) == ends, "both hear of the end")
    assert sorted(oncall.receiver.events) == sorted([cause, ("oncall", "resolve", "availabilityslo"), TRIGGER, LEAD, *ends])


def test_no_page_from_elsewhere_and_nobody_without_a_name_or_a_token_may_silence_anything(oncall):
    silence = {"matching": {"model": "m"}, "until": "2020-01-01T00:00:00Z", "comment": "", "author": "ada"}
    post = lambda headers=None, **more: httpx.post(f"{oncall.url}/api/v1/silences", headers=headers, **more)
    assert post(json=silence).status_code == 400, "it is over"
    silence["until"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert post({"origin": "http://evil.example"}, json=silence).status_code == 403
    assert post({"sec-fetch-site": "cross-site"}, json=silence).status_code == 403
    assert post({"content-type": "text/plain"}, content=json.dumps(silence)).status_code == 415
    assert post(json={**silence, "matching": {}}).status_code == 400
    assert post(json={**silence, "comment": "x" * 20_000}).status_code == 413
    assert "'author' is missing" in post(json={**silence, "author": None}).json()["error"]
    assert post({"origin": oncall.url}, json=silence).status_code == 201
    configuration = (oncall.folder / "driftline.yaml").read_text()
    (oncall.folder / "token").write_text("s3cret")
    (oncall.folder / "looking").write_text("l00king")
    tokens = "{name: night-shift, token: {file: token}}, {name: wall, token: {file: looking}, read_only: true}"
    (oncall.folder / "driftline.yaml").write_text(f"api: {{tokens: [{tokens}]}}\n{configuration}")
    oncall.kill_and_start()
    assert post(json=silence).status_code == 401
    assert post({"authorization": "Bearer l00king"}, json=silence).status_code == 403
    made = post({"authorization": "Bearer s3cret"}, json={**silence, "author": None})
    assert made.status_code == 201 and made.json()["author"] == "night-shift"


def test_maintenance_windows_of_the_configuration_and_those_made_since_keep_back_alike(oncall):
    # One that begins when it ends is a whole day.
    window = "  maintenance: [{name: all-day, matching: {rule: LatencySlo}, from: '00:00', until: '00:00', time_zone: Asia/Kolkata}]\n"
    oncall.configure(CONFIGURATION.replace("  targets:\n", f"{window}  targets:\n", 1))
    oncall.kill_and_start()
    oncall.model.pause = 0.15
    oncall.ask(12)
    by_window = lambda name: eventually(lambda: (oncall.firing() or {}).get("muted_by") == [{"by": "maintenance", "id": name}], f"muted by {name}")
    by_window("all-day")
    kept = oncall.get("maintenance")
    assert [(one["id"], one["name"], one["state"], one["time_zone"], len(one["days"])) for one in kept] == [(None, "all-day", "on", "Asia/Kolkata", 7)]

    new = ["--match", "rule=LatencySlo", "--match", "model=m*", "--from", "00:00", "--until", "00:00", "--comment", "new rack"]
    taken = oncall.driftline("maintenance", "add", "all-day", *new)
    assert taken.returncode == 1 and "there is a maintenance window 'all-day' already" in taken.stderr
    for more, why in ((["--time-zone", "Europe/Bern"], "IANA name"), (["--days", "fri"], "none of monday"), (["--ends-at", "2020-01-01"], "is over")):
        refused = oncall.driftline("maintenance", "add", "rack", *new, *more)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
    made = oncall.driftline("maintenance", "add", "rack", *new, "--ends-at", "2999-01-01")
    assert made.returncode == 0, made.stderr
    identity = made.stdout.strip()
    oncall.configure(CONFIGURATION)
    oncall.kill_and_start()
    by_window("rack")
    listed = oncall.driftline("maintenance", "list").stdout
    assert identity in listed and "rack  model=m* rule=LatencySlo  every day 00:00 to 00:00 (UTC)" in listed and "ada: new rack" in listed
    assert oncall.receiver.events == [], "nobody was told"
    assert oncall.driftline("maintenance", "end", identity).returncode == 0
    oncall.ask(12)
    oncall.told(TRIGGER)
    assert oncall.get("maintenance") == [] and [one["state"] for one in oncall.get("maintenance?state=all")] == ["ended"]
    assert httpx.delete(f"{oncall.url}/api/v1/maintenance/nothing").status_code == 404
    said = [event["text"] for event in oncall.get("events?limit=100") if event["kind"] == "maintenance"]
    assert len(said) == 2 and any(text.startswith("ada makes the maintenance window rack of model=m*") for text in said), said


LATER = """
data_dir: data
models: [{name: m}]
alerts:
  evaluation_interval: 200ms
  targets:
    mailbox: {email: {from: a@example.com, to: [b@example.com], directory: mails}}
  rules:
    - {name: Busy, severity: ticket, runbook: latency-slo, when: "driftline_exchanges_received_total[30s] >= 5", group_by: []}
"""


def test_what_was_muted_says_how_it_is_when_it_is_told(tmp_path):
    mails = lambda: [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in sorted((tmp_path / "mails").glob("busy*.eml"))]
    text = lambda mail: mail.get_body(("plain",)).get_content()
    with collector(tmp_path, LATER) as url:
        silence = {"matching": {"rule": "Busy"}, "comment": "later", "author": "ada"}
        silence["until"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        made = httpx.post(f"{url}/api/v1/silences", json=silence).raise_for_status().json()
        pod = Sidecar(url, "pod-a")
        pod.send(9)
        alert = eventually(lambda: (found := firing(url).get("Busy")) and found["muted_by"] and found, "it fires in silence")
        assert alert["summary"].endswith("(driftline_exchanges_received_total[30s] 9)") and not mails()
        # Told within seconds it would have just begun.
        time.sleep(6)
        pod.send(11)
        received = lambda: [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("driftline_exchanges_received_total")]
        eventually(lambda: sum(float(line.rsplit(" ", 1)[1]) for line in received()) == 20, "more came")
        time.sleep(1)
        httpx.delete(f"{url}/api/v1/silences/{made['id']}").raise_for_status()
        (mail,) = eventually(mails, "it is told")
        assert mail["Subject"].endswith("(driftline_exchanges_received_total[30s] 20)"), mail["Subject"]
        said = text(mail)
        began = alert["started_at"][:19].replace("T", " ")
        assert "Values:   driftline_exchanges_received_total[30s] 20" in said and f"When:     since {began}" in said, said
        assert "Began with:" in said and said.count("driftline_exchanges_received_total[30s] 9") == 1, said
        assert firing(url)["Busy"]["summary"] == alert["summary"], "its page shows what it began with"
        eventually(lambda: len(mails()) == 2, "it is over", 90)
        end = next(mail for mail in mails() if mail["X-Driftline-Status"] == "resolve")
        assert end["Subject"] == f"Re: {mail['Subject']}" and end["In-Reply-To"] == mail["Message-ID"], "one thread"
