"""Drills: what somebody makes up reaches a real Alertmanager and a real mail server, and is nowhere taken for the real thing."""

import email
import email.policy
import os
import subprocess

import httpx
from aiosmtpd.controller import Controller
from conftest import BINARIES, collector, eventually, free_port
from test_alert_delivery import Refuses, serve
from test_runbooks import OWN, lint
from test_targets import alertmanager  # noqa: F401 (a fixture)

RULES = """
  runbooks: runbooks
  rules:
    - name: CheckoutLatency
      severity: page
      runbook: checkout-latency
      when: {sli: latency, below: 0.9, over: 5m}
      targets: [%s]
"""


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


def driftline(url: str, *words: str):
    environment = {**os.environ, "DRIFTLINE_COLLECTOR": url, "USER": "ada"}
    return subprocess.Popen([BINARIES / "driftline", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def own_runbook(folder):
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "checkout-latency.md").write_text(OWN.replace("tested: {tested}\n", ""))


def test_a_drill_is_told_and_ended_like_a_real_alert_counted_by_nothing_and_stamps_the_runbook(tmp_path, alertmanager):  # noqa: F811
    mailbox, port = Mailbox(), free_port()
    smtp = Controller(mailbox, hostname="127.0.0.1", port=port, ready_timeout=60)
    smtp.start()
    own_runbook(tmp_path)
    configuration = f"""
data_dir: data
models: [{{name: m}}, {{name: n}}]
alerts:
  targets:
    cluster: {{alertmanager: {{urls: ["{alertmanager}"]}}}}
    mail: {{email: {{from: d@example.com, to: [oncall@example.com], smtp: {{host: 127.0.0.1, port: {port}, tls: none}}}}}}
{RULES % "cluster, mail"}"""
    try:
        with collector(tmp_path, configuration) as url:
            get = lambda path: httpx.get(f"{url}/api/v1/{path}").raise_for_status().json()
            metric = lambda name: [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(name)]
            assert "was never tested" in lint(tmp_path / "driftline.yaml", 1)
            unsaid = driftline(url, "drill", "CheckoutLatency").communicate()
            assert "say which model it is to be about: m, n" in unsaid[1]
            drill = driftline(url, "drill", "checkout-latency", "--model", "m", "--resolve-after", "12s")
            (alert,) = eventually(lambda: httpx.get(f"{alertmanager}/api/v2/alerts").json(), "Alertmanager has it")
            assert alert["labels"] == {"alertname": "CheckoutLatency", "severity": "page", "model": "m", "drill": "true"}
            (shown,) = get("alerts?drills=true")
            assert shown["drill"] and shown["state"] == "firing" and shown["summary"].startswith("[DRILL] m: ")
            assert get("alerts") == [] and get("models/m")["alerts_firing"] == 0
            assert not any(line.endswith(" 1") for line in metric("driftline_alerts_firing"))
            again = driftline(url, "drill", "CheckoutLatency", "--model", "n")
            assert shown["id"] in again.communicate()[1] and again.returncode == 1, "one at a time"
            said, _ = drill.communicate(timeout=120)
            assert drill.returncode == 0
            told = sorted(" ".join(line.split()[:3]) for line in said.splitlines())
            assert told == [f"{who} {what} accepted" for who in ("cluster", "mail") for what in ("resolve", "trigger")], said
            eventually(lambda: httpx.get(f"{alertmanager}/api/v2/alerts").json() == [], "Alertmanager has it no more")
            first, last = mailbox.mails
            assert "[DRILL]" in first["Subject"] and last["In-Reply-To"] == first["Message-ID"]
            assert "nothing is wrong: ada made this up" in first.get_body(("plain",)).get_content()
            assert get("alerts?drills=true&state=resolved")[0]["id"] == shown["id"]
            assert metric("driftline_notifications_total") == [], "no incident was told"
            sent = [f'driftline_drill_notifications_total{{outcome="delivered",target="{who}"}} 2' for who in ("cluster", "mail")]
            counted = lambda: [line for line in metric("driftline_drill_notifications_total") if "repeated" not in line]
            eventually(lambda: counted() == sent, "what was told is counted")
            assert metric("driftline_drills_total") == ['driftline_drills_total{outcome="passed",rule="CheckoutLatency"} 1']
            assert "Last drilled 20" in httpx.get(f"{url}/runbooks/checkout-latency").text
            assert {event["kind"] for event in get("events")} == {"drill"}
            assert "nothing to find" in lint(tmp_path / "driftline.yaml", 0)
    finally:
        smtp.stop()


def test_who_refuses_a_drill_fails_it_and_one_that_a_restart_interrupts_is_ended_after_it(tmp_path):
    refuses, mailbox = serve(Refuses), tmp_path / "mails"
    own_runbook(tmp_path)
    configuration = f"""
data_dir: data
alerts:
  targets:
    hook: {{webhook: {{url: {{env: HOOK}}}}}}
    mailbox: {{email: {{from: d@example.com, to: [a@example.com], directory: {mailbox}}}}}
{RULES % "hook, mailbox"}"""
    secrets = {"HOOK": f"http://127.0.0.1:{refuses.server_port}/"}
    asked = {"alert": "CheckoutLatency", "resolve_after": "2s", "by": "ada", "targets": ["mailbox"]}
    try:
        with collector(tmp_path, configuration, secrets) as url:
            failed = driftline(url, "drill", "CheckoutLatency", "--resolve-after", "1s")
            said, why = failed.communicate(timeout=120)
            assert failed.returncode == 1 and "not everybody was reached" in why
            words = {tuple(line.split()[:4]) for line in said.splitlines()}
            assert ("hook", "trigger", "GIVEN", "UP") in words and ("mailbox", "resolve", "accepted", "after") in words, said
            assert "Never drilled here" in httpx.get(f"{url}/runbooks/checkout-latency").text
            assert httpx.post(f"{url}/api/v1/drills", json={**asked, "targets": ["nobody"]}).status_code == 400
            assert httpx.post(f"{url}/api/v1/drills", json={**asked, "alert": "Nothing"}).status_code == 404
            assert httpx.post(f"{url}/api/v1/drills", json=asked, headers={"origin": "http://evil.example"}).status_code == 403
            begun = httpx.post(f"{url}/api/v1/drills", json=asked)
            assert begun.status_code == 201, begun.text
            episode = begun.json()["episode"]
        with collector(tmp_path, configuration, secrets) as url:
            state = lambda: httpx.get(f"{url}/api/v1/drills/{episode}").json()
            eventually(lambda: state()["outcome"] == "passed", "it is ended after the restart")
            steps = [(step["target"], step["action"], step["state"]) for step in state()["steps"]]
            assert steps == [("mailbox", "trigger", "delivered"), ("mailbox", "resolve", "delivered")]
    finally:
        refuses.shutdown()
