"""What the demo shows: the worker's metrics and the latest triggers, as one live screen or as lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.commands.verify import Report

_BARS: Final = " ▁▂▃▄▅▆▇█"
_RATES_KEPT: Final = 60
_TRIGGERS_KEPT: Final = 8
_RATE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Readings:
    """The numbers of one reading of a worker's ``/metrics``."""

    events: int = 0
    lag: int = 0
    backlog: int = 0
    """Outputs committed and not sent yet."""
    duplicates: int = 0
    suppressed: int = 0
    forwards: int = 0
    voters: int = 0
    claims: int = 0
    triggers: dict[str, int] = field(default_factory=dict)
    """By campaign."""
    rejects: dict[str, int] = field(default_factory=dict)
    """By reason."""

    def is_idle(self, lag: int) -> bool:
        """Return whether no more than ``lag`` events wait to be processed, and nothing waits to be sent."""
        return self.lag <= lag and self.backlog == 0


@dataclass(frozen=True, slots=True)
class LatestTrigger:
    """One trigger, as the screen shows it."""

    time: str
    campaign: str
    voter: str
    why: str


@dataclass(slots=True)
class Screen:
    """All that the demo has to show at a moment."""

    phase: str = "starting"
    seconds: float = 0.0
    """Since the demo began."""
    electorate_time: str = ""
    way_in: str = ""
    """How other commands reach the demo while it runs."""
    sent: int = 0
    readings: Readings = field(default_factory=Readings)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_RATES_KEPT))
    """Events processed in a second, latest last."""
    latest: deque[LatestTrigger] = field(default_factory=lambda: deque(maxlen=_TRIGGERS_KEPT))
    _counts: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, readings: Readings, seconds: float) -> None:
        """Note what was read at ``seconds`` since the demo began."""
        self.readings = readings
        self._counts.append((seconds, readings.events))
        # Over a second: batches come in bursts, and a shorter look would show those.
        while len(self._counts) > 2 and self._counts[1][0] <= seconds - _RATE_SECONDS:
            self._counts.popleft()
        first, events = self._counts[0]
        if seconds > first:
            self.rates.append(max(readings.events - events, 0) / (seconds - first))

    def rate(self) -> float:
        """Return the events processed in a second, over the last second."""
        return self.rates[-1] if self.rates else 0.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What the demo came to in the end."""

    report: Report
    partition_count: int
    received: int
    """Triggers that a subscriber read."""
    seconds: float
    """That the comparison took."""

    @property
    def triggers(self) -> int:
        """Return how many triggers were compared with what the log gives."""
        return sum(compared.triggers for compared in self.report.partitions.values())

    @property
    def holds(self) -> bool:
        """Return whether every partition was compared whole, nothing differs, and there were triggers."""
        whole = len(self.report.partitions) == self.partition_count and not self.report.not_compared
        return whole and self.report.difference is None and 0 < self.received <= self.triggers


def read_metrics(text: str) -> Readings:
    """Return the numbers in a worker's exposition (Prometheus' text format 0.0.4)."""
    totals: dict[str, int] = {}
    labelled: dict[str, dict[str, int]] = {"campaign": {}, "reason": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith("groundswell_") or sample.name.endswith(("_bucket", "_created")):
                continue
            totals[sample.name] = totals.get(sample.name, 0) + int(sample.value)
            for label, values in labelled.items():
                if label in sample.labels and sample.value:
                    values[sample.labels[label]] = int(sample.value)
    return Readings(
        events=totals.get("groundswell_events_total", 0),
        lag=totals.get("groundswell_lag_events", 0),
        backlog=totals.get("groundswell_relay_backlog", 0),
        duplicates=totals.get("groundswell_duplicates_total", 0),
        suppressed=totals.get("groundswell_suppressed_total", 0),
        forwards=totals.get("groundswell_forwards_total", 0),
        voters=totals.get("groundswell_voters_in_memory", 0),
        claims=totals.get("groundswell_claims_total", 0),
        triggers=labelled["campaign"],
        rejects=labelled["reason"],
    )


def sparkline(values: list[float]) -> str:
    """Return one bar for each value, as high as its share of the largest."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in values)


def line(screen: Screen) -> str:
    """Return the screen in one line, for where there is no terminal."""
    readings = screen.readings
    return (
        f"{screen.seconds:5.1f} s  {screen.phase}: {screen.sent:,} published, {readings.events:,} processed "
        f"({screen.rate():,.0f}/s), lag {readings.lag:,}, {sum(readings.triggers.values()):,} triggers, "
        f"{sum(readings.rejects.values()):,} rejects, {readings.duplicates:,} duplicates"
    )


