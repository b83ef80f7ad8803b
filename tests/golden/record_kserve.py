"""Records exchanges with KServe's Python server into protocol/testdata.

    python3 -m venv KSERVE && KSERVE/bin/pip install kserve==0.21.0
    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_kserve.py KSERVE
"""

import json
import pathlib
import sys

import numpy
import tritonclient.http
from recording import SERVERS, expect, feature, post, prediction, record, server

import typed_server
from conftest import free_port


def kserve(environment: pathlib.Path):
    """KServe's Python server: V1 in both forms of an instance, V2 over HTTP and gRPC as Triton's clients speak it."""
    rest, calls = free_port(), free_port()
    command = [environment / "bin" / "python", SERVERS / "kserve_model.py", rest, calls]
    with server(command, f"http://127.0.0.1:{rest}/v2/health/ready"):
        v1(f"127.0.0.1:{rest}")
        v2(f"127.0.0.1:{rest}", f"127.0.0.1:{calls}")


def v1(upstream: str):
    path = "/v1/models/typed:predict"
    answer = record(upstream, "kserve_v1_lists", post(path, json.dumps({"instances": [[1, 0.5], [0.125, -1]]})))
    assert answer == {"predictions": [1.5, -0.875]}, answer
    columns = [feature("feature_0", "number", [1.0, 0.125]), feature("feature_1", "number", [0.5, -1.0])]
    expect("kserve_v1_lists", [*columns, prediction("prediction", "number", [1.5, -0.875])])

    instances = [{"tag": "foo", "signal": [1, 2]}, {"tag": "bär", "signal": [3, 0.5]}]
    answer = record(upstream, "kserve_v1_objects", post(path, json.dumps({"instances": instances})))
    assert answer == {"predictions": [{"total": 3, "label": "FOO"}, {"total": 3.5, "label": "BÄR"}]}, answer
    columns = [feature("tag", "text", ["foo", "bär"]), feature("signal_0", "number", [1.0, 3.0])]
    columns += [feature("signal_1", "number", [2.0, 0.5]), prediction("total", "number", [3.0, 3.5])]
    expect("kserve_v1_objects", [*columns, prediction("label", "text", ["FOO", "BÄR"])])

    record(upstream, "kserve_v1_failed", post("/v1/models/nobody:predict", '{"instances": [{"tag": "foo"}]}', status=404))
    expect("kserve_v1_failed", [feature("tag", "text", ["foo"])], outcome=404)


ROWS = [[1.0, 0.5, 0.25], [0.125, 0.0, -1.0]]
NAMING = {"tensors": {"x": ["a", "b", "c"]}}
TOTALS = [prediction("total", "number", [1.75, -0.875]), prediction("rounded", "integer", [2, -1])]
TOTALS += [prediction("is_high", "boolean", [True, False]), prediction("label", "text", ["höher", "low"])]


def v2(rest: str, calls: str):
    abc = [feature(name, "number", [row[index] for row in ROWS]) for index, name in enumerate("abc")]
    record(rest, "kserve_v2_json", lambda address: typed_server.rest_json(f"http://{address}", ROWS))
    expect("kserve_v2_json", abc + TOTALS, id="json", naming=NAMING)

    record(rest, "kserve_v2_binary", lambda address: binary(address, ["total", "label"]))
    expect("kserve_v2_binary", [*abc, TOTALS[0], TOTALS[3]], id="binary", naming=NAMING)
    record(rest, "kserve_v2_mixed", lambda address: binary(address, ["rounded", "is_high"], in_json=["is_high"]))
    expect("kserve_v2_mixed", [*abc, TOTALS[1], TOTALS[2]], id="binary", naming=NAMING)

    for form in [typed_server.grpc_raw, typed_server.grpc_typed]:
        record(calls, f"kserve_{form.__name__}", lambda address: form(address, ROWS))
        expect(f"kserve_{form.__name__}", abc + TOTALS, id=form.__name__.removeprefix("grpc_"), naming=NAMING)
    wide = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]}]}
    record(rest, "kserve_v2_failed", post("/v2/models/typed/infer", json.dumps(wide), status=400))
    refused = [feature("x_0", "integer", [1]), feature("x_1", "integer", [2])]
    expect("kserve_v2_failed", refused, outcome=400)


def binary(address: str, outputs: list[str], in_json: list[str] = ()):
    """Triton's client with a tensor behind the JSON, asking for some of the outputs."""
    tensor = tritonclient.http.InferInput("x", [len(ROWS), 3], "FP32")
    tensor.set_data_from_numpy(numpy.array(ROWS, numpy.float32), binary_data=True)
    asked = [tritonclient.http.InferRequestedOutput(name, binary_data=name not in in_json) for name in outputs]
    client = tritonclient.http.InferenceServerClient(address)
    result = client.infer("typed", [tensor], outputs=asked, request_id="binary")
    for column in TOTALS:
        if column["name"] in outputs:
            values = result.as_numpy(column["name"]).reshape(-1).tolist()
            assert [value.decode() if isinstance(value, bytes) else value for value in values] == column["cells"]
    client.close()


kserve(pathlib.Path(sys.argv[1]).absolute())
