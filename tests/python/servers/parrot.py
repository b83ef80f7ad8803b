"""LitServe with OpenAI's chat and embeddings: `python parrot.py PORT`. It says back what it was told, word by word.

The texts are ours, and so are the tokens, one for each word; what carries them is LitServe's.
"""

import sys
import time

import litserve
from litserve.specs.openai_embedding import OpenAIEmbeddingSpec


class Parrot(litserve.LitAPI):
    def setup(self, device):
        pass

    def predict(self, request):
        words = request.messages[-1].content.split()
        for index, word in enumerate(words):
            if word == "fail":
                raise RuntimeError("the model was told to fail")
            time.sleep(0.02)
            used = {"prompt_tokens": len(words), "completion_tokens": index + 1, "total_tokens": len(words) + index + 1}
            yield {"role": "assistant", "content": word if index == 0 else f" {word}", **used}


class Lengths(litserve.LitAPI):
    def setup(self, device):
        pass

    def predict(self, texts):
        return [[float(len(text)), 0.5, -0.25] for text in ([texts] if isinstance(texts, str) else texts)]


if __name__ == "__main__":
    apis = [Parrot(spec=litserve.OpenAISpec()), Lengths(spec=OpenAIEmbeddingSpec())]
    server = litserve.LitServer(apis, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1)
