"""A collector that keeps what it is sent: batches, read by the published description."""

import http.server
import pathlib
import struct
import subprocess
import tempfile
import threading

import pyarrow
from conftest import eventually
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = pathlib.Path(__file__).parent.parent.parent / "protocol" / "driftline.proto"


def messages() -> dict:
    """The classes of the messages, by their names."""
    with tempfile.NamedTemporaryFile() as described:
        subprocess.run(
            ["protoc", f"--proto_path={PROTO.parent}", f"--descriptor_set_out={described.name}", PROTO.name], check=True
        )
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(described.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(files.file[0])
    kinds = ["Batch", "Acknowledgement"]
    return {kind: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"driftline.v1.{kind}")) for kind in kinds}


class Keeper:
    """Acknowledges every batch, and keeps its exchanges."""

    def __init__(self):
        kinds = messages()
        batch, acknowledgement = kinds["Batch"], kinds["Acknowledgement"]
        self.exchanges = []
        self.account = None
        keeper = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                frame = self.rfile.read(int(self.headers["content-length"]))
                length = struct.unpack("<I", frame[8:12])[0]
                raw = pyarrow.Codec("zstd").decompress(frame[16:], decompressed_size=length).to_pybytes()
                received = batch.FromString(raw)
                keeper.exchanges.extend(received.exchanges)
                keeper.account = received.account
                body = acknowledgement(durable_through=received.last_sequence).SerializeToString()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_for(self, count: int) -> list:
        """The exchanges in the order in which they began, once there are so many. Large ones come after the small ones of
        the same moment."""

        def enough():
            assert len(self.exchanges) >= count, f"{len(self.exchanges)} of {count} exchanges"
            return True

        eventually(enough, "the exchanges arrive")
        return sorted(self.exchanges, key=lambda exchange: exchange.started_at_micros)

    def close(self):
        self.server.shutdown()


def end_state(exchange) -> str:
    """The name of an exchange's end state."""
    return exchange.DESCRIPTOR.fields_by_name["end"].enum_type.values_by_number[exchange.end].name
