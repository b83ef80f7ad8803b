"""A model server as people write it: FastAPI before a scikit-learn model of late arrivals, by the V1 protocol.

Trouble is put into it by `PUT /trouble`, on its own port, past the sidecar: `{"pause": 0.8, "pause_share": 0.4,
"error_share": 0.05}`.
"""

import asyncio
import random

import numpy
from fastapi import Request
from fastapi.responses import JSONResponse
from sklearn.ensemble import HistGradientBoostingClassifier

from . import flights
from .ailing import ailing, serve

trouble = {"pause": 0.0, "pause_share": 0.0, "error_share": 0.0}
app = ailing(trouble)
draws = random.Random(13)


def inputs(row: dict) -> list[float]:
    """The model's view of a row: numbers, categories by their place in the reference, and nothing for what is missing."""
    codes = [flights.CATEGORIES[name].get(row.get(name), float("nan")) for name in flights.TEXTS]
    return codes + [float("nan") if row.get(name) is None else float(row[name]) for name in flights.NUMBERS]


def train() -> HistGradientBoostingClassifier:
    rows = [row for row in flights.reference() if row["late"] is not None]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    return model.fit(numpy.array([inputs(row) for row in rows]), [row["late"] for row in rows])


model = train()


@app.post("/v1/models/flights:predict")
async def predict(request: Request):
    rows = (await request.json())["instances"]
    if draws.random() < trouble["pause_share"]:
        await asyncio.sleep(trouble["pause"])
    if draws.random() < trouble["error_share"]:
        return JSONResponse({"error": "the feature store does not answer"}, 500)
    late = model.predict_proba(numpy.array([inputs(row) for row in rows]))[:, 1]
    return {"predictions": late.tolist()}


if __name__ == "__main__":
    serve(app)
