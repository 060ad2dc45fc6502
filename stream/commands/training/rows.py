"""Rows of a data set as arrays: which of them count, for what, and who was held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.rows import COLUMNS, parquet, read_metadata
from stream.commands.training.recipes import Eligible, Holdout, Recipe, matching
from stream.errors import ConfigurationError, quoted
from stream.holdouts import OURS, held_out

FIT, CALIBRATE, TEST = range(3)
"""What a voter's rows are for: fitting the trees, calibrating their sum, judging the whole."""
CALIBRATED: Final = 0.2
"""The share of the voters who are not for testing that is for calibrating."""
_CALIBRATION: Final = f"{OURS}calibration"
_LEAST_OF_BOTH: Final = 10
"""Voters who were treated, and who were not, that each part of an experiment's rows has."""
_MOST_REACHED: Final = 0.2
"""Of those held out, as a part of the share of the others: some get a letter that was not for them."""
_USED: Final = ("train", "test")
_COLUMNS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """What a model is fitted to and judged by: n rows."""

    people: NDArray[Any]
    """str[v]: voter ids."""
    voters: NDArray[np.int64]
    """int64[n]: places in ``people``."""
    times: NDArray[np.int64]
    """int64[n]: moments, ms since the epoch."""
    labels: NDArray[np.float64]
    """float64[n]: 1 or 0."""
    weights: NDArray[np.float64]
    parts: NDArray[np.int64]
    """int64[n]: FIT, CALIBRATE or TEST."""
    features: NDArray[np.float32]
    """float32[n, f]"""
    names: tuple[str, ...]
    """Of the f features."""
    treated: NDArray[np.float64] | None = None
    """float64[n]: 0 where the experiment kept the treatment from the voter, else 1; None: no experiment."""
    reached: float = 1.0
    """The share of the rows that the treatment followed, held out or not."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.labels)

    def take(self, chosen: NDArray[Any]) -> Rows:
        """Return some of the rows (by a mask, or places)."""
        one = ("voters", "times", "labels", "weights", "parts", "features")
        taken = {name: getattr(self, name)[chosen] for name in one}
        return replace(self, **taken, treated=None if self.treated is None else self.treated[chosen])


@dataclass(frozen=True, slots=True)
class DataSet:
    """A file of rows as it was written, and what it says of itself."""

    rows: Rows
    meta: dict[str, Any]


def read_data_set(file: Path, features: Sequence[str]) -> DataSet:
    """Return the rows of a Parquet file that ``groundswell dataset`` wrote, without those that nothing is known of.

    ``features`` is the catalogue; they are read a few at a time, since a file may be larger than all else that training
    needs. Raises ConfigurationError for another file, or one of another catalogue.
    """
    arrow = parquet()
    meta = read_metadata(file)
    try:
        with arrow.parquet.ParquetFile(str(file)) as opened:
            _require_columns(file, opened.schema_arrow.names, [*COLUMNS, *features])
            _check_metadata(file, meta)
            return DataSet(_read_rows(opened, meta["complete_until_ms"], features), meta)
    except (OSError, arrow.ArrowException) as error:
        message = f"{file} is no file of `groundswell dataset`: {str(error)[:300]}"
        raise ConfigurationError(message) from error


def _require_columns(file: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise ConfigurationError where a file has other columns than the catalogue's, or in another order."""
    if list(found) != list(expected):
        odd = next((name for name in found if name not in expected), "")
        lost = next((name for name in expected if name not in found), "")
        what = f"has {odd!r}" if odd else f"lacks {lost!r}" if lost else "has its columns in another order"
        message = f"{file} {what}: it is of another version of the catalogue; write it again by `groundswell dataset`"
        raise ConfigurationError(message)


def _read_rows(opened: Any, complete_until_ms: int, features: Sequence[str]) -> Rows:
    """Return the rows of an open Parquet file of which something is known."""
    table = opened.read(columns=list(COLUMNS))
    known = ~_column(table, "censored").astype(np.bool_)
    splits = _column(table, "split")
    known &= np.isin(splits, _USED)
    # Beyond it positives are known before others are, so that there would be too many of them.
    known &= _column(table, "time_ms") <= complete_until_ms
    table, splits = table.filter(parquet().array(known)), splits[known]
    ids = np.asarray(_column(table, "voter"), np.str_)
    unique, voters = np.unique(ids, return_inverse=True)
    calibrating = np.array([held_out(_CALIBRATION, CALIBRATED, voter) for voter in unique.tolist()], np.bool_)
    parts = np.where(splits == "test", TEST, np.where(calibrating[voters], CALIBRATE, FIT)).astype(np.int64)
    matrix = np.empty((table.num_rows, len(features)), np.float32)
    for first in range(0, len(features), _COLUMNS_AT_ONCE):
        names = list(features[first : first + _COLUMNS_AT_ONCE])
        part = opened.read(columns=names)
        for place, name in enumerate(names, first):
            matrix[:, place] = _column(part, name)[known]
    return Rows(
        unique,
        voters.astype(np.int64),
        _column(table, "time_ms").astype(np.int64),
        _column(table, "label").astype(np.float64),
        _column(table, "weight").astype(np.float64),
        parts,
        matrix,
        tuple(features),
    )


