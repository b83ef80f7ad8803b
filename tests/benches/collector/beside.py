"""What one would otherwise write: a collector of FastAPI, pyarrow and Evidently, for the same rows and the same windows.

It takes batches of exchanges as JSON lines, parses their bodies (orjson), writes every row to Parquet (zstd, no dictionaries
for numbers) in files of at most 250,000 rows, and scores each window by Evidently's PSI and Kolmogorov-Smirnov tests against
the reference. Its windows are the collector's: by event time, the same beginnings and ends, and closed by the same rule. While
two of them wait for their scores it takes no more batches, so that its pace is one that it can keep. Unlike Driftline it keeps
no journal: what it has acknowledged and not written is lost when it is killed. `tests/bench-collector --beside` runs it; it is
no part of the tests.
"""

import asyncio
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import pandas
import pyarrow
import pyarrow.parquet
import scipy.stats
import uvicorn
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

WINDOW_MICROS = int(sys.argv[3])
# Rows may come so much later than the newest, and still count.
LATENESS_MICROS = int(sys.argv[4])
# Windows that may wait for their scores.
MAX_WAITING = 2
MAX_FILE_ROWS = 250_000
# Rows that are turned into an Arrow table at once.
CHUNK_ROWS = 10_000

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
reference = pandas.read_csv(folder / "reference.csv")
categorical = [name for name in reference if reference[name].dtype == object]
numerical = [name for name in reference if name not in categorical]
definition = DataDefinition(numerical_columns=numerical, categorical_columns=categorical)
scores = Report(
    [ValueDrift(column=name, method="psi") for name in reference] + [ValueDrift(column=name, method="ks") for name in numerical]
)
app = FastAPI()
# The scores of a window take seconds, in which batches must still be answered.
scorer = ThreadPoolExecutor(max_workers=1)
state = {"counted": 0, "windows": 0, "waiting": 0, "files": 0}
# What the first window was scored with.
first: dict[str, dict[str, float]] = {}
rows: list[dict] = []
chunks: list[pyarrow.Table] = []
windows: dict[int, list[pyarrow.Table]] = {}
newest = 0


def rows_of(exchange: dict) -> list[dict]:
    """The rows of one exchange, with what every row says besides its columns."""
    request, response = orjson.loads(exchange["request"]), orjson.loads(exchange["response"])
    if "instances" in request:
        found = request["instances"]
        for row, prediction in zip(found, response["predictions"]):
            row["prediction"] = prediction
    else:
        tensors = request["inputs"] + response["outputs"]
        names = [tensor["name"] for tensor in tensors]
        found = [dict(zip(names, values)) for values in zip(*(tensor["data"] for tensor in tensors))]
    for number, row in enumerate(found):
        row["event_time"] = exchange["started_at_micros"]
        row["request_id"] = exchange["request_id"]
        row["row_id"] = exchange["request_id"] if len(found) == 1 else f"{exchange['request_id']}/{number}"
        row["status"] = exchange["status"]
        row["latency_ms"] = exchange["duration_micros"] / 1000
    return found


def write_file() -> None:
    table = pyarrow.concat_tables(chunks)
    chunks.clear()
    state["files"] += 1
    pyarrow.parquet.write_table(
        table, folder / f"{state['files']:06}.parquet", compression="zstd", use_dictionary=[*categorical, "status"]
    )


def close_chunk() -> None:
    """Turns the rows that have come into a table, for the file and for their windows."""
    global newest
    if not rows:
        return
    table = pyarrow.Table.from_pylist(rows)
    rows.clear()
    chunks.append(table)
    if sum(chunk.num_rows for chunk in chunks) >= MAX_FILE_ROWS:
        write_file()
    times = table["event_time"].to_numpy()
    newest = max(newest, int(times.max()))
    of_window = times // WINDOW_MICROS
    for window in sorted(set(of_window.tolist())):
        windows.setdefault(window, []).append(table.filter(pyarrow.array(of_window == window)).select(reference.columns.tolist()))
    close_windows()


def close_windows() -> None:
    """Has every window scored that no row can come into any more."""
    for window in sorted(windows):
        if (window + 1) * WINDOW_MICROS > newest - LATENESS_MICROS:
            return
        state["waiting"] += 1
        scorer.submit(score, pyarrow.concat_tables(windows.pop(window))).add_done_callback(scored)


def score(window: pyarrow.Table) -> None:
    frame = window.to_pandas()
    current = Dataset.from_pandas(frame, data_definition=definition)
    found = scores.run(current, Dataset.from_pandas(reference, data_definition=definition)).dict()
    if not first:
        # Evidently gives the test's probability; the statistic is of the function that it calls.
        first["ks"] = {name: scipy.stats.ks_2samp(reference[name], frame[name]).statistic for name in numerical}
        psi = [metric for metric in found["metrics"] if metric["config"]["method"] == "psi"]
        first["psi"] = {metric["config"]["column"]: float(metric["value"]) for metric in psi}
    state["windows"] += 1


def scored(window) -> None:
    state["waiting"] -= 1
    # An error in another thread would be seen by nobody.
    if window.exception():
        state["failed"] = repr(window.exception())


@app.post("/v1/exchanges")
async def exchanges(request: Request) -> dict:
    body = await request.body()
    while state["waiting"] >= MAX_WAITING:
        await asyncio.sleep(0.02)
    taken = 0
    for line in body.splitlines():
        rows.extend(rows_of(orjson.loads(line)))
        taken += 1
        if len(rows) >= CHUNK_ROWS:
            close_chunk()
            await asyncio.sleep(0)
    state["counted"] += taken
    return {"taken": taken}


@app.get("/readyz")
async def ready() -> PlainTextResponse:
    return PlainTextResponse("ready\n")


@app.get("/metrics")
async def metrics() -> PlainTextResponse:
    assert "failed" not in state, state
    return PlainTextResponse(
        f"driftline_exchanges_received_total {state['counted']}\ndriftline_windows_closed_total {state['windows']}\n"
        f"windows_waiting {state['waiting']}\n"
    )


@app.get("/first")
async def first_window() -> dict:
    return first


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
