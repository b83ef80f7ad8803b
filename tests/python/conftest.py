"""Fixtures: the binaries as processes, a finished demo, and free ports."""

import contextlib
import inspect
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import httpx
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
# Nothing routes to a test's sidecar that would have to learn that it leaves.
os.environ.setdefault("DRIFTLINE_DRAIN_DELAY", "0s")
BINARIES = pathlib.Path(os.environ.get("DRIFTLINE_BINARIES", ROOT / "target" / "ci"))
# A machine that stands still for five seconds is slow, and no server that does not answer.
_answer_within = inspect.signature(httpx.get).parameters["timeout"].default
_answer_within.connect = _answer_within.read = _answer_within.write = _answer_within.pool = 60.0


# Below the ports that the kernel gives to whoever calls out: a caller could take one between two starts of its server.
# Every process begins elsewhere, and gives no port twice.
PORTS = itertools.cycle(range(10_000, 32_000))
for _ in range(os.getpid() * 101 % 22_000):
    next(PORTS)
HELD = []


def free_port() -> int:
    """A port that nobody else is given: it stays taken for all but those who say that they use addresses again, as servers do."""
    for port in itertools.islice(PORTS, 22_000):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        HELD.append(held)
        return port
    raise AssertionError("no port is free")


def stay_within_a_day(seconds: float = 180.0):
    """Waits for the next day where this one may end meanwhile."""
    if (left := 86_400 - time.time() % 86_400) < seconds:
        time.sleep(left + 1)


def eventually(look, what: str, patience: float = 120.0):
    """Calls until it returns something true, and fails otherwise."""
    deadline = time.monotonic() + patience
    last = None
    while time.monotonic() < deadline:
        try:
            last = look()
            if last:
                return last
        except (httpx.HTTPError, OSError, LookupError, TypeError, ValueError, StopIteration, AssertionError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: still {last!r} after {patience} s")


@contextlib.contextmanager
def process(arguments, log: pathlib.Path, **more):
    """A process that is stopped at the end, by its id."""
    with open(log, "ab") as output:
        child = subprocess.Popen([str(a) for a in arguments], stdout=output, stderr=output, **more)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def collector(folder: pathlib.Path, configuration: str, environment: dict | None = None, probe: str = "/readyz"):
    """A collector in a folder, once its probe is answered with 200; gives its address."""
    port = free_port()
    config = folder / "driftline.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\npublic_url: http://127.0.0.1:{port}\n{configuration}")
    log = folder / "collector.log"
    with process([BINARIES / "driftline", "serve", "--config", config], log, env={**os.environ, **(environment or {})}) as child:
        url = f"http://127.0.0.1:{port}"

        def ready():
            assert child.poll() is None, log.read_text()
            return httpx.get(f"{url}{probe}").status_code == 200

        eventually(ready, "the collector is ready")
        yield url


@contextlib.contextmanager
def sidecar(folder: pathlib.Path, upstream: str, collector_url: str, model: str, *more: str):
    """A sidecar; gives its address and that of its admin port."""
    port, admin = free_port(), free_port()
    arguments = [
        BINARIES / "driftline-sidecar",
        f"--listen=127.0.0.1:{port}",
        f"--admin=127.0.0.1:{admin}",
        f"--upstream={upstream}",
        f"--collector={collector_url}",
        f"--model={model}",
        *more,
    ]
    with process(arguments, folder / "sidecar.log"):
        eventually(lambda: httpx.get(f"http://127.0.0.1:{admin}/readyz").status_code == 200, "the sidecar is ready")
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"


@contextlib.contextmanager
def prometheus(folder: pathlib.Path, configuration: dict):
    """A real Prometheus; gives a function that asks it a query, for the values of the answer."""
    config, port = folder / "prometheus.yml", free_port()
    # JSON is YAML.
    config.write_text(json.dumps(configuration))
    arguments = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def value(query: str) -> list[float]:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    with process(arguments, folder / "prometheus.log"):
        # It listens before it answers.
        eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/-/ready").status_code == 200, "Prometheus is ready")
        yield value


@pytest.fixture(scope="session")
def demo_folder() -> pathlib.Path:
    """The folder of a demo that ran to its end: tests/run names it."""
    folder = pathlib.Path(os.environ.get("DRIFTLINE_DEMO", ROOT / "driftline-demo"))
    assert (folder / "summary.json").is_file(), f"{folder} holds no finished demo; tests/run makes one"
    return folder


@pytest.fixture(scope="session")
def summary(demo_folder) -> dict:
    """What that demo said of itself."""
    return json.loads((demo_folder / "summary.json").read_text())


@pytest.fixture(scope="session")
def demo_collector(demo_folder, tmp_path_factory):
    """A collector on a copy of what the demo left: what is said to it, the browser's tests do not see."""
    copy = tmp_path_factory.mktemp("demo") / "copy"
    shutil.copytree(demo_folder, copy)
    lines = (copy / "driftline.yaml").read_text().splitlines()
    kept = "\n".join(line for line in lines if not line.startswith(("listen:", "public_url:"))) + "\n"
    with collector(copy, kept) as url:
        yield url
