"""Records exchanges with MLflow's scoring server into protocol/testdata.

    python3 -m venv MLFLOW && MLFLOW/bin/pip install mlflow==3.17.2
    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_mlflow.py MLFLOW
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from recording import SERVERS, expect, feature, post, prediction, record, server

from conftest import free_port


def mlflow(environment: pathlib.Path):
    """Its scoring server, by its own command: every form of a frame, CSV, and one that it refuses."""
    folder, port = pathlib.Path(tempfile.mkdtemp()) / "model", free_port()
    subprocess.run([environment / "bin" / "python", SERVERS / "mlflow_model.py", folder], check=True)
    path = {**os.environ, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    command = [environment / "bin" / "mlflow", "models", "serve", "-m", folder, "--env-manager", "local", "-h", "127.0.0.1"]
    temps, carriers = [39.02, 41.5, None], ["UA", "höher", "DL"]
    rows = [list(row) for row in zip(temps, carriers)]
    bodies = {
        "split": {"dataframe_split": {"index": [7, 8, 9], "columns": ["temp", "carrier"], "data": rows}},
        "records": {"dataframe_records": [{"temp": temp, "carrier": carrier} for temp, carrier in rows]},
        "inputs": {"inputs": {"temp": [39.02, 41.5, 7.25], "carrier": carriers}, "params": {}},
    }
    with server([*command, "-p", port], f"http://127.0.0.1:{port}/ping", env=path):
        upstream = f"127.0.0.1:{port}"
        for form, body in bodies.items():
            sent = body["inputs"]["temp"] if form == "inputs" else temps
            answer = record(upstream, f"mlflow_{form}", post("/invocations", json.dumps(body)))
            expect_delays(f"mlflow_{form}", answer, "number", sent, "text", carriers)
        text = "temp,carrier\n39.02,UA\n41.5,höher\n,DL\n"
        answer = record(upstream, "mlflow_csv", post("/invocations", text.encode(), "text/csv"))
        expect_delays("mlflow_csv", answer, "field", ["39.02", "41.5", None], "field", carriers)
        # It takes one form of a frame at a time.
        refused = json.dumps({"dataframe_records": [{"temp": 39.02}, {"temp": 41.5}], "instances": [1, 2]})
        record(upstream, "mlflow_failed", post("/invocations", refused, status=400))
        expect("mlflow_failed", [feature("temp", "number", [39.02, 41.5])], outcome=400)


def expect_delays(name: str, answer: dict, temp_kind: str, temps: list, carrier_kind: str, carriers: list):
    # pandas has no missing numbers, and MLflow writes what is no number as Python does: `NaN`, which is no JSON.
    delays = [float(temp) / 2 if temp is not None else float("nan") for temp in temps]
    codes = [carrier.lower() for carrier in carriers]
    wanted = {"predictions": [{"delay": delay, "code": code} for delay, code in zip(delays, codes)]}
    assert json.dumps(answer) == json.dumps(wanted), answer
    sent = [feature("temp", temp_kind, temps), feature("carrier", carrier_kind, carriers)]
    expect(name, [*sent, prediction("delay", "number", delays), prediction("code", "text", codes)])


mlflow(pathlib.Path(sys.argv[1]).absolute())
