"""``groundswell dataset``: rows for training from the stream's own log, as voters stood at each moment."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from stream.commands.labels import Label, duration_ms
from stream.commands.leaks import check_moment, spread
from stream.commands.moments import LEAST_EVERY_MS, Schedule
from stream.commands.reading import ReadContents
from stream.commands.rows import RowFile, parquet
from stream.commands.sampling import Counts, Design, Sampler, sample
from stream.commands.surveys import Survey, survey
from stream.commands.verify import Sources, sources_of
from stream.errors import ConfigurationError, quoted
from stream.features import FEATURES, NO_TAXONOMY
from stream.features.taxonomy import Taxonomy, read_taxonomy
from stream.records import ENGINE_VERSION, RECORD_VERSION
from stream.settings import Settings

FORMAT: Final = 3
"""In the first one labels compared texts, whatever the taxonomy made of them; in the second those stood that had fit
before consent was withdrawn."""
_SEEN: Final = 20
SPLIT_BY: Final = ("voter", "time")

Step = Callable[[str, int, int, int], None]
"""Told how far it is: what is done, partition, log rows (as offsets) passed, and how many there are."""


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """What is asked for; ``design`` says what it means, or what is wrong with it."""

    label: str
    """As ``stream.commands.labels`` reads it."""
    every: str = "1d"
    """Log time from one row of a voter to the next."""
    negatives: float = 1.0
    """Share of the rows that are kept of those whose label is not 1."""
    split: str = "voter"
    """By what rows are split into those that train and those that test: SPLIT_BY."""
    test: float = 0.2
    """Share of voters, or of the time in which labels are complete, that tests."""
    seed: int = 0
    check: int = 0
    """For how many moments to prove that their rows know nothing of the future."""

    def design(self) -> Design:
        """Return what is asked for, before the log's time is known; raise ConfigurationError if it is unusable."""
        label = Label.parse(self.label)
        every_ms = duration_ms(self.every)
        if every_ms is None or every_ms < LEAST_EVERY_MS:
            message = f"--every is {quoted(self.every)}, expected a duration of a minute or more, such as 1d, 12h, 30m"
            raise ConfigurationError(message)
        if not 0 < self.negatives <= 1:
            message = f"--negatives is {self.negatives}, expected a share above 0 and at most 1"
            raise ConfigurationError(message)
        if not 0 <= self.test < 1:
            message = f"--test is {self.test}, expected a share from 0 to below 1"
            raise ConfigurationError(message)
        if self.split not in SPLIT_BY:
            message = f"--split is {quoted(self.split)}, expected {' or '.join(SPLIT_BY)}"
            raise ConfigurationError(message)
        return Design(label, Schedule(every_ms, self.seed), self.negatives, self.test)

    def command(self, out: Path) -> str:
        """Return the command that asks for it, without what the settings say."""
        words = ["groundswell", "dataset", "--label", self.label, "--out", str(out)]
        for option in fields(self)[1:]:
            value = getattr(self, option.name)
            if value != option.default:
                words += [f"--{option.name}", str(value)]
        return shlex.join(words)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    path: Path
    metadata: dict[str, Any]
    checked: int = 0
    """Rows that were derived again from the log before their moment alone."""

    def __str__(self) -> str:
        """Return it fit for a terminal."""
        return self.told(str(self.path))

    def told(self, what: str) -> str:
        """Return it fit for a terminal, of what is called so: a path that is soon gone says nothing."""
        counts = self.metadata["counts"]
        lines = [
            f"{what}: {counts['rows']} rows of {counts['voters']} voters: {counts['positives']} positive, "
            f"{counts['negatives']} negative, {counts['censored']} censored",
            f"{counts['train']} train, {counts['test']} test, {counts['embargo']} embargoed; "
            f"log time from {_time(self.metadata['begin_ms'])} to {_time(self.metadata['end_ms'])}",
        ]
        if counts["barred"]:
            lines.append(f"no rows of {counts['barred']} voters who were erased or are without consent")
        if counts["unanswered"]:
            lines.append(f"left out: {counts['unanswered']} rows without an answer within the horizon")
        if self.metadata["complete_until_ms"] <= self.metadata["begin_ms"]:
            lines.append("the log is no longer than the label's horizon: no row's label is complete, so none trains")
        if self.checked:
            lines.append(f"checked: {self.checked} rows know nothing of the future")
        return "\n".join(lines)


