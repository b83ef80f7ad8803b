"""Calls by Seldon Core's own client over gRPC: `python seldon_calls.py HOST:PORT FORM`. Prints what was answered, as JSON."""

import json
import sys

import grpc
import numpy
from seldon_core.proto import prediction_pb2, prediction_pb2_grpc
from seldon_core.seldon_client import SeldonClient, microservice_api_grpc_seldon_message
from seldon_core.utils import seldon_message_to_json

NAMES = ["temp", "carrier"]
MIXED = numpy.array([[39.02, "UA"], [41.5, "höher"]], dtype=object)
NUMBERS = numpy.array([[39.5, 1.0], [-41.0, 0.25]])


def through_a_gateway(address: str, **data):
    """The call that a gateway passes on: the service `Seldon`."""
    gateway = {"gateway": "istio", "gateway_endpoint": address, "namespace": "models"}
    client = SeldonClient(deployment_name="typed", transport="grpc", client_return_type="proto", **gateway)
    return said(client.predict(**data))


def of_a_container(address: str, **data):
    """The call of a container: the service `Model`."""
    return said(microservice_api_grpc_seldon_message(microservice_endpoint=address, **data))


def said(prediction) -> dict:
    return seldon_message_to_json(prediction.response) if prediction.success else {"failed": prediction.msg}


def compressed(address: str) -> dict:
    """What its client has no option for: its stub with compressed messages, and a request that has an id."""
    data = prediction_pb2.DefaultData(names=NAMES, tensor={"shape": NUMBERS.shape, "values": NUMBERS.ravel()})
    request = prediction_pb2.SeldonMessage(meta={"puid": "k2c7"}, data=data)
    with grpc.insecure_channel(address) as channel:
        answer = prediction_pb2_grpc.SeldonStub(channel).Predict(request, compression=grpc.Compression.Gzip, timeout=30)
    return seldon_message_to_json(answer)


FORMS = {
    "ndarray": lambda address: through_a_gateway(address, data=MIXED, payload_type="ndarray", names=NAMES),
    "tensor": lambda address: of_a_container(address, data=NUMBERS, payload_type="tensor", names=NAMES),
    "json": lambda address: through_a_gateway(address, json_data={"temp": 39.02, "carrier": "UA"}),
    "text": lambda address: of_a_container(address, str_data="höher"),
    "compressed": compressed,
    "failed": lambda address: through_a_gateway(address, data=NUMBERS.reshape(1, 4), payload_type="tensor"),
}

print(json.dumps(FORMS[sys.argv[2]](sys.argv[1])))
