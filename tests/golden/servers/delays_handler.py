"""A TorchServe handler without tensors: half the temperature of each row, or the words of a text."""


class Delays:
    def initialize(self, context):
        pass

    def handle(self, requests, context):
        return [self.answer(request.get("data") or request.get("body")) for request in requests]

    def answer(self, body):
        if isinstance(body, list):
            return [self.answer(row) for row in body]
        if isinstance(body, dict):
            return {"delay": body["temp"] / 2, "code": body["carrier"].lower()}
        words = bytes(body).decode().split()
        return {"first": words[0], "count": len(words)}
