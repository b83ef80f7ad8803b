"""Secrets stay where they are: one of a kind in every place that one can come from, and looked for in everything that comes out.

The receivers are the worst there are: what they are sent they repeat in an answer that says no. So whatever keeps their words
for a person to read has to take the secrets out of them.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import secrets
import subprocess
import urllib.parse

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import BINARIES, collector, eventually, free_port, sidecar
from test_alert_delivery import certificate, serve
from test_senders import count

# Whose it is, and where the collector gets it from.
IN_FILES = ["ingest", "reader", "pagerduty", "webhook_key", "airflow", "links", "sidecar_wrong"]
IN_ENVIRONMENT = ["api", "s3_id", "s3_key", "feed_key", "smtp", "slack", "datadog", "opsgenie", "airflow_token", "github", "databricks", "reaction_key", "otlp"]
# These are parts of an address, which is the secret.
IN_ADDRESSES = ["slack_path", "teams_path", "webhook_user", "webhook_path", "heartbeat_path", "reaction_path", "reaction_query"]


def plant() -> dict[str, str]:
    """Values that nothing else has, with what a careless quoting would change."""
    # The id of an S3 key is half of what lets somebody in, and says whose the bucket is: a store repeats it when it refuses.
    return {name: f"{name.replace('_', '')}+/{secrets.token_hex(12)}" for name in IN_FILES + IN_ENVIRONMENT} | {
        name: f"{name.replace('_', '')}{secrets.token_hex(12)}" for name in IN_ADDRESSES
    }


def forms(value: str) -> set[str]:
    """How it may look: as it is, in JSON, in an address, in base64, by itself and behind the user of the test's address."""
    return {base64.b64encode(f"u:{value}".encode()).decode().rstrip("="), value, json.dumps(value)[1:-1], urllib.parse.quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("=")}


class Repeating(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and says in its answer all that it was sent."""

    protocol_version = "HTTP/1.1"
    heard: list[str] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode(errors="replace")
        said = f"{self.path} {dict(self.headers)} {body}"
        Repeating.heard.append(said)
        # The secrets first: only the beginning of an answer is kept.
        sensitive = [self.headers.get(name, "") for name in ("authorization", "dd-api-key")]
        routing = json.loads(body).get("routing_key", "") if body.startswith("{") else ""
        login = json.loads(body).get("password", "") if body.startswith("{") else ""
        answer = f"no: {' '.join(sensitive)} {routing} {login} {self.path}".encode()
        self.send_response(403)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(answer)

    do_GET = do_PUT = do_HEAD = do_POST

    def log_message(self, *_):
        pass


class Mail:
    """A mail server that lets nobody in, and repeats what they logged in with, as it is and as it came."""

    heard: list[str] = []

    def __call__(self, server, session, envelope, mechanism, login):
        password = login.password.decode()
        came = base64.b64encode(f"\0{login.login.decode()}\0{password}".encode()).decode()
        Mail.heard.append(password)
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 no: {password} {came}")


CONFIGURATION = """
data_dir: data
archive:
  max_age: 1s
  s3: {{bucket: rows, endpoint: "{url}", access_key_id: {{env: S3_ID}}, secret_access_key: {{env: S3_KEY}}}}
ingest: {{tokens: [{{name: m, token: {{file: ingest}}, models: [m]}}]}}
api: {{tokens: [{{name: ada, token: {{env: API}}}}, {{name: bob, token: {{file: reader}}, read_only: true}}]}}
models:
  - name: m
    slis:
      feeds:
        - {{name: weather, every: 10s, max_age: 1h, s3: {{bucket: feeds, endpoint: "{url}", access_key_id: {{env: S3_ID}}, secret_access_key: {{env: FEED_KEY}}}}}}
alerts:
  evaluation_interval: 200ms
  heartbeat: {{url: {{env: HEARTBEAT}}, every: 1s}}
  targets:
    pager: {{pagerduty: {{url: "{url}/v2/enqueue", routing_key: {{file: pagerduty}}, changes: {{kinds: [version, configuration]}}}}}}
    mail: {{email: {{from: a@example.com, to: [b@example.com], smtp: {{host: localhost, port: {smtp}, ca_file: ca.pem, user: driftline, password: {{env: SMTP}}}}}}}}
    slack: {{slack: {{token: {{env: SLACK}}, channel: "#a", url: "{url}/slack"}}}}
    slack-hook: {{slack: {{webhook: {{env: SLACK_HOOK}}}}}}
    teams: {{teams: {{workflow: {{env: TEAMS}}}}}}
    datadog: {{datadog: {{url: "{url}", api_key: {{env: DATADOG}}}}}}
    opsgenie: {{opsgenie: {{url: "{url}", api_key: {{env: OPSGENIE}}}}}}
    hook: {{webhook: {{url: {{env: HOOK}}, signing_key: {{file: webhook_key}}}}}}
  rules:
    - {{name: Now, severity: page, runbook: latency-slo, when: "driftline_rows_late_total[10s] >= 0"}}
  reactions:
    airflow: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{required: false}}, airflow: {{url: "{url}/three", dag: d, version: 3, user: u, password: {{file: airflow}}}}}}
    airflow-token: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{required: false}}, airflow: {{url: "{url}/two", dag: d, version: 2, token: {{env: AIRFLOW_TOKEN}}}}}}
    github: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{required: false}}, github: {{url: "{url}", repository: a/b, event_type: e, token: {{env: GITHUB}}}}}}
    databricks: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{required: false}}, databricks: {{url: "{url}", job: 7, token: {{env: DATABRICKS}}}}}}
    event: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{required: false}}, webhook: {{url: {{env: EVENT}}, signing_key: {{env: REACTION_KEY}}}}}}
    asked: {{when: {{rule: Now}}, after: 1s, unless: [], approval: {{signing_key: {{file: links}}, within: 1h}}, webhook: {{url: {{env: EVENT}}}}}}
