"""The same bytes, sent to a real server directly and through the sidecar, are answered with the same bytes: in plain text, with
TLS that ends in the sidecar, with TLS to the server, and with both."""

import concurrent.futures
import contextlib
import pathlib
import re
import socket
import ssl
import time

import httpx
import pytest
from certificates import Authority
from conftest import eventually, free_port, process, sidecar
from test_clients import SERVERS, V, chat  # noqa: F401

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
BODY = b'{"instances": [[1]]}'


def post(*headers: bytes, body: bytes = BODY) -> bytes:
    lines = headers or (b"Content-Length: %d" % len(body),)
    return POST + b"\r\n".join(lines) + b"\r\n\r\n" + body


CORPUS = {
    "one request": [post()],
    "pipelined": [post() * 5],
    "byte by byte": [bytes([byte]) for byte in post()],
    "head and body apart": [post()[: -len(BODY)], BODY],
    "chunked": [post(b"Transfer-Encoding: chunked", body=b"a\r\n" + BODY[:10] + b"\r\na\r\n" + BODY[10:] + b"\r\n0\r\n\r\n")],
    "chunk extension and trailers": [
        post(b"Transfer-Encoding: chunked", body=b'14;a="b"\r\n' + BODY + b"\r\n0\r\nX-Sum: 1\r\n\r\n")
    ],
    "expect": [post(b"Expect: 100-continue", b"Content-Length: 20")[: -len(BODY)], BODY],
    "connection close": [post(b"Connection: close", b"Content-Length: 20")],
    "http/1.0": [post().replace(b"HTTP/1.1", b"HTTP/1.0")],
    "absolute form": [post().replace(b"POST /", b"POST http://m/")],
    "head": [b"HEAD /v1/models/m:predict HTTP/1.1\r\nHost: m\r\n\r\n" + post()],
    "options asterisk": [b"OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n"],
    "a large head": [post(b"X-Large: " + b"y" * 30_000, b"Content-Length: 20")],
    "a head past the server's limit": [post(b"X-Large: " + b"y" * 200_000, b"Content-Length: 20")],
    "two lengths": [post(b"Content-Length: 20", b"Content-Length: 21")],
    "length and chunked": [post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n")],
    "chunked twice": [post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")],
    "obsolete folding": [post(b"X-Folded: a\r\n b", b"Content-Length: 20")],
    "a bare line feed": [post().replace(b"\r\n", b"\n")],
    "a space before the colon": [post(b"Content-Length : 20")],
    "a bad chunk size": [post(b"Transfer-Encoding: chunked", body=b"xyz\r\n")],
    "a negative length": [post(b"Content-Length: -1")],
    "no version": [b"GET /docs\r\n\r\n"],
    "an unknown version": [post().replace(b"HTTP/1.1", b"HTTP/3.7")],
    "http/2 to a server without it": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"],
    "an upgrade that is not taken": [post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAAA", b"Content-Length: 20")],
    "garbage": [bytes((index * 89 + 7) % 256 for index in range(5000))],
    "nothing": [b""],
    "half a request": [post()[:40]],
    "tls to a plain server": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)],
    "an early error and more body": [b"POST /nowhere HTTP/1.1\r\nHost: m\r\nContent-Length: 100000\r\n\r\n" + b"z" * 1000, b"z" * 99_000],
    "server-sent events": [
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Length: 30\r\n\r\n" + b'{"stream": true, "tokens": 3  }'[:30]
    ],
}


# The server closes while bytes are still on their way to it. Whether they meet a closed connection in time to be answered by
# a reset, before the caller has read the answer, is a race with the server that nobody decides.
RACES = {"a head past the server's limit", "an early error and more body"}


# Whether callers speak TLS, and whether the server does.
WAYS = {"plain": (False, False), "ended in the sidecar": (True, False), "to the server": (False, True), "both": (True, True)}


class Plain:
    """A connection, of which each side ends by itself."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.send, self.receive = connection.sendall, lambda: connection.recv(65536)

    def end(self):
        self.connection.shutdown(socket.SHUT_WR)


class Secure:
    """The same under TLS: Python's own wrapper cannot end one side and go on reading."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext):
        self.connection, self.incoming, self.outgoing = connection, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.step(self.tls.do_handshake)

    def step(self, step, *arguments):
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                if received := self.connection.recv(65536):
                    self.incoming.write(received)
                else:
                    self.incoming.write_eof()
            else:
                self.flush()
                return result

    def flush(self):
        if waiting := self.outgoing.read():
            self.connection.sendall(waiting)

    def send(self, piece: bytes):
        if piece:
            self.step(self.tls.write, piece)

    def receive(self) -> bytes:
        with contextlib.suppress(ssl.SSLZeroReturnError):
            return self.step(self.tls.read, 65536)
        return b""

    def end(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()
        self.connection.shutdown(socket.SHUT_WR)


PATIENCE = 60
# Whoever is silent for so many seconds has said all, on a machine that stands still for less; and where it is known that
# nothing is left to be said, so many.
SILENCE, KNOWN_SILENCE = 8, 0.3


def talk(
    address: str, pieces: list[bytes], context: ssl.SSLContext | None = None, known: tuple[bytes, str] | None = None
) -> tuple[bytes, str]:
    """What is answered to these pieces, and how the connection ends after the caller has said all. `known` is what to expect:
    it is waited for, and no longer."""
    host, port = address.split("://")[-1].split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            caller = Secure(connection, context) if context else Plain(connection)
            for piece in pieces:
                caller.send(piece)
                time.sleep(0.003)
            try:
                while True:
                    is_all = known and known[1] == "closed after the caller" and len(received) >= len(known[0])
                    connection.settimeout(KNOWN_SILENCE if is_all else PATIENCE if known else SILENCE)
                    if not (chunk := caller.receive()):
                        return received, "closed by the server"
                    received += chunk
            except TimeoutError:
                caller.end()
            connection.settimeout(PATIENCE)
            while chunk := caller.receive():
                received += chunk
            return received, "closed after the caller"
        except ssl.SSLEOFError:
            return received, "cut off"
        except (ConnectionResetError, BrokenPipeError):
            # What came before it may still be read.
            with contextlib.suppress(OSError):
                while chunk := caller.receive():
                    received += chunk
            return received, "reset"


def normal(received: bytes) -> bytes:
    """Without the one thing that differs from call to call: the date."""
    return re.sub(rb"\r\ndate: [^\r]*", b"", received)


@contextlib.contextmanager
def secure_chat(folder, authority: Authority, own: tuple[pathlib.Path, pathlib.Path]):
    """The same model behind a uvicorn that speaks TLS with those whom the authority knows, such as us; gives its address."""
    port = free_port()
    certificate, key = authority.issue("server")
    command = [V / "uvicorn", "--app-dir", SERVERS, "--port", port, "--log-level", "warning", "--timeout-keep-alive", "600"]
    command += ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    command += ["--ssl-ca-certs", authority.file, "--ssl-cert-reqs", int(ssl.CERT_REQUIRED)]
    with process([*command, "chat:app"], folder / "secure.log"):
        trusted = ssl.create_default_context(cafile=authority.file)
        trusted.load_cert_chain(*own)
        ready = f"https://127.0.0.1:{port}/docs"
        eventually(lambda: httpx.get(ready, verify=trusted).status_code == 200, "uvicorn is up")
        yield f"https://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def answers(tmp_path_factory, chat) -> dict:  # noqa: F811
    """What each of the corpus is answered, directly and then through a sidecar in each way. Most of it is waiting, so all wait
    at once."""
    folder = tmp_path_factory.mktemp("ways")
    authority = Authority(folder, "ca")
    certificate, key = authority.issue("sidecar")
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(certificate, key)
    with contextlib.ExitStack() as running, concurrent.futures.ThreadPoolExecutor(2 * len(CORPUS)) as callers:
        servers = {False: chat, True: running.enter_context(secure_chat(folder, authority, (certificate, key)))}
        directly = {
            ("direct", by_tls, name): callers.submit(talk, server, CORPUS[name], context if by_tls else None)
            for by_tls, server in servers.items()
            for name in CORPUS
        }
        found = {key: answer.result() for key, answer in directly.items()}
        asked = {}
        for way, (callers_by_tls, server_by_tls) in WAYS.items():
            place = folder / way.replace(" ", "-")
            place.mkdir()
            flags = ["--flush-budget=0s", "--drain-grace=0s"]
            flags += [f"--tls-certificate={certificate}", f"--tls-key={key}"] if callers_by_tls else []
            if server_by_tls:
                flags += [f"--upstream-ca={authority.file}"]
                flags += [f"--upstream-certificate={certificate}", f"--upstream-key={key}"]
            through = sidecar(place, servers[server_by_tls], "http://127.0.0.1:9", "m", *flags)
            address, _ = running.enter_context(through)
            for name, pieces in CORPUS.items():
                known = found["direct", server_by_tls, name]
                asked[way, name] = callers.submit(talk, address, pieces, context if callers_by_tls else None, known)
        yield found | {key: answer.result() for key, answer in asked.items()}


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("way", WAYS)
def test_the_same_bytes_are_answered_with_the_same_bytes(way, name, answers):
    direct, direct_end = answers["direct", WAYS[way][1], name]
    through, end = answers[way, name]
    assert normal(through) == normal(direct)
    assert end == direct_end or name in RACES
