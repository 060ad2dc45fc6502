"""``groundswell model compare``: two versions of a model over the records of stored voters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table

from stream.commands.activating import last_activation, read_library
from stream.commands.models import SHOWN_CHARACTERS, readers_of, version_of
from stream.commands.reading import ReadContents
from stream.commands.roles import trial_of, version_in
from stream.commands.topics import facts
from stream.errors import ConfigurationError, StateMissingError
from stream.features import FEATURES, read_rows
from stream.records import CONSENT_NO, MAX_MODELS, USE_FOLD, VOTER, Activation, ContentId, Header
from stream.scoring import compile_models, read_model, score
from stream.settings import Settings
from stream.spans import Spans
from stream.stores.redis import RedisStore
from stream.stores.table import migrate
from stream.triggers import Campaign, read_campaign
from stream.versions import ACTIVE

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_PAGE_VOTERS: Final = 500


class SampledStore(Protocol):
    """What is read of a partition's store; both stores offer it."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        ...

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return each voter's record bytes, None for an unknown voter."""
        ...

    def voters(self, step: int = ...) -> AsyncIterator[list[str]]:
        """Give every voter that has a record, page by page; one may come twice."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """Records of some voters of one partition, and the log time that they are looked at."""

    records: NDArray[Any]
    """VOTER[n]."""
    log_time_ms: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two versions make of the same voters."""

    name: str
    versions: tuple[str, str]
    """The one on trial, then the one that it is compared with."""
    voters: int
    rows: tuple[tuple[str, float, float], ...]
    """Name of a figure, and what it is for either version."""
    rank_correlation: float
    """Spearman's; not a number where a version scores all voters alike."""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as it stands in JSON."""
        figures = {title: {"version": first, "against": second} for title, first, second in self.rows}
        named = {"name": self.name, "version": self.versions[0], "against": self.versions[1], "voters": self.voters}
        return {**named, "figures": figures, "rank_correlation": self.rank_correlation}

    def to_table(self) -> RenderableType:
        """Return the comparison for a terminal."""
        title = f"{self.name}: {self.voters} voters, rank correlation {self.rank_correlation:.4f}"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for version in self.versions:
            table.add_column(version[:SHOWN_CHARACTERS], justify="right", no_wrap=True)
        for row, first, second in self.rows:
            table.add_row(row, f"{first:.6g}", f"{second:.6g}")
        return table


def compare(settings: Settings, name: str, version: str | None, against: str | None, most: int) -> Comparison:
    """Score up to ``most`` stored voters, as many of each partition, with two versions of a model.

    ``version`` is the canary or shadow where None, ``against`` the active version. Which voters is a matter of Redis'
    own order. Raises ConfigurationError where a version cannot be told, StateMissingError where no voter is stored.
    """
    library = read_library(settings)
    activation = last_activation(settings, library)
    first = trial_of(activation, name) if version is None else version_of(library, name, version)
    second = version_in(activation, name, ACTIVE) if against is None else version_of(library, name, against)
    if second is None:
        message = f"model {name!r} is not active: say with which version to compare by --against"
        raise ConfigurationError(message)
    samples = asyncio.run(_read(settings, facts(settings).partition_count, most))
    if not sum(len(sample.records) for sample in samples):
        message = "no voter with an event is stored, so there is nothing to score"
        raise StateMissingError(message)
    return comparison(name, (first, second), library, campaigns_of(activation, name, library), samples)


def campaigns_of(activation: Activation, name: str, library: ReadContents) -> list[Campaign]:
    """Return the active campaigns that read a model, by name."""
    readers = readers_of(activation, name, library)
    found = [content for content in activation.contents if content.kind == "campaign" and content.name in readers]
    return [read_campaign(library.get(content) or b"") for content in found]


def comparison(
    name: str,
    versions: tuple[str, str],
    library: ReadContents,
    campaigns: Sequence[Campaign],
    samples: Sequence[Sample],
) -> Comparison:
    """Return what two versions make of some voters, at least one."""
    scores = score_samples([library.get(ContentId("model", name, sha256)) or b"" for sha256 in versions], samples)
    figures = {"mean": scores.mean(axis=0), "standard deviation": scores.std(axis=0)}
    quantiles = np.quantile(scores, QUANTILES, axis=0)
    figures |= {f"quantile {at:g}": found for at, found in zip(QUANTILES, quantiles, strict=True)}
    for campaign in campaigns:
        reached = scores >= campaign.threshold if campaign.direction == "up" else scores <= campaign.threshold
        figures[f"beyond {campaign.threshold:g} ({campaign.name})"] = reached.mean(axis=0)
    rows = tuple((title, float(found[0]), float(found[1])) for title, found in figures.items())
    return Comparison(name, versions, len(scores), rows, rank_correlation(scores[:, 0], scores[:, 1]))


def score_samples(contents: Sequence[bytes], samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return float64[n, len(contents)]: each voter's score by each model file, as of its partition's log time."""
    tags = np.zeros(MAX_MODELS, np.uint32)
    tags[: len(contents)] = 1
    models = compile_models([read_model(content, FEATURES) for content in contents], tags)
    found = []
    for sample in samples:
        n = len(sample.records)
        rows, out = np.empty((n, len(models.columns))), np.empty((n, MAX_MODELS))
        read_rows(sample.records, sample.log_time_ms, 0, n, models.columns, rows)
        score(models, rows, np.full(n, USE_FOLD, np.int64), 0, n, out)
        found.append(out[:, : len(contents)])
    return np.concatenate(found)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation: Pearson's of the ranks, equal scores sharing the mean of theirs."""
    ranks = [_ranks(first), _ranks(second)]
    if not all(np.ptp(each) for each in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = last - (counts - 1) / 2
    return mean[place]


async def _read(settings: Settings, partitions: int, most: int) -> list[Sample]:
    """Return records of each partition, page by page in Redis' own order, until there are enough."""
    samples = []
    for number in range(partitions):
        store = RedisStore(settings.redis.endpoint(), settings.key_prefix(number))
        share = most // partitions + (number < most % partitions)
        try:
            samples.append(await sample_of(store, share))
        finally:
            await store.close()
    return samples


async def sample_of(store: SampledStore, most: int) -> Sample:
    """Return the records of the first ``most`` voters that the store gives, less those without an event.

    Raises StateMismatchError for a record that this build cannot read.
    """
    values: dict[str, bytes] = {}
    header = await store.read_header()
    async for page in store.voters(_PAGE_VOTERS):
        if len(values) >= most:
            break
        new = [voter for voter in page if voter not in values][: most - len(values)]
        loaded = await store.load(Spans.of_texts(new)) if new else []
        values.update(
            {voter: migrate(voter, data) for voter, data in zip(new, loaded, strict=True) if data is not None}
        )
    records = np.frombuffer(b"".join(values.values()), VOTER)
    # Without an event, by consent alone or once erased, nobody has a score; who withdrew consent is given none.
    scored = (records["first_seen_s"] != 0) & (records["consent"] != CONSENT_NO)
    return Sample(records[scored].copy(), 0 if header is None else header.log_time_ms)
