"""``groundswell model import``: a model file of another tool, as a file that can be active."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from stream.commands.treelite_import import BYTES, REFUSED, SECONDS
from stream.errors import ConfigurationError, quoted
from stream.features import FEATURES
from stream.scoring import Model, read_model
from stream.scoring.files import KINDS
from stream.scoring.forest import write_forest
from stream.scoring.histograms import Training, read_training, write_training
from stream.scoring.imports import read_lightgbm
from stream.scoring.imports.classes import class_of
from stream.scoring.shapley import compile_shapley
from stream.scoring.usage import of_most_used
from stream.strictness import name_of, number_of, refuse_keys

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a file."""
_MOST_BESIDE: Final = 1 << 20
"""Bytes of a file of columns' names, or of a calibration."""
_WAIT_SECONDS: Final = 60.0
"""For treelite's process: by itself it ends after 5 s of the processor, however long it waits for that."""
_LONGEST_REASON: Final = 1000
_FORMATS: Final = {".json": "xgboost-json", ".ubj": "xgboost-ubj", ".tl": "treelite"}
_PICKLES: Final = (".pkl", ".pickle", ".joblib")
_READ: Final = (
    "a LightGBM text model (Booster.save_model), XGBoost's .json or .ubj (Booster.save_model), or treelite's .tl "
    "(of scikit-learn: treelite.sklearn.import_model(model).serialize('model.tl')), or a model file that is ours"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A model file, and what is in it."""

    content: bytes
    trees: int
    """0 where it is a weighted sum."""
    leaves: int
    features: tuple[str, ...]
    """By name, those that it asks for."""
    watched: tuple[str, ...]
    """By name, those whose drift from the training data will be measured."""
    work: int
    """What a trigger's contributions would take; above MOST_WORK they are left out."""


def import_model(
    file: Path,
    name: str,
    calibration: Path | None = None,
    features: Path | None = None,
    description: str = "",
    training: Path | None = None,
    number: int | None = None,
) -> Imported:
    """Return the model in ``file`` as a model file by the name ``name``.

    ``calibration`` is a JSON file of ``slope`` and ``intercept``, applied to the sum before the link; ``features``
    names the columns, one a line, where the file does not; ``training`` is a JSON file of histograms, of the score and
    of any features, of which those that the model uses most are kept; ``number`` says which of several classes is
    scored, from 0. A file of the kind that is written here keeps what no argument gives anew, but not the histogram of
    scores that another calibration gave. Raises ConfigurationError, quoting what is wrong, for a file that is unusable;
    one that is not read within 5 s and 1 GB is.
    """
    name_of(name, "a model's name")
    data = _bytes_of(file)
    fields, factor = _own(file, data), 1.0
    if fields is not None:
        class_of(1, number, str(file))
        fields["name"] = name
    elif data.startswith(b"tree"):
        read, factor = read_lightgbm(data, FEATURES, str(file), number)
        fields = {"name": name, "kind": "trees", **write_forest(read, FEATURES)}
    else:
        trees, factor = _import(file, _format(file, data), _names(file, features), number)
        fields = {"name": name, "kind": "trees", **trees}
    slope, intercept = _calibration(calibration)
    if calibration is not None and fields.get("training"):
        # Of the scores that another calibration gave.
        kept_training = {key: value for key, value in fields.pop("training").items() if key != "score"}
        fields |= {"training": kept_training} if kept_training else {}
    if calibration is not None or factor != 1.0:
        fields["calibration"] = {"slope": slope * factor, "intercept": intercept}
    if description:
        fields["description"] = description
    content = orjson.dumps(fields)
    model = read_model(content, FEATURES)
    if training is not None:
        kept = of_most_used(model, _training(training))
        content = orjson.dumps({**fields, "training": write_training(kept, FEATURES)})
        model = read_model(content, FEATURES)
    return _imported(content, model)


def _imported(content: bytes, model: Model) -> Imported:
    leaves = model.forest.leaves.tolist() if model.forest is not None else []
    shapley = compile_shapley(model.forest, (1.0, 0.0)) if model.forest is not None else None
    watched = model.training.features if model.training is not None else ()
    return Imported(
        content,
        len(leaves),
        sum(leaves),
        tuple(FEATURES[index] for index in model.asked),
        tuple(FEATURES[index] for index, _ in watched),
        shapley.work if shapley is not None else 0,
    )


def _own(file: Path, data: bytes) -> dict[str, Any] | None:
    """Return the object in a model file of the kind that is written here, None where it is another tool's."""
    if file.suffix != ".json":
        return None
    try:
        fields = orjson.loads(data)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("kind") not in KINDS:
        return None
    read_model(data, FEATURES)
    return fields


def _bytes_of(file: Path, most: int = MOST_BYTES) -> bytes:
    try:
        size = file.stat().st_size
        if size <= most:
            return file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error}"
        raise ConfigurationError(message) from error
    message = f"{file} has {size} bytes, expected at most {most}"
    raise ConfigurationError(message)