def write_dataset(
    settings: Settings,
    options: DatasetOptions,
    out: Path,
    *,
    labels: Sequence[Label] = (),
    complete: bool = False,
    progress: bool = True,
) -> Written:
    """Write the rows that ``options`` ask for to ``out``, a Parquet file.

    Reads every partition's log twice, to where it ends now. ``labels`` are others whose names must be known too before
    it is read; ``complete`` refuses a log in which no label is complete, after the first pass. ``progress`` shows a bar
    where standard error is a terminal. Raises ConfigurationError for unusable options, a path that cannot be written, a
    missing pyarrow or a log that gives no row; StateMismatchError where a log's beginning is gone; LeakFoundError;
    TopicError, StoreUnavailableError and kafka-python's errors where something cannot be read.
    """
    options.design()
    parquet()
    sources = sources_of(settings)
    with _progress_bar(shown=progress) as step:
        return asyncio.run(write_sources(sources, options, out, step, labels, complete=complete))


async def write_sources(
    sources: Sources,
    options: DatasetOptions,
    out: Path,
    step: Step = lambda _what, _partition, _done, _total: None,
    labels: Sequence[Label] = (),
    *,
    complete: bool = False,
) -> Written:
    """Write the rows of what ``sources`` open; the file is there only once it is whole and was checked.

    Arguments and errors as ``write_dataset``'s.
    """
    design = options.design()
    file = RowFile(out)
    try:
        library = ReadContents.following(lambda: sources.reader("config", 0))
        taxonomies = _taxonomies(library)
        for label in (design.label, *labels):
            label.require_listed(taxonomies)
        surveys = []
        for number in range(sources.partition_count):

            def passed(done: int, total: int, number: int = number) -> None:
                step("looking at", number, done, total)

            surveys.append(await survey(sources, number, design, library, passed))
        _require_time(sources, surveys)
        if complete:
            require_complete(options.label, *_period(surveys), _complete_until(surveys, design))
        design = _with_cutoff(design, options, surveys)
        counts, moments = Counts(), list[tuple[int, int, int]]()
        for one in surveys:
            await _write_partition(sources, library, one, design, file, counts, moments, step)
        if not file.counts["rows"]:
            raise ConfigurationError(_rowless(surveys, options, counts))
        metadata = _metadata(options, design, out, sources, surveys, {**_figures(counts), **file.counts})
        file.finish(metadata)
        checked = 0
        for number, moment_ms, offset in spread(moments, options.check):
            checked += await check_moment(sources, library, surveys[number], design, file.partial, (moment_ms, offset))
        file.publish()
    except BaseException:
        file.abandon()
        raise
    return Written(out, metadata, checked)


def _taxonomies(library: ReadContents) -> list[Taxonomy]:
    """Return every taxonomy that the configuration topic holds and that can be read, and what counts without one."""
    found = [NO_TAXONOMY.taxonomy]
    for content in library.identities:
        if content.kind == "taxonomy":
            # What cannot be read was never active.
            with suppress(ConfigurationError):
                found.append(read_taxonomy(library.get(content) or b""))
    return found


async def _write_partition(
    sources: Sources,
    library: ReadContents,
    one: Survey,
    design: Design,
    file: RowFile,
    counts: Counts,
    moments: list[tuple[int, int, int]],
    step: Step,
) -> None:
    """Write one partition's rows; what was counted and met is added to ``counts`` and ``moments``."""
    sampler = Sampler(design, one.outcomes, one.barred, one.end_ms)
    replay = await one.replay(sources, library, sources.reader("events", one.partition))
    begun = replay.header.offset

    def take(rows: Any, offset: int) -> None:
        file.add(rows)
        moments.append((one.partition, rows.moment_ms, offset))

    try:
        await sample(
            replay,
            one.cuts,
            sampler,
            take,
            lambda offset: step("taking rows of", one.partition, offset - begun, one.stop - begun),
        )
    finally:
        replay.close()
    # No moment may lie behind the last rows, or none at all in a partition without voters.
    step("taking rows of", one.partition, one.stop - begun, one.stop - begun)
    for figure, value in _figures(sampler.counts).items():
        setattr(counts, figure, getattr(counts, figure) + value)


def _require_time(sources: Sources, surveys: Sequence[Survey]) -> None:
    """Raise ConfigurationError where nothing says when anything was."""
    if _timed(surveys):
        return
    records = sum(one.stop - one.first for one in surveys)
    message = f"{sources.events_topic} is empty: there is nothing to take rows from"
    if records:
        message = (
            f"{sources.events_topic} holds {records} records and no log time yet: its broker gives no append times, "
            "and a worker's ticks have not come"
        )
    raise ConfigurationError(message)


def require_complete(label: str, begin_ms: int, end_ms: int, until_ms: int) -> None:
    """Raise ConfigurationError where no label is complete: the log goes from begin to end, labels until ``until_ms``.

    All in ms since the epoch.
    """
    if until_ms <= begin_ms:
        message = (
            f"the log goes from {_time(begin_ms)} to {_time(end_ms)}, expected more than the horizon of label "
            f"{quoted(label)}, and time before it to learn from: `topics.retention_days` says how long the log is kept"
        )
        raise ConfigurationError(message)