def render(screen: Screen) -> RenderableType:
    """Return the whole screen."""
    readings = screen.readings
    head = Text.assemble(
        ("Groundswell ", "bold"),
        (screen.phase, "cyan"),
        f"   {screen.seconds:.0f} s   among the electorate it is {screen.electorate_time or '-'}   ",
        ("Ctrl-C ends it" if screen.phase == "running" else "", "dim"),
    )
    numbers = Table.grid(expand=True, padding=(0, 2))
    for title, value in (
        ("events/s", f"{screen.rate():,.0f}"),
        ("lag", f"{readings.lag:,}"),
        ("events", f"{readings.events:,}"),
        ("voters", f"{readings.voters:,}"),
        ("duplicates", f"{readings.duplicates:,}"),
        ("suppressed", f"{readings.suppressed:,}"),
        ("forwarded", f"{readings.forwards:,}"),
    ):
        numbers.add_column(justify="center", ratio=1)
        numbers.columns[-1].header = title
        numbers.columns[-1].footer = value
    numbers.add_row(*(Text(str(column.footer), style="bold") for column in numbers.columns))
    numbers.add_row(*(Text(str(column.header), style="dim") for column in numbers.columns))
    counts = Table.grid(expand=True, padding=(0, 1))
    counts.add_column(ratio=1)
    counts.add_column(ratio=1)
    counts.add_row(
        Panel(_bars(readings.triggers, "green"), title="Triggers by campaign", border_style="dim"),
        Panel(_bars(readings.rejects, "red"), title="Rejects by reason", border_style="dim"),
    )
    return Group(
        head,
        # Above what grows: a low terminal cuts the screen off at its end.
        Text(screen.way_in, style="dim"),
        Text(sparkline(list(screen.rates)), style="blue"),
        numbers,
        counts,
        Panel(_latest(screen), title="Latest triggers", border_style="dim"),
    )


def _bars(counts: dict[str, int], style: str) -> RenderableType:
    if not counts:
        return Text("none yet", style="dim")
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(ratio=1, no_wrap=True, overflow="crop")
    most = max(counts.values())
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(name, f"{count:,}", Text("█" * max(1, round(18 * count / most)), style=style))
    return table


def _latest(screen: Screen) -> RenderableType:
    if not screen.latest:
        return Text("none yet", style="dim")
    table = Table.grid(expand=True, padding=(0, 1))
    for style in ("dim", "green", "", ""):
        table.add_column(style=style, no_wrap=True, overflow="ellipsis")
    table.columns[-1].ratio = 1
    for trigger in reversed(screen.latest):
        table.add_row(trigger.time[11:19], trigger.campaign, trigger.voter, trigger.why)
    return table


def summary(screen: Screen, proof: Proof) -> RenderableType:
    """Return what is left on the terminal when the demo has ended."""
    readings = screen.readings
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for number, what in (
        (screen.sent, "events published"),
        (readings.events, "log rows processed, ticks of the clock among them"),
        (readings.voters, "voters with a record"),
        (readings.duplicates, "duplicates dropped"),
        (readings.suppressed, "events suppressed, by consent or erasure"),
        (readings.forwards, "events forwarded to their own partition"),
        (sum(readings.rejects.values()), _listed("rejects", readings.rejects)),
        (proof.received, _listed("triggers received by a subscriber", readings.triggers)),
    ):
        table.add_row(f"{number:,}", what)
    compared = proof.report.partitions.values()
    derived = (
        f"{proof.triggers:,} triggers, {sum(done.rejects for done in compared):,} rejects and "
        f"{sum(done.records for done in compared):,} voters' records were derived again from the log"
    )
    if proof.holds:
        verdict = Text(f"{derived} in {proof.seconds:.1f} s: all are the same, byte for byte.", style="green")
    else:
        verdict = Text(f"NOT PROVEN. {_cause(proof)}", style="bold red")
    return Group(Text(), table, Text(), verdict)


def _listed(what: str, counts: dict[str, int]) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{what} ({parts})" if parts else what


def _cause(proof: Proof) -> str:
    if proof.report.difference is not None or proof.report.not_compared:
        return str(proof.report)
    if len(proof.report.partitions) < proof.partition_count:
        return f"Only {len(proof.report.partitions)} of {proof.partition_count} partitions were compared."
    if proof.received == 0:
        return "No trigger came."
    return f"A subscriber received {proof.received:,} triggers, and the log gives only {proof.triggers:,}."
