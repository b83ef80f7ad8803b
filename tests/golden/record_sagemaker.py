"""Records exchanges with what SageMaker's containers run, the inference toolkit in the multi-model server, into
protocol/testdata. It needs Java.

    python3 -m venv SAGEMAKER && SAGEMAKER/bin/pip install multi-model-server==1.1.11 sagemaker-inference==1.10.1
    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_sagemaker.py SAGEMAKER
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import httpx
from recording import SERVERS, expect, feature, prediction, record, server

# It takes no port that has more than 15 bits.
PORT = 18811
ROWS = [[1.5, 16.0, 14.0], [0.25, 2.0, -3.0]]
SUMS = [sum(row) for row in ROWS]


def sagemaker(environment: pathlib.Path):
    """CSV and JSON, each answered in both, and the path of a container that holds several models."""
    store = pathlib.Path(tempfile.mkdtemp())
    programs = environment / "bin"
    archive = [programs / "model-archiver", "--model-name", "sums", "--model-path", SERVERS / "sums"]
    subprocess.run([*archive, "--handler", "service:handle", "--export-path", store, "--runtime", "python"], check=True)
    addresses = f"inference_address=http://127.0.0.1:{PORT}\nmanagement_address=http://127.0.0.1:{PORT + 1}\n"
    # As the containers have it: bodies are handed over as they come.
    (store / "config").write_text(f"{addresses}decode_input_request=false\ndefault_workers_per_model=1\n")
    command = [programs / "multi-model-server", "--start", "--foreground", "--model-store", store]
    path = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TEMP": str(store)}
    models = ["--models", "sums=sums.mar", "--mms-config", store / "config"]
    with server([*command, *models], f"http://127.0.0.1:{PORT}/ping", env=path, cwd=store):
        upstream = f"127.0.0.1:{PORT}"
        text = "".join(",".join(map(str, row)) + "\n" for row in ROWS)
        whole = json.dumps(ROWS)
        for name, target, content_type, body, accept in [
            ("sagemaker_toolkit_csv", "/invocations", "text/csv", text, "text/csv"),
            ("sagemaker_toolkit_csv_json", "/invocations", "text/csv", text, "application/json"),
            ("sagemaker_toolkit_json", "/invocations", "application/json", whole, "application/json"),
            ("sagemaker_toolkit_models", "/models/sums/invoke", "application/json", whole, "text/csv"),
        ]:
            answer = record(upstream, name, lambda address: call(address, target, content_type, body, accept))  # noqa: B023
            expect(name, features(content_type) + predictions(answer, accept))


def call(address: str, target: str, content_type: str, body: str, accept: str) -> str:
    headers = {"content-type": content_type, "accept": accept, "accept-encoding": "identity"}
    answer = httpx.post(f"http://{address}{target}", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


def features(content_type: str) -> list[dict]:
    columns = list(zip(*ROWS))
    if content_type == "application/json":
        return [feature(f"feature_{index}", "number", list(cells)) for index, cells in enumerate(columns)]
    return [feature(f"feature_{index}", "field", list(map(str, cells))) for index, cells in enumerate(columns)]


def predictions(answer: str, accept: str) -> list[dict]:
    if accept == "application/json":
        assert json.loads(answer) == SUMS, answer
        return [prediction("prediction", "number", SUMS)]
    # NumPy writes 18 digits.
    lines = answer.split()
    assert list(map(float, lines)) == SUMS, answer
    return [prediction("prediction", "field", lines)]


sagemaker(pathlib.Path(sys.argv[1]).absolute())
