"""Step 6: model files compiled to arrays, and every event scored by every model."""

from stream.scoring.compiling import Models, compile_models, score
from stream.scoring.files import Model, read_model

__all__ = ["Model", "Models", "compile_models", "read_model", "score"]
