"""Records exchanges with TorchServe into protocol/testdata. It needs Java.

    python3 -m venv TORCHSERVE && TORCHSERVE/bin/pip install torchserve==0.12.0 torch-model-archiver==0.12.0 pyyaml
    echo 'class Tensor: pass' >TORCHSERVE/lib/python3.*/site-packages/torch.py
    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_torchserve.py TORCHSERVE

Its workers import PyTorch, of which a handler without tensors needs nothing: an empty module stands in for gigabytes.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import httpx
from recording import SERVERS, expect, feature, post, prediction, record, server

from conftest import free_port

ROWS = [{"temp": 39.02, "carrier": "UA"}, {"temp": 41.5, "carrier": "DL"}]
COLUMNS = [feature("temp", "number", [39.02, 41.5]), feature("carrier", "text", ["UA", "DL"])]
COLUMNS += [prediction("delay", "number", [19.51, 20.75]), prediction("code", "text", ["ua", "dl"])]


def torchserve(environment: pathlib.Path):
    """JSON of one row and of several, a text that `curl -T` would put, and a model that is not there."""
    store, port = pathlib.Path(tempfile.mkdtemp()), free_port()
    programs = environment / "bin"
    archive = [programs / "torch-model-archiver", "--model-name", "delays", "--version", "2.0", "--export-path", store]
    subprocess.run([*archive, "--handler", SERVERS / "delays_handler.py"], check=True)
    addresses = {"inference": port, "management": free_port(), "metrics": free_port()}
    lines = [f"{name}_address=http://127.0.0.1:{of}" for name, of in addresses.items()]
    lines += [f"grpc_{name}_port={free_port()}" for name in ["inference", "management"]]
    lines += ["default_workers_per_model=1", "disable_token_authorization=true"]
    (store / "config").write_text("\n".join(lines) + "\n")
    command = [programs / "torchserve", "--start", "--foreground", "--ncs", "--model-store", store]
    path = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    models = ["--models", "delays=delays.mar", "--ts-config", store / "config"]
    with server([*command, *models], f"http://127.0.0.1:{port}/ping", env=path, cwd=store):
        upstream = f"127.0.0.1:{port}"
        answer = record(upstream, "torchserve_row", post("/predictions/delays", json.dumps(ROWS[0])))
        assert answer == {"delay": 19.51, "code": "ua"}, answer
        expect("torchserve_row", [{**column, "cells": column["cells"][:1]} for column in COLUMNS])
        answer = record(upstream, "torchserve_rows", post("/predictions/delays/2.0", json.dumps(ROWS)))
        assert answer == [{"delay": 19.51, "code": "ua"}, {"delay": 20.75, "code": "dl"}], answer
        expect("torchserve_rows", COLUMNS, version="2.0")
        answer = record(upstream, "torchserve_text", put)
        assert answer == {"first": "Höxter", "count": 3}, answer
        sent = feature("feature_0", "field", ["Höxter liegt hier"])
        expect("torchserve_text", [sent, prediction("first", "text", ["Höxter"]), prediction("count", "number", [3.0])])
        record(upstream, "torchserve_failed", post("/predictions/nobody", json.dumps(ROWS[0]), status=404))
        sent = [{**column, "cells": column["cells"][:1]} for column in COLUMNS[:2]]
        expect("torchserve_failed", sent, outcome=404)


def put(address: str) -> dict:
    """As its documentation calls it: `curl -T` puts, and says no content type."""
    answer = httpx.put(f"http://{address}/predictions/delays", content="Höxter liegt hier\n".encode(), timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


torchserve(pathlib.Path(sys.argv[1]).absolute())
