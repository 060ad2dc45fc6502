"""Step 6: model files compiled to arrays, every event scored by every model, and scores explained."""

from stream.scoring.compiling import Models, compile_models, explain, score
from stream.scoring.files import Model, read_model

__all__ = ["Model", "Models", "compile_models", "explain", "read_model", "score"]
