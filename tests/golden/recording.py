"""Records exchanges as the sidecar sees them, each with what it says by the word of whoever made it.

NAME.exchange is one Exchange of protocol/driftline.proto, without its number, ids and times. NAME.json beside it is what a
decoder must read in it: written by what was sent and answered, never by a decoder of ours.
"""

import contextlib
import json
import math
import os
import pathlib
import signal
import sys
import tempfile

import httpx

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from conftest import eventually, process, sidecar  # noqa: E402
from wire import Keeper  # noqa: E402

SERVERS = pathlib.Path(__file__).parent / "servers"
TESTDATA = ROOT / "protocol" / "testdata"


@contextlib.contextmanager
def server(command: list, is_up: str, **more):
    """A server with its workers, until the end."""
    log = pathlib.Path(tempfile.mkdtemp()) / "server.log"
    with process(command, log, start_new_session=True, **more) as child:
        try:
            eventually(lambda: httpx.get(is_up).status_code == 200, f"{command[0]} is up ({log})", patience=120)
            yield
        finally:
            os.killpg(child.pid, signal.SIGTERM)


def post(path: str, content: str | bytes, content_type: str = "application/json", status: int = 200):
    """A call that posts a body, and gives what was answered."""

    def call(address: str):
        headers = {"content-type": content_type, "accept-encoding": "identity"}
        answer = httpx.post(f"http://{address}{path}", content=content, headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    return call


def record(upstream: str, name: str, call):
    """Keeps the exchange that a call makes: a function that takes the sidecar's host and port. Gives what it returns."""
    keeper = Keeper()
    folder = pathlib.Path(tempfile.mkdtemp())
    with sidecar(folder, upstream, keeper.url, "recorded", "--flush-interval=50ms") as (address, _):
        returned = call(address.removeprefix("http://"))
        exchange = keeper.wait_for(1)[0]
    keeper.close()
    keep(name, exchange)
    return returned


def keep(name: str, exchange):
    """Writes an exchange without what differs from run to run."""
    for field in ["sequence", "request_id", "traceparent", "started_at_micros", "request_micros"]:
        exchange.ClearField(field)
    (TESTDATA / f"{name}.exchange").write_bytes(exchange.SerializeToString())


def expect(name: str, columns: list[dict], outcome: int = 200, naming: dict | None = None, **more):
    """Writes what an exchange says. `more` is its `id` and its `version`, where the bodies or the path name them."""
    said = {"outcome": outcome, **more, "naming": naming or {}, "columns": columns}
    lines = [f'  "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in said.items() if key != "columns"]
    rows = ",\n".join(f"    {json.dumps(column, ensure_ascii=False, allow_nan=False)}" for column in columns)
    text = "{\n" + ",\n".join(lines) + f',\n  "columns": [\n{rows}\n  ]\n}}\n'
    (TESTDATA / f"{name}.json").write_text(text)


def feature(name: str, kind: str, cells: list) -> dict:
    """A column of the request: integer, number, boolean, text, field (text of no type) or embedding; None is missing."""
    return {"name": name, "role": "feature", "type": kind, "cells": [cell_of(cell) for cell in cells]}


def prediction(name: str, kind: str, cells: list) -> dict:
    """A column of the answer."""
    return {**feature(name, kind, cells), "role": "prediction"}


def cell_of(value):
    """JSON has no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
