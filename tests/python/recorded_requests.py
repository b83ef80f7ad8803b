"""Requests as they were: flights replayed through a real sidecar to a model that fails, dawdles and hangs, and what the archive keeps of them.

    python tests/python/recorded_requests.py          # makes tests/golden/burn/recorded.csv again

What is counted of such a log directly is below, by numpy alone: it knows nothing of how the collector counts.
"""

import asyncio
import csv
import dataclasses
import http.server
import json
import pathlib
import random
import sys
import tempfile
import time

import httpx
import numpy
import pyarrow.dataset

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from conftest import ROOT, collector, eventually, sidecar  # noqa: E402
from on_call.flights import instance, replayed  # noqa: E402
from test_alert_delivery import serve  # noqa: E402

RECORDED = ROOT / "tests" / "golden" / "burn" / "recorded.csv"
# Slower than this is bad, and how long the slow and the hung take.
LIMIT_MS, SLOW_S, HUNG_S = 150, 0.15, 2.0
CALLERS = 24


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What share of requests goes how wrong, from one part of the recording to another."""

    begins: float
    ends: float
    shares: dict[str, float]


QUIET = {"fails": 0.002, "slow": 0.004, "wrong": 0.004, "tells": 0.001, "hangs": 0.001}
TROUBLES = [
    Trouble(0.15, 0.165, {"fails": 0.5}),
    Trouble(0.30, 0.34, {"slow": 0.4}),
    Trouble(0.45, 0.65, {"tells": 0.03}),
    Trouble(0.80, 0.805, {"fails": 1.0}),
    Trouble(0.90, 0.92, {"hangs": 0.15}),
]
# What orchestrators and load balancers ask: that it fails is no request's failure.
HEALTH_CHECKS = ["/v2/health/ready", "/v2/health/live", "/v1/models/flights", "/ping", "/"]
# Nobody asks.
SILENT = (0.70, 0.76)


class Model(http.server.BaseHTTPRequestHandler):
    """Answers as it is told to by its caller: what happens to whom is the recording's to say."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        how = self.headers["x-how"]
        time.sleep({"slow": SLOW_S, "hangs": HUNG_S}.get(how, 0.0))
        status = {"fails": 503, "wrong": 400}.get(how, 200)
        body = {"error": "the model is out of memory"} if how in ("fails", "wrong", "tells") else {"predictions": [0.5]}
        body = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # It hung, and its caller has left.

    def do_GET(self):
        """Says to whoever watches it that it is not ready."""
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def course(requests: int, seed: int) -> list[tuple[float, str]]:
    """When each request is made, as a part of the recording, and how it goes."""
    draw, drawn = random.Random(seed), []
    while len(drawn) < requests:
        at = draw.random()
        if not SILENT[0] <= at < SILENT[1]:
            drawn.append(at)
    how = []
    for at in sorted(drawn):
        shares = next((trouble.shares for trouble in TROUBLES if trouble.begins <= at < trouble.ends), {})
        rest, one = draw.random(), "well"
        for name, share in {**QUIET, **shares}.items():
            if rest < share:
                one = name
                break
            rest -= share
        how.append((at, one))
    return how


async def replay(address: str, requests: list[tuple[float, str]], seconds: float) -> list[tuple[str, int | None, dict | None]]:
    """Makes the requests in so long a time. Gives how each went by its caller: its status and body, or none where it gave up."""
    rows, gate = replayed("01"), asyncio.Semaphore(CALLERS)
    begun, said = time.monotonic(), [None] * len(requests)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CALLERS), timeout=30.0) as client:

        async def ask(index: int, how: str):
            row = {**instance(rows[index % len(rows)])}
            patience = httpx.Timeout(30.0, read=0.25) if how == "hangs" else httpx.Timeout(30.0)
            async with gate:
                try:
                    answer = await client.post(
                        f"{address}/v1/models/flights:predict", json={"instances": [row]}, headers={"x-how": how}, timeout=patience
                    )
                    said[index] = (how, answer.status_code, answer.json())
                except httpx.ReadTimeout:
                    said[index] = (how, None, None)

        tasks = []
        for index, (at, how) in enumerate(requests):
            await asyncio.sleep(max(0.0, begun + at * seconds - time.monotonic()))
            tasks.append(asyncio.create_task(ask(index, how)))
        await asyncio.gather(*tasks)
    return said


