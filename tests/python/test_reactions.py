"""Drift that persists starts one run, on right data and once somebody approved: schedulers that are as strict as theirs, and kill -9."""

import contextlib
import csv
import hashlib
import hmac
import html.parser
import http.server
import json
import random
import re
import subprocess
import threading
import time

import httpx
import pytest
from cloudevents.http import from_http
from conftest import BINARIES, eventually, free_port, process
from published_requests import CLOUD_EVENT, DATABRICKS_RUN_NOW, GITHUB_DISPATCH, wrong
from test_alert_delivery import serve

CONFIGURATION = """
data_dir: data
archive: {max_age: 1s}
api: {tokens: [{name: ada, token: {env: TOKEN}}]}
models:
  - name: flights
    reference: reference.json
    event_time: {column: at}
    windows: {pane: 1d, window: 1d, every: 1d, lateness: 0s}
alerts:
  evaluation_interval: 200ms
  targets: {team: {webhook: {url: {env: TEAM}}}}
  reactions:
"""
ENVIRONMENT = {"TOKEN": "s3cret", "LINKS": "l1nks", "PASSWORD": "pa55", "GITHUB": "gh", "BRICKS": "dapi", "KEY": "signing"}
RETRAIN = """
    retrain:
      when: {rule: FeatureDrift, model: fl*, column: x}
      after: 1s
      approval: {signing_key: {env: LINKS}, within: 10m}
      airflow: {url: "http://127.0.0.1:%(port)s", dag: retrain_flights, version: 3, user: driftline, password: {env: PASSWORD}}
"""
OTHERS = """
    dispatch:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      github: {url: "http://127.0.0.1:%(port)s", repository: acme/models, event_type: retrain, token: {env: GITHUB}}
    lost:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      github: {url: "http://127.0.0.1:%(port)s/lost", repository: acme/models, event_type: retrain, token: {env: GITHUB}}
    nowhere:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      github: {url: "http://127.0.0.1:1", repository: acme/models, event_type: retrain, token: {env: GITHUB}}
    job:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      databricks: {url: "http://127.0.0.1:%(port)s", job: 7, parameter: driftline, token: {env: BRICKS}}
    event:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      webhook: {url: {env: EVENTS}, signing_key: {env: KEY}}
    asked:
      when: {rule: FeatureDrift}
      after: 1s
      webhook: {url: {env: EVENTS}}
    of-others:
      when: {rule: FeatureDrift, model: taxis}
      after: 1s
      approval: {required: false}
      webhook: {url: {env: EVENTS}}
"""


