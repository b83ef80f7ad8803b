"""Triton's client and the binary tensor extension: a request in it, and a server that answers in it."""

import contextlib
import http.server
import json
import threading

import numpy
import tritonclient.http
from tritonclient.utils import serialize_byte_tensor

INPUTS = [("INT16", numpy.int16), ("FP32", numpy.float32), ("FP16", numpy.float16), ("BOOL", bool), ("BYTES", object)]


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the extension's document has it: JSON, and two of three outputs behind it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        half = numpy.array([0.5, -2.0], numpy.float16).tobytes()
        label = serialize_byte_tensor(numpy.array(["höher", ""], object)).item()
        outputs = [
            {"name": "half", "datatype": "FP16", "shape": [2], "parameters": {"binary_data_size": len(half)}},
            {"name": "count", "datatype": "UINT8", "shape": [2], "data": [7, 255]},
            {"name": "label", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(label)}},
        ]
        head = json.dumps({"model_name": "typed", "model_version": "3", "outputs": outputs}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("inference-header-content-length", str(len(head)))
        self.send_header("content-length", str(len(head) + len(half) + len(label)))
        self.end_headers()
        self.wfile.write(head + half + label)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server():
    """Gives its host and port."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()


def call(address: str, compression: str | None):
    """Two rows: a binary tensor of each of a few types, and one in JSON between them."""
    inputs = []
    for datatype, kind in INPUTS:
        tensor = tritonclient.http.InferInput(datatype.lower(), [2], datatype)
        tensor.set_data_from_numpy(numpy.array(["a", "ö"] if kind is object else [1, 0], kind), binary_data=True)
        inputs.append(tensor)
    plain = tritonclient.http.InferInput("plain", [2, 2], "INT64")
    plain.set_data_from_numpy(numpy.array([[1, 2], [3, 4]]), binary_data=False)
    inputs.insert(2, plain)
    client = tritonclient.http.InferenceServerClient(address)
    result = client.infer("typed", inputs, request_compression_algorithm=compression)
    assert result.as_numpy("half").tolist() == [0.5, -2.0]
    client.close()
