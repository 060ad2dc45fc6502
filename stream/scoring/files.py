"""Model files: JSON, read strictly, since what is ignored silently is found out by voters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import Forest, read_forest, unknown_feature
from stream.scoring.histograms import Training, read_training
from stream.strictness import description_of, name_of, number_of, refuse_keys

MAX_MODEL_BYTES: Final = 8 * 1024 * 1024
_KEYS: Final = {
    "linear": ("name", "kind", "bias", "weights"),
    "logistic": ("name", "kind", "bias", "weights"),
    "trees": ("name", "kind", "link", "features", "trees"),
}
KINDS: Final = tuple(_KEYS)
_OPTIONAL: Final = ("calibration", "description", "training")
_OPTIONAL_OF: Final = {
    "linear": ("means", *_OPTIONAL),
    "logistic": ("means", *_OPTIONAL),
    "trees": ("divisor", "base", *_OPTIONAL),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its file says."""

    name: str
    kind: str
    """``linear``, ``logistic`` or ``trees``."""
    bias: float = 0.0
    weights: tuple[tuple[int, float], ...] = ()
    """(catalogue index, weight), sorted by index."""
    calibration: tuple[float, float] | None = None
    """(slope, intercept), applied before the link."""
    description: str = ""
    forest: Forest | None = None
    """The trees of a model that has them."""
    means: tuple[float, ...] = ()
    """By weight, what its feature is on average, for explaining; empty: 0 for each."""
    training: Training | None = None
    """What it was trained on; None: the file does not say."""

    @property
    def asked(self) -> list[int]:
        """Return the catalogue indices of the features that it asks for, ascending."""
        if self.forest is None:
            return [index for index, _ in self.weights]
        asked: list[int] = np.unique(self.forest.features).tolist()
        return asked


def read_model(data: bytes, features: Sequence[str]) -> Model:
    """Return the model in a file's bytes; ``features`` is the catalogue that its weights name.

    Raises ConfigurationError, quoting what is wrong and saying what was expected, for anything unusable.
    """
    fields = _read_object(data)
    model = _read_scores(fields, features)
    if "training" not in fields:
        return model
    return replace(model, training=read_training(fields["training"], features, model.asked, f"model {model.name!r}"))


def _read_scores(fields: dict[str, Any], features: Sequence[str]) -> Model:
    """Return what a file's object scores by."""
    kind = fields.get("kind", "linear")
    if not isinstance(kind, str) or kind not in _KEYS:
        message = f"a model's kind is {quoted(kind)}, expected one of {', '.join(_KEYS)}"
        raise ConfigurationError(message)
    refuse_keys(fields, _KEYS[kind], _OPTIONAL_OF[kind], "a model")
    name = name_of(fields["name"], "a model's name")
    description = description_of(fields, f"model {name!r}")
    calibration = _read_calibration(fields, name)
    if kind == "trees":
        forest = read_forest(fields, features, f"model {name!r}")
        return Model(name, kind, forest=forest, calibration=calibration, description=description)
    weights = _read_weights("weights", fields["weights"], features, name)
    means = dict(_read_weights("means", fields.get("means", {}), features, name))
    for index in means.keys() - dict(weights):
        message = f"model {name!r}: means names {features[index]!r}, expected features that have a weight"
        raise ConfigurationError(message)
    return Model(
        name,
        kind,
        number_of(fields["bias"], f"model {name!r}: bias"),
        weights,
        calibration,
        description,
        means=tuple(means.get(index, 0.0) for index, _ in weights),
    )


def _read_object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MODEL_BYTES:
        message = f"a model of {len(data)} bytes is too large, expected at most {MAX_MODEL_BYTES}"
        raise ConfigurationError(message)
    try:
        fields = orjson.loads(data)
        # orjson keeps the last of two equal names without a word; a weight given twice is a mistake.
        json.loads(data, object_pairs_hook=_refuse_repeats)
    except (ValueError, RecursionError) as error:
        message = f"a model is not readable as JSON: {error}: {quoted(data)}"
        # Without the parser's own traceback, which may be a thousand frames deep.
        raise ConfigurationError(message) from None
    if not isinstance(fields, dict):
        message = f"a model is {quoted(fields)}, expected a JSON object"
        raise ConfigurationError(message)
    return fields


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            message = f"{quoted(name)} is given twice"
            raise ValueError(message)
        seen.add(name)


def _read_weights(key: str, weights: object, features: Sequence[str], name: str) -> tuple[tuple[int, float], ...]:
    if not isinstance(weights, dict):
        message = f"model {name!r}: {key} is {quoted(weights)}, expected an object of feature names and numbers"
        raise ConfigurationError(message)
    index = {feature: at for at, feature in enumerate(features)}
    for feature in weights:
        if feature not in index:
            raise ConfigurationError(unknown_feature(feature, features, f"model {name!r}"))
    return tuple(
        sorted(
            (index[feature], number_of(weight, f"model {name!r}: {key[:-1]} of {feature!r}"))
            for feature, weight in weights.items()
        )
    )


def _read_calibration(fields: dict[str, Any], name: str) -> tuple[float, float] | None:
    if "calibration" not in fields:
        return None
    calibration = fields["calibration"]
    if not isinstance(calibration, dict):
        message = f"model {name!r}: calibration is {quoted(calibration)}, expected an object of slope and intercept"
        raise ConfigurationError(message)
    what = f"model {name!r}: calibration"
    refuse_keys(calibration, ("slope", "intercept"), (), what)
    slope = number_of(calibration["slope"], f"{what} slope")
    return slope, number_of(calibration["intercept"], f"{what} intercept")
