"""What one would otherwise write: a collector of FastAPI, pyarrow and Evidently, for the same rows and the same windows.

It takes batches of exchanges as JSON lines, parses their bodies (orjson), writes every row to Parquet (zstd, no dictionaries
for numbers) in files of at most 250,000 rows, and scores each window of six panes by Evidently's PSI and Kolmogorov-Smirnov
tests against the reference. Unlike Driftline it keeps no journal: what it has acknowledged and not written is lost when it
is killed. `tests/bench-collector --beside` runs it; it is no part of the tests.
"""

import asyncio
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import pandas
import pyarrow
import pyarrow.parquet
import uvicorn
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

PANE_MICROS = 600_000_000
WINDOW_PANES = 6
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
state = {"counted": 0, "windows": 0, "files": 0}
rows: list[dict] = []
chunks: list[pyarrow.Table] = []
panes: dict[int, list[pyarrow.Table]] = {}
newest = 0
closed = 0


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
    """Turns the rows that have come into a table, for the file and for their panes."""
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
    of_pane = times // PANE_MICROS
    for pane in sorted(set(of_pane.tolist())):
        panes.setdefault(pane, []).append(table.filter(pyarrow.array(of_pane == pane)).select(reference.columns.tolist()))
    close_window()


def close_window() -> None:
    """Scores the window that ends with the newest complete pane, once: one is complete when another has passed since."""
    global closed
    complete = newest // PANE_MICROS - 2
    if complete <= closed:
        return
    closed = complete
    window = [table for pane, tables in panes.items() if complete - WINDOW_PANES < pane <= complete for table in tables]
    if window:
        scorer.submit(score, pyarrow.concat_tables(window))
    for pane in [pane for pane in panes if pane <= complete - WINDOW_PANES + 1]:
        del panes[pane]


def score(window: pyarrow.Table) -> None:
    current = Dataset.from_pandas(window.to_pandas(), data_definition=definition)
    scores.run(current, Dataset.from_pandas(reference, data_definition=definition)).dict()
    state["windows"] += 1


@app.post("/v1/exchanges")
async def exchanges(request: Request) -> dict:
    body = await request.body()
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
    return PlainTextResponse(
        f"driftline_exchanges_received_total {state['counted']}\ndriftline_windows_closed_total {state['windows']}\n"
    )


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
