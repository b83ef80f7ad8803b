"""An MLServer model that answers each row of three numbers with values of every kind."""

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Typed(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        total = x.sum(axis=1)
        outputs = [
            NumpyCodec.encode_output("total", total.astype(numpy.float32)),
            NumpyCodec.encode_output("rounded", total.round().astype(numpy.int64).reshape(-1, 1)),
            NumpyCodec.encode_output("is_high", total > 1),
            StringCodec.encode_output("label", ["höher" if value > 1 else "low" for value in total]),
            NumpyCodec.encode_output("vector", numpy.outer(total, [1, 0.5, 0.25, 0.125]).astype(numpy.float32)),
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)

    async def predict_stream(self, payloads):
        async for payload in payloads:
            yield await self.predict(payload)
