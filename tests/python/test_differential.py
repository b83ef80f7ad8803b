"""The same bytes, sent to a real server directly and through the sidecar, are answered with the same bytes."""

import re
import socket
import time

import pytest
from conftest import sidecar
from test_clients import chat  # noqa: F401

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


def talk(address: str, pieces: list[bytes]) -> tuple[bytes, str]:
    """What is answered to these pieces, and how the connection ends after the caller has said all."""
    host, port = address.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.003)
            connection.settimeout(1.5)
            try:
                while chunk := connection.recv(65536):
                    received += chunk
                return received, "closed by the server"
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            while chunk := connection.recv(65536):
                received += chunk
            return received, "closed after the caller"
        except (ConnectionResetError, BrokenPipeError):
            return received, "reset"


def normal(received: bytes) -> bytes:
    """Without the one thing that differs from call to call: the date."""
    return re.sub(rb"\r\ndate: [^\r]*", b"", received)


@pytest.mark.parametrize("name", CORPUS)
def test_the_same_bytes_are_answered_with_the_same_bytes(name, tmp_path, chat):  # noqa: F811
    direct, direct_end = talk(chat, CORPUS[name])
    with sidecar(tmp_path, chat, "http://127.0.0.1:9", "m", "--flush-budget=0s", "--drain-grace=0s") as (address, _):
        through, end = talk(address, CORPUS[name])
    assert normal(through) == normal(direct)
    assert end == direct_end or name in RACES
