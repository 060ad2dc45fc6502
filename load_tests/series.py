"""What a long run looked like over time: samples in a CSV file, the trend of its memory, and a picture.

``python -m load_tests.series load_tests/results/soak.csv`` judges and draws a finished or a running run again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from load_tests.report import Row, judge, show, show_rows

SETTLING_SECONDS: Final = 600.0
"""What a process takes until its tables, pools and code are there: no trend is judged before."""
GOAL_MB_AN_HOUR: Final = 1.0
GOAL_SECONDS_AN_HOUR: Final = 1.0
"""By which the backlog, as the time in which so many events are published, may grow."""
_BLOCK_SECONDS: Final = 300.0
_LEAST_BLOCKS: Final = 4
LEAST_SECONDS: Final = SETTLING_SECONDS + _LEAST_BLOCKS * _BLOCK_SECONDS
"""A shorter run says nothing about memory."""
_ROWS_SHOWN: Final = 13

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment, or since the sample before."""

    seconds: float
    """Since the load began."""
    rss_mb: float
    """The worker's resident memory, in 1,000,000 bytes."""
    anonymous_mb: float
    """The part of it that no file stands behind."""
    redis_mb: float
    """What Redis counts as used."""
    voters: int
    """Keys in Redis."""
    sent: int
    """Events published since the load began."""
    triggers: int
    """That an outside subscriber read since the sample before."""
    p50_ms: float
    """From an event's append to its trigger at that subscriber; NaN where there was no trigger."""
    p99_ms: float
    most_ms: float
    backlog_events: int
    """Log rows that are not committed."""
    unsent: int
    """Outbox rows that are not trimmed."""
    cpu: float
    """Cores that the worker used since the sample before."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through a measure over time."""

    slope: float
    """Units an hour."""
    error: float
    """Half of the 95 % interval of the slope."""
    blocks: int

    @property
    def is_flat(self) -> bool:
        """Whether the interval holds zero."""
        return abs(self.slope) <= self.error


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of ``values`` that at least ``share`` of them do not exceed; NaN where there are none."""
    if not values:
        return float("nan")
    return sorted(values)[max(int(np.ceil(share * len(values))) - 1, 0)]


def trend(seconds: Sequence[float], values: Sequence[float], block_seconds: float = _BLOCK_SECONDS) -> Trend:
    """Return the least-squares line through means of blocks of time.

    Neighbouring samples of a process's memory are nearly equal, so they do not count as independent: a line through
    all of them would seem far more certain than it is. Means of blocks are taken instead, and the error is that of a
    line through these: the slope's standard error from the residuals, times Student's t of n - 2 degrees of freedom.
    Raises ValueError for fewer than four blocks.
    """
    x, y = _means(np.asarray(seconds, np.float64), np.asarray(values, np.float64), block_seconds)
    if len(x) < _LEAST_BLOCKS:
        message = f"{len(x)} blocks of {block_seconds:g} s, expected at least {_LEAST_BLOCKS}: run for longer"
        raise ValueError(message)
    x /= 3600.0
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    residuals = y - y.mean() - slope * (x - x.mean())
    error = float(np.sqrt((residuals**2).sum() / (len(x) - 2) / spread))
    return Trend(slope, _student_95(len(x) - 2) * error, len(x))


def _means(at: Floats, found: Floats, block_seconds: float) -> tuple[Floats, Floats]:
    """Return the mean time and value of each block of time; a last one that hardly began is left out.

    It would weigh as much as a whole one, at the end of the line, where a deviation tilts it most.
    """
    block = ((at - at[0]) // block_seconds).astype(np.int64) if len(at) else np.zeros(0, np.int64)
    kept, counts = np.unique(block, return_counts=True)
    if len(kept) and counts[-1] < counts.max() / 2:
        kept = kept[:-1]
    return (
        np.array([at[block == number].mean() for number in kept], np.float64),
        np.array([found[block == number].mean() for number in kept], np.float64),
    )


def _student_95(freedom: int) -> float:
    """Return the 97.5 % point of Student's t by Fisher's expansion (Abramowitz and Stegun, 26.7.5), three terms."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


# --- files ----------------------------------------------------------------------------------------------------


class Recorder:
    """A CSV file that has every sample as soon as it was taken."""

    def __init__(self, path: Path) -> None:
        """Begin the file anew."""
        path.parent.mkdir(exist_ok=True)
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, [field.name for field in fields(Sample)])
        self._writer.writeheader()

    def add(self, sample: Sample) -> None:
        """Write one sample."""
        self._writer.writerow({name: f"{value:.12g}" for name, value in asdict(sample).items()})
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()


