"""One page to every kind of target: a real Alertmanager, and receivers that are as strict as the services say they are."""

import hashlib
import hmac
import http.server
import json
import threading
import time

import httpx
import pytest
from conftest import collector, eventually, free_port, process, sidecar
from test_alert_delivery import RULES, Model, at_once, serve


class Services(http.server.BaseHTTPRequestHandler):
    """Slack's webhook and API, a Teams workflow, Datadog, Opsgenie, any webhook and a dead man's switch."""

    heard: dict = {}

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        status, answer = getattr(self, self.path.split("?")[0].strip("/").split("/")[0].replace(".", "_"))(raw, body)
        if status in (200, 202) and "HTTP error" not in answer:
            Services.heard.setdefault(self.path, []).append((body, time.time(), dict(self.headers)))
        answer = answer.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def slack_hook(self, raw, body):
        sections = [block["text"]["text"] for block in body["blocks"]]
        assert len(sections[0]) <= 150 and all(len(text) <= 3000 for text in sections) and body["text"]
        return 200, "ok"

    def slack(self, raw, body):
        if self.headers["authorization"] != "Bearer xoxb-right":
            return 200, json.dumps({"ok": False, "error": "invalid_auth"})
        if self.path.endswith("chat.update"):
            assert body["ts"] == "1503435956.000247" and body["channel"] == "C0123456789"
        elif "thread_ts" in body:
            assert body["thread_ts"] == "1503435956.000247" and body["text"]
        else:
            assert body["channel"] == "#alerts" and body["text"] and body["blocks"]
        return 200, json.dumps({"ok": True, "channel": "C0123456789", "ts": "1503435956.000247"})

    def teams(self, raw, body):
        assert len(raw) <= 28_000 and body["type"] == "message"
        card = body["attachments"][0]
        assert card["contentType"] == "application/vnd.microsoft.card.adaptive" and card["content"]["version"] == "1.2"
        # A connector that is busy says so in the body of a 200, once.
        if not Services.heard.setdefault("teams was busy", []):
            Services.heard["teams was busy"].append(True)
            return 200, "Webhook message delivery failed with error: HTTP error 429"
        return 202, ""

    def api(self, raw, body):
        if self.headers["dd-api-key"] != "dd-right":
            return 403, '{"errors": ["Forbidden"]}'
        assert self.path == "/api/v1/events" and len(body["title"]) <= 500 and len(body["text"]) <= 4000
        assert body["alert_type"] in ("error", "warning", "info", "success") and len(body["aggregation_key"]) <= 100
        return 202, '{"status": "ok"}'

    def v2(self, raw, body):
        assert self.headers["authorization"] == "GenieKey og-right"
        if self.path == "/v2/alerts":
            assert len(body["message"]) <= 130 and body["alias"] and body["priority"] == "P1"
        else:
            assert self.path.endswith(("/close?identifierType=alias", "/acknowledge?identifierType=alias"))
        return 202, '{"result": "Request will be processed"}'

    def hook(self, raw, body):
        said = dict(part.split("=", 1) for part in self.headers["x-driftline-signature"].split(","))
        expected = hmac.new(b"signing", said["t"].encode() + b"." + raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, said["v1"]) or abs(time.time() - int(said["t"])) > 60:
            return 401, "the signature is wrong"
        assert body["version"] == "4" and body["alerts"][0]["labels"]["alertname"] == "LatencySlo"
        return 200, ""

    def alive(self, raw, body):
        return 200, ""

    def log_message(self, *_):
        pass


def heard(path):
    return [body for body, _, _ in Services.heard.get(path, [])]


@pytest.fixture
def alertmanager(tmp_path):
    """A real Alertmanager; gives its address."""
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = free_port()
    arguments = [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    with process(arguments, tmp_path / "alertmanager.log"):
        eventually(lambda: httpx.get(f"{url}/-/ready").status_code == 200, "Alertmanager is ready")
        yield url


def test_every_kind_of_target_hears_of_the_beginning_and_of_the_end(tmp_path, alertmanager):
    model, services = serve(Model), serve(Services)
    Services.heard = {}
    away = free_port()
    url = f"http://127.0.0.1:{services.server_port}"
    configuration = f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 500ms}}}}}}]
