"""Recipes: TOML files, each of which says what a model is to foretell, of whom, from what, and how it is fitted."""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NoReturn

from stream.commands.labels import Label, duration_ms
from stream.commands.moments import LEAST_EVERY_MS
from stream.errors import ConfigurationError, quoted
from stream.holdouts import OURS
from stream.strictness import name_of

SUFFIX: Final = ".toml"
MOST_BYTES: Final = 64 * 1024
MOST_ROUNDS: Final = 5000
_TOP: Final = ("name", "label", "every")
_OPTIONAL: Final = ("description", "eligible", "split", "negatives", "test", "features", "model", "holdout")
_FEATURES: Final = ("include", "exclude", "categorical")
_MODEL: Final = ("rounds", "seed", "lightgbm")
_HOLDOUT: Final = ("experiment", "share", "treatment")
_PARAMETERS: Final[Mapping[str, tuple[type, float, float]]] = {
    "num_leaves": (int, 2, 4096),
    "max_depth": (int, -1, 64),
    "learning_rate": (float, 1e-4, 1.0),
    "min_data_in_leaf": (int, 1, 1_000_000),
    "min_sum_hessian_in_leaf": (float, 0.0, 1e9),
    "min_gain_to_split": (float, 0.0, 1e9),
    "lambda_l1": (float, 0.0, 1e9),
    "lambda_l2": (float, 0.0, 1e9),
    "feature_fraction": (float, 0.01, 1.0),
    "bagging_fraction": (float, 0.01, 1.0),
    "bagging_freq": (int, 0, 1000),
    "max_bin": (int, 2, 65535),
    "path_smooth": (float, 0.0, 1e9),
    "cat_smooth": (float, 0.0, 1e9),
    "cat_l2": (float, 0.0, 1e9),
    "max_cat_to_onehot": (int, 1, 10_000),
    "min_data_per_group": (int, 1, 1_000_000),
}
"""LightGBM's parameters that a recipe may set: type, least and largest value."""
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_CONDITION: Final = re.compile(r"\s*(\S+)\s+(<=|>=|!=|=|<|>)\s+(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Eligible:
    """What every feature that fits a pattern must be for a row to count."""

    pattern: str
    comparison: str
    value: float
    text: str

    def holds(self, column: Any) -> Any:
        """Return, element by element, whether a column's values (a NumPy array) fit; NaN fits no comparison but !=."""
        return _COMPARISONS[self.comparison](column, self.value)


@dataclass(frozen=True, slots=True)
class Holdout:
    """An experiment whose effect is what is to be foretold."""

    experiment: str
    """By whose name voters were held out (``stream.holdouts``)."""
    share: float
    """Of the voters that were held out."""
    treatment: str
    """A label: what reached all others; rows before it came are those to learn from."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe."""

    name: str
    label: str
    every: str
    """A duration such as ``7d``: how often each voter is looked at."""
    description: str = ""
    eligible: tuple[Eligible, ...] = ()
    split: str = "voter"
    negatives: float = 1.0
    test: float = 0.25
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    rounds: int = 100
    seed: int = 1
    parameters: Mapping[str, int | float] = field(default_factory=dict)
    """LightGBM's."""
    holdout: Holdout | None = None
    text: str = ""
    """The file's."""

    def columns(self, names: Sequence[str]) -> list[int]:
        """Return the places of the features that the recipe learns from; raise ConfigurationError if there are none."""
        chosen = [
            place for place, name in enumerate(names) if _fits(name, self.include) and not _fits(name, self.exclude)
        ]
        if not chosen:
            message = f"recipe {self.name!r}: no feature is left of {', '.join(self.include)}"
            raise ConfigurationError(message)
        return chosen


def matching(pattern: str, names: Sequence[str]) -> list[int]:
    """Return the places of the names that fit a pattern (``*``, ``?``, ``[...]``)."""
    return [place for place, name in enumerate(names) if fnmatchcase(name, pattern)]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def read_recipe(file: Path, features: Sequence[str]) -> Recipe:
    """Return the recipe in a file; ``features`` are the names that its patterns may mean.

    Raises ConfigurationError, naming file, line and key, quoting what is wrong and saying what was expected, for
    anything unusable, a pattern that fits no feature among them.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error}"
        raise ConfigurationError(message) from error
    if len(data) > MOST_BYTES:
        message = f"{file} has {len(data)} bytes, expected at most {MOST_BYTES}"
        raise ConfigurationError(message)
    try:
        text = data.decode()
        fields = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{file} is not readable as TOML: {error}"
        raise ConfigurationError(message) from None
    return _Reader(file, text, fields, features).recipe()


class _Reader:
    """Reads one file's table."""

    def __init__(self, file: Path, text: str, fields: dict[str, Any], features: Sequence[str]) -> None:
        self._file = file
        self._text = text
        self._fields = fields
        self._features = features

    def recipe(self) -> Recipe:
        fields = self._fields
        self._keys(fields, (*_TOP, *_OPTIONAL), _TOP, "")
        name = self._name()
        chosen = self._table("features", _FEATURES)
        model = self._table("model", _MODEL)
        return Recipe(
            name=name,
            label=self._label(fields, "label"),
            every=self._every(),
            description=self._string(fields, "description", ""),
            eligible=tuple(map(self._eligible, self._strings(fields, "eligible", ()))),
            split=self._split(),
            negatives=self._number(fields, "negatives", 1.0, 1e-6, 1.0),
            test=self._number(fields, "test", 0.25, 0.01, 0.9),
            include=self._patterns(chosen, "include", ("*",)),
            exclude=self._patterns(chosen, "exclude", ()),
            categorical=self._patterns(chosen, "categorical", ()),
            rounds=int(self._number(model, "rounds", 100, 1, MOST_ROUNDS, "model", int)),
            seed=int(self._number(model, "seed", 1, 0, 2**31 - 1, "model", int)),
            parameters=self._parameters(model.get("lightgbm", {})),
            holdout=self._holdout(),
            text=self._text,
        )

    def _name(self) -> str:
        try:
            name = name_of(self._fields["name"], "a recipe's name")
        except ConfigurationError as error:
            self._refuse("name", str(error))
        if name != self._file.stem:
            self._refuse("name", f"is {quoted(name)}, expected {quoted(self._file.stem)}, as the file is called")
        return name

    def _label(self, table: Mapping[str, Any], key: str, section: str = "") -> str:
        text = self._string(table, key, section=section)
        try:
            Label.parse(text)
        except ConfigurationError as error:
            self._refuse(key, f"is no label: {error}", section)
        return text

    def _every(self) -> str:
        text = self._string(self._fields, "every")
        every_ms = duration_ms(text)
        if every_ms is None or every_ms < LEAST_EVERY_MS:
            self._refuse("every", f"is {quoted(text)}, expected a duration of a minute or more, such as 7d, 12h, 30m")
        return text

    def _split(self) -> str:
        split = self._string(self._fields, "split", "voter")
        if split not in ("voter", "time"):
            self._refuse("split", f"is {quoted(split)}, expected 'voter' or 'time'")
        return split

    def _eligible(self, text: str) -> Eligible:
        match = _CONDITION.fullmatch(text)
        if match is None:
            self._refuse("eligible", f"holds {quoted(text)}, expected such as 'sessions >= 2': pattern, sign, number")
        self._known("eligible", match[1])
        return Eligible(match[1], match[2], float(match[3]), text)

    def _holdout(self) -> Holdout | None:
        if "holdout" not in self._fields:
            return None
        table = self._table("holdout", _HOLDOUT, _HOLDOUT)
        experiment = self._string(table, "experiment", section="holdout")
        if experiment.startswith(OURS):
            what = f"is {quoted(experiment)}, expected a name that does not begin with {OURS!r}: those are drawn by it"
            self._refuse("experiment", what, "holdout")
        return Holdout(
            experiment,
            self._number(table, "share", 0.0, 0.001, 0.999, "holdout"),
            self._label(table, "treatment", "holdout"),
        )

    def _parameters(self, table: object) -> dict[str, int | float]:
        if not isinstance(table, dict):
            self._refuse("lightgbm", f"is {quoted(table)}, expected a table of LightGBM's parameters", "model")
        self._keys(table, tuple(_PARAMETERS), (), "model.lightgbm")
        return {
            key: self._number(table, key, 0, least, most, "model.lightgbm", kind)
            for key, (kind, least, most) in _PARAMETERS.items()
            if key in table
        }

    # --- values ----------------------------------------------------------------------------------------

    def _table(self, key: str, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
        table = self._fields.get(key, {})
        if not isinstance(table, dict):
            self._refuse(key, f"is {quoted(table)}, expected a table")
        self._keys(table, known, required, key)
        return table

    def _keys(self, table: Mapping[str, Any], known: Sequence[str], required: Sequence[str], section: str) -> None:
        for key in table:
            if key not in known:
                self._refuse(key, f"is unknown, expected {', '.join(known)}", section)
        for key in required:
            if key not in table:
                where = f"[{section}] of {self._file}" if section else str(self._file)
                message = f"{where} lacks the key {key!r}, expected {', '.join(required)}"
                raise ConfigurationError(message)

    def _string(self, table: Mapping[str, Any], key: str, usual: str | None = None, section: str = "") -> str:
        value = table.get(key, usual)
        if not isinstance(value, str) or (usual is None and not value):
            self._refuse(key, f"is {quoted(value)}, expected a text", section)
        return value

    def _strings(self, table: Mapping[str, Any], key: str, usual: Sequence[str], section: str = "") -> tuple[str, ...]:
        values = table.get(key, list(usual))
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self._refuse(key, f"is {quoted(values)}, expected a list of texts", section)
        return tuple(values)

    def _patterns(self, table: Mapping[str, Any], key: str, usual: Sequence[str]) -> tuple[str, ...]:
        patterns = self._strings(table, key, usual, "features")
        for pattern in patterns:
            self._known(key, pattern, "features")
        return patterns

    def _known(self, key: str, pattern: str, section: str = "") -> None:
        if not matching(pattern, self._features):
            some = f"{', '.join(self._features[:2])}, ..., {self._features[-1]}"
            self._refuse(
                key, f"holds {quoted(pattern)}, which fits none of {len(self._features)} features ({some})", section
            )

    def _number(
        self,
        table: Mapping[str, Any],
        key: str,
        usual: float,
        least: float,
        most: float,
        section: str = "",
        kind: type = float,
    ) -> int | float:
        value = table.get(key, usual)
        fits = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            self._refuse(key, f"is {quoted(value)}, expected {what} from {least:g} to {most:g}", section)
        number: int | float = value
        return number

    def _refuse(self, key: str, what: str, section: str = "") -> NoReturn:
        line = _line_of(self._text, section, key)
        place = f"{self._file}:{line}" if line else str(self._file)
        message = f"{place}: {f'{section}.{key}' if section else key} {what}"
        raise ConfigurationError(message)


def _line_of(text: str, section: str, key: str) -> int:
    """Return the line, from 1, on which a table sets a key as TOML is mostly written; 0 where it is not found."""
    here = ""
    setting = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.fullmatch(r"\s*\[+([^\[\]]+)\]+\s*(#.*)?", line):
            here = match[1].strip()
            if here == (f"{section}.{key}" if section else key):
                return number
        elif here == section and setting.match(line):
            return number
    return 0