def _names(file: Path, features: Path | None) -> list[str] | None:
    """Return the columns' names; None where XGBoost's JSON gives them."""
    if features is None:
        if file.suffix == ".json":
            return None
        message = f"{file}: a {file.suffix} file's columns are not read by name: name them, one a line, by --features"
        raise ConfigurationError(message)
    try:
        text = _bytes_of(features, _MOST_BESIDE).decode()
    except UnicodeDecodeError as error:
        message = f"{features} is not UTF-8: {error}"
        raise ConfigurationError(message) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _format(file: Path, data: bytes) -> str:
    kind = _FORMATS.get(file.suffix)
    is_pickle = file.suffix in _PICKLES or data.startswith(b"\x80")
    if kind is not None and not is_pickle:
        return kind
    why = " (a pickle runs whatever code is in it)" if is_pickle else ""
    message = f"{file} begins with {quoted(data[:16])}, which is not read{why}; expected {_READ}"
    raise ConfigurationError(message)


def _import(file: Path, kind: str, names: list[str] | None, number: int | None) -> tuple[dict[str, Any], float]:
    """Return a model's trees as ``write_forest`` gives them, and the factor before its link.

    In a process of its own, which bounds itself, since treelite's parsers are C++ and the file may be any.
    """
    command = [sys.executable, "-m", "stream.commands.treelite_import", kind, str(file.absolute())]
    command += [] if number is None else [str(number)]
    try:
        done = subprocess.run(  # noqa: S603 (our own)
            command, input=orjson.dumps(names), capture_output=True, timeout=_WAIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"{file} was not read within {_WAIT_SECONDS:g} s"
        raise ConfigurationError(message) from None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == REFUSED and lines:
        raise ConfigurationError(lines[-1][:_LONGEST_REASON])
    if done.returncode != 0:
        why = f"it ended with {done.returncode}" if done.returncode < 0 or not lines else lines[-1][:300]
        message = f"{file} is not read by treelite within {SECONDS} s and {BYTES} bytes: {why}"
        raise ConfigurationError(message)
    found = orjson.loads(done.stdout)
    return found["forest"], found["factor"]


def _json(file: Path) -> object:
    try:
        fields: object = orjson.loads(_bytes_of(file, _MOST_BESIDE))
    except ValueError as error:
        message = f"{file} is not JSON: {error}"
        raise ConfigurationError(message) from None
    return fields


def _training(file: Path) -> Training:
    everything = range(len(FEATURES))
    return read_training(_json(file), FEATURES, everything, str(file), most=len(FEATURES))


def _calibration(file: Path | None) -> tuple[float, float]:
    if file is None:
        return 1.0, 0.0
    fields = _json(file)
    if not isinstance(fields, dict):
        message = f"{file} is {quoted(fields)}, expected an object of slope and intercept"
        raise ConfigurationError(message)
    refuse_keys(fields, ("slope", "intercept"), (), str(file))
    slope, intercept = (number_of(fields[key], f"{file}: {key}") for key in ("slope", "intercept"))
    return slope, intercept
