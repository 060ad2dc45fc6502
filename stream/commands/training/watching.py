"""What a model's training data were like, put into its file, so that the stream can tell when it has drifted away."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import orjson

from stream.commands.imports import Imported, import_model
from stream.commands.training.judgement import scored
from stream.commands.training.judging import Floats
from stream.commands.training.recipes import matching
from stream.commands.training.rows import FIT, Rows
from stream.features import FEATURES
from stream.scoring.histograms import Training, histogram_of, write_training

BUSY: Final = "*.decayed_7d"
"""Features that add up to how many events a voter's last days brought, or nearly."""


def watched(name: str, imported: Imported, rows: Rows, place: Path) -> Imported:
    """Return a model with histograms of its scores and features, as they were where it was fitted.

    The stream counts events, the rows are moments of voters: so a row counts as often as its voter acts.
    """
    fitted = rows.take(rows.parts == FIT)
    weights = fitted.weights * frequency(fitted)
    named = [(FEATURES.index(feature), feature) for feature in imported.features]
    training = Training(
        histogram_of(scored(imported.content, fitted.features), weights),
        tuple(
            (index, histogram_of(fitted.features[:, index].astype(np.float64), weights)) for index, _ in sorted(named)
        ),
    )
    model, file = place / "model.json", place / "training.json"
    model.write_bytes(imported.content)
    file.write_bytes(orjson.dumps(write_training(training, FEATURES)))
    return import_model(model, name, training=file)


def frequency(rows: Rows) -> Floats:
    """Return float64[n]: about how often the voter of each row acts; 1 each where no feature says so."""
    busy = np.zeros(len(rows))
    for column in matching(BUSY, rows.names):
        busy += np.nan_to_num(rows.features[:, column].astype(np.float64))
    return busy if busy.sum() > 0 else np.ones(len(rows))
