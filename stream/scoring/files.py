"""Model files: JSON, read strictly, since what is ignored silently is found out by voters."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from stream.errors import ConfigurationError, quoted

MAX_MODEL_BYTES: Final = 1024 * 1024
# Products and sums of numbers up to this stay finite, so that no score is ever infinite or NaN.
_MOST: Final = 1e100
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NAME_EXPECTED: Final = "1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter"
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
    _refuse_keys(fields, _REQUIRED, _OPTIONAL, "a model")
    name = fields["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"a model's name is {quoted(name)}, expected {_NAME_EXPECTED}"
        raise ConfigurationError(message)
    kind = fields["kind"]
    if not isinstance(kind, str) or kind not in _KINDS:
        message = f"model {name!r}: kind is {quoted(kind)}, expected 'linear' or 'logistic'"
        raise ConfigurationError(message)
    description = fields.get("description", "")
    if not isinstance(description, str):
        message = f"model {name!r}: description is {quoted(description)}, expected a string"
        raise ConfigurationError(message)
    return Model(
        name,
        kind,
        _number(fields["bias"], f"model {name!r}: bias"),
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


def _refuse_keys(fields: dict[str, Any], required: Sequence[str], optional: Sequence[str], what: str) -> None:
    """Raise ConfigurationError for a key that is unknown or missing."""
    for key in fields:
        if key not in required and key not in optional:
            message = f"{what} has the unknown key {quoted(key)}, expected {', '.join((*required, *optional))}"
            raise ConfigurationError(message)
    for key in required:
        if key not in fields:
            message = f"{what} lacks the key {key!r}, expected {', '.join(required)}"
            raise ConfigurationError(message)


def _number(value: object, what: str) -> float:
    """Return ``value`` as a float; raise ConfigurationError if it is no number or out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        message = f"{what} is {quoted(value)}, expected a number from -1e100 to 1e100"
        raise ConfigurationError(message)
    return float(value)


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
            (index[feature], _number(weight, f"model {name!r}: weight of {feature!r}"))
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
    _refuse_keys(calibration, ("slope", "intercept"), (), what)
    slope = _number(calibration["slope"], f"{what} slope")
    return slope, _number(calibration["intercept"], f"{what} intercept")
