"""``groundswell voter show ID --why MODEL``: what each feature contributes to a voter's score now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.errors import ConfigurationError, printable, quoted
from stream.features import FEATURES, read_rows
from stream.interfaces import Library
from stream.records import MAX_MODELS, USE_FOLD, ContentId, Header
from stream.scoring import canary, compile_models, explain, read_model, score, take_canaries
from stream.spans import Spans
from stream.versions import CANARY, ModelVersion


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to a score before its link."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Why:
    """A voter's score now by one model, and what it is made of."""

    model: str
    sha256: str
    score: float
    expected: float
    """What the model gives on average, before its link: ``score`` is the link of this and all contributions."""
    contributions: tuple[Contribution, ...]
    """All that are not 0, by size, equal ones in the catalogue's order."""

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    def to_table(self) -> RenderableType:
        """Return it for a terminal."""
        total = self.expected + sum(item.contribution for item in self.contributions)
        head = f"{self.model} gives {self.score:.6g} now: before its link {total:.6g}, made of"
        table = Table(box=None, pad_edge=False)
        table.add_column("feature", no_wrap=True)
        table.add_column("value", justify="right")
        table.add_column("contribution", justify="right")
        table.add_row("expected of anyone", "", f"{self.expected:+.6g}")
        for item in self.contributions:
            table.add_row(Text(item.feature), f"{item.value:.6g}", f"{item.contribution:+.6g}")
        return Group(Text(printable(head)), table)


def version_for(header: Header, model: str, voter: bytes) -> ContentId:
    """Return the version of a model that scores a voter: the active one, or the canary that draws the voter.

    Raises ConfigurationError, naming those that are active, where the model is not.
    """
    active = {item[0]: item[1] for item in header.slots["model"] if item is not None}
    if model not in active:
        message = f"no model {quoted(model)} is active, expected one of {', '.join(sorted(active)) or 'none at all'}"
        raise ConfigurationError(message)
    scoring = active[model]
    for one in map(ModelVersion.of_entry, header.versions):
        if (one.name, one.role) == (model, CANARY):
            drawn, use = np.zeros(1, np.int64), np.full(1, USE_FOLD, np.int64)
            trial = canary(one.name, one.sha256, one.share, 0, 0)
            take_canaries([trial], Spans.of([voter]), use, 0, 1, np.zeros((1, 1)), drawn)
            scoring = one.sha256 if drawn[0] else scoring
    return ContentId("model", model, scoring)


def why(content: ContentId, library: Library, record: NDArray[Any], now_ms: int) -> Why:
    """Return what a voter's score by a model is made of at ``now_ms``; ``record`` is VOTER[1].

    Raises ConfigurationError where the library does not hold the model, or its file has no training cover.
    """
    data = library.get(content)
    if data is None:
        message = f"the configuration topic does not hold {content.key()}, which is active"
        raise ConfigurationError(message)
    models = compile_models([read_model(data, FEATURES)], np.ones(MAX_MODELS, np.uint32))
    row = np.empty((1, len(models.columns)))
    read_rows(record, now_ms, 0, 1, models.columns, row)
    found = explain(models, row, np.zeros(1, np.int64), 0)
    if found is None:
        message = f"model {content.name!r} does not say its training cover (trees.cover): import it again to explain it"
        raise ConfigurationError(message)
    scores = np.empty((1, MAX_MODELS))
    score(models, row, np.full(1, USE_FOLD, np.int64), 0, 1, scores)
    order = np.argsort(-np.abs(found[0]), kind="stable").tolist()
    contributions = tuple(
        Contribution(FEATURES[models.columns[place]], float(row[0, place]), float(found[0, place]))
        for place in order
        if found[0, place] != 0.0
    )
    return Why(content.name, content.sha256, float(scores[0, 0]), float(models.expected[0]), contributions)