class Schedulers(http.server.BaseHTTPRequestHandler):
    """Airflow 3, GitHub, Databricks, a receiver of CloudEvents, and a team that is told."""

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        name = {"auth": "token", "api": "airflow" if "/dags/" in self.path else "databricks"}
        part = self.path.split("/")[1]
        what = name.get(part, part)
        self.server.heard.append((what, self.path, json.loads(raw)))
        if what == "lost":
            # It has the event, and its answer is lost.
            self.close_connection = True
            return
        status, answer = getattr(self, what)(raw, json.loads(raw))
        self.server.hold(what)
        answer = json.dumps(answer).encode() if answer is not None else b""
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def token(self, raw, body):
        if body != {"username": "driftline", "password": "pa55"}:
            return 401, {"detail": "Invalid credentials"}
        return 201, {"access_token": "jwt"}

    def airflow(self, raw, body):
        assert self.path == "/api/v2/dags/retrain_flights/dagRuns"
        if self.headers["authorization"] != "Bearer jwt":
            return 401, {"detail": "Invalid JWT token"}
        known = {"dag_run_id", "data_interval_start", "data_interval_end", "logical_date", "run_after", "conf", "note", "partition_key"}
        if "logical_date" not in body or not body.keys() <= known:
            return 422, {"detail": [{"type": "missing" if "logical_date" not in body else "extra_forbidden"}]}
        run = body["dag_run_id"]
        assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", run) and len(body["note"]) <= 1000 and isinstance(body["conf"], dict)
        if run in self.server.runs:
            return 409, {"detail": {"reason": "Unique constraint violation"}}
        self.server.runs.append(run)
        return 200, {"dag_run_id": run, "dag_id": "retrain_flights", "state": "queued"}

    def repos(self, raw, body):
        assert self.path == "/repos/acme/models/dispatches" and self.headers["user-agent"]
        assert self.headers["authorization"] == "Bearer gh" and self.headers["accept"] == "application/vnd.github+json"
        if said := wrong(body, GITHUB_DISPATCH):
            return 422, {"message": f"Invalid request. {said}"}
        return 204, None

    def databricks(self, raw, body):
        assert self.path == "/api/2.1/jobs/run-now" and self.headers["authorization"] == "Bearer dapi"
        if said := wrong(body, DATABRICKS_RUN_NOW):
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": said}
        assert body.keys() == {"job_id", "idempotency_token", "job_parameters"}
        first = not any(what == "databricks" for what, _, _ in self.server.heard[:-1])
        return (429, {"error_code": "REQUEST_LIMIT_EXCEEDED"}) if first else (200, {"run_id": 455644833, "number_in_job": 1})

    def events(self, raw, body):
        event = from_http({name.lower(): value for name, value in self.headers.items()}, raw)
        assert self.headers["content-type"] == "application/cloudevents+json" and event["specversion"] == "1.0"
        assert wrong(body, CLOUD_EVENT) is None, wrong(body, CLOUD_EVENT)
        assert self.headers["idempotency-key"] == event["id"] and event.get_data() == body["data"]
        said = dict(part.split("=", 1) for part in self.headers["x-driftline-signature"].split(","))
        expected = hmac.new(b"signing", said["t"].encode() + b"." + raw, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(expected, said["v1"])
        first = not any(what == "events" for what, _, _ in self.server.heard[:-1])
        return (500, None) if first else (200, {"id": "workflow-1"})

    def team(self, raw, body):
        return 200, None

    def log_message(self, *_):
        pass


class Form(html.parser.HTMLParser):
    """The fields and buttons of a page's form."""

    def __init__(self, page):
        super().__init__()
        self.method, self.names = None, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "form":
            self.method = found["method"]
        if tag in ("input", "button"):
            self.names.append((found["name"], found.get("value")))


class Watched:
    """A collector that watches a model whose column x drifts, and the schedulers around it."""

    def __init__(self, folder, stack, reactions):
        self.folder, self.stack, self.day = folder, stack, 0
        self.server = serve(Schedulers)
        stack.callback(self.server.shutdown)
        self.server.heard, self.server.runs, self.held = [], [], set()
        self.released = threading.Event()
        self.server.hold = lambda what: what in self.held and self.released.wait(300)
        stack.callback(self.released.set)
        self.random = random.Random(7)
        with open(folder / "reference.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["x", "z"])
            # A column that no row of the reference lacks is a matter of SchemaChange.
            writer.writerows([self.random.gauss(0, 1), self.random.gauss(0, 1) if row % 100 else ""] for row in range(2000))
        build = "reference build --model flights --column x,z --output reference.json reference.csv"
        subprocess.run([BINARIES / "driftline", *build.split()], cwd=folder, check=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        listening = f"listen: 127.0.0.1:{self.port}\npublic_url: {self.url}\n"
        (folder / "driftline.yaml").write_text(listening + CONFIGURATION + reactions % {"port": self.server.server_port})
        self.start()
        self.ready()

    def start(self, failpoint=None):
        arguments = [BINARIES / "driftline", "serve", "--config", self.folder / "driftline.yaml"]
        there = f"http://127.0.0.1:{self.server.server_port}"
        environment = {**ENVIRONMENT, "TEAM": f"{there}/team", "EVENTS": f"{there}/events"}
        environment |= {"DRIFTLINE_FAILPOINT": failpoint} if failpoint else {}
        self.child = self.stack.enter_context(process(arguments, self.folder / "collector.log", env=environment))

    def ready(self):
        eventually(lambda: httpx.get(f"{self.url}/readyz").status_code == 200, "the collector is ready")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def days(self, count, missing=False):
        """Days of rows, and the first of the next one, so that their windows close."""
        for day in range(self.day, self.day + count + 1):
            rows = 400 if day < self.day + count else 1
            lines = []
            for row in range(rows):
                at = f"2024-01-{day + 1:02}T{row * 24 // rows:02}:00:00Z"
                z = None if missing and row % 2 else self.random.gauss(0, 1)
                lines.append(json.dumps({"features": {"x": self.random.gauss(3, 1), "z": z, "at": at}}))
            httpx.post(f"{self.url}/v1/rows?model=flights", content="\n".join(lines), timeout=30).raise_for_status()
        self.day += count

    def api(self, method, path, **more):
        return httpx.request(method, f"{self.url}/api/v1/{path}", headers={"authorization": "Bearer s3cret"}, **more)

    def get(self, path):
        return self.api("GET", path).raise_for_status().json()

    def drift(self):
        """The alert in full."""
        alerts = self.get("alerts?state=firing")
        return next((self.get(f"alerts/{alert['id']}") for alert in alerts if alert["rule"] == "FeatureDrift"), None)

    def reaction(self, name="retrain"):
        alert = self.drift()
        assert alert, "it does not fire yet"
        found = [reaction for reaction in alert["reactions"] if reaction["reaction"] == name]
        assert found, alert["reactions"]
        return found[0]

    def heard(self, what):
        return [body for heard, _, body in self.server.heard if heard == what]

    def driftline(self, *words):
        environment = {"DRIFTLINE_COLLECTOR": self.url, "DRIFTLINE_TOKEN": "s3cret", "USER": "bob"}
        return subprocess.run([str(BINARIES / "driftline"), *words], env=environment, capture_output=True, text=True, timeout=120)

    def counted(self):
        lines = httpx.get(f"{self.url}/metrics", headers={"authorization": "Bearer s3cret"}).text.splitlines()
        pattern = re.compile(r'driftline_reactions_total{outcome="(\w+)",reaction="([\w-]+)"} (\d+)')
        return {(found[2], found[1]): int(found[3]) for found in map(pattern.match, lines) if found}


@pytest.fixture
def watched(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda reactions: Watched(tmp_path, stack, reactions)


def test_drift_that_persists_starts_one_run_on_right_data_by_a_signed_link_and_through_crashes(watched):
    one = watched(RETRAIN)
    one.days(3, missing=True)
    eventually(lambda: "the data is wrong: MissingValues" in one.reaction()["why"], "missing values of z hold it back")
    time.sleep(1.5)
    assert one.reaction()["state"] == "waiting" and not one.heard("airflow")
    one.days(3)
    eventually(lambda: one.reaction()["state"] == "asked", "the data is right, and the drift persists")

    def link():
        told = [alert["annotations"]["description"] for body in one.heard("team") for alert in body["alerts"]]
        found = [re.search(r"Waits for approval: retrain: by .*: (http\S+)", text) for text in told]
        return next((match[1] for match in found if match), None)

    address = eventually(link, "whoever was told of the alert is sent the link")
    assert address not in json.dumps(one.drift()), "who may only look does not get it"
    for _ in range(2):
        page = httpx.get(address)
        form = Form(page.text)
        assert page.status_code == 200 and form.method == "post" and "no-store" in page.headers["cache-control"]
        assert form.names == [("by", None), ("note", None), ("decision", "approve"), ("decision", "decline")]
        assert "form-action 'self'" in page.headers["content-security-policy"]
    assert one.reaction()["state"] == "asked", "looking decides nothing"
    said = {"decision": "approve", "by": "ada", "note": "new fleet"}
    changed = address[:-1] + ("0" if address[-1] != "0" else "1")
    assert httpx.post(changed, data=said).status_code == 403
    assert httpx.post(re.sub(r"expires=\d+", "expires=99999999999", address), data=said).status_code == 403
    assert httpx.post(address, data={**said, "by": " "}).status_code == 400
    assert one.api("POST", f"reactions/{one.reaction()['id']}/result", json={"state": "succeeded"}).status_code == 409
    assert httpx.get(f"{one.url}/api/v1/reactions").status_code == 401

    one.kill()
    one.start("start_recorded:1")
    one.ready()
    with contextlib.suppress(httpx.TransportError):
        assert "ada approved" in httpx.post(address, data=said).text
    assert one.child.wait(120) != 0 and not one.heard("airflow"), "it ended before it asked"
    one.start("start_answered:1")
    assert one.child.wait(120) != 0 and len(one.server.runs) == 1, "it ended before it knew"
    one.start()
    one.ready()
    assert httpx.post(address, data={**said, "decision": "decline"}).status_code == 409
    started = eventually(lambda: (found := one.reaction())["state"] == "started" and found, "it is started")
    assert one.server.runs == [started["reference"]], "one run, however often it was asked for"
    assert len(one.heard("airflow")) == 2 and len({body["dag_run_id"] for body in one.heard("airflow")}) == 1
    conf = one.heard("airflow")[0]["conf"]
    assert conf["labels"]["model"] == "flights" and conf["approved_by"] == "ada" and conf["rule"] == "FeatureDrift"

    result = conf["result_url"].removeprefix(f"{one.url}/api/v1/")
    for state in ("running", "succeeded", "succeeded"):
        assert one.api("POST", result, json={"state": state, "note": "v43"}).status_code == 200
    assert one.api("POST", result, json={"state": "failed"}).status_code == 409
    assert one.api("POST", result, json={"state": "done"}).status_code == 422
    assert (one.reaction()["result"]["state"], one.reaction()["result"]["note"]) == ("succeeded", "v43")
    eventually(lambda: one.counted()["retrain", "started"] == one.counted()["retrain", "job_succeeded"] == 1, "both are counted, once")
    draft = one.api("GET", f"alerts/{one.drift()['id']}/postmortem").text
    for line in ("approved by ada: new fleet", f"started as run {started['reference']}", "the job reports 'succeeded': v43"):
        assert line in draft, draft
    assert draft.count("started as run") == 1
    one.days(2)
    time.sleep(1.5)
    assert len(one.server.runs) == 1, "the drift goes on, and is an answered one"
    one.days(3, missing=True)

    def later():
        alerts = [alert["id"] for alert in one.get("alerts?state=firing") if alert["rule"] == "MissingValues"]
        facts = one.get(f"alerts/{alerts[0]}")["facts"] if alerts else []
        return next((fact["value"] for fact in facts if fact["name"] == "Changed before"), None)

    changed = eventually(later, "another alert begins")
    assert f"the reaction retrain was started as run {started['reference']}, " in changed


def test_every_scheduler_is_asked_as_it_is_documented_and_github_never_twice(watched):
    one = watched(OTHERS)
    one.held.add("repos")
    one.days(3)
    eventually(lambda: one.heard("repos"), "GitHub has the event, and has not answered")
    eventually(lambda: one.reaction("job")["state"] == "started", "Databricks has the run")
    assert one.reaction("job")["reference"] == "455644833" and one.reaction("job")["attempts"] == 2
    tokens = [body["idempotency_token"] for body in one.heard("databricks")]
    assert len(tokens) == 2 and len(set(tokens)) == 1
    told = json.loads(one.heard("databricks")[0]["job_parameters"]["driftline"])
    assert told["labels"]["model"] == "flights" and told["approved_by"] is None
    eventually(lambda: one.reaction("event")["reference"] == "workflow-1", "the webhook has the event")
    events = one.heard("events")
    assert len(events) == 2 and events[0] == events[1] and events[0]["data"]["reaction"] == "event"

    one.kill()
    one.held.clear()
    one.released.set()
    one.start()
    one.ready()
    lost = eventually(lambda: (found := one.reaction("dispatch"))["state"] == "unknown" and found, "nobody knows")
    assert "it is not asked again" in lost["why"] and lost["started_at"]
    time.sleep(2)
    assert len(one.heard("repos")) == 1
    assert one.reaction("lost")["state"] == "unknown" and len(one.heard("lost")) == 1, "what may have arrived"
    eventually(lambda: one.reaction("nowhere")["attempts"] > 1 and one.reaction("nowhere")["state"] == "starting", "what has not")
    (payload,) = one.heard("repos")[0]["client_payload"].values()
    assert payload["rule"] == "FeatureDrift"
    listed = one.driftline("reaction", "list", "--state", "asked").stdout
    assert listed.startswith("asked") and listed.split()[1] == one.reaction("asked")["id"]
    declined = one.driftline("reaction", "decline", one.reaction("asked")["id"], "--note", "holidays")
    assert declined.returncode == 0 and "declined" in declined.stderr and "by bob" in declined.stderr, declined.stderr
    again = one.driftline("reaction", "approve", one.reaction("asked")["id"])
    assert again.returncode == 1 and "bob has decided" in again.stderr
    assert one.reaction("asked")["decided"]["note"] == "holidays"
    assert one.api("POST", f"reactions/{lost['id']}/result", json={"state": "running"}).json()["state"] == "started"
    assert {reaction["reaction"] for reaction in one.drift()["reactions"]} == {"dispatch", "lost", "nowhere", "job", "event", "asked"}
    assert len(one.heard("events")) == 2, "what was declined is not started"
