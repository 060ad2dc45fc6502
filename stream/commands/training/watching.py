"""What a model's training data were like, put into its file, so that the stream can tell when it has drifted away."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import orjson

from stream.commands.imports import Imported, import_model
from stream.commands.labels import Label
from stream.commands.training.judgement import scored
from stream.commands.training.judging import Floats
from stream.commands.training.recipes import Recipe, matching
from stream.commands.training.rows import FIT, Rows
from stream.features import FEATURES
from stream.scoring.histograms import Training, histogram_of, write_training

BUSY: Final = "*.decayed_7d"
"""Features that add up to how many events a voter's last days brought, or nearly."""
UNWATCHED: Final = (
    "hours_since_last_seen",
    "days_since_first_seen",
    "*.recency",
    "*.burst",
    "rhythm.weekend_share",
    "session_events",
    "session.*",
)
"""Features that right after an event, or on one day, are not what they are at any moment, without any drift: times
since, bursts, and what is of a session, which is under way at its events and over at most moments."""


def watched(recipe: Recipe, imported: Imported, rows: Rows, place: Path) -> Imported:
    """Return a model with histograms of its scores and features, as they were where it was fitted.

    The stream counts events, the rows are moments of voters: so a row counts as often as its voter acts, and features
    that are UNWATCHED are left out. Where not all voters have rows nothing is watched: the stream scores them all.
    """
    if recipe.eligible or Label.parse(recipe.label).among:
        return imported
    fitted = rows.take(rows.parts == FIT)
    weights = fitted.weights * frequency(fitted)
    unwatched = {index for pattern in UNWATCHED for index in matching(pattern, FEATURES)}
    named = sorted({FEATURES.index(feature) for feature in imported.features} - unwatched)
    training = Training(
        histogram_of(scored(imported.content, fitted.features), weights),
        tuple((index, histogram_of(fitted.features[:, index].astype(np.float64), weights)) for index in named),
    )
    model, file = place / "model.json", place / "training.json"
    model.write_bytes(imported.content)
    file.write_bytes(orjson.dumps(write_training(training, FEATURES)))
    return import_model(model, recipe.name, training=file)


def frequency(rows: Rows) -> Floats:
    """Return float64[n]: about how often the voter of each row acts; 1 each where no feature says so."""
    busy = np.zeros(len(rows))
    for column in matching(BUSY, rows.names):
        busy += np.nan_to_num(rows.features[:, column].astype(np.float64))
    return busy if busy.sum() > 0 else np.ones(len(rows))
