"""A receiver of PagerDuty's events that is stricter than PagerDuty: it takes what the published description of the Events API v2
allows, to the letter, says 400 to anything else, and remembers both. How it answers can be told for each key."""

import datetime
import http.server
import json
import threading
import time

MAX_BODY = 512_000
TRIGGER = {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}
PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}
CHANGE = {"routing_key", "payload", "links", "images"}


class Wrong(Exception):
    """Why an event is none."""


def check(holds, why: str):
    if not holds:
        raise Wrong(why)


def text(value, longest: int, name: str):
    check(isinstance(value, str) and 0 < len(value) <= longest, f"'{name}' must be 1 to {longest} characters")


def lists(event: dict):
    for link in event.get("links", []):
        check(set(link) <= {"href", "text"}, "'links' has unknown fields")
        check(link.get("href", "").startswith(("http://", "https://")), "'links.href' must be an address")
    for image in event.get("images", []):
        check(set(image) <= {"src", "href", "alt"}, "'images' has unknown fields")
        check(image.get("src", "").startswith("https://"), "'images.src' must be served by https")
    for name in ("links", "images"):
        check(name not in event or event[name], f"'{name}' is empty")


def event_of(body: bytes) -> dict:
    """An event of `/v2/enqueue`.

    Raises `Wrong` for what is none."""
    check(len(body) <= MAX_BODY, f"event exceeds {MAX_BODY} bytes")
    try:
        event = json.loads(body)
    except ValueError as error:
        raise Wrong(f"no JSON: {error}") from error
    check(isinstance(event, dict), "no object")
    check(isinstance(event.get("routing_key"), str) and len(event["routing_key"]) == 32, "'routing_key' must be 32 characters")
    action = event.get("event_action")
    check(action in ("trigger", "acknowledge", "resolve"), f"'event_action' is {action!r}")
    if action != "trigger":
        text(event.get("dedup_key"), 255, "dedup_key")
        check(set(event) <= {"routing_key", "event_action", "dedup_key"}, "more than a key")
        return event
    check(set(event) <= TRIGGER, f"unknown fields {set(event) - TRIGGER}")
    if "dedup_key" in event:
        text(event["dedup_key"], 255, "dedup_key")
    payload = event.get("payload")
    check(isinstance(payload, dict) and set(payload) <= PAYLOAD, "'payload' has unknown fields, or is missing")
    text(payload.get("summary"), 1024, "payload.summary")
    text(payload.get("source"), 255, "payload.source")
    check(payload.get("severity") in ("critical", "error", "warning", "info"), "'payload.severity'")
    for name in {"component", "group", "class"} & set(payload):
        text(payload[name], 255, f"payload.{name}")
    if "timestamp" in payload:
        moment(payload["timestamp"])
    check(isinstance(payload.get("custom_details", {}), dict), "'payload.custom_details' must be an object")
    for name in {"client", "client_url"} & set(event):
        text(event[name], 2048, name)
    lists(event)
    return event


def change_of(body: bytes) -> dict:
    """A change of `/v2/change/enqueue`.

    Raises `Wrong` for what is none."""
    check(len(body) <= MAX_BODY, f"event exceeds {MAX_BODY} bytes")
    try:
        change = json.loads(body)
    except ValueError as error:
        raise Wrong(f"no JSON: {error}") from error
    check(isinstance(change, dict), "no object")
    check(isinstance(change.get("routing_key"), str) and len(change["routing_key"]) == 32, "'routing_key' must be 32 characters")
    check(set(change) <= CHANGE, f"unknown fields {set(change) - CHANGE}")
    payload = change.get("payload")
    check(isinstance(payload, dict) and set(payload) <= {"summary", "source", "timestamp", "custom_details"}, "'payload'")
    text(payload.get("summary"), 1024, "payload.summary")
    text(payload.get("source", "none"), 255, "payload.source")
    check(isinstance(payload.get("custom_details", {}), dict), "'payload.custom_details' must be an object")
    moment(payload.get("timestamp"))
    lists(change)
    return change


def moment(value):
    try:
        datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError) as error:
        raise Wrong(f"'payload.timestamp' is {value!r}") from error


class PagerDuty(http.server.ThreadingHTTPServer):
    """Takes events for any key. `answers[key]` is a list of what it does with the next ones, before it is itself again: a
    status; `lose`, which takes it and ends the connection without an answer; or a time in seconds, after which it answers
    what it took at once."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.taken: list[tuple[str, str, str]] = []
        self.events: list[dict] = []
        self.changes: list[dict] = []
        self.wrong: list[str] = []
        self.answers: dict[str, list] = {}
        self.refused_actions: set[tuple[str, str]] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v2/enqueue"

    def of(self, key: str, rule: str) -> list[str]:
        """What it took for a key about a rule's alerts, in the order in which it came."""
        prefix = rule.lower() + "-"
        with self.lock:
            return [action for taken, action, episode in self.taken if taken == key and episode.startswith(prefix)]

    def incidents(self) -> dict[tuple[str, str], list[str]]:
        """What became of each incident: an event about one that is resolved changes nothing, but for a trigger, which opens
        another."""
        became: dict[tuple[str, str], list[str]] = {}
        with self.lock:
            for key, action, episode in self.taken:
                states = became.setdefault((key, episode), [])
                if action == "trigger" and states[-1:] != ["opened"]:
                    states.append("opened")
                elif action == "resolve" and states[-1:] == ["opened"]:
                    states.append("resolved")
        return became


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        server: PagerDuty = self.server
        is_change = self.path == "/v2/change/enqueue"
        try:
            check(is_change or self.path == "/v2/enqueue", f"nothing is at {self.path}")
            check(self.headers["content-type"].startswith("application/json"), "no JSON")
            event = change_of(body) if is_change else event_of(body)
        except Wrong as wrong:
            with server.lock:
                server.wrong.append(str(wrong))
            return self.answer(400, {"status": "invalid event", "message": "Event object is invalid", "errors": [str(wrong)]})
        key = event["routing_key"]
        with server.lock:
            if (key, event.get("event_action")) in server.refused_actions:
                answer = 400
            else:
                answer = server.answers[key].pop(0) if server.answers.get(key) else 202
            if answer == 202 or not isinstance(answer, int):
                (server.changes if is_change else server.events).append(event)
                if not is_change:
                    server.taken.append((key, event["event_action"], event["dedup_key"]))
        if answer == "lose":
            self.close_connection = True
            return None
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 202
        said = {"status": "success", "message": "Event processed", "dedup_key": event.get("dedup_key")}
        return self.answer(answer, said if answer == 202 else {"status": "error", "message": "not now", "errors": []})

    def answer(self, status: int, said: dict):
        body = json.dumps(said).encode()
        try:
            self.send_response(status)
            if status == 429:
                self.send_header("retry-after", "2")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # Whoever asked did not wait for it.
            self.close_connection = True

    def log_message(self, *_):
        pass
