"""Records exchanges with real model servers, as the sidecar sees them, into protocol/testdata.

    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_bodies.py

Each file is one Exchange of protocol/driftline.proto. Times and request ids of the recording are left out.
"""

import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

import binary_tensors  # noqa: E402
import tensorflow_predict  # noqa: E402
import typed_server  # noqa: E402
from conftest import sidecar  # noqa: E402
from wire import Keeper  # noqa: E402

TESTDATA = ROOT / "protocol" / "testdata"
ROWS = [[1.0, 0.5, 0.25], [0.125, 0.0, -1.0]]
REST = [typed_server.rest_json, typed_server.rest_gzip]
CALLS = [typed_server.grpc_raw, typed_server.grpc_typed, typed_server.grpc_stream, typed_server.grpc_failed]


def record(folder: pathlib.Path, upstream: str, name: str, call):
    """Keeps the exchange that a call makes: a function that takes the sidecar's host and port."""
    keeper = Keeper()
    with sidecar(folder, upstream, keeper.url, "typed", "--flush-interval=50ms") as (address, _):
        call(address.removeprefix("http://"))
        exchange = keeper.wait_for(1)[0]
    keeper.close()
    for field in ["sequence", "request_id", "traceparent", "started_at_micros", "request_micros"]:
        exchange.ClearField(field)
    (TESTDATA / f"{name}.exchange").write_bytes(exchange.SerializeToString())


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    TESTDATA.mkdir(exist_ok=True)
    with typed_server.typed_server(folder) as (rest, calls):
        for form in REST:
            # Enough rows that the server finds its answer worth compressing.
            rows = ROWS * 20 if form is typed_server.rest_gzip else ROWS
            record(folder, rest, f"mlserver_{form.__name__}", lambda address: form(f"http://{address}", rows))
        for form in CALLS:
            record(folder, calls, f"mlserver_{form.__name__}", lambda address: form(address, ROWS))
    with binary_tensors.server() as upstream:
        for compression in [None, "deflate"]:
            name = f"tritonclient_binary_{compression or 'plain'}"
            record(folder, upstream, name, lambda address: binary_tensors.call(address, compression))
    with tensorflow_predict.server() as upstream:
        record(folder, upstream, "tensorflow_predict", tensorflow_predict.call)
        record(folder, upstream, "tensorflow_predict_failed", tensorflow_predict.call_failed)


main()
