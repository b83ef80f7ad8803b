"""Clients and servers that we did not write, with the sidecar between them: they notice nothing, and it reads everything."""

import asyncio
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import threading

import grpc
import httpx
import joblib
import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
import websockets.asyncio.client
from conftest import collector, eventually, free_port, process, sidecar
from sklearn.linear_model import LogisticRegression
from wire import Keeper, end_state

SERVERS = pathlib.Path(__file__).parent / "servers"
V = pathlib.Path(sys.executable).parent


@pytest.fixture
def keeper():
    keeper = Keeper()
    yield keeper
    keeper.close()


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A FastAPI model behind uvicorn; gives its host and port."""
    port = free_port()
    log = tmp_path_factory.mktemp("chat") / "chat.log"
    command = [V / "uvicorn", "--app-dir", SERVERS, "--port", port, "--log-level", "warning", "--timeout-keep-alive", "600", "chat:app"]
    with process(command, log):
        eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/docs").status_code == 200, "uvicorn is up")
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A gRPC server with a call of each kind; gives its host and port."""
    port = free_port()
    with process([sys.executable, SERVERS / "calls.py", port], tmp_path_factory.mktemp("calls") / "calls.log"):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory):
    """MLServer with a real classifier; gives host and port of its REST and of its gRPC side."""
    folder = tmp_path_factory.mktemp("mlserver")
    features = numpy.random.default_rng(0).normal(size=(200, 3))
    joblib.dump(LogisticRegression().fit(features, features[:, 0] > 0), folder / "model.joblib")
    rest, calls, metrics = free_port(), free_port(), free_port()
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "http_port": rest, "grpc_port": calls, "metrics_port": metrics, "parallel_workers": 0})
    )
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "classifier",
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": "./model.joblib", "version": "v1"},
                "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 3]}],
                "outputs": [{"name": "predict", "datatype": "BOOL", "shape": [-1, 1]}],
            }
        )
    )
    with process([V / "mlserver", "start", folder], folder / "mlserver.log", cwd=folder):
        ready = f"http://127.0.0.1:{rest}/v2/models/classifier/ready"
        eventually(lambda: httpx.get(ready).status_code == 200, "MLServer is up", patience=240)
        yield f"127.0.0.1:{rest}", f"127.0.0.1:{calls}"


def through(tmp_path, upstream, keeper, *more):
    return sidecar(tmp_path, upstream, keeper.url, "m", "--flush-interval=50ms", *more)


