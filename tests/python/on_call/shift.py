"""One shift: models, their sidecars, a collector with the rules that ship, and the flights replayed through them in order."""

import concurrent.futures
import contextlib
import csv
import json
import os
import pathlib
import queue
import random
import signal
import subprocess
import sys
import threading
import time

import httpx
import yaml
from conftest import BINARIES, ROOT, eventually, free_port

from . import flights
from .receivers import Mailbox, PagerDuty, Record, Switch
from .road import Road
from .trouble import LENGTH, SHIFTS, Trouble

#: Rules, windows and limits are what ships; the windows are those of somebody who watches days.
CONFIGURATION = """\
listen: 127.0.0.1:{port}
public_url: http://127.0.0.1:{port}
data_dir: data
archive: {{folder: archive, partition: day, max_age: 10s, max_lag: 2m}}
models:
  - name: flights
    reference: reference.json
    event_time: {{column: scheduled_at}}
    segments: [{{column: origin}}]
    false_pages: 1 per year
    windows:
      pane: 1d
      window: 10d
      every: 1d
      origin: 2013-01-01T05:00:00Z   # midnight in New York
      lateness: 6h
      min_filled: 5
      close_when_idle: 5m
    slis:
      latency: {{below: 500ms}}
      freshness: [{{column: weather_at, max_age: 2h}}]
      feeds: [{{name: fares, folder: fares, every: 10s, max_age: 3m, columns: [fare]}}]
      outcomes: {{max_age: 3m}}
  - name: desk
    slis: {{first_message: {{below: 500ms}}, heard: {{max_age: 1m}}}}
  - name: routes
    reference: routes.json
    event_time: {{column: scheduled_at}}
    false_pages: 1 per year
    windows: {{pane: 1d, window: 1d, every: 1d, origin: 2013-01-01T05:00:00Z, lateness: 6h, min_filled: 1, close_when_idle: 5m}}
    compare_with: {{recent: {{over: 5d}}}}
alerts:
  heartbeat: {{url: {{file: switch.url}}, every: 30s}}
  targets:
    oncall: {{pagerduty: {{url: "{pagerduty}", routing_key: {{file: pagerduty.key}}}}}}
    team:
      email:
        from: Driftline <driftline@example.com>
        to: [team@example.com]
        smtp: {{host: 127.0.0.1, port: {mail}, tls: none}}
"""


#: Each of the first two has half of the model's callers, who do not go elsewhere. The second has as little memory as there can
#: be: it holds what comes in a minute or so.
SIDECARS = ("sidecar-1", "sidecar-2", "desk-sidecar")
LITTLE_MEMORY = ["--max-body=4KiB", "--capture-budget=144KiB"]
#: How servers are when nothing is wrong with them.
WELL = {"model": {"pause": 0.0, "pause_share": 0.0, "error_share": 0.0}, "desk": {"pause": 0.0}}
#: Somebody asks the desk every so often, in seconds.
CHAT_SECONDS = 2.0
#: An application sends the routes so many flights at a time.
ROUTES_AT_ONCE = 20
#: Somebody else's work goes on every so often, in seconds: a file of fares, and an outcome.
CHORE_SECONDS = 10.0


class Feed:
    """What stands between the flights and the model's callers, and breaks."""

    def __init__(self):
        self.draws = random.Random(7)
        self.weather_at = None

    def row(self, row: dict, broken: set[str]) -> dict:
        row = flights.instance(row)
        missing = {name.removeprefix("no "): None for name in broken if name.startswith("no ")}
        row.update(missing)
        if "old weather" in broken:
            self.weather_at = self.weather_at or row["weather_at"]
            row["weather_at"] = self.weather_at
        else:
            self.weather_at = None
        if "text temp" in broken:
            row["temp"] = str(row["temp"])
        if "new carrier" in broken and self.draws.random() < 0.1:
            row["carrier"] = "ZZ"
        return row

    def headers(self, broken: set[str]) -> dict:
        """What one caller in three says of its body beside its type: an encoding that is none."""
        return {"content-encoding": "utf-8"} if "wrong encoding" in broken and self.draws.random() < 0.33 else {}

    def route(self, row: dict, broken: set[str]) -> dict:
        """A flight as the routes' application writes it."""
        row = {name: row[name] for name in flights.ROUTE} | {"scheduled_at": row["scheduled_at"].isoformat()}
        return {**row, "distance": row["distance"] * 1.609344} if "kilometres" in broken else row


