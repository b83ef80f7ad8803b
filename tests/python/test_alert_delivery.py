"""An alert on its way: a slow model, a real mail server with STARTTLS and passwords, and a strict receiver of events."""

import datetime
import email
import email.policy
import http.server
import ipaddress
import json
import ssl
import threading
import time
from concurrent import futures

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import collector, eventually, free_port, sidecar
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RULES = """
  evaluation_interval: 200ms
  rules:
    - name: LatencySlo
      severity: page
      runbook: latency-slo
      when: {sli: latency, below: 0.9, over: 10s, min_events: 10}
"""


# Seconds that a slow answer takes at the least. On a busy machine a tenth of one is nothing.
SLOW = 0.7


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pause = 0.0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(max(Model.pause, SLOW) if Model.pause else 0)
        body = b'{"predictions": [0.5]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PagerDuty(http.server.BaseHTTPRequestHandler):
    """Answers as the Events API v2 is documented to, after it was busy a few times."""

    events: list = []
    answers: list = []

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = PagerDuty.answers.pop(0) if PagerDuty.answers else 202
        if status == 202:
            assert set(event) >= {"routing_key", "event_action", "dedup_key"} and len(event["routing_key"]) == 32
            assert event["event_action"] == "resolve" or {"summary", "source", "severity"} <= set(event["payload"])
            PagerDuty.events.append(event)
        body = json.dumps({"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Refuses(http.server.BaseHTTPRequestHandler):
    """Calls everything wrong that it is told, for good."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        assert session.ssl is not None and session.authenticated
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


def certificate(folder):
    """A certificate for localhost, from an authority that nobody else trusts."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(name, key, issuer, issuer_key, is_authority):
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(issuer_key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, server = named("Driftline tests"), named("localhost")
    (folder / "ca.pem").write_bytes(build(authority, authority_key, authority, authority_key, True))
    (folder / "cert.pem").write_bytes(build(server, key, authority, authority_key, False))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


class Server(http.server.ThreadingHTTPServer):
    # As many may come at once.
    request_queue_size = 128


def serve(handler):
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def at_once(ask, times: int):
    """Asks so often at the same time."""
    with futures.ThreadPoolExecutor(times) as callers:
        for asked in [callers.submit(ask) for _ in range(times)]:
            asked.result()


def test_a_page_reaches_pagerduty_and_the_mailbox_once_and_resolves_once(tmp_path):
    model, pagerduty, mailbox = serve(Model), serve(PagerDuty), Mailbox()
    PagerDuty.answers = [500, 429]
    smtp_port = free_port()
    right = lambda *words: AuthResult(success=words[-1].login == b"driftline" and words[-1].password == b"secret")
    smtp = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=smtp_port,
        tls_context=certificate(tmp_path),
        require_starttls=True,
        auth_required=True,
        authenticator=right,
        ready_timeout=60,
    )
    smtp.start()
    configuration = f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 500ms}}}}}}]
alerts:
  targets:
    oncall:
      pagerduty: {{url: http://127.0.0.1:{pagerduty.server_port}/v2/enqueue, routing_key: {{env: PD_KEY}}}}
    mail:
      email:
        from: Driftline <driftline@example.com>
        to: [oncall@example.com]
        smtp: {{host: localhost, port: {smtp_port}, ca_file: ca.pem, user: driftline, password: {{env: SMTP_PASSWORD}}}}
{RULES}"""
    secrets = {"PD_KEY": "k" * 32, "SMTP_PASSWORD": "secret"}
    try:
        with (
            collector(tmp_path, configuration, secrets) as url,
            sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m") as (address, _),
        ):
            ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
            Model.pause = 0.15
            at_once(ask, 15)
            eventually(lambda: len(PagerDuty.events) == 1 and len(mailbox.mails) == 1, "everybody is told")
            Model.pause = 0.0

            def resolved():
                [ask() for _ in range(20)]
                return len(PagerDuty.events) == 2 and len(mailbox.mails) == 2

            eventually(resolved, "everybody is told that it is over")
            time.sleep(1.5)
            assert [event["event_action"] for event in PagerDuty.events] == ["trigger", "resolve"]
            assert len({event["dedup_key"] for event in PagerDuty.events}) == 1
            trigger = PagerDuty.events[0]
            assert trigger["payload"]["severity"] == "critical" and "below 90%" in trigger["payload"]["summary"]
            assert httpx.get(trigger["links"][0]["href"]).status_code == 200
            first, last = mailbox.mails
            assert last["In-Reply-To"] == first["Message-ID"] and last["Subject"] == f"Re: {first['Subject']}"
            assert first["Importance"] == "high"
            said = lambda: httpx.get(f"{url}/api/v1/alerts/{trigger['dedup_key']}").json()["deliveries"]
            all_taken = lambda: (found := said()) and all(d["state"] == "delivered" for d in found) and found
            deliveries = eventually(all_taken, "it is known that all was taken")
            attempts = {(d["target"], d["action"]): d["attempts"] for d in deliveries}
            assert attempts[("oncall", "trigger")] == 3, "a 500 and a 429 were tried again"
        log = (tmp_path / "collector.log").read_text() + httpx.__version__
        assert "k" * 32 not in log and '"secret"' not in log
    finally:
        smtp.stop()
        model.shutdown()
        pagerduty.shutdown()
