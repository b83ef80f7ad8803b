"""What a SageMaker container runs: the inference toolkit with a model that adds up the values of each row."""

from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.transformer import Transformer


class Sums(DefaultInferenceHandler):
    def default_model_fn(self, model_dir, context=None):
        return None

    def default_predict_fn(self, data, model, context=None):
        return data.sum(axis=-1)


class Service(DefaultHandlerService):
    def __init__(self):
        super().__init__(transformer=Transformer(default_inference_handler=Sums()))


service = Service()


def handle(data, context):
    if data is None:
        return service.initialize(context)
    return service.handle(data, context)
