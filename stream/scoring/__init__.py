"""Step 6: model files compiled to arrays, every event scored by every model, and scores explained."""

from stream.scoring.canaries import Canary, canary, scored_by, take_canaries
from stream.scoring.compiling import Models, compile_models, explain, score
from stream.scoring.drift import Drift, Sample, Watch, sample, watch
from stream.scoring.files import Model, read_model
from stream.scoring.ranking import rank

__all__ = [
    "Canary",
    "Drift",
    "Model",
    "Models",
    "Sample",
    "Watch",
    "canary",
    "compile_models",
    "explain",
    "rank",
    "read_model",
    "sample",
    "score",
    "scored_by",
    "take_canaries",
    "watch",
]