class Shift:
    """A shift in a folder of its own. `run` takes as long as the shift does, divided by its pace."""

    def __init__(self, name: str, folder: pathlib.Path, minutes: float, pace: float):
        self.name, self.folder, self.minutes, self.pace = name, folder, minutes, pace
        self.month, self.troubles = SHIFTS[name]
        self.record = Record(pace)
        self.pagerduty, self.mail, self.switch = (kind(self.record) for kind in (PagerDuty, Mailbox, Switch))
        self.processes: dict[str, subprocess.Popen] = {}
        names = ("model", "desk", "collector", "road", *SIDECARS, *(f"{name} admin" for name in SIDECARS))
        self.ports = {name: free_port() for name in names}
        self.road = Road(self.ports["road"], self.ports["collector"])
        self.answers = {"sent": 0, "failed": 0}
        self.began_at, self.chores_at, self.is_locked = 0.0, 0.0, False

    def run(self) -> dict:
        # What else runs on the machine is no trouble of the shift's.
        with contextlib.suppress(PermissionError):
            os.nice(-10)
        self._set_up()
        try:
            self._replay()
            time.sleep(60)
            return self._result()
        finally:
            self._lock_archive(False)
            for name in list(self.processes):
                self._stop(name, signal.SIGTERM)

    def _set_up(self) -> None:
        (self.folder / "fares").mkdir(parents=True)
        (self.folder / "pagerduty.key").write_text("0123456789abcdef0123456789abcdef")
        (self.folder / "switch.url").write_text(self.switch.url)
        text = CONFIGURATION.format(port=self.ports["collector"], pagerduty=self.pagerduty.url, mail=self.mail.port)
        (self.folder / "driftline.yaml").write_text(text)
        self._start("model")
        self._references()
        for name in ("desk", "collector", *SIDECARS):
            self._start(name)

    def _commands(self, name: str) -> tuple[list, str]:
        """How a process is started, and where it says that it is ready."""
        port = self.ports[name]
        if name in ("model", "desk"):
            return [sys.executable, "-m", f"on_call.{name}", port], f"http://127.0.0.1:{port}/healthz"
        if name == "collector":
            return [BINARIES / "driftline", "serve", "--config", "driftline.yaml"], f"http://127.0.0.1:{port}/readyz"
        admin = f"127.0.0.1:{self.ports[f'{name} admin']}"
        model, server = ("desk", "desk") if name == "desk-sidecar" else ("flights", "model")
        road = "road" if name == "sidecar-2" else "collector"
        arguments = [f"--listen=127.0.0.1:{port}", f"--admin={admin}", f"--model={model}", f"--instance={name}"]
        arguments += [f"--upstream=127.0.0.1:{self.ports[server]}", f"--collector=http://127.0.0.1:{self.ports[road]}"]
        arguments += LITTLE_MEMORY if name == "sidecar-2" else []
        return [BINARIES / "driftline-sidecar", *arguments], f"http://{admin}/readyz"

    def _start(self, name: str) -> None:
        command, probe = self._commands(name)
        paths = {"PYTHONPATH": str(pathlib.Path(__file__).parent.parent)}
        # One row at a time: more threads only wait for each other.
        environment = {**os.environ, **paths, "OMP_NUM_THREADS": "1"}
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, stdout=log, stderr=log, env=environment
            )
        eventually(lambda: httpx.get(probe).status_code == 200, f"{self.name}: the {name} is ready", 120)

    def _stop(self, name: str, how: signal.Signals) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(timeout=60)

    def _references(self) -> None:
        """Built as a user builds them: the model's with what it says of each row, and the routes'."""
        rows = [flights.instance(row) for row in flights.reference()]
        url = f"http://127.0.0.1:{self.ports['model']}/v1/models/flights:predict"
        predictions = []
        for start in range(0, len(rows), 1000):
            answer = httpx.post(url, json={"instances": rows[start : start + 1000]}, timeout=60).raise_for_status()
            predictions += answer.json()["predictions"]
        with open(self.folder / "january.csv", "w", newline="") as file:
            names = ["scheduled_at", *flights.TEXTS, *flights.NUMBERS, "prediction"]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, "prediction": late} for row, late in zip(rows, predictions, strict=True))
        routes = f"--column {','.join(flights.ROUTE)} --output routes.json"
        for model, more in (("flights", "--output reference.json"), ("routes", routes)):
            build = f"reference build --model {model} --config driftline.yaml --timestamp scheduled_at {more} january.csv"
            with open(self.folder / f"{model}-reference.log", "w") as log:
                subprocess.run([BINARIES / "driftline", *build.split()], cwd=self.folder, stdout=log, check=True)

    def _replay(self) -> None:
        """The flights of fifteen days, in their order and as fast as fills the shift, each when it is due."""
        rows, feed, done = flights.replayed(self.month), Feed(), threading.Event()
        director = threading.Thread(target=self._direct, args=(done,), daemon=True)
        self.record.began, self.began_at = time.monotonic(), time.time()
        director.start()
        routes, written = [], queue.SimpleQueue()
        others = [
            threading.Thread(target=self._chat, args=(done,), daemon=True),
            threading.Thread(target=self._write_routes, args=(done, written), daemon=True),
        ]
        for other in others:
            other.start()
        with httpx.Client(timeout=30) as client, concurrent.futures.ThreadPoolExecutor(32) as callers:
            for number, row in enumerate(rows):
                due = number / len(rows) * LENGTH
                if due > self.minutes:
                    break
                time.sleep(max(0.0, (due - self.record.minute()) * 60 / self.pace))
                broken = {one for trouble in self._on() for one in trouble.feed}
                callers.submit(self._ask, client, SIDECARS[number % 2], feed.row(row, broken), feed.headers(broken))
                routes.append(json.dumps({"features": feed.route(row, broken)}))
                if len(routes) == ROUTES_AT_ONCE:
                    written.put("\n".join(routes))
                    routes = []
        done.set()
        for other in (director, *others):
            other.join()

    def _ask(self, client: httpx.Client, sidecar: str, row: dict, headers: dict) -> None:
        self.answers["sent"] += 1
        url = f"http://127.0.0.1:{self.ports[sidecar]}/v1/models/flights:predict"
        try:
            is_success = client.post(url, json={"instances": [row]}, headers=headers).is_success
        except httpx.HTTPError:
            is_success = False
        self.answers["failed"] += not is_success

    def _write_routes(self, done: threading.Event, written: queue.SimpleQueue) -> None:
        """What an application without a proxy has to tell, in its order: each until it is taken."""
        url = f"http://127.0.0.1:{self.ports['collector']}/v1/rows?model=routes"
        lines = None
        while not done.is_set():
            with contextlib.suppress(httpx.TransportError, queue.Empty):
                lines = lines or written.get(timeout=1)
                answer = httpx.post(url, content=lines, timeout=30)
                if answer.status_code not in (429, 503):
                    answer.raise_for_status()
                    lines = None
                    continue
            done.wait(1)

    def _chat(self, done: threading.Event) -> None:
        """Somebody asks the desk something, every other second."""
        url = f"http://127.0.0.1:{self.ports['desk-sidecar']}/v1/chat/completions"
        question = {"model": "desk", "stream": True, "messages": [{"role": "user", "content": "Is UA 1545 late?"}]}
        while not done.wait(CHAT_SECONDS):
            if "no chats" not in {trouble.stage for trouble in self._on()}:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.post(url, json=question, timeout=30)

    def _on(self) -> list[Trouble]:
        return [trouble for trouble in self.troubles if trouble.is_on(self.record.minute())]

    def _direct(self, done: threading.Event) -> None:
        """Makes trouble when it is due, and unmakes it."""
        was: list[Trouble] = []
        while not done.wait(0.5):
            on = self._on()
            for trouble in [one for one in on if one not in was]:
                self.record.add(to="world", action="begins", says=trouble.what)
            for trouble in [one for one in was if one not in on]:
                self.record.add(to="world", action="ends", says=trouble.what)
            if on != was:
                self._stage({trouble.stage for trouble in on}, on)
            was = on
            self._chores({trouble.stage for trouble in on})
            self.switch.look()

    def _chores(self, stages: set[str]) -> None:
        """What others do all the time: fares come, and what became of flights is told."""
        if time.monotonic() < self.chores_at:
            return
        self.chores_at = time.monotonic() + CHORE_SECONDS
        if not stages & {"no fares", "hide fares"}:
            (self.folder / "fares" / "fares.csv").write_text(f"{time.time()}\n")
        if "no outcomes" not in stages:
            known = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            outcome = {"model": "flights", "row_id": "1", "outcome": True, "observed_at": known}
            if "wrong outcomes" in stages:
                outcome = {"model": "flights", "flight": "UA-1545", "late": True}
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(f"http://127.0.0.1:{self.ports['collector']}/v1/outcomes", content=json.dumps(outcome))

    def _stage(self, stages: set[str], on: list[Trouble]) -> None:
        self.pagerduty.is_busy = "busy pagerduty" in stages
        self.mail.is_deaf = "deaf mail" in stages
        shown, hidden = self.folder / "fares", self.folder / "fares.hidden"
        if shown.exists() and "hide fares" in stages:
            shown.rename(hidden)
        elif hidden.exists() and "hide fares" not in stages:
            hidden.rename(shown)
        self._lock_archive("lock archive" in stages)
        self.road.close("close road" in stages)
        for name in ("model", "collector", "sidecar-2"):
            if f"kill {name}" in stages and name in self.processes:
                self._stop(name, signal.SIGKILL)
            elif f"kill {name}" not in stages and name not in self.processes:
                self._start(name)
        for name, model in (("model", "flights"), ("desk", "desk")):
            trouble = dict(WELL[name])
            for one in on:
                trouble.update(one.model if one.of == model else {})
            if name in self.processes:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.put(f"http://127.0.0.1:{self.ports[name]}/trouble", json=trouble)

    def _lock_archive(self, is_locked: bool) -> None:
        """Has nothing written to the archive any more, as on a volume that was mounted for reading only."""
        if is_locked != self.is_locked:
            self.is_locked = is_locked
            subprocess.run(["chattr", "-R", "+i" if is_locked else "-i", self.folder / "archive"], check=True)

    def _result(self) -> dict:
        """What was recorded, and what the collector and the sidecar say at the end."""
        url = f"http://127.0.0.1:{self.ports['collector']}"
        alerts = httpx.get(f"{url}/api/v1/alerts", params={"state": "all", "limit": 1000}).raise_for_status().json()
        run = {"shift": self.name, "minutes": self.minutes, "pace": self.pace, "began_at": self.began_at}
        shipped = yaml.safe_load((ROOT / "collector" / "src" / "config" / "shipped_rules.yaml").read_text())["rules"]
        run["rules"] = [rule["name"] for rule in shipped]
        result = {**run, **self.answers, "record": self.record.entries, "alerts": alerts}
        (self.folder / "result.json").write_text(json.dumps(result, indent=1))
        return result
