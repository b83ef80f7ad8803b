"""What the sidecar sends, read by Google's protobuf compiler from the published description."""

import http.server
import pathlib
import queue
import struct
import subprocess
import threading

import httpx
import pyarrow
from conftest import eventually, sidecar
from test_metrics import Model

PROTO = pathlib.Path(__file__).parent.parent.parent / "protocol" / "driftline.proto"


def protoc(direction: str, message: str, data: bytes) -> bytes:
    command = ["protoc", f"--proto_path={PROTO.parent}", f"--{direction}=driftline.v1.{message}", PROTO.name]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    frames: queue.Queue = queue.Queue()

    def do_POST(self):
        frame = self.rfile.read(int(self.headers["content-length"]))
        Receiver.frames.put((self.path, self.headers["content-type"], frame))
        body = protoc("encode", "Acknowledgement", b"durable_through: 1000")
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_batch_is_what_the_description_says(tmp_path):
    model, receiver = serve(Model), serve(Receiver)
    collector = f"http://127.0.0.1:{receiver.server_port}"
    with sidecar(tmp_path, f"127.0.0.1:{model.server_port}", collector, "flights", "--instance=pod-7") as (address, admin):
        headers = {"x-request-id": "r-1", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
        body = '{"instances": [[39.02]]}'
        httpx.post(f"{address}/v1/models/m:predict?a=1", content=body, headers=headers).raise_for_status()
        path, content_type, frame = Receiver.frames.get(timeout=120)
        delivered = "driftline_sidecar_exchanges_delivered_total 1"
        eventually(lambda: delivered in httpx.get(f"{admin}/metrics").text, "the acknowledgement is understood")
    assert (path, content_type) == ("/v1/exchanges", "application/vnd.driftline.v1+protobuf")
    magic, version, codec, length, _ = struct.unpack("<4sBB2xII", frame[:16])
    assert (magic, version, codec) == (b"DRFT", 1, 1)
    raw = pyarrow.Codec("zstd").decompress(frame[16:], decompressed_size=length).to_pybytes()
    text = protoc("decode", "Batch", raw).decode()
    # A field that the description lacks shows as a bare number.
    assert not any(line.strip()[:1].isdigit() for line in text.splitlines()), text
    for part in [
        'model: "flights"',
        'instance: "pod-7"',
        "first_sequence: 1",
        "seen: 1",
        'request_id: "r-1"',
        f'traceparent: "{headers["traceparent"]}"',
        'method: "POST"',
        'target: "/v1/models/m:predict"',
        "status: 200",
        "end: COMPLETE",
        "size: 24",
        r'content: "{\"instances\": [[39.02]]}"',
        r'content: "{\"predictions\": [0.5]}"',
        "first_byte_micros: ",
    ]:
        assert part in text, f"{part} is missing in\n{text}"
    model.shutdown()
    receiver.shutdown()
