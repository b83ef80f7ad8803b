"""MLServer with the model of servers/typed.py, and calls of it in every form that it takes."""

import contextlib
import gzip
import json
import os
import pathlib
import sys

import grpc
import httpx
import numpy
import tritonclient.grpc
from conftest import eventually, free_port, process
from tritonclient.grpc.service_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse

SERVERS = pathlib.Path(__file__).parent / "servers"
SERVICE = "/inference.GRPCInferenceService"
MLSERVER = pathlib.Path(sys.executable).parent / "mlserver"


@contextlib.contextmanager
def typed_server(folder: pathlib.Path):
    """Gives host and port of its REST and of its gRPC side."""
    rest, calls, metrics = free_port(), free_port(), free_port()
    settings = {"host": "127.0.0.1", "http_port": rest, "grpc_port": calls, "metrics_port": metrics, "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "typed", "implementation": "typed.Typed", "parameters": {"version": "v1"}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    environment = {**os.environ, "PYTHONPATH": str(SERVERS)}
    with process([MLSERVER, "start", folder], folder / "mlserver.log", cwd=folder, env=environment):
        ready = f"http://127.0.0.1:{rest}/v2/models/typed/ready"
        eventually(lambda: httpx.get(ready).status_code == 200, "MLServer is up", patience=240)
        yield f"127.0.0.1:{rest}", f"127.0.0.1:{calls}"


def rest_json(address: str, rows: list[list[float]]):
    """JSON, one request."""
    answer = httpx.post(f"{address}/v2/models/typed/infer", json=body(rows), headers={"accept-encoding": "identity"})
    assert answer.status_code == 200, answer.text


def rest_gzip(address: str, rows: list[list[float]]):
    """JSON, compressed both ways."""
    headers = {"content-type": "application/json", "content-encoding": "gzip", "accept-encoding": "gzip"}
    content = gzip.compress(json.dumps(body(rows)).encode(), mtime=0)
    answer = httpx.post(f"{address}/v2/models/typed/infer", content=content, headers=headers)
    assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip", answer.text


def grpc_raw(address: str, rows: list[list[float]]):
    """Raw contents, as Triton's client sends them."""
    client = tritonclient.grpc.InferenceServerClient(address)
    tensor = tritonclient.grpc.InferInput("x", [len(rows), 3], "FP64")
    tensor.set_data_from_numpy(numpy.array(rows))
    client.infer("typed", [tensor], request_id="raw")
    client.close()


def grpc_typed(address: str, rows: list[list[float]]):
    """Typed contents, compressed."""
    with grpc.insecure_channel(address) as channel:
        infer(channel)(call(rows, "typed"), compression=grpc.Compression.Gzip)


def grpc_stream(address: str, rows: list[list[float]]):
    """A message for each row."""
    with grpc.insecure_channel(address) as channel:
        # MLServer answers without the message that Triton's client would look for around an answer.
        stream = channel.stream_stream(
            f"{SERVICE}/ModelStreamInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )
        answers = list(stream(iter([call([row], f"m-{index}") for index, row in enumerate(rows)])))
    assert len(answers) == len(rows)


def grpc_failed(address: str, rows: list[list[float]]):
    """A model that is not there."""
    with grpc.insecure_channel(address) as channel:
        try:
            infer(channel)(call(rows, "failed", model="nobody"))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a model that is not there has answered")


def body(rows: list[list[float]]) -> dict:
    data = [value for row in rows for value in row]
    return {"id": "json", "inputs": [{"name": "x", "shape": [len(rows), 3], "datatype": "FP64", "data": data}]}


def infer(channel: grpc.Channel):
    return channel.unary_unary(f"{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString)


def call(rows: list[list[float]], id: str, model: str = "typed") -> ModelInferRequest:
    contents = InferTensorContents(fp64_contents=[value for row in rows for value in row])
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[len(rows), 3], contents=contents)
    return ModelInferRequest(model_name=model, id=id, inputs=[tensor])
