"""Records exchanges with real model servers, as the sidecar sees them, into protocol/testdata.

    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_bodies.py

protocol/tests/real_servers.rs says what must be read in them.
"""

import pathlib
import tempfile

from recording import record

import binary_tensors
import tensorflow_predict
import typed_server

ROWS = [[1.0, 0.5, 0.25], [0.125, 0.0, -1.0]]
REST = [typed_server.rest_json, typed_server.rest_gzip]
CALLS = [typed_server.grpc_raw, typed_server.grpc_typed, typed_server.grpc_stream, typed_server.grpc_failed]


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    with typed_server.typed_server(folder) as (rest, calls):
        for form in REST:
            # Enough rows that the server finds its answer worth compressing.
            rows = ROWS * 20 if form is typed_server.rest_gzip else ROWS
            record(rest, f"mlserver_{form.__name__}", lambda address: form(f"http://{address}", rows))
        for form in CALLS:
            record(calls, f"mlserver_{form.__name__}", lambda address: form(address, ROWS))
    with binary_tensors.server() as upstream:
        for compression in [None, "deflate"]:
            name = f"tritonclient_binary_{compression or 'plain'}"
            record(upstream, name, lambda address: binary_tensors.call(address, compression))
    with tensorflow_predict.server() as upstream:
        record(upstream, "tensorflow_predict", tensorflow_predict.call)
        record(upstream, "tensorflow_predict_failed", tensorflow_predict.call_failed)


main()
