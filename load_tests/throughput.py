"""The same jobs by Groundswell and by others in one run: events a second and CPU, over three kinds of traffic.

``python -m load_tests.throughput`` prints tables and writes ``load_tests/results/bench.json`` and ``bench.png``. Rounds
are interleaved. Kafka and Redis are those of GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS; ``make bench`` starts
both where they are not set.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from kafka.errors import KafkaError

from load_tests.contenders import (
    FAUST,
    GROUNDSWELL,
    QUIET_SCRIPT,
    QUIX,
    REFERENCE,
    SCRIPT,
    SLOW,
    STREAMS,
    WAX,
    Bench,
    Log,
    Measured,
    reference_command,
)
from load_tests.filling import SEED, write
from load_tests.job import Job, activity, demo
from load_tests.plots import bars
from load_tests.report import RESULTS, Row, compare, judge, show, show_rows, spread
from load_tests.report import write as write_rows
from load_tests.rig import PARTITIONS, BenchmarkError, Rig
from load_tests.workload import EVENTS_PER_VOTER, ZIPF_EXPONENT, campaign_events, events
from stream.commands.topics import wanted
from stream.errors import GroundswellError

MOST_VOTERS: Final = 100_000
QUICK: Final = (SCRIPT, REFERENCE, GROUNDSWELL)
"""Who needs nothing but this project's own environment, and is fast."""
_Traffic = Callable[[int, int, int, int], Iterator[tuple[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Traffic, its job, who contends, and by how much Groundswell is to be faster than whom."""

    traffic: _Traffic
    job: Callable[[], Job]
    contenders: tuple[str, ...]
    goals: Mapping[str, float]


def _zipf(count: int, voters: int, seed: int, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    return events(count, voters, seed, end_ms, ZIPF_EXPONENT)


WORKLOADS: Final = {
    "uniform": Workload(
        events,
        activity,
        (SCRIPT, GROUNDSWELL, STREAMS, REFERENCE, QUIX, QUIET_SCRIPT, WAX, FAUST),
        {SCRIPT: 3.0, FAUST: 90.0, QUIX: 6.0, STREAMS: 4.5},
    ),
    "zipf": Workload(_zipf, activity, (SCRIPT, GROUNDSWELL, STREAMS, REFERENCE, QUIX, WAX, FAUST), {SCRIPT: 2.5}),
    "campaign": Workload(campaign_events, demo, (SCRIPT, GROUNDSWELL, STREAMS, REFERENCE), {SCRIPT: 2.5, STREAMS: 4.0}),
}
NOTES: Final = """\
All read the same log, from its first event until all is stored and sent, and decide the same triggers: it is checked.
The script promises nothing under faults. Kafka Streams and quixstreams keep state in RocksDB and a changelog topic, the
Faust agent in memory and a changelog topic, bytewax in memory with snapshots in SQLite. quixstreams, bytewax and the
Faust agent run shorter logs of the same density; the campaign job was written for the script and Kafka Streams alone.
Pathway (Business Source License) is left out: bytewax stands in the same place under an open one."""


class Logs:
    """A workload's log, and its shorter ones of the same density for those who are slow."""

    def __init__(self, rig: Rig, workload: Workload, count: int, contenders: Sequence[str]) -> None:
        """Write them."""
        self._rig = rig
        self.long = Log(rig.settings.topic("events"), count)
        self._of = dict.fromkeys(contenders, self.long)
        self._write(workload, self.long)
        for share, names in ((5, SLOW), (100, (FAUST,))):
            slow = [name for name in names if name in contenders]
            if slow:
                short = Log(f"{rig.namespace}.short-{share}", max(count // share, 1000))
                rig.create_topic(short.topic, wanted(rig.settings)["events"])
                self._write(workload, short)
                self._of |= dict.fromkeys(slow, short)

    def of(self, contender: str) -> Log:
        """Return a contender's log."""
        return self._of[contender]

    @property
    def short(self) -> set[Log]:
        """Those that are not the long one."""
        return set(self._of.values()) - {self.long}

    def _write(self, workload: Workload, log: Log) -> None:
        voters = min(MOST_VOTERS, self.long.count // EVENTS_PER_VOTER) * log.count // self.long.count
        print(f"writing {log.count:,} events of {voters:,} voters", flush=True)
        write(
            self._rig.kafka, log.topic, workload.traffic(log.count, max(voters, 1), SEED, time.time_ns() // 1_000_000)
        )


def run(workload: str, count: int, contenders: Sequence[str], rounds: int) -> dict[str, list[Measured]]:
    """Run contenders ``rounds`` times, in turn; return what was measured by contender."""
    of = WORKLOADS[workload]
    measured: dict[str, list[Measured]] = {name: [] for name in contenders}
    with Rig(f"bench-{uuid.uuid4().hex[:6]}", PARTITIONS, of.job()) as rig:
        bench = Bench(rig)
        logs = Logs(rig, of, count, contenders)
        triggers: dict[Log, list[int]] = {log: [bench.contend(SCRIPT, log).triggers] for log in logs.short}
        for number in range(1, rounds + 1):
            for name, rounds_of in measured.items():
                found = bench.contend(name, logs.of(name))
                rounds_of.append(found)
                triggers.setdefault(logs.of(name), []).append(found.triggers)
                print(
                    f"{workload}, round {number}: {name}: {found.rate:,.0f} events/s, {found.cpu_us:.2f} us of CPU an "
                    f"event, {found.triggers:,} triggers of {found.events:,} events",
                    flush=True,
                )
        for log, decided in triggers.items():
            agree(log.topic, decided)
    return measured


def agree(log: str, triggers: Sequence[int]) -> None:
    """Raise BenchmarkError unless every run over the same log decided the same number of triggers."""
    if len(set(triggers)) != 1:
        message = f"the runs over {log} decided different numbers of triggers: {list(triggers)}"
        raise BenchmarkError(message)


def report(workload: str, measured: Mapping[str, Sequence[Measured]]) -> list[Row]:
    """Print what each contender did, and return the result rows."""
    show(
        f"{workload}: median of {len(measured[GROUNDSWELL])} rounds (range)",
        ("", "events", "events/s", "wall seconds", "CPU seconds", "CPU us an event", "triggers"),
        [
            (
                name,
                f"{found[0].events:,}",
                spread([one.rate for one in found]),
                spread([one.wall_seconds for one in found], 2),
                spread([one.cpu_seconds for one in found], 2),
                spread([one.cpu_us for one in found], 2),
                f"{found[0].triggers:,}",
            )
            for name, found in measured.items()
        ],
    )
    return rows_of(workload, measured)


def rows_of(workload: str, measured: Mapping[str, Sequence[Measured]]) -> list[Row]:
    """Return the result rows: rates beside each contender's, with the goal where there is one, then CPU."""
    goals = WORKLOADS[workload].goals
    rate = {name: median(one.rate for one in found) for name, found in measured.items()}
    cpu = {name: median(one.cpu_us for one in found) for name, found in measured.items()}
    others = [name for name in measured if name != GROUNDSWELL]
    rows = [
        judge(f"{workload}: events/s beside {name}", rate[GROUNDSWELL], rate[name], goals[name])
        if name in goals
        else compare(f"{workload}: events/s beside {name}", rate[GROUNDSWELL], rate[name])
        for name in others
    ]
    rows += [compare(f"{workload}: CPU us an event beside {name}", cpu[GROUNDSWELL], cpu[name]) for name in others]
    return rows


def chosen(workload: str, wanted_names: Sequence[str] | None, *, quick: bool) -> list[str]:
    """Return who contends: Groundswell always, the others where they are wanted and there."""
    names = [name for name in WORKLOADS[workload].contenders if not quick or name in QUICK]
    if reference_command() is None:
        names.remove(REFERENCE)
    return [
        name
        for name in names
        if name == GROUNDSWELL or wanted_names is None or any(word.lower() in name.lower() for word in wanted_names)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=5_000_000, help="in the log of those who are not slow")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of %(default)s")
    parser.add_argument("--contenders", metavar="WORDS", help="only those with one of these words in their names")
    parser.add_argument("--quick", action="store_true", help="only who needs nothing else; no goal is held against it")
    return parser


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    arguments = _parser().parse_args()
    words = arguments.contenders.split(",") if arguments.contenders else None
    rows: list[Row] = []
    rates: dict[str, dict[str, list[float]]] = {}
    try:
        for workload in arguments.workloads.split(","):
            names = chosen(workload, words, quick=arguments.quick)
            measured = run(workload, arguments.events, names, arguments.rounds)
            rows += report(workload, measured)
            rates[workload] = {name: [one.rate for one in found] for name, found in measured.items()}
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(NOTES)
    print(write_rows("bench", rows))
    bars(RESULTS / "bench.png", f"events a second, median and range of {arguments.rounds}", rates)
    return 0 if arguments.quick or all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
