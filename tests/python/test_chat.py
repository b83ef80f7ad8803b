"""OpenAI's own client and LitServe, with the real sidecar and the real collector between them: a chat by its numbers."""

import os
import pathlib
import signal
import sys
import time

import duckdb
import httpx
import openai
import pytest
from conftest import collector, eventually, free_port, process, sidecar

SERVERS = pathlib.Path(__file__).parent / "servers"
CONFIGURATION = """data_dir: data
archive: {folder: archive, max_age: 300ms}
models: [{name: parrot, slis: {first_message: {below: 10s}}}]
"""


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    """LitServe and its worker; gives its host and port."""
    port = free_port()
    log = tmp_path_factory.mktemp("parrot") / "parrot.log"
    with process([sys.executable, SERVERS / "parrot.py", port], log, start_new_session=True) as child:
        health = f"http://127.0.0.1:{port}/health"
        eventually(lambda: httpx.get(health).status_code == 200, f"LitServe is up ({log})", patience=180)
        yield f"127.0.0.1:{port}"
        os.killpg(child.pid, signal.SIGTERM)


def test_a_streamed_chat_is_a_row_of_tokens_reason_and_time_to_first_token(parrot, tmp_path):
    messages = [{"role": "user", "content": "Wo liegt Höxter ?"}]
    with collector(tmp_path, CONFIGURATION) as url, sidecar(tmp_path, parrot, url, "parrot") as (address, _):
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        begun = time.monotonic()
        answer = client.chat.completions.create(model="parrot", messages=messages, stream=True)
        chunks = [(time.monotonic(), chunk) for chunk in answer]
        whole = client.chat.completions.create(model="parrot", messages=messages)
        # LitServe ends within the event that tells of the error, and the client passes over it.
        failing = [{"role": "user", "content": "ja fail"}]
        assert len(list(client.chat.completions.create(model="parrot", messages=failing, stream=True))) == 1
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 3, "the chats are archived")
        # Indicators are written down a moment later.
        parrot_s = lambda: httpx.get(f"{url}/api/v1/models/parrot").json()["slis"]
        counted = lambda: {sli["sli"]: (sli["good"], sli["valid"]) for sli in parrot_s()}
        slis = eventually(lambda: (found := counted())["availability"][1] == 3 and found, "the three are counted")
        metrics = httpx.get(f"{url}/metrics").text
    files = str(tmp_path / "archive" / "**" / "*.parquet")
    columns = "response_id, stream, finish_reason, completion_tokens, completion_chars, chunk_count, messages, status"
    found = duckdb.connect().execute(f"SELECT {columns}, first_message_ms FROM read_parquet('{files}', union_by_name = true) ORDER BY event_time")
    streamed, at_once, failed = found.fetchall()

    said = "".join(chunk.choices[0].delta.content or "" for _, chunk in chunks)
    assert said == messages[0]["content"]
    # The last event says only that it is the last, and is a message all the same.
    (first_at, first), (last_at, last) = chunks[0], chunks[-1]
    expected = (first.id, True, "stop", last.usage.completion_tokens, len(said), len(chunks), len(chunks) + 1, 200)
    assert streamed[:-1] == expected
    # The model thinks for 20 ms before each word; the client sees the first one no sooner than the sidecar.
    assert 20 <= streamed[-1] <= (first_at - begun) * 1000 < (last_at - begun) * 1000

    assert at_once == (whole.id, False, "stop", whole.usage.completion_tokens, len(said), None, None, 200, None)
    # Its status had gone out before it failed.
    assert failed[1:] == (True, "error", None, len("ja"), 2, 1, 500, failed[-1]) and failed[-1] >= 20

    assert 'driftline_rows_counted_total{model="parrot"} 2' in metrics
    assert 'driftline_request_duration_seconds_count{model="parrot"} 3' in metrics
    assert slis["availability"] == (2, 3)
    # Of the other two, one came in one piece and one failed.
    assert slis["first_message"] == (1, 1)
    undecodable = [line for line in metrics.splitlines() if line.startswith("driftline_exchanges_undecodable_total")]
    assert undecodable and all(line.endswith(" 0") for line in undecodable)
