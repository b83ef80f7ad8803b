"""Records exchanges of OpenAI's own client with LitServe into protocol/testdata. Both are in the tests' environment.

    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_litserve.py
"""

import sys

import openai
from recording import ROOT, expect, feature, prediction, record, server

from conftest import free_port


def litserve():
    """LitServe's chat and embeddings, called by OpenAI's own client."""
    port = free_port()
    parrot = ROOT / "tests" / "python" / "servers" / "parrot.py"
    with server([sys.executable, parrot, port], f"http://127.0.0.1:{port}/health"):
        upstream = f"127.0.0.1:{port}"
        whole(upstream)
        stream(upstream)
        embeddings(upstream)
        failed(upstream)


SYSTEM = {"role": "system", "content": "Be brief."}
SPOKEN = "Wo liegt Höxter ?"


def client(address: str) -> openai.OpenAI:
    headers = {"accept-encoding": "identity"}
    return openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0, default_headers=headers)


def asked(is_stream: bool, texts: list[str], **more) -> list[dict]:
    """What the row of a chat says of its request; `more` are its parameters, in the order of the row."""
    columns = [feature("operation", "text", ["chat"]), feature("request_model", "text", ["parrot"])]
    columns.append(feature("stream", "boolean", [is_stream]))
    for name, value in more.items():
        columns.append(feature(name, "number" if isinstance(value, float) else "integer", [value]))
    columns.append(feature("message_count", "integer", [len(texts)]))
    columns.append(feature("prompt_chars", "integer", [sum(map(len, texts))]))
    return [*columns, feature("attachment_count", "integer", [0])]


def answered(id: str, reason: str | None, usage, text: str, choices: int = 1, chunks: int | None = None) -> list[dict]:
    """What it says of the answer, by what the client read."""
    columns = [prediction("response_id", "text", [id])]
    if reason:
        columns.append(prediction("finish_reason", "text", [reason]))
    for name in ["prompt_tokens", "completion_tokens", "total_tokens"] if usage else []:
        columns.append(prediction(name, "integer", [getattr(usage, name)]))
    columns.append(prediction("choice_count", "integer", [choices]))
    if chunks:
        columns.append(prediction("chunk_count", "integer", [chunks]))
    columns += [prediction("completion_chars", "integer", [len(text)]), prediction("tool_calls", "integer", [0])]
    return [*columns, prediction("is_refusal", "boolean", [False])]


def whole(upstream: str):
    def call(address: str):
        messages = [SYSTEM, {"role": "user", "content": SPOKEN}]
        return client(address).chat.completions.create(
            model="parrot", messages=messages, temperature=0.5, top_p=0.75, max_tokens=64, n=2
        )

    answer = record(upstream, "litserve_chat", call)
    said = [choice.message.content for choice in answer.choices]
    assert said == [SPOKEN, SPOKEN] and answer.model == "parrot"
    sent = asked(False, [SYSTEM["content"], SPOKEN], temperature=0.5, top_p=0.75, max_tokens=64, n=2)
    columns = sent + answered(answer.id, answer.choices[0].finish_reason, answer.usage, "".join(said), choices=2)
    expect("litserve_chat", columns, version="parrot")


def stream(upstream: str):
    def call(address: str):
        messages = [{"role": "user", "content": SPOKEN}]
        asked = client(address).chat.completions.create(model="parrot", messages=messages, stream=True)
        return list(asked)

    chunks = record(upstream, "litserve_chat_stream", call)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]
    assert (text, reasons, len(chunks)) == (SPOKEN, ["stop"], len(SPOKEN.split()) + 1)
    # LitServe names every chunk anew: the row has the first one's id.
    said = answered(chunks[0].id, "stop", chunks[-1].usage, text, chunks=len(chunks))
    expect("litserve_chat_stream", asked(True, [SPOKEN]) + said, version="parrot")


def failed(upstream: str):
    """A model that fails in the middle of its answer, when the status has long been sent."""

    def call(address: str):
        messages = [{"role": "user", "content": "ja fail"}]
        return list(client(address).chat.completions.create(model="parrot", messages=messages, stream=True))

    chunks = record(upstream, "litserve_chat_failed", call)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["ja"]
    # LitServe ends within the event that tells of the error; the client passes over it, and to us it is a chunk, too.
    said = answered(chunks[0].id, "error", None, "ja", chunks=2)
    expect("litserve_chat_failed", asked(True, ["ja fail"]) + said, version="parrot")


def embeddings(upstream: str):
    """OpenAI's client asks for base64 unless it is told otherwise."""
    texts = ["Oslo", "Höxter"]
    for name, more in [("litserve_embeddings", {}), ("litserve_embeddings_floats", {"encoding_format": "float"})]:
        embed = lambda address: client(address).embeddings.create(model="lengths", input=texts, **more)  # noqa: B023, E731
        answer = record(upstream, name, embed)
        assert [item.embedding for item in answer.data] == [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]], answer
        columns = [feature("operation", "text", ["embeddings"]), feature("request_model", "text", ["lengths"])]
        columns.append(feature("stream", "boolean", [False]))
        for column, value in {"input_count": 2, "prompt_chars": 10, "attachment_count": 0}.items():
            columns.append(feature(column, "integer", [value]))
        usage = {"prompt_tokens": answer.usage.prompt_tokens, "total_tokens": answer.usage.total_tokens}
        for column, value in {**usage, "embedding_count": 2, "embedding_dimensions": 3}.items():
            columns.append(prediction(column, "integer", [value]))
        expect(name, columns, version="lengths")


litserve()
