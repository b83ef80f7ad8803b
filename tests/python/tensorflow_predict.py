"""A server of TensorFlow Serving's gRPC interface, and calls of it, by TensorFlow's own message classes."""

import contextlib
from concurrent import futures

import grpc
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework import types_pb2 as types
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.inference_pb2 import InferenceTask, MultiInferenceRequest, MultiInferenceResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    PredictionServiceStub,
    add_PredictionServiceServicer_to_server,
)
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse


def tensor(dtype: int, sizes: list[int], **values) -> TensorProto:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
    return TensorProto(dtype=dtype, tensor_shape=shape, **values)


class Flights(PredictionServiceServicer):
    """The version that answers, a probability and a label for each row, and one number for all."""

    def Predict(self, request, context):
        if request.model_spec.name != "flights":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return PredictResponse(
            model_spec=ModelSpec(name="flights", version={"value": 3}, signature_name="serving_default"),
            outputs={
                # 0.25, -2 and 1.5 as bfloat16 has them.
                "half": tensor(types.DT_BFLOAT16, [3], half_val=[0x3E80, 0xC000, 0x3FC0]),
                "label": tensor(types.DT_STRING, [3, 1], string_val=["höher".encode(), b"", b"low"]),
                "late": tensor(types.DT_FLOAT, [3], float_val=[0.5]),
                "threshold": tensor(types.DT_DOUBLE, [], double_val=[0.75]),
            },
        )

    def Classify(self, request, context):
        response = ClassificationResponse(model_spec=ModelSpec(name="flights", version={"value": 3}))
        for late in [0.25, 0.5]:
            classes = [{"label": "late", "score": late}, {"label": "höher", "score": 1 - late}]
            response.result.classifications.add(classes=classes)
        return response

    def Regress(self, request, context):
        response = RegressionResponse(model_spec=ModelSpec(name="flights", version={"value": 3}))
        for value in [1.5, 0.0]:
            response.result.regressions.add(value=value)
        return response

    def MultiInference(self, request, context):
        response = MultiInferenceResponse()
        spec = {"name": "flights", "version": {"value": 3}}
        regression = self.Regress(request, context).result
        response.results.add(model_spec=ModelSpec(signature_name="delay", **spec), regression_result=regression)
        classification = self.Classify(request, context).result
        response.results.add(model_spec=ModelSpec(signature_name="kind", **spec), classification_result=classification)
        return response


@contextlib.contextmanager
def server():
    """Gives its address."""
    made = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    add_PredictionServiceServicer_to_server(Flights(), made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        made.stop(None)


def call(address: str, compression: grpc.Compression = grpc.Compression.NoCompression):
    """Three rows in tensors of every form: contents, typed values, values that are left out, and one without a dimension."""
    request = PredictRequest(
        model_spec=ModelSpec(name="flights", signature_name="serving_default"),
        inputs={
            "wind": tensor(types.DT_FLOAT, [3, 2], tensor_content=b"\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40" + b"\0\0\x80\xbe" * 3),
            "carrier": tensor(types.DT_STRING, [3], string_val=[b"UA", "ö".encode(), b""]),
            # 1, -0.5 and 65504 as half has them.
            "pressure": tensor(types.DT_HALF, [3, 1], half_val=[0x3C00, 0xB800, 0x7BFF]),
            "minute": tensor(types.DT_INT64, [3], int64_val=[5, -1, 2**53 + 1]),
            "is_weekend": tensor(types.DT_BOOL, [3], bool_val=[True, False]),
            "gate": tensor(types.DT_UINT8, [3], int_val=[7, 255, 0]),
            "rate": tensor(types.DT_FLOAT, [], float_val=[0.5]),
        },
    )
    with grpc.insecure_channel(address) as channel:
        PredictionServiceStub(channel).Predict(request, compression=compression, timeout=10)


def example(**features) -> Example:
    """Lists of floats, integers or bytes, by the name of the list."""
    made = Example()
    for name, (kind, values) in features.items():
        getattr(made.features.feature[name], f"{kind}_list").value.extend(values)
    return made


def call_with_examples(address: str, compression: grpc.Compression):
    """Two rows by each call that takes examples; those of the last have a context."""
    examples = [
        example(wind=("float", [1.0, 2.0]), carrier=("bytes", ["ö".encode()]), minute=("int64", [2**53 + 1])),
        example(wind=("float", [3.0, -0.25]), carrier=("bytes", [b"DL"])),
    ]
    spec = ModelSpec(name="flights")
    plain = {"example_list": {"examples": examples}}
    shared = {"example_list_with_context": {"examples": examples, "context": example(site=("bytes", [b"north"]))}}
    tasks = [InferenceTask(model_spec=spec, method_name=f"tensorflow/serving/{name}") for name in ["regress", "classify"]]
    with grpc.insecure_channel(address) as channel:
        stub = PredictionServiceStub(channel)
        for call, request in [
            (stub.Classify, ClassificationRequest(model_spec=spec, input=plain)),
            (stub.Regress, RegressionRequest(model_spec=spec, input=plain)),
            (stub.MultiInference, MultiInferenceRequest(tasks=tasks, input=shared)),
        ]:
            call(request, compression=compression, timeout=10)


def call_failed(address: str):
    """A model that is not there."""
    request = PredictRequest(model_spec=ModelSpec(name="nobody"), inputs={"x": tensor(types.DT_FLOAT, [1], float_val=[1])})
    with grpc.insecure_channel(address) as channel:
        try:
            PredictionServiceStub(channel).Predict(request, timeout=10)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a model that is not there has answered")
