"""Whoever is told: PagerDuty's stand-in, a mail server, and a dead man's switch. Each notes what it took, and when."""

import email
import email.policy
import http.server
import json
import threading
import time

from aiosmtpd.controller import Controller
from conftest import free_port

#: Without a sign of life for so long, in seconds, the dead man's switch tells.
SILENCE = 180.0


class Record:
    """What happened, in the order in which it did. Minutes are the plan's: of 60 seconds at a pace of 1, of 30 at 2."""

    def __init__(self, pace: float = 1.0):
        self.began, self.pace = time.monotonic(), pace
        self.entries: list[dict] = []
        self.lock = threading.Lock()

    def minute(self) -> float:
        return (time.monotonic() - self.began) / 60 * self.pace

    def add(self, **entry) -> None:
        with self.lock:
            self.entries.append({"minute": round(self.minute(), 2), **entry})


class PagerDuty:
    """Takes events as the Events API v2 is documented to; busy, it answers 500."""

    def __init__(self, record: Record):
        self.is_busy = False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if outer.is_busy:
                    return self.answer(500, {"status": "error"})
                assert len(event["routing_key"]) == 32 and len(event["dedup_key"]) <= 255, event
                payload = event.get("payload", {})
                record.add(
                    to="PagerDuty",
                    action=event["event_action"],
                    episode=event["dedup_key"],
                    severity=payload.get("severity"),
                    says=payload.get("summary"),
                    event=event,
                )
                self.answer(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

            def answer(self, status, body):
                body = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/v2/enqueue"


class Mailbox:
    """A mail server; deaf, it takes nothing for the moment."""

    def __init__(self, record: Record):
        self.record, self.is_deaf = record, False
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self.controller.start()
        self.port = self.controller.port

    async def handle_DATA(self, server, session, envelope):
        if self.is_deaf:
            return "451 not now"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.record.add(
            to="mail",
            action=mail["X-Driftline-Status"],
            rule=mail["X-Driftline-Rule"],
            severity=mail["X-Driftline-Severity"],
            says=mail["Subject"],
            text=mail.get_body(("plain",)).get_content(),
        )
        return "250 OK"


class Switch:
    """Tells, once, when it has heard no sign of life for a while; and when it hears one again."""

    def __init__(self, record: Record):
        self.record, self.heard, self.has_told = record, None, False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.hear()
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/alive"

    def hear(self) -> None:
        self.heard = time.monotonic()
        if self.has_told:
            self.has_told = False
            self._tell("resolve", "the collector is heard again")

    def look(self) -> None:
        if self.heard is not None and not self.has_told and time.monotonic() - self.heard > SILENCE:
            self.has_told = True
            self._tell("trigger", f"no sign of life of the collector for {SILENCE / 60:.0f} minutes")

    def _tell(self, action: str, says: str) -> None:
        self.record.add(to="switch", action=action, rule="heartbeat", severity="page", says=says)