def _rowless(surveys: Sequence[Survey], options: DatasetOptions, counts: Counts) -> str:
    """Return why there is no row."""
    if counts.voters and counts.barred == counts.voters:
        return f"there are no rows: all {counts.voters} voters were erased or are without consent"
    if not counts.candidates:
        begin, end = map(_time, _period(surveys))
        return (
            f"there are no rows: the log goes from {begin} to {end}, and no voter who had done something came to be "
            f"looked at, once in every {options.every}"
        )
    drawn = f", the others by --negatives {options.negatives}" if options.negatives < 1 else ""
    return (
        f"there are no rows: of {counts.candidates}, {counts.unanswered} are left out without an answer within the "
        f"horizon, {counts.without_consent} without consent or before the voter had done anything{drawn}"
    )


def _with_cutoff(design: Design, options: DatasetOptions, surveys: Sequence[Survey]) -> Design:
    """Return the design with the moment from which rows test, if they are split by time."""
    if options.split != "time":
        return design
    begin_ms, end_ms = _period(surveys)
    until_ms = _complete_until(surveys, design)
    if until_ms <= begin_ms:
        message = (
            f"the log goes from {_time(begin_ms)} to {_time(end_ms)}, which is no longer than the horizon of label "
            f"{quoted(options.label)}: nothing is left to split by time"
        )
        raise ConfigurationError(message)
    return replace(design, cutoff_ms=begin_ms + round((until_ms - begin_ms) * (1 - options.test)))


def _timed(surveys: Sequence[Survey]) -> list[Survey]:
    return [one for one in surveys if one.begin_ms]


def _period(surveys: Sequence[Survey]) -> tuple[int, int]:
    """Return the first and last log time of any partition; 0, 0 where none is known."""
    timed = _timed(surveys)
    return min((one.begin_ms for one in timed), default=0), max((one.end_ms for one in timed), default=0)


def _complete_until(surveys: Sequence[Survey], design: Design) -> int:
    """Return the last moment at which no row is censored, ms."""
    return min((one.end_ms for one in _timed(surveys)), default=0) - design.label.horizon_ms


def _figures(counts: Counts) -> dict[str, int]:
    return {figure.name: getattr(counts, figure.name) for figure in fields(counts)}


def _seen(surveys: Sequence[Survey]) -> dict[str, list[str]]:
    """Return by field that names something of the campaign's the names that events gave, most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for one in surveys:
        for field, names in one.seen.items():
            counts.setdefault(field, Counter()).update(names)
    return {field: [name for name, _ in names.most_common(_SEEN)] for field, names in counts.items()}


def _metadata(
    options: DatasetOptions,
    design: Design,
    out: Path,
    sources: Sources,
    surveys: Sequence[Survey],
    counts: dict[str, int],
) -> dict[str, Any]:
    """Return what the file says of itself."""
    label, (begin_ms, end_ms) = design.label, _period(surveys)
    return {
        "format": FORMAT,
        "command": options.command(out),
        "label": {
            "text": label.text,
            "types": list(label.types),
            "horizon_ms": label.horizon_ms,
            "where": " and ".join(map(str, label.where)),
            "among": " and ".join(map(str, label.among)),
        },
        "every_ms": design.schedule.every_ms,
        "negatives": options.negatives,
        "split": options.split,
        "test": options.test,
        "seed": options.seed,
        "cutoff_ms": design.cutoff_ms,
        "begin_ms": begin_ms,
        "end_ms": end_ms,
        "complete_until_ms": _complete_until(surveys, design),
        "seen": _seen(surveys),
        "counts": counts,
        "engine": ENGINE_VERSION,
        "record_version": RECORD_VERSION,
        "topic": sources.events_topic,
        "partitions": [
            {
                "partition": one.partition,
                "first": one.first,
                "stop": one.stop,
                "begin_ms": one.begin_ms,
                "end_ms": one.end_ms,
                "begun": one.begun,
            }
            for one in surveys
        ],
        "features": list(FEATURES),
    }


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")


@contextmanager
def _progress_bar(*, shown: bool) -> Iterator[Step]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} events"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not (shown and console.is_terminal)) as bar:
        tasks: dict[str, tuple[int, TaskID]] = {}

        def step(what: str, partition: int, done: int, total: int) -> None:
            # One bar for each pass: of a hundred partitions a terminal would show the first alone.
            shown, task = tasks.get(what) or (partition, bar.add_task(f"{what} partition {partition}"))
            if shown != partition:
                bar.reset(task, description=f"{what} partition {partition}")
            tasks[what] = partition, task
            bar.update(task, completed=done, total=total)

        yield step