def curl(*arguments) -> bytes:
    # It waits for the answer to Expect: 100-continue for as long as it takes.
    shown = ["--silent", "--show-error", "--include", "--raw", "--expect100-timeout", "60"]
    ran = subprocess.run(["curl", *shown, *arguments], capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    return b"\n".join(line for line in ran.stdout.split(b"\n") if not line.startswith(b"date:"))


def test_curl_sees_what_it_sees_directly(tmp_path, chat, keeper):
    big = tmp_path / "big.json"
    big.write_text(json.dumps({"instances": [[index] for index in range(200_000)]}))
    requests = [
        ["--json", '{"instances": [[1]]}', "{}/v1/models/m:predict"],
        # Over a megabyte curl asks first (Expect: 100-continue).
        ["--json", f"@{big}", "{}/v1/models/m:predict"],
        ["--json", '{"instances": [[1]]}', "-H", "Transfer-Encoding: chunked", "{}/v1/models/m:predict"],
        ["--json", '{"instances": [[1]]}', "{}/v1/models/broken:predict"],
        ["--json", "no JSON", "{}/v1/models/m:predict"],
        ["--json", '{"stream": true}', "{}/v1/chat/completions"],
        ["--head", "{}/v1/models/m:predict"],
        ["--http1.0", "--json", '{"instances": [[1]]}', "{}/v1/models/m:predict"],
        ["-X", "DELETE", "{}/v1/models/m:predict"],
        ["{}/nowhere"],
    ]
    with through(tmp_path, chat, keeper, "--max-body=4MiB") as (address, _):
        for request in requests:
            *options, url = request
            direct, same = [curl(*options, url.format(server)) for server in [f"http://{chat}", address]]
            assert same == direct, request
        exchanges = keeper.wait_for(7)
    assert [exchange.status for exchange in exchanges] == [200, 200, 200, 500, 500, 200, 200]
    assert exchanges[1].request.content == big.read_bytes()
    assert exchanges[2].request.content == b'{"instances": [[1]]}', "chunks are undone"


def test_httpx_reuses_connections_and_every_exchange_has_its_own_record(tmp_path, chat, keeper):
    with through(tmp_path, chat, keeper) as (address, _), httpx.Client(base_url=address) as client:
        for index in range(50):
            answer = client.post(
                "/v1/models/m:predict", json={"instances": [[index]] * (index + 1)}, headers={"x-request-id": f"r-{index}"}
            )
            assert len(answer.json()["predictions"]) == index + 1
        exchanges = keeper.wait_for(50)
    for index, exchange in enumerate(exchanges):
        assert exchange.request_id == f"r-{index}"
        assert len(json.loads(exchange.response.content)["predictions"]) == index + 1
        assert exchange.request_micros <= exchange.first_byte_micros <= exchange.duration_micros


def test_tokens_of_a_stream_are_told_apart_with_their_times(tmp_path, chat, keeper):
    with through(tmp_path, chat, keeper) as (address, _):
        body = {"stream": True, "tokens": 8, "pause": 0.05}
        with httpx.stream("POST", f"{address}/v1/chat/completions", json=body) as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data:")]
        assert len(lines) == 9
        exchange = keeper.wait_for(1)[0]
    messages = exchange.response_messages
    assert (messages.count, len(messages.sizes), exchange.protocol) == (9, 9, "openai")
    # What no message holds is the comment that keeps the connection alive.
    assert sum(messages.sizes) <= exchange.response.size
    assert exchange.response.content.count(b"data:") == 9
    first, *gaps = messages.gaps_micros
    # A pause was before each. What a machine that stands still holds up comes with the next.
    assert sorted(gaps[:7])[3] > 20_000 and first + sum(gaps) <= exchange.duration_micros, messages.gaps_micros
    arrived = list(itertools.accumulate(messages.gaps_micros))
    assert all(at > 40_000 * pauses for pauses, at in enumerate(arrived)), "none came before the pauses that it came after"
    assert messages.longest_gap_micros == max(gaps)


def test_a_caller_that_leaves_a_stream_has_cancelled_it(tmp_path, chat, keeper):
    with through(tmp_path, chat, keeper) as (address, _):
        body = {"stream": True, "tokens": 1000, "pause": 0.02}
        with httpx.stream("POST", f"{address}/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
        exchange = keeper.wait_for(1)[0]
    assert end_state(exchange) == "CANCELLED"
    assert 1 <= exchange.response_messages.count < 1000


def test_websockets_pass_and_are_told_as_upgraded(tmp_path, chat, keeper):
    async def talk(address):
        url = address.replace("http://", "ws://") + "/echo"
        async with websockets.asyncio.client.connect(url, max_size=None) as socket:
            for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000]:
                await socket.send(bytes(size))
                assert await socket.recv() == bytes(size)
            await socket.ping()

    with through(tmp_path, chat, keeper) as (address, admin):
        asyncio.run(talk(address))
        unread = 'driftline_sidecar_connections_unread_total{reason="upgraded"} 1'
        eventually(lambda: unread in httpx.get(f"{admin}/metrics").text, "the upgrade is counted")


def test_grpc_calls_of_every_kind_are_read(tmp_path, calls, keeper):
    service = "/inference.GRPCInferenceService/"
    with through(tmp_path, calls, keeper) as (address, _):
        with grpc.insecure_channel(address.removeprefix("http://")) as channel:
            unary = channel.unary_unary(f"{service}ModelInfer")
            assert unary(b"abc") == b"cba"
            large = bytes(range(256)) * 1000
            assert unary(large, metadata=[("x-request-id", "r-1")], compression=grpc.Compression.Gzip) == large[::-1]
            with pytest.raises(grpc.RpcError) as failed:
                unary(b"fail")
            assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            stream = channel.stream_stream(f"{service}ModelStreamInfer")
            assert list(stream(iter([b"ab", b"cd", b"ef"]))) == [b"ba", b"dc", b"fe"]
            predictions = "/tensorflow.serving.PredictionService/"
            assert list(channel.unary_stream(f"{predictions}Predict")(b"x")) == [b"x0", b"x1", b"x2"]
            assert channel.stream_unary(f"{predictions}MultiInference")(iter([b"1", b"2"])) == b"12"
            # Many at once on one connection.
            futures = [unary.future(str(index).encode()) for index in range(200)]
            assert [future.result() for future in futures] == [str(index).encode()[::-1] for index in range(200)]
        exchanges = keeper.wait_for(206)
    assert all(end_state(exchange) == "COMPLETE" for exchange in exchanges)
    by_path = {}
    for exchange in exchanges:
        by_path.setdefault(exchange.target.split("/")[-1], []).append(exchange)
    plain, compressed, failed = by_path["ModelInfer"][:3]
    assert plain.request.content == b"\0\0\0\0\3abc" and plain.response.content == b"\0\0\0\0\3cba"
    assert (plain.protocol, plain.status, plain.response_messages.count) == ("v2_grpc", 200, 1)
    assert compressed.request_id == "r-1" and compressed.request.content[0] == 1, "the flag says that it is compressed"
    status = {header.name: header.value for header in failed.response_headers}["grpc-status"]
    assert status == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
    stream = by_path["ModelStreamInfer"][0]
    assert (stream.request_messages.count, stream.response_messages.count) == (3, 3)
    assert list(stream.request_messages.sizes) == [7, 7, 7]
    answers = by_path["Predict"][0].response_messages
    assert answers.count == 3 and sorted(answers.gaps_micros)[1] > 15_000, answers.gaps_micros
    arrived = itertools.accumulate(answers.gaps_micros)
    assert all(at > 25_000 * pauses for pauses, at in enumerate(arrived, 1)), "none came before the pauses that it came after"
    assert by_path["MultiInference"][0].request_messages.count == 2
    bodies = {exchange.request.content[5:]: exchange.response.content[5:] for exchange in by_path["ModelInfer"][3:]}
    assert bodies == {str(index).encode(): str(index).encode()[::-1] for index in range(200)}


def test_a_cancelled_grpc_call_is_cancelled_and_the_connection_goes_on(tmp_path, calls, keeper):
    with through(tmp_path, calls, keeper) as (address, _):
        with grpc.insecure_channel(address.removeprefix("http://")) as channel:
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            more = threading.Event()

            def requests():
                yield b"ab"
                more.wait(120)

            call = stream(requests())
            assert next(call) == b"ba"
            call.cancel()
            more.set()
            assert channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"abc") == b"cba"
        exchanges = keeper.wait_for(2)
    assert sorted(end_state(exchange) for exchange in exchanges) == ["CANCELLED", "COMPLETE"]


