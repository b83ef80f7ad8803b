"""One shift: a model, its sidecar, a collector with the rules that ship, and the flights replayed through them in order."""

import concurrent.futures
import contextlib
import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import httpx
from conftest import BINARIES, eventually, free_port

from . import flights
from .receivers import Mailbox, PagerDuty, Record, Switch
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


#: Each of them has half of the callers, who do not go elsewhere.
SIDECARS = ("sidecar-1", "sidecar-2")
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


class Shift:
    """A shift in a folder of its own. `run` takes as long as the shift does, divided by its pace."""

    def __init__(self, name: str, folder: pathlib.Path, minutes: float, pace: float):
        self.name, self.folder, self.minutes, self.pace = name, folder, minutes, pace
        self.month, self.troubles = SHIFTS[name]
        self.record = Record(pace)
        self.pagerduty, self.mail, self.switch = (kind(self.record) for kind in (PagerDuty, Mailbox, Switch))
        self.processes: dict[str, subprocess.Popen] = {}
        self.ports = {name: free_port() for name in ("model", "collector", *SIDECARS, *(f"{name} admin" for name in SIDECARS))}
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
        self._reference()
        for name in ("collector", *SIDECARS):
            self._start(name)

    def _commands(self, name: str) -> tuple[list, str]:
        """How a process is started, and where it says that it is ready."""
        port = self.ports[name]
        if name == "model":
            return [sys.executable, "-m", "on_call.model", port], f"http://127.0.0.1:{port}/healthz"
        if name == "collector":
            return [BINARIES / "driftline", "serve", "--config", "driftline.yaml"], f"http://127.0.0.1:{port}/readyz"
        admin = f"127.0.0.1:{self.ports[f'{name} admin']}"
        arguments = [f"--listen=127.0.0.1:{port}", f"--admin={admin}", "--model=flights", f"--instance={name}"]
        arguments += [f"--upstream=127.0.0.1:{self.ports['model']}", f"--collector=http://127.0.0.1:{self.ports['collector']}"]
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

    def _reference(self) -> None:
        """Built as a user builds it, with what the model says of each row."""
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
        build = "reference build --model flights --config driftline.yaml --timestamp scheduled_at --output reference.json"
        with open(self.folder / "reference.log", "w") as log:
            command = [BINARIES / "driftline", *build.split(), "january.csv"]
            subprocess.run(command, cwd=self.folder, stdout=log, check=True)

    def _replay(self) -> None:
        """The flights of fifteen days, in their order and as fast as fills the shift, each when it is due."""
        rows, feed, done = flights.replayed(self.month), Feed(), threading.Event()
        director = threading.Thread(target=self._direct, args=(done,), daemon=True)
        self.record.began, self.began_at = time.monotonic(), time.time()
        director.start()
        with httpx.Client(timeout=30) as client, concurrent.futures.ThreadPoolExecutor(32) as callers:
            for number, row in enumerate(rows):
                due = number / len(rows) * LENGTH
                if due > self.minutes:
                    break
                time.sleep(max(0.0, (due - self.record.minute()) * 60 / self.pace))
                broken = {one for trouble in self._on() for one in trouble.feed}
                callers.submit(self._ask, client, SIDECARS[number % 2], feed.row(row, broken))
        done.set()
        director.join()

    def _ask(self, client: httpx.Client, sidecar: str, row: dict) -> None:
        self.answers["sent"] += 1
        url = f"http://127.0.0.1:{self.ports[sidecar]}/v1/models/flights:predict"
        try:
            is_success = client.post(url, json={"instances": [row]}).is_success
        except httpx.HTTPError:
            is_success = False
        self.answers["failed"] += not is_success

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
                self._stage({trouble.stage for trouble in on}, [trouble.model for trouble in on])
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
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(f"http://127.0.0.1:{self.ports['collector']}/v1/outcomes", content=json.dumps(outcome))

    def _stage(self, stages: set[str], model: list[dict]) -> None:
        self.pagerduty.is_busy = "busy pagerduty" in stages
        self.mail.is_deaf = "deaf mail" in stages
        shown, hidden = self.folder / "fares", self.folder / "fares.hidden"
        if shown.exists() and "hide fares" in stages:
            shown.rename(hidden)
        elif hidden.exists() and "hide fares" not in stages:
            hidden.rename(shown)
        self._lock_archive("lock archive" in stages)
        for name in ("model", "collector", "sidecar-2"):
            if f"kill {name}" in stages and name in self.processes:
                self._stop(name, signal.SIGKILL)
            elif f"kill {name}" not in stages and name not in self.processes:
                self._start(name)
        if "model" in self.processes:
            trouble = {"pause": 0.0, "pause_share": 0.0, "error_share": 0.0}
            for one in model:
                trouble.update(one)
            with contextlib.suppress(httpx.HTTPError):
                httpx.put(f"http://127.0.0.1:{self.ports['model']}/trouble", json=trouble)

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
        result = {**run, **self.answers, "record": self.record.entries, "alerts": alerts}
        (self.folder / "result.json").write_text(json.dumps(result, indent=1))
        return result