"""


def everything_in(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_secret_comes_out_anywhere_but_in_the_request_that_bears_it(tmp_path):
    planted = plant()
    own = tmp_path / "secrets"
    own.mkdir()
    Repeating.heard, Mail.heard = [], []
    receiver = serve(Repeating)
    run = tmp_path / "run"
    run.mkdir()
    smtp = Controller(Mail(), hostname="127.0.0.1", port=free_port(), tls_context=certificate(run), require_starttls=True, auth_required=True, authenticator=Mail())
    smtp.start()
    url = f"http://127.0.0.1:{receiver.server_port}"
    for name in IN_FILES:
        (own / name).write_text(planted[name] + "\n")
    environment = {name.upper(): planted[name] for name in IN_ENVIRONMENT} | {
        "HEARTBEAT": f"{url}/{planted['heartbeat_path']}",
        "SLACK_HOOK": f"{url}/services/{planted['slack_path']}",
        "TEAMS": f"{url}/teams/{planted['teams_path']}",
        "HOOK": f"http://u:{planted['webhook_user']}@127.0.0.1:{receiver.server_port}/hook/{planted['webhook_path']}",
        "EVENT": f"{url}/event/{planted['reaction_path']}?code={planted['reaction_query']}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=" + urllib.parse.quote(f"Bearer {planted['otlp']}", safe=""),
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "DRIFTLINE_LOG": "trace",
    }
    configuration = CONFIGURATION.format(url=url, smtp=smtp.port)
    for name in IN_FILES:
        configuration = configuration.replace(f"{{file: {name}}}", f"{{file: {own / name}}}")
    out: dict[str, bytes] = {}
    bearer = {"authorization": f"Bearer {planted['api']}"}
    try:
        with collector(run, configuration, environment) as address:
            ask = lambda path: httpx.get(address + path, headers=bearer, timeout=30)
            port = address.rsplit(":", 1)[1]
            # One that is let in, and one that is not.
            for token in ("ingest", "sidecar_wrong"):
                folder = tmp_path / token
                folder.mkdir()
                with sidecar(folder, f"127.0.0.1:{port}", address, "m", f"--collector-token-file={own / token}", "--flush-interval=50ms") as (through, admin):
                    [httpx.post(f"{through}/v1/models/m:predict", json={"instances": [[1.0]]}) for _ in range(3)]
                    outcome = "ok" if token == "ingest" else "unauthorized"
                    answered = lambda admin=admin, outcome=outcome: count(admin, "driftline_sidecar_collector_requests_total", outcome=outcome)
                    eventually(answered, f"the collector answered: {outcome}")
                    out[f"metrics of the sidecar with {token}"] = httpx.get(f"{admin}/metrics").content
                out[f"log of the sidecar with {token}"] = (folder / "sidecar.log").read_bytes()
            # Each has said no once, and repeated what it was sent.
            heard = lambda: "\n".join(Repeating.heard + Mail.heard)
            travels = [name for name in planted if name not in ("ingest", "reader", "api", "sidecar_wrong", "webhook_key", "reaction_key", "links", "s3_key", "feed_key")]
            missing = lambda: [name for name in travels if not any(form in heard() for form in forms(planted[name]))]
            eventually(lambda: not missing(), f"each was sent to whom it is for: {missing()}", 60)
            (alert,) = [alert for alert in ask("/api/v1/alerts").json() if alert["rule"] == "Now"]
            page = lambda: ask(f"/api/v1/alerts/{alert['id']}").json()
            failed = lambda: {one["target"] for one in page()["deliveries"] if one.get("last_error")}
            eventually(lambda: len(failed()) == 8, f"what every target said is kept: {failed()}", 60)
            eventually(lambda: "no: " in json.dumps(ask("/api/v1/reactions").json()), "so is what schedulers said")
            assert "no: " in json.dumps(page()["deliveries"]), "their own words are there, without the secrets"
            document = ask("/api/v1/openapi.json").json()
            for path, verbs in document["paths"].items():
                if "get" in verbs:
                    places = {"{model}": "m", "{id}": alert["id"], "{column}": "input", "{segment}": "s", "{episode}": alert["id"]}
                    for place, value in places.items():
                        path = path.replace(place, value)
                    out[f"GET {path}"] = ask(path).content
            for path in ["/", "/alerts", f"/alerts/{alert['id']}", "/deliveries", "/archive", "/runbooks", f"/runbooks/latency-slo?alert={alert['id']}", "/metrics", "/readyz", "/livez"]:
                out[f"page {path}"] = ask(path).content
            out["a wrong token"] = httpx.get(f"{address}/api/v1/alerts", headers={"authorization": f"Bearer {planted['reader']}x"}).content
            shown = {**os.environ, **environment, "DRIFTLINE_COLLECTOR": address, "DRIFTLINE_TOKEN": planted["api"]}
            config = str(run / "driftline.yaml")
            commands = [["check", "--config", config], ["doctor", "--config", config], ["deliveries", "list", "--state", "pending"], ["reaction", "list"], ["silence", "list"]]
            commands += [["rules", "export", "--format", "prometheus", "--config", config], ["routes", "test", "rule=Now", "--config", config]]
            for command in commands:
                ran = subprocess.run([BINARIES / "driftline", *command], capture_output=True, env=shown, timeout=120)
                out[f"driftline {' '.join(command)}"] = ran.stdout + ran.stderr
            for list_of in ("deliveries list --state pending", "reaction list"):
                assert b"no: " in out[f"driftline {list_of}"], f"what was said is shown: {list_of}"
        out |= {f"the folder's {name}": content for name, content in everything_in(run).items()}
    finally:
        receiver.shutdown()
        smtp.stop()
    assert len(out["the folder's collector.log"]) > 10_000, "at the level trace much is said"
    assert any("driftline.db" in name for name in out)
    found = [(name, where) for name, value in planted.items() for form in forms(value) for where, content in out.items() if form.encode() in content]
    assert not found, sorted(set(found))
    # A secret is sent to whom it is for, and to nobody else.
    other = {"slack": "/slack/", "datadog": "/api/v1/events", "opsgenie": "/v2/alerts", "pagerduty": "/v2/", "github": "/repos/", "databricks": "/api/2.1/", "airflow": "/three/", "airflow_token": "/two/"}
    for name, path in other.items():
        bearing = [said for said in Repeating.heard if any(form in said for form in forms(planted[name]))]
        assert bearing and all(said.startswith(path) for said in bearing), (name, [said.split(" ")[0] for said in bearing])


def test_a_secret_in_the_configuration_itself_is_refused_and_not_repeated(tmp_path):
    """Each field that takes a secret, with the secret where its place belongs, or with a place that is broken."""
    fields = [
        "ingest: {tokens: [{name: m, token: @}]}",
        "api: {tokens: [{name: a, token: @}]}",
        "archive: {s3: {bucket: b, access_key_id: {env: A}, secret_access_key: @}}",
        "alerts: {heartbeat: {url: @}}",
        "alerts: {targets: {a: {pagerduty: {routing_key: @}}}}",
        "alerts: {targets: {a: {slack: {webhook: @}}}}",
        "alerts: {targets: {a: {slack: {token: @, channel: c}}}}",
        "alerts: {targets: {a: {teams: {workflow: @}}}}",
        "alerts: {targets: {a: {datadog: {api_key: @}}}}",
        "alerts: {targets: {a: {opsgenie: {api_key: @}}}}",
        "alerts: {targets: {a: {webhook: {url: @}}}}",
        "alerts: {targets: {a: {webhook: {url: {env: A}, signing_key: @}}}}",
        "alerts: {targets: {a: {email: {from: a@b.c, to: [a@b.c], smtp: {host: h, user: u, password: @}}}}}",
        "alerts: {reactions: {r: {when: {rule: '*'}, airflow: {url: 'http://a', dag: d, version: 3, token: @}}}}",
        "alerts: {reactions: {r: {when: {rule: '*'}, github: {repository: a/b, event_type: e, token: @}}}}",
        "alerts: {reactions: {r: {when: {rule: '*'}, databricks: {url: 'http://a', job: 1, token: @}}}}",
        "alerts: {reactions: {r: {when: {rule: '*'}, webhook: {url: @}}}}",
        "alerts: {reactions: {r: {when: {rule: '*'}, approval: {signing_key: @}, webhook: {url: {env: A}}}}}",
        "models: [{name: m, metadata: 'http://u:@@h/v2/models/m'}]",
    ]
    value = f"planted{secrets.token_hex(12)}"
    config = tmp_path / "driftline.yaml"
    for field in fields:
        for written in (value, f"{{value: {value}}}", f"[{value}]", f"{{env: A, file: {value}}}"):
            if "metadata" in field and written != value:
                continue
            mails = field.replace("a@b.c", "a(at)b.c").replace("@", written, 1) if "@@" not in field else field.replace("@", value, 1)
            config.write_text(mails.replace("a(at)b.c", "a@b.c"))
            for command in (["check", "--config", config], ["serve", "--config", config]):
                ran = subprocess.run([BINARIES / "driftline", *command], capture_output=True, text=True, timeout=30)
                said = ran.stdout + ran.stderr
                assert ran.returncode == 64, (field, written, ran.returncode, said)
                assert value not in said.replace(str(config), ""), (field, written, said)