def test_mlserver_by_rest_and_by_grpc(tmp_path, mlserver, keeper):
    rest, calls = mlserver
    rows = numpy.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])

    def inputs(kind, binary):
        tensor = kind.InferInput("x", rows.shape, "FP64")
        tensor.set_data_from_numpy(rows, **binary)
        return [tensor]

    with through(tmp_path, rest, keeper) as (address, _):
        direct = httpx.post(
            f"http://{rest}/v2/models/classifier/infer",
            json={"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": rows.ravel().tolist()}]},
        ).json()
        client = tritonclient.http.InferenceServerClient(address.removeprefix("http://"))
        result = client.infer("classifier", inputs(tritonclient.http, {"binary_data": False}), request_id="r-1")
        assert result.as_numpy("predict").ravel().tolist() == direct["outputs"][0]["data"]
        exchange = keeper.wait_for(1)[0]
        assert json.loads(exchange.request.content)["inputs"][0]["data"] == rows.ravel().tolist()
        assert json.loads(exchange.response.content)["model_name"] == "classifier"
        # Binary tensors pass as they are, whatever this server says of them.
        binary = inputs(tritonclient.http, {"binary_data": True})
        answers = []
        for server in [rest, address.removeprefix("http://")]:
            try:
                answers.append(tritonclient.http.InferenceServerClient(server).infer("classifier", binary).get_response())
            except tritonclient.http.InferenceServerException as refused:
                answers.append(str(refused))
        strip = lambda answer: {k: v for k, v in answer.items() if k != "id"} if isinstance(answer, dict) else answer
        assert strip(answers[0]) == strip(answers[1])
        sent = keeper.wait_for(2)[1]
        names = {header.name for header in sent.request_headers}
        assert "inference-header-content-length" in names and sent.request.content.endswith(rows.tobytes())
    with through(tmp_path, calls, keeper) as (address, _):
        client = tritonclient.grpc.InferenceServerClient(address.removeprefix("http://"))
        result = client.infer("classifier", inputs(tritonclient.grpc, {}))
        assert result.as_numpy("predict").ravel().tolist() == direct["outputs"][0]["data"]
        assert client.is_server_ready()
        client.close()
        exchange = keeper.wait_for(3)[2]
    assert (exchange.protocol, exchange.status) == ("v2_grpc", 200)
    assert rows.tobytes() in exchange.request.content, "raw_input_contents, as sent"


