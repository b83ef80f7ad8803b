"""KServe's own server with one model: `python kserve_model.py HTTP_PORT GRPC_PORT`.

It answers V1 with a number for each instance, and V2 with tensors of every kind, like tests/python/servers/typed.py.
"""

import sys

import numpy
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput


class Typed(Model):
    def __init__(self):
        super().__init__("typed")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, InferRequest):
            return self.infer(payload)
        return {"predictions": [self.of_instance(instance) for instance in payload["instances"]]}

    def of_instance(self, instance):
        if isinstance(instance, dict):
            return {"total": sum(instance["signal"]), "label": instance["tag"].upper()}
        return sum(instance)

    def infer(self, request: InferRequest) -> InferResponse:
        x = request.inputs[0].as_numpy()
        if x.shape[1] != 3:
            raise InvalidInput("a row has three values")
        total = x.sum(axis=1)
        answers = [
            ("total", "FP32", total.astype(numpy.float32)),
            ("rounded", "INT64", total.round().astype(numpy.int64).reshape(-1, 1)),
            ("is_high", "BOOL", total > 1),
            ("label", "BYTES", numpy.array(["höher".encode() if value > 1 else b"low" for value in total], dtype=object)),
        ]
        outputs = [InferOutput(name, list(values.shape), datatype, values) for name, datatype, values in answers]
        if request.from_grpc:
            # Its gRPC side trips over arrays where the request was raw.
            for output in outputs:
                output.set_data_from_numpy(output.data)
        return InferResponse(
            request.id,
            self.name,
            outputs,
            requested_outputs=request.request_outputs,
            use_binary_outputs=request.use_binary_outputs,
        )


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1).start([Typed()])
