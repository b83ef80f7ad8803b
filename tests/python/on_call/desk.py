"""A language model as people serve it: FastAPI that streams a chat's words by OpenAI's protocol.

Trouble is put into it by `PUT /trouble`, on its own port, past the sidecar: `{"pause": 1.5}` is how long its first word takes.
"""

import asyncio
import json

from fastapi import Request
from fastapi.responses import StreamingResponse

from .ailing import ailing, serve

trouble = {"pause": 0.0}
app = ailing(trouble)
WORDS = "Your flight is on time .".split()


@app.post("/v1/chat/completions")
async def chat(request: Request):
    model = (await request.json())["model"]

    async def words():
        await asyncio.sleep(trouble["pause"])
        for number, word in enumerate(WORDS, 1):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": "stop" if number == len(WORDS) else None}
            chunk = {"id": "chat", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]}
            yield f"data: {json.dumps(chunk)}\n\n"
            await asyncio.sleep(0.02)
        yield "data: [DONE]\n\n"

    return StreamingResponse(words(), media_type="text/event-stream")


if __name__ == "__main__":
    serve(app)
