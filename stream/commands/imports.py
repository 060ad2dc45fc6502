"""``groundswell model import``: a model file of another tool, as a file that can be active."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from stream.errors import ConfigurationError, quoted
from stream.features import FEATURES
from stream.scoring import read_model
from stream.scoring.forest import Forest, write_forest
from stream.scoring.imports import read_lightgbm, read_treelite
from stream.strictness import name_of, number_of, refuse_keys

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a file."""
_WAIT_SECONDS: Final = 15.0
"""For treelite's process, which by itself takes at most 5 s of the processor."""
_FORMATS: Final = {".json": "xgboost-json", ".ubj": "xgboost-ubj", ".tl": "treelite"}
_PICKLES: Final = (".pkl", ".pickle", ".joblib")
_READ: Final = (
    "a LightGBM text model (Booster.save_model), XGBoost's .json or .ubj (Booster.save_model), or treelite's .tl "
    "(of scikit-learn: treelite.sklearn.import_model(model).serialize('model.tl'))"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A model file, and what is in it."""

    content: bytes
    trees: int
    leaves: int
    features: tuple[str, ...]
    """By name, those that any split asks for."""


def import_model(
    file: Path, name: str, calibration: Path | None = None, features: Path | None = None, description: str = ""
) -> Imported:
    """Return the model in ``file`` as a model file by the name ``name``.

    ``calibration`` is a JSON file of ``slope`` and ``intercept``, applied to the sum before the link; ``features``
    names the columns, one a line, where the file does not. Raises ConfigurationError, quoting what is wrong, for a
    file that is unusable; one that is not read within 5 s and 1 GB is.
    """
    name_of(name, "a model's name")
    data = _bytes_of(file)
    if data.startswith(b"tree"):
        forest, factor = read_lightgbm(data, FEATURES, str(file))
    else:
        kind = _format(file, data)
        names = _names(file, data, features)
        forest, factor = read_treelite(_dump(file, kind), names, FEATURES, str(file))
    slope, intercept = _calibration(calibration)
    fields: dict[str, Any] = {"name": name, "kind": "trees", **write_forest(forest, FEATURES)}
    if (slope * factor, intercept) != (1.0, 0.0):
        fields["calibration"] = {"slope": slope * factor, "intercept": intercept}
    if description:
        fields["description"] = description
    content = orjson.dumps(fields)
    read_model(content, FEATURES)
    return Imported(content, len(forest.leaves), int(forest.leaves.sum()), _used(forest))


def _used(forest: Forest) -> tuple[str, ...]:
    return tuple(FEATURES[index] for index in np.unique(forest.features).tolist())


def _bytes_of(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size <= MOST_BYTES:
            return file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error}"
        raise ConfigurationError(message) from error
    message = f"{file} has {size} bytes, expected at most {MOST_BYTES}"
    raise ConfigurationError(message)


def _names(file: Path, data: bytes, features: Path | None) -> list[str]:
    """Return the columns' names: from the file that gives them, else from XGBoost's JSON."""
    if features is not None:
        return [line.strip() for line in _text(features).splitlines() if line.strip()]
    names: object = None
    if file.suffix == ".json":
        try:
            names = orjson.loads(data)["learner"]["feature_names"]
        except (ValueError, KeyError, TypeError):
            names = None
    if not isinstance(names, list) or not names:
        message = f"{file} does not name its columns: give a file of their names, one a line, by --features"
        raise ConfigurationError(message)
    return [str(name) for name in names]


def _text(file: Path) -> str:
    try:
        return _bytes_of(file).decode()
    except UnicodeDecodeError as error:
        message = f"{file} is not UTF-8: {error}"
        raise ConfigurationError(message) from None


def _format(file: Path, data: bytes) -> str:
    kind = _FORMATS.get(file.suffix)
    is_pickle = file.suffix in _PICKLES or data.startswith(b"\x80")
    if kind is not None and not is_pickle:
        return kind
    why = " (a pickle runs whatever code is in it)" if is_pickle else ""
    message = f"{file} begins with {quoted(data[:16])}, which is not read{why}; expected {_READ}"
    raise ConfigurationError(message)


def _dump(file: Path, kind: str) -> dict[str, Any]:
    """Return what treelite says of a model; in a process of its own, since its parsers are C++ and the file may be any.

    It ends by itself at 5 s of the processor's time and 1 GB.
    """
    command = (sys.executable, "-m", "stream.commands.treelite_dump", kind, str(file))
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WAIT_SECONDS, check=False)  # noqa: S603 (our own)
    except subprocess.TimeoutExpired:
        message = f"{file} was not read within {_WAIT_SECONDS:g} s"
        raise ConfigurationError(message) from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        message = f"{file} is not read by treelite within 5 s and 1 GB: {lines[-1][:300]}"
        raise ConfigurationError(message)
    try:
        dump: dict[str, Any] = orjson.loads(done.stdout)
    except ValueError as error:
        message = f"{file}: what treelite says of it is no JSON: {error}"
        raise ConfigurationError(message) from None
    return dump


def _calibration(file: Path | None) -> tuple[float, float]:
    if file is None:
        return 1.0, 0.0
    try:
        fields = orjson.loads(_bytes_of(file))
    except ValueError as error:
        message = f"{file} is not JSON: {error}"
        raise ConfigurationError(message) from None
    if not isinstance(fields, dict):
        message = f"{file} is {quoted(fields)}, expected an object of slope and intercept"
        raise ConfigurationError(message)
    refuse_keys(fields, ("slope", "intercept"), (), str(file))
    slope, intercept = (number_of(fields[key], f"{file}: {key}") for key in ("slope", "intercept"))
    return slope, intercept
