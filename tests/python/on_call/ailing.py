"""What a model of the shifts has besides its predictions: trouble that is put into it, past the sidecar, and a check of its health."""

import sys

import uvicorn
from fastapi import FastAPI, Request


def ailing(trouble: dict) -> FastAPI:
    """An application with `PUT /trouble`, which changes what this says, and `GET /healthz`."""
    app = FastAPI()

    @app.put("/trouble")
    async def set_trouble(request: Request):
        trouble.update(await request.json())
        return trouble

    @app.get("/healthz")
    async def healthz():
        return {}

    return app


def serve(app: FastAPI) -> None:
    """Serves it on the port that the command line names."""
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
