"""A pair of real Alertmanagers that tell each other of what they said: one restarts, one is away at the end, one more hangs."""

import contextlib
import http.server
import json
import pathlib
import signal
import socket
import subprocess
import time

import httpx
from conftest import collector, eventually, free_port, sidecar
from test_alert_delivery import RULES, Model, serve


class Person(http.server.BaseHTTPRequestHandler):
    """Whoever the Alertmanagers tell by their webhook."""

    heard: list[str] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Person.heard += [f"{alert['status']} {alert['labels']['alertname']}" for alert in body["alerts"]]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def heard(*messages: str):
    """A look at whether the person heard just these; what she heard instead is told with a failure."""

    def look() -> bool:
        assert Person.heard == list(messages)
        return True

    return look


class Replica:
    """One of the pair, which can be killed and started again with nothing of what it knew."""

    def __init__(self, folder: pathlib.Path, name: str, person: str):
        self.folder, self.name = folder, name
        self.port, self.gossip = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        receiver = {"name": "person", "webhook_configs": [{"url": person, "send_resolved": True}]}
        route = {"receiver": "person", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
        # JSON is YAML.
        (folder / f"{name}.yml").write_text(json.dumps({"route": route, "receivers": [receiver]}))
        self.child, self.starts = None, 0

    def start(self, peer: "Replica") -> None:
        self.starts += 1
        arguments = [
            "prometheus-alertmanager",
            f"--config.file={self.folder / f'{self.name}.yml'}",
            f"--storage.path={self.folder / f'{self.name}-{self.starts}'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--cluster.listen-address=127.0.0.1:{self.gossip}",
            f"--cluster.peer=127.0.0.1:{peer.gossip}",
            # The second waits so long for word of what the first said.
            "--cluster.peer-timeout=3s",
            "--cluster.settle-timeout=2s",
            "--cluster.gossip-interval=50ms",
            "--cluster.pushpull-interval=1s",
            "--cluster.reconnect-interval=1s",
        ]
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.child = subprocess.Popen(arguments, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        eventually(lambda: httpx.get(f"{self.url}/-/ready").status_code == 200, f"{self.name} is ready")

    def alerts(self) -> list[str]:
        return [alert["labels"]["alertname"] for alert in httpx.get(f"{self.url}/api/v2/alerts").raise_for_status().json()]

    def knows_what_was_said(self) -> bool:
        """Whether it said something itself, or heard from its peer of something said."""
        metrics = httpx.get(f"{self.url}/metrics").raise_for_status().text
        counts = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
        said = counts['alertmanager_notifications_total{integration="webhook"}']
        return float(said) + float(counts["alertmanager_nflog_gossip_messages_propagated_total"]) > 0

    def kill(self) -> None:
        if self.child is not None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
            self.child = None


def test_a_pair_of_alertmanagers_holds_what_fires_over_restarts_and_says_it_once(tmp_path):
    model, person = serve(Model), serve(Person)
    Person.heard = []
    replicas = [Replica(tmp_path, name, f"http://127.0.0.1:{person.server_port}/") for name in ("one", "two")]
    one, two = replicas
    with contextlib.ExitStack() as stack, socket.socket() as hanging:
        stack.callback(model.shutdown)
        stack.callback(person.shutdown)
        # It takes connections, and never answers.
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(64)
        for replica, peer in ((one, two), (two, one)):
            replica.start(peer)
            stack.callback(replica.kill)
        [replica.wait_until_ready() for replica in replicas]
        peers = lambda: len(httpx.get(f"{one.url}/api/v2/status").json()["cluster"]["peers"])
        eventually(lambda: peers() == 2, "they know each other")
        urls = [f"http://127.0.0.1:{hanging.getsockname()[1]}", one.url, two.url]
        configuration = f"""
data_dir: data
models: [{{name: m, slis: {{latency: {{below: 100ms}}}}}}]
alerts:
  targets:
    cluster: {{alertmanager: {{urls: {json.dumps(urls)}, resend: 2s}}}}
{RULES}"""
        url = stack.enter_context(collector(tmp_path, configuration))
        address, _ = stack.enter_context(sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m"))
        ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
        Model.pause = 0.15
        [ask() for _ in range(15)]
        fires = lambda: all(replica.alerts() == ["LatencySlo"] for replica in replicas)
        eventually(fires, "both replicas have it, whatever the third does")
        eventually(heard("firing LatencySlo"), "one of them says it")
        # Killed sooner, it would take with it that it was said, and its peer would have to say it too.
        eventually(lambda: all(replica.knows_what_was_said() for replica in replicas), "the other knows that it was said")

        # A replica that begins anew knows nothing but what it is told again.
        one.kill()
        one.start(two)
        one.wait_until_ready()
        eventually(lambda: one.alerts() == ["LatencySlo"], "it hears of what fires again")
        eventually(one.knows_what_was_said, "it hears that it was said")
        # By now it would have ended at either, had nobody said it again: its end lies four times 2 s ahead.
        eventually(lambda: [ask() for _ in range(3)] and fires(), "both hold it")

        # One is away when it ends.
        two.kill()
        Model.pause = 0.0

        def over():
            [ask() for _ in range(20)]
            return httpx.get(f"{url}/api/v1/alerts").json()[0]["resolved_at"]

        eventually(over, "it is over")
        eventually(lambda: one.alerts() == [], "the one that is there knows that it is over")
        two.start(one)
        two.wait_until_ready()
        eventually(heard("firing LatencySlo", "resolved LatencySlo"), "the end is said")
        ends = lambda: httpx.get(f"{two.url}/api/v2/alerts", params={"active": "true"}).json()
        assert ends() == []
        # For five rounds of 2 s after the end it is said again, and by none of them anything of it comes back.
        quiet = time.monotonic() + 10
        while time.monotonic() < quiet:
            assert one.alerts() == [] and ends() == []
            time.sleep(0.2)
    assert Person.heard == ["firing LatencySlo", "resolved LatencySlo"], "each was said once"
