"""Model files: JSON, read strictly, since what is ignored silently is found out by voters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from stream.errors import ConfigurationError, quoted
from stream.strictness import description_of, name_of, number_of, refuse_keys

MAX_MODEL_BYTES: Final = 1024 * 1024
_KINDS: Final = ("linear", "logistic")
_REQUIRED: Final = ("name", "kind", "bias", "weights")
_OPTIONAL: Final = ("calibration", "description")


@dataclass(frozen=True, slots=True)
class Model:
    """A linear or logistic model as its file says."""

    name: str
    kind: str
    """``linear`` or ``logistic``."""
    bias: float
    weights: tuple[tuple[int, float], ...]
    """(catalogue index, weight), sorted by index."""
    calibration: tuple[float, float] | None = None
    """(slope, intercept), applied before the link."""
    description: str = ""


def read_model(data: bytes, features: Sequence[str]) -> Model:
    """Return the model in a file's bytes; ``features`` is the catalogue that its weights name.

    Raises ConfigurationError, quoting what is wrong and saying what was expected, for anything unusable.
    """
    fields = _read_object(data)
    refuse_keys(fields, _REQUIRED, _OPTIONAL, "a model")
    name = name_of(fields["name"], "a model's name")
    kind = fields["kind"]
    if not isinstance(kind, str) or kind not in _KINDS:
        message = f"model {name!r}: kind is {quoted(kind)}, expected 'linear' or 'logistic'"
        raise ConfigurationError(message)
    description = description_of(fields, f"model {name!r}")
    return Model(
        name,
        kind,
        number_of(fields["bias"], f"model {name!r}: bias"),
        _read_weights(fields["weights"], features, name),
        _read_calibration(fields, name),
        description,
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


def _read_weights(weights: object, features: Sequence[str], name: str) -> tuple[tuple[int, float], ...]:
    if not isinstance(weights, dict):
        message = f"model {name!r}: weights is {quoted(weights)}, expected an object of feature names and numbers"
        raise ConfigurationError(message)
    index = {feature: at for at, feature in enumerate(features)}
    for feature in weights:
        if feature not in index:
            message = (
                f"model {name!r}: unknown feature {quoted(feature)}, expected one of the catalogue's {len(features)} "
                f"({', '.join(features[:2])}, ..., {features[-1]})"
            )
            raise ConfigurationError(message)
    return tuple(
        sorted(
            (index[feature], number_of(weight, f"model {name!r}: weight of {feature!r}"))
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