def read(path: Path) -> list[Sample]:
    """Return the samples of a file that a Recorder wrote."""
    made: dict[str, Callable[[str], Any]] = {
        field.name: int if field.type == "int" else float for field in fields(Sample)
    }
    with path.open(newline="") as file:
        return [Sample(**{name: made[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def draw(samples: Sequence[Sample], path: Path, title: str) -> None:
    """Draw memory, latency and backlog over time, one above the other, as a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import, and what measures does not need it)

    mpl.use("Agg")
    from matplotlib import pyplot, ticker  # noqa: PLC0415

    minutes = [sample.seconds / 60 for sample in samples]
    figure, rooms = pyplot.subplots(4, 1, figsize=(13, 12), sharex=True, layout="constrained")
    memory, near, latency, backlog = rooms
    figure.suptitle(title)
    memory.plot(minutes, [sample.rss_mb for sample in samples], label="worker, resident")
    memory.plot(minutes, [sample.anonymous_mb for sample in samples], label="of it anonymous")
    memory.plot(minutes, [sample.redis_mb for sample in samples], label="Redis, used")
    memory.set_ylabel("MB")
    memory.set_ylim(bottom=0)
    _draw_trend(near, samples)
    latency.plot(minutes, [sample.p99_ms for sample in samples], label="p99")
    latency.plot(minutes, [sample.p50_ms for sample in samples], label="p50")
    latency.set_ylabel("log to trigger, ms")
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(ticker.LogFormatter())
    latency.yaxis.set_minor_formatter(ticker.LogFormatter())
    backlog.plot(minutes, [sample.backlog_events for sample in samples], label="log rows not committed")
    backlog.plot(minutes, [sample.unsent for sample in samples], label="outbox rows not trimmed")
    backlog.set_ylabel("rows")
    backlog.set_yscale("symlog")
    backlog.yaxis.set_major_formatter(ticker.FuncFormatter(lambda rows, _: f"{rows:,.0f}"))
    backlog.set_xlabel("minutes")
    for axes in rooms:
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_trend(axes: Any, samples: Sequence[Sample]) -> None:
    """Draw the worker's resident memory so near that its trend shows, beside the trend that would just be allowed."""
    axes.set_ylabel("worker, MB")
    if samples[-1].seconds <= LEAST_SECONDS:
        axes.plot([sample.seconds / 60 for sample in samples], [sample.rss_mb for sample in samples], label="resident")
        return
    settled = [sample for sample in samples if sample.seconds >= SETTLING_SECONDS]
    seconds, values = np.array([(sample.seconds, sample.rss_mb) for sample in settled]).T
    found = trend(seconds.tolist(), values.tolist())
    axes.plot(seconds / 60, values, alpha=0.5, label="resident")
    at, means = _means(seconds, values, _BLOCK_SECONDS)
    axes.plot(at / 60, means, "o", label=f"its means of {_BLOCK_SECONDS:g} s")
    hours, middle = (seconds - seconds.mean()) / 3600, values.mean()
    label = f"its trend: {found.slope:+.2f} +-{found.error:.2f} MB an hour"
    axes.plot(seconds / 60, middle + found.slope * hours, label=label)
    axes.plot(seconds / 60, middle + GOAL_MB_AN_HOUR * hours, "--", color="grey", label="no steeper than this")
    axes.axvline(SETTLING_SECONDS / 60, color="grey", linestyle=":", label="judged from here")


# --- judging --------------------------------------------------------------------------------------------------


def judged(samples: Sequence[Sample]) -> list[Row]:
    """Return the result rows: the slope of memory with its error, and what p99 and backlog were."""
    settled = [sample for sample in samples if sample.seconds >= SETTLING_SECONDS]
    p99s = [sample.p99_ms for sample in settled if sample.triggers]
    rows: list[Row] = []
    for name, values in (
        ("worker's resident memory", [sample.rss_mb for sample in settled]),
        ("worker's anonymous memory", [sample.anonymous_mb for sample in settled]),
        ("Redis' used memory", [sample.redis_mb for sample in settled]),
    ):
        found = trend([sample.seconds for sample in settled], values)
        measure = f"slope of the {name}, MB an hour (95 %: +-{found.error:.2f}, {found.blocks} blocks)"
        if rows:
            rows.append(Row(measure, found.slope))
        else:
            row = judge(measure, abs(found.slope), None, GOAL_MB_AN_HOUR, "less")
            rows.append(Row(measure, found.slope, None, None, row.goal, row.holds))
    rows.append(Row("p99 log to trigger, ms, median of all samples", percentile(p99s, 0.5)))
    rows.append(Row("p99 log to trigger, ms, highest of all samples", max(p99s, default=float("nan"))))
    rows.append(Row("backlog, log rows, highest", max(sample.backlog_events for sample in settled)))
    rows.append(_backlog_growth(settled))
    return rows


def _backlog_growth(settled: Sequence[Sample]) -> Row:
    """Return the row of how the backlog grew; it holds unless it surely grew by more than a second of events an hour.

    A worker that falls behind by 0.1 % of the rate is 3.6 s behind after an hour.
    """
    first, last = settled[0], settled[-1]
    rate = max(last.sent - first.sent, 1) / (last.seconds - first.seconds)
    found = trend([sample.seconds for sample in settled], [sample.backlog_events / rate for sample in settled])
    measure = f"growth of the backlog, seconds of events an hour (95 %: +-{found.error:.2f})"
    holds = found.slope - found.error <= GOAL_SECONDS_AN_HOUR
    return Row(measure, found.slope, goal=GOAL_SECONDS_AN_HOUR, holds=holds)


def overview(samples: Sequence[Sample]) -> None:
    """Print some lines of the run, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(_ROWS_SHOWN, len(samples))).round().astype(int))
    lines = [
        (
            f"{sample.seconds / 60:.1f}",
            f"{sample.rss_mb:.1f}",
            f"{sample.redis_mb:.1f}",
            f"{sample.voters:,}",
            f"{sample.p50_ms:.0f}",
            f"{sample.p99_ms:.0f}",
            f"{sample.backlog_events:,}",
            f"{sample.unsent:,}",
            f"{sample.cpu:.2f}",
        )
        for sample in (samples[place] for place in chosen.tolist())
    ]
    heads = ("minute", "worker MB", "Redis MB", "voters", "p50 ms", "p99 ms", "backlog", "unsent", "cores")
    show("over time", heads, lines)


def main() -> int:
    """Judge and draw the samples of a file; return 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path)
    path = parser.parse_args().csv
    samples = read(path)
    draw(samples, path.with_suffix(".png"), path.stem)
    overview(samples)
    rows = judged(samples) if samples[-1].seconds > LEAST_SECONDS else []
    show_rows(rows)
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
