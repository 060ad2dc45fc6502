"""Step 6: model files compiled to arrays, every event scored by every model, and scores explained."""

from stream.scoring.compiling import Models, compile_models, explain, score
from stream.scoring.files import Model, read_model
from stream.scoring.ranking import rank

__all__ = ["Model", "Models", "compile_models", "explain", "rank", "read_model", "score"]