def test_mlserver_says_what_types_the_columns_have(tmp_path, mlserver):
    """Clients send whole numbers first, as integers, and then others: the model takes floats, and says so."""
    rest, _ = mlserver
    described = (
        f"models:\n  - name: told\n    metadata: http://{rest}/v2/models/classifier\n    tensors: {{x: {{columns: [a, b, c]}}}}\n"
        f"  - name: gone\n    metadata: http://{rest}/v2/models/nobody\n"
    )
    with collector(tmp_path, described) as url:
        asked = 'driftline_model_metadata_requests_total{{model="{}",outcome="{}"}}'
        metric = lambda name: sum(
            float(line.split()[-1]) for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(name)
        )
        eventually(lambda: metric(asked.format("told", "ok")) == 1, "the metadata are there")
        eventually(lambda: metric(asked.format("gone", "failed")) >= 1, "it is counted that others are not")
        for model in ["told", "gone"]:
            with sidecar(tmp_path, rest, url, model, "--flush-interval=50ms") as (address, _):
                for datatype, values in [("INT64", [1, 0, 0]), ("FP64", [0.5, -0.25, 0.125])]:
                    tensor = {"name": "x", "shape": [1, 3], "datatype": datatype, "data": values}
                    answer = httpx.post(f"{address}/v2/models/classifier/infer", json={"inputs": [tensor]})
                    assert answer.status_code == 200, answer.text
                counted = f'driftline_rows_counted_total{{model="{model}"}}'
                eventually(lambda: metric(counted) == 2, "both rows are counted")
        wrongs = lambda: {model: metric(f'driftline_values_wrong_type_total{{model="{model}"}}') for model in ["told", "gone"]}
        wrong = eventually(lambda: (found := wrongs())["gone"] and found, "what is no integer is counted")

        def columns_of(model: str) -> dict[str, str]:
            columns = httpx.get(f"{url}/api/v1/models/{model}").json()["columns"]
            return {column["name"]: column["type"] for column in columns}

        # What is counted is written down within a second.
        types = {model: eventually(lambda: columns_of(model), f"the columns of {model} are known") for model in ["told", "gone"]}
    assert types["told"] == {"a": "number", "b": "number", "c": "number", "predict": "boolean"}
    assert types["gone"] == {"x_0": "integer", "x_1": "integer", "x_2": "integer", "predict": "boolean"}, "as they came first"
    assert wrong == {"told": 0, "gone": 3}
    log = (tmp_path / "collector.log").read_text()
    assert log.count("there are no metadata of the model") == 1 and "v2/models/nobody" in log, "said once"


def test_curl_upgrades_to_http2_in_plain_text(tmp_path, chat, keeper):
    """`Upgrade: h2c` of a client and a server that we did not write: nghttpx before the model."""
    port = free_port()
    listens, before = f"--frontend=127.0.0.1,{port};no-tls", f"--backend={chat.replace(':', ',')}"
    # The second request goes over the connection that has turned to HTTP/2.
    bodies = ['{"instances": [[1]]}', '{"instances": [[1], [2]]}']

    def ask(server):
        one, two = [["--http2", "--json", body, f"{server}/v1/models/m:predict"] for body in bodies]
        return curl(*one, "--next", "--silent", "--show-error", "--include", "--raw", *two)

    with process(["nghttpx", "--conf=/dev/null", "--workers=1", listens, before], tmp_path / "nghttpx.log"):
        nghttpx = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{nghttpx}/docs").status_code == 200, "nghttpx is up")
        with through(tmp_path, f"127.0.0.1:{port}", keeper) as (address, admin):
            direct, same = ask(nghttpx), ask(address)
            exchanges = keeper.wait_for(2)
            metrics = httpx.get(f"{admin}/metrics").text
    assert direct.startswith(b"HTTP/1.1 101 ") and direct.count(b"HTTP/2 200") == 2, direct
    assert same == direct
    assert [(exchange.status, end_state(exchange)) for exchange in exchanges] == [(200, "COMPLETE")] * 2
    # What stream 1 answers belongs to the request that asked for the upgrade.
    assert [exchange.request.content.decode() for exchange in exchanges] == bodies
    answered = [json.loads(exchange.response.content) for exchange in exchanges]
    assert answered == [{"predictions": [0.5]}, {"predictions": [0.5, 0.5]}]
    assert "driftline_sidecar_connections_total 1\n" in metrics, "both over one connection"
    assert 'connections_unread_total{reason="upgraded"} 0' in metrics


def test_h2load_finds_no_error(tmp_path, keeper):
    nghttpd = shutil.which("nghttpd")
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "completions").write_text('{"choices": []}' * 40)
    body = tmp_path / "body.json"
    body.write_text('{"prompt": "x"}')
    port = free_port()
    with process([nghttpd, "--no-tls", "-d", tmp_path, str(port)], tmp_path / "nghttpd.log"):
        with through(tmp_path, f"127.0.0.1:{port}", keeper) as (address, _):
            ran = subprocess.run(
                ["h2load", "-n", "2000", "-c", "4", "-m", "20", "-d", body, f"{address}/v1/completions"],
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in ran.stdout, ran.stdout + ran.stderr
            exchanges = keeper.wait_for(2000)
    assert {(exchange.status, end_state(exchange)) for exchange in exchanges} == {(200, "COMPLETE")}
    assert keeper.account.seen == 2000
