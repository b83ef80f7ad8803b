"""A gRPC server with a call of each kind, on the paths of the Open Inference Protocol. Messages are bytes as they are."""

import sys
import time
from concurrent import futures

import grpc

SERVICE = "inference.GRPCInferenceService"


def unary(request, context):
    if request == b"fail":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such model")
    return request[::-1]


def bidirectional(requests, _):
    for request in requests:
        yield request[::-1]


def server_stream(request, _):
    for index in range(3):
        time.sleep(0.03)
        yield request + str(index).encode()


def client_stream(requests, _):
    return b"".join(requests)


def main(port: int):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    handlers = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(unary),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(bidirectional),
    }
    other = {
        "Predict": grpc.unary_stream_rpc_method_handler(server_stream),
        "MultiInference": grpc.stream_unary_rpc_method_handler(client_stream),
    }
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(SERVICE, handlers),
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", other),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


main(int(sys.argv[1]))