alerts:
  heartbeat: {{url: {{env: ALIVE}}, every: 1s}}
  targets:
    hook: {{webhook: {{url: {{env: HOOK}}, signing_key: {{env: SIGNING}}}}}}
    slack-hook: {{slack: {{webhook: {{env: SLACK_HOOK}}}}}}
    slack: {{slack: {{token: {{env: SLACK_TOKEN}}, channel: "#alerts", url: {url}/slack}}}}
    teams: {{teams: {{workflow: {{env: TEAMS}}}}}}
    alertmanager: {{alertmanager: {{urls: ["http://127.0.0.1:{away}", "{alertmanager}"]}}}}
    datadog: {{datadog: {{url: "{url}", api_key: {{env: DD_KEY}}}}}}
    opsgenie: {{opsgenie: {{url: "{url}", api_key: {{env: OG_KEY}}}}}}
{RULES}"""
    secrets = {
        "ALIVE": f"{url}/alive",
        "HOOK": f"{url}/hook/secret-path",
        "SIGNING": "signing",
        "SLACK_HOOK": f"{url}/slack_hook/T0/B0/secret-path",
        "SLACK_TOKEN": "xoxb-right",
        "TEAMS": f"{url}/teams/secret-path",
        "DD_KEY": "dd-right",
        "OG_KEY": "og-right",
    }
    alerts = lambda: httpx.get(f"{alertmanager}/api/v2/alerts").json()
    hooks = ("/hook/secret-path", "/slack_hook/T0/B0/secret-path", "/teams/secret-path", "/api/v1/events")
    try:
        with (
            collector(tmp_path, configuration, secrets) as own,
            sidecar(tmp_path, f"127.0.0.1:{model.server_port}", own, "m") as (address, _),
        ):
            ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
            Model.pause = 0.15
            at_once(ask, 15)

            def told():
                return (
                    all(len(heard(path)) == 1 for path in hooks)
                    and len(heard("/slack/chat.postMessage")) == len(heard("/v2/alerts")) == 1
                    and alerts()
                )

            eventually(told, "everybody is told")
            (alert,) = alerts()
            assert alert["labels"] == {"alertname": "LatencySlo", "severity": "page", "model": "m"}
            assert httpx.get(alert["annotations"]["runbook_url"]).status_code == 200
            assert alert["status"]["state"] == "active" and alert["endsAt"] > alert["updatedAt"]
            episode = heard("/v2/alerts")[0]["alias"]
            said = {"by": "ada <!channel>", "note": "on it"}
            httpx.post(f"{own}/api/v1/alerts/{episode}/acknowledgement", json=said).raise_for_status()
            hears = lambda: len(heard("/slack/chat.postMessage")) == 2 and heard("/slack/chat.update")
            eventually(hears, "the thread hears who is on it")
            reply = heard("/slack/chat.postMessage")[1]["text"]
            assert "Acknowledged by ada &lt;!channel&gt;" in reply and "<!channel>" not in reply
            assert any("on it" in block["text"]["text"] for block in heard("/slack/chat.update")[0]["blocks"][1:])
            assert heard("/slack_hook/T0/B0/secret-path")[0]["blocks"][1]["text"]["text"].startswith("*Real?* Yes")
            eventually(lambda: heard(f"/v2/alerts/{episode}/acknowledge?identifierType=alias"), "Opsgenie does, too")
            Model.pause = 0.0

            def over():
                [ask() for _ in range(20)]
                counts = {path: len(said) for path, said in Services.heard.items() if path != "/alive"}
                assert all(counts[path] == 2 for path in hooks), counts
                assert counts["/slack/chat.update"] == 2 and counts["/slack/chat.postMessage"] == 3, counts
                assert any("/close" in path for path in counts) and not alerts(), (counts, alerts())
                return True

            eventually(over, "everybody is told that it is over")
            assert heard(f"/v2/alerts/{episode}/close?identifierType=alias")
            firing, resolved = heard("/hook/secret-path")
            assert (firing["status"], resolved["status"]) == ("firing", "resolved")
            keys = [headers["idempotency-key"] for _, _, headers in Services.heard["/hook/secret-path"]]
            assert keys == [f"{episode}.trigger", f"{episode}.resolve"]
            trigger, resolve = heard("/api/v1/events")
            assert (trigger["alert_type"], resolve["alert_type"]) == ("error", "success")
            assert trigger["aggregation_key"] == resolve["aggregation_key"] == episode
            said = lambda: httpx.get(f"{own}/api/v1/alerts/{episode}").json()["deliveries"]
            all_taken = lambda: (found := said()) and all(d["state"] == "delivered" for d in found) and found
            deliveries = eventually(all_taken, "it is known that all was taken")
            assert len(deliveries) == 16
            assert {d["attempts"] for d in deliveries if d["target"] == "teams" and d["action"] == "trigger"} == {2}
            eventually(lambda: len(heard("/alive")) >= 2, "it says that it lives")
        log = (tmp_path / "collector.log").read_text()
        assert not any(word in log for word in ("xoxb-right", "dd-right", "og-right", "secret-path", '"signing"'))
    finally:
        model.shutdown()
        services.shutdown()


def test_what_a_service_says_against_a_key_is_kept_for_whoever_looks_and_a_right_key_is_taken_up(tmp_path):
    model, services = serve(Model), serve(Services)
    Services.heard = {}
    url = f"http://127.0.0.1:{services.server_port}"
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("xoxb-wrong")
    key.write_text("dd-wrong")
    configuration = f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 500ms}}}}}}]
alerts:
  targets:
    slack: {{slack: {{token: {{file: {token}}}, channel: "#alerts", url: {url}/slack}}}}
    datadog: {{datadog: {{url: "{url}", api_key: {{file: {key}}}}}}}
{RULES}"""
    try:
        with (
            collector(tmp_path, configuration) as own,
            sidecar(tmp_path, f"127.0.0.1:{model.server_port}", own, "m") as (address, _),
        ):
            Model.pause = 0.15
            at_once(lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status(), 15)
            Model.pause = 0.0

            def deliveries():
                (alert,) = httpx.get(f"{own}/api/v1/alerts").json()
                return {d["target"]: d for d in httpx.get(f"{own}/api/v1/alerts/{alert['id']}").json()["deliveries"]}

            eventually(lambda: all(d["attempts"] >= 1 for d in deliveries().values()), "both were tried")
            said = {target: delivery["last_error"] for target, delivery in deliveries().items()}
            assert "invalid_auth" in said["slack"] and "403" in said["datadog"]
            token.write_text("xoxb-right")
            key.write_text("dd-right")
            eventually(lambda: all(d["state"] == "delivered" for d in deliveries().values()), "both are told", 180)
    finally:
        model.shutdown()
        services.shutdown()
