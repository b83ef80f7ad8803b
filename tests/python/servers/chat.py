"""A FastAPI model: whole answers, server-sent events, a WebSocket, and answers that fail."""

import asyncio
import json

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response, StreamingResponse

app = FastAPI()


@app.post("/v1/chat/completions")
async def chat(request: Request):
    body = await request.json()
    tokens = body.get("tokens", 5)
    if not body.get("stream"):
        return {"choices": [{"message": {"content": "word " * tokens}}]}

    async def events():
        for index in range(tokens):
            yield f"data: {json.dumps({'choices': [{'delta': {'content': f'word {index}'}}]})}\n\n"
            await asyncio.sleep(body.get("pause", 0.02))
        yield ": keep-alive\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/v1/models/{call}")
async def predict(call: str, request: Request):
    body = await request.body()
    if call.startswith("broken"):
        return JSONResponse({"error": "the model is broken"}, status_code=500)
    rows = len(json.loads(body)["instances"])
    return JSONResponse({"predictions": [0.5] * rows}, headers={"x-request-id": request.headers.get("x-request-id", "")})


@app.head("/v1/models/{call}")
async def head(call: str):
    return Response(headers={"content-length": "12345"})


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    async for message in socket.iter_bytes():
        await socket.send_bytes(message)
