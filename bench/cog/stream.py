from cog import BasePredictor, ConcatenateIterator


class Predictor(BasePredictor):
    def predict(self, count: int = 1000) -> ConcatenateIterator[str]:
        for _ in range(count):
            yield "token"
