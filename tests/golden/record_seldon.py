"""Records exchanges with Seldon Core's Python server into protocol/testdata, over HTTP and over gRPC by its own client.

    python3 -m venv SELDON && SELDON/bin/pip install seldon-core==1.18.2 'setuptools<81'
    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_seldon.py SELDON
"""

import json
import os
import pathlib
import subprocess
import sys

from recording import SERVERS, expect, feature, post, prediction, record, server

from conftest import free_port

TEMPS, CARRIERS = [39.02, 41.5], ["UA", "höher"]
MIXED = [feature("temp", "number", TEMPS), feature("carrier", "text", CARRIERS)]
MIXED += [prediction("delay", "number", [19.51, 20.75]), prediction("code", "text", ["ua", "höher"])]
NUMBERS = [feature("temp", "number", [39.5, -41.0]), feature("carrier", "number", [1.0, 0.25])]
NUMBERS += [prediction("delay", "number", [19.75, -20.5]), prediction("code", "number", [1.0, 0.25])]
OBJECT = [feature("temp", "number", [39.02]), feature("carrier", "text", ["UA"])]
ANSWER = [prediction("delay", "number", [19.51]), prediction("code", "text", ["ua"])]
TAGS = {"meta": {"tags": {"node": "a"}}}


def seldon(environment: pathlib.Path):
    """The server of a container, by its own command."""
    rest, calls, metrics = free_port(), free_port(), free_port()
    command = [environment / "bin" / "seldon-core-microservice", "seldon_model", "--service-type=MODEL"]
    command += [f"--http-port={rest}", f"--grpc-port={calls}", f"--metrics-port={metrics}"]
    with server(command, f"http://127.0.0.1:{rest}/health/ping", cwd=SERVERS, env={**os.environ, "PYTHONPATH": str(SERVERS)}):
        over_http(f"127.0.0.1:{rest}")
        over_grpc(environment / "bin" / "python", f"127.0.0.1:{calls}")


def over_http(upstream: str):
    path = "/api/v1.0/predictions"
    body = {"data": {"names": ["temp", "carrier"], "ndarray": [list(row) for row in zip(TEMPS, CARRIERS)]}}
    answer = record(upstream, "seldon_rest_ndarray", post(path, json.dumps(body)))
    assert answer == {"data": {"names": ["delay", "code"], "ndarray": [[19.51, "ua"], [20.75, "höher"]]}, **TAGS}, answer
    expect("seldon_rest_ndarray", MIXED)

    tensor = {"shape": [2, 2], "values": [39.5, 1, -41, 0.25]}
    body = {"meta": {"puid": "k2c7"}, "data": {"names": ["temp", "carrier"], "tensor": tensor}}
    answer = record(upstream, "seldon_rest_tensor", post(path, json.dumps(body)))
    assert answer["meta"]["puid"] == "k2c7" and answer["data"]["tensor"]["values"] == [19.75, 1, -20.5, 0.25], answer
    expect("seldon_rest_tensor", NUMBERS, id="k2c7")

    answer = record(upstream, "seldon_rest_json", post(path, json.dumps({"jsonData": {"temp": 39.02, "carrier": "UA"}})))
    assert answer == {"jsonData": {"delay": 19.51, "code": "ua"}, **TAGS}, answer
    # Its JSON has names in their order.
    expect("seldon_rest_json", OBJECT + ANSWER[::-1])

    body = {"data": {"names": ["temp"], "ndarray": [[39.02], [41.5]]}}
    record(upstream, "seldon_rest_failed", post(path, json.dumps(body), status=500))
    expect("seldon_rest_failed", [feature("temp", "number", TEMPS)], outcome=500)


def over_grpc(python: pathlib.Path, upstream: str):
    def call(form: str):
        def called(address: str) -> dict:
            command = [python, SERVERS / "seldon_calls.py", address, form]
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

        return record(upstream, f"seldon_grpc_{form}", called)

    names = ["delay", "code"]
    answer = call("ndarray")
    assert answer == {"data": {"names": names, "ndarray": [[19.51, "ua"], [20.75, "höher"]]}, **TAGS}, answer
    expect("seldon_grpc_ndarray", MIXED)
    for form, id in [("tensor", {}), ("compressed", {"id": "k2c7"})]:
        answer = call(form)
        assert answer["data"] == {"names": names, "tensor": {"shape": [2, 2], "values": [19.75, 1, -20.5, 0.25]}}, answer
        expect(f"seldon_grpc_{form}", NUMBERS, **id)
    answer = call("json")
    assert answer == {"jsonData": {"delay": 19.51, "code": "ua"}, **TAGS}, answer
    expect("seldon_grpc_json", OBJECT + ANSWER)
    answer = call("text")
    assert answer == {"strData": "HÖHER", **TAGS}, answer
    expect("seldon_grpc_text", [feature("feature_0", "text", ["höher"]), prediction("prediction", "text", ["HÖHER"])])
    answer = call("failed")
    assert "failed" in answer, answer
    columns = [feature(f"feature_{index}", "number", [value]) for index, value in enumerate([39.5, 1.0, -41.0, 0.25])]
    expect("seldon_grpc_failed", columns, outcome=500)


seldon(pathlib.Path(sys.argv[1]).absolute())