@dataclasses.dataclass
class Log:
    """What is known of each request, the earliest first."""

    # In microseconds.
    at: numpy.ndarray
    status: numpy.ndarray
    end: numpy.ndarray
    took: numpy.ndarray

    @classmethod
    def archived(cls, folder: pathlib.Path) -> "Log":
        rows = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table(
            columns=["event_time", "status", "end_state", "latency_ms"]
        )
        at = rows["event_time"].cast("int64").to_numpy()
        order = numpy.argsort(at, kind="stable")
        of = lambda name: rows[name].to_numpy(zero_copy_only=False)[order]
        return cls(at[order], of("status").astype(int), of("end_state").astype(str), numpy.round(of("latency_ms") * 1000).astype(int))

    @classmethod
    def read(cls, path: pathlib.Path) -> "Log":
        rows = list(csv.DictReader(path.open()))
        of = lambda name, kind: numpy.array([row[name] for row in rows]).astype(kind)
        return cls(of("at_ms", int) * 1000, of("status", int), of("end", str), of("took_us", int))

    def write(self, path: pathlib.Path):
        lines = ["at_ms,status,end,took_us"]
        for at, status, end, took in zip(self.at - self.at[0], self.status, self.end, self.took):
            lines.append(f"{at // 1000},{status},{end},{took}")
        path.write_text("\n".join(lines) + "\n")

    def availability(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Of each request, whether it counts and whether it is good."""
        callers = (self.status >= 400) & (self.status < 500) & (self.status != 408) & (self.status != 429)
        counts = ~callers & ~numpy.isin(self.end, ["cancelled", "upgraded", "unreadable"])
        passed = numpy.isin(self.end, ["complete", "truncated", "budget"])
        return counts, counts & passed & (self.status < 400)

    def latency(self, limit_us: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        passed = numpy.isin(self.end, ["complete", "truncated", "budget"])
        succeeded = (self.status >= 200) & (self.status < 300)
        left = (self.end == "cancelled") & (self.took > limit_us) & ((self.status == 0) | succeeded)
        counts = (passed & succeeded) | left
        return counts, counts & (self.took <= limit_us)


CONFIGURATION = """
data_dir: data
archive: {folder: rows, max_age: 1s}
models: [{name: flights, slis: {latency: {below: 150ms}}}]
"""


def record(folder: pathlib.Path, configuration: str, requests: list[tuple[float, str]], seconds: float, then) -> tuple[list, Log]:
    """Replays requests through a sidecar to a collector, after health checks that fail, and gives what their callers and the archive
    say of the requests."""
    model = serve(Model)
    with (
        collector(folder, configuration) as url,
        sidecar(folder, f"127.0.0.1:{model.server_port}", url, "flights") as (address, _),
    ):
        assert {httpx.get(f"{address}{path}").status_code for path in HEALTH_CHECKS * 4} == {503}
        said = asyncio.run(replay(address, requests, seconds))
        counted = 'driftline_exchanges_received_total{model="flights"} ' + str(len(requests))
        eventually(lambda: counted in httpx.get(f"{url}/metrics").text, "all are counted", 60)
        status = lambda: httpx.get(f"{url}/api/v1/status").json()
        eventually(lambda: (now := status())["archived_position"] == now["journal_position"] and now, "all are archived", 60)
        then(url)
    model.shutdown()
    return said, Log.archived(folder / "rows")


def main():
    with tempfile.TemporaryDirectory() as folder:
        requests = course(12_000, 20261126)
        _, log = record(pathlib.Path(folder), CONFIGURATION, requests, 150.0, lambda _: None)
    log.write(RECORDED)
    (available, answered), (timed, in_time) = log.availability(), log.latency(LIMIT_MS * 1000)
    print(f"{len(log.at)} requests: {answered.sum()} of {available.sum()} answered, {in_time.sum()} of {timed.sum()} in time")


if __name__ == "__main__":
    main()