def _check_metadata(file: Path, meta: object) -> None:
    """Raise ConfigurationError where a file does not say of itself what is asked of it later."""
    counts, label = (meta.get(key) if isinstance(meta, dict) else None for key in ("counts", "label"))
    for table, keys, kind in (
        (meta, ("begin_ms", "end_ms", "complete_until_ms", "engine", "record_version"), int),
        (meta, ("command",), str),
        (label, ("text",), str),
        (counts, ("voters", "candidates", "censored", "unanswered"), int),
    ):
        for key in keys:
            if not isinstance(table, dict) or not isinstance(table.get(key), kind):
                found = quoted(table.get(key) if isinstance(table, dict) else table)
                what = "a whole number" if kind is int else "a text"
                message = f"{file}: its metadata has {found} for {key!r}, expected {what}: no file of this `dataset`"
                raise ConfigurationError(message)


def chosen_rows(recipe: Recipe, data: DataSet, treatment: DataSet | None = None) -> Rows:
    """Return the rows that count for a recipe; ``treatment`` is the data set of its holdout's treatment.

    Raises ConfigurationError where too little is left to learn from.
    """
    rows = data.rows
    counts = eligible(recipe.eligible, rows)
    if recipe.holdout is not None:
        if treatment is None:
            message = f"recipe {recipe.name!r} has a [holdout]: the rows of its treatment are needed too"
            raise ConfigurationError(message)
        held = [held_out(recipe.holdout.experiment, recipe.holdout.share, voter) for voter in rows.people.tolist()]
        treated = 1 - np.array(held, np.float64)[rows.voters]
        first, last, reached = _moments(recipe, treatment)
        _require_experiment(recipe, recipe.holdout, treatment.rows)
        counts &= (rows.times >= first) & (rows.times <= last)
        rows = replace(rows, treated=treated, reached=reached)
    rows = rows.take(counts)
    for part, what in ((FIT, "fit"), (CALIBRATE, "calibrate"), (TEST, "test")):
        here = rows.parts == part
        positives = int(rows.labels[here].sum())
        if positives < 10 or int(here.sum()) - positives < 10:
            message = (
                f"recipe {recipe.name!r}: {int(here.sum())} rows with {positives} positives to {what}, expected at "
                "least 10 positives and 10 others: a longer log, or more voters"
            )
            raise ConfigurationError(message)
        _check_both(recipe, rows.take(here), what)
    return rows


def _check_both(recipe: Recipe, rows: Rows, what: str) -> None:
    """Raise ConfigurationError where an effect's rows of a part are not of treated voters and of others."""
    if rows.treated is None:
        return
    treated, held = (len(np.unique(rows.voters[rows.treated == one])) for one in (1, 0))
    if min(treated, held) < _LEAST_OF_BOTH:
        message = (
            f"recipe {recipe.name!r}: {treated} voters who were treated and {held} who were held out to {what}, "
            f"expected at least {_LEAST_OF_BOTH} of both: a longer log, more voters, or another share"
        )
        raise ConfigurationError(message)


def eligible(conditions: Sequence[Eligible], rows: Rows) -> NDArray[np.bool_]:
    """Return bool[n]: whether every feature that a condition means fits it, for all conditions."""
    counts = np.ones(len(rows), np.bool_)
    for condition in conditions:
        for place in matching(condition.pattern, rows.names):
            counts &= condition.holds(rows.features[:, place])
    return counts


def _moments(recipe: Recipe, treatment: DataSet) -> tuple[int, int, float]:
    """Return the first and last moment that the treatment followed, and the share that it reached of those between.

    They are everybody's: who was held out has no moment of their own, and rows of other times would not compare.
    """
    followed = treatment.rows.labels == 1
    if not followed.any():
        seen = treatment.meta.get("seen")
        names = "; ".join(
            f"of {field} the log has {', '.join(map(quoted, found)) or 'none'}"
            for field, found in (seen.items() if isinstance(seen, dict) else ())
        )
        message = (
            f"recipe {recipe.name!r}: the treatment {treatment.meta['label']['text']!r} reached nobody in the log, "
            f"expected one that it holds{f': {names}' if names else ''}"
        )
        raise ConfigurationError(message)
    times = treatment.rows.times
    first, last = int(times[followed].min()), int(times[followed].max())
    within = (times >= first) & (times <= last)
    return first, last, float(np.mean(followed[within]))


def _require_experiment(recipe: Recipe, holdout: Holdout, rows: Rows) -> None:
    """Raise ConfigurationError where the treatment reached those who are held out much as it did the others.

    The log does not say which experiments there are: an experiment's name draws voters, and is nowhere else.
    """
    reached = np.zeros(len(rows.people), np.bool_)
    reached[rows.voters[rows.labels == 1]] = True
    held = np.array([held_out(holdout.experiment, holdout.share, voter) for voter in rows.people.tolist()], np.bool_)
    if not held.any() or held.all():
        return
    of_held, of_others = float(reached[held].mean()), float(reached[~held].mean())
    if of_held > _MOST_REACHED * of_others:
        message = (
            f"recipe {recipe.name!r}: the treatment {holdout.treatment!r} reached {100 * of_held:.0f} % of the voters "
            f"whom experiment {holdout.experiment!r} with share {holdout.share:g} holds out, and {100 * of_others:.0f} "
            f"% of the others, expected at most {_MOST_REACHED:g} times as many: by these nobody was kept from it"
        )
        raise ConfigurationError(message)


def _column(table: Any, name: str) -> Any:
    return table.column(name).to_numpy(zero_copy_only=False)
