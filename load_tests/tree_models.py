"""End to end with models of trees: eight active ones (100 x 31 leaves) beside one linear model.

``python -m load_tests.tree_models`` runs a worker over the same uniform events under each configuration, by turns,
prints events a second and CPU, and writes ``load_tests/results/tree_models.json``. The models read a third of the
catalogue between them, since so many features are about what one trained model asks for (those in ``configs/models``
for 48 to 104); what models trained on every feature do is printed beside, without a goal. Kafka and Redis are those of
GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS; ``make bench-models PARTS=tree_models`` starts both where they are
not set. The exit status is 0 only if the goal is met.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import lightgbm
import numpy as np
from kafka.errors import KafkaError

from load_tests.contenders import GROUNDSWELL, Bench, Log, Measured
from load_tests.filling import SEED, write
from load_tests.job import REARM, THRESHOLD, WEIGHTS, Campaign, Count, Job, Model, activity
from load_tests.report import Row, compare, judge, show, show_rows, spread
from load_tests.report import write as write_rows
from load_tests.rig import PARTITIONS, BenchmarkError, Rig
from load_tests.workload import EVENTS_PER_VOTER, events
from stream.commands.imports import import_model
from stream.errors import GroundswellError
from stream.features import FEATURES
from stream.records import MAX_MODELS

MODELS: Final = min(8, MAX_MODELS)
TREES: Final = 100
LEAVES: Final = 31
LEAST_SPEED: Final = 0.7
"""Of what one linear model leaves."""
MOST_VOTERS: Final = 100_000
READ: Final = tuple(
    name for at, name in enumerate(FEATURES) if at % 3 == 0 or name in {Count(one, "7d").feature for one in WEIGHTS}
)
"""What the models read: a third of the catalogue, and what the activity job counts."""
_TRAINING_ROWS: Final = 20_000
_MEAN_COUNT: Final = 2.0
_BESIDE: Final = 0.1
"""How much other features weigh: so little that about as many events trigger as with the linear model."""


@dataclass(frozen=True, slots=True)
class TreeModel(Model):
    """A model whose file is there already."""

    content: bytes = b""

    def file(self) -> bytes:
        """Return the file that Groundswell reads."""
        return self.content


def tree_job(models: int = MODELS, trees: int = TREES, leaves: int = LEAVES, features: Sequence[str] = READ) -> Job:
    """Return a job of so many models of trees, each trained to give about the activity job's score.

    All ``features`` weigh a little beside, so that each is asked for; a campaign watches the first model.
    """
    made = tuple(
        TreeModel(f"trees-{m}", False, 0.0, {}, content=_trained(m, trees, leaves, features)) for m in range(models)
    )
    return Job(made, (Campaign("active_voter", "trees-0", True, THRESHOLD, REARM),))


def _trained(seed: int, trees: int, leaves: int, features: Sequence[str]) -> bytes:
    chance = np.random.default_rng(seed)
    rows = chance.gamma(1.0, _MEAN_COUNT, (_TRAINING_ROWS, len(features)))
    score = np.sin(rows) @ chance.normal(0.0, _BESIDE, len(features))
    for name, weight in WEIGHTS.items():
        score += weight * rows[:, features.index(Count(name, "7d").feature)]
    parameters = {"verbose": -1, "num_threads": 1, "num_leaves": leaves, "seed": seed}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, score, feature_name=list(features)), trees)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.txt"
        booster.save_model(file)
        return import_model(file, f"trees-{seed}").content


def run(count: int, rounds: int) -> dict[str, list[Measured]]:
    """Let a worker do the same log under each configuration, by turns; return what was measured."""
    size = f"{MODELS} models of {TREES} x {LEAVES}"
    jobs = {
        "one linear model": activity(),
        f"{size} over {len(READ)} features": tree_job(),
        f"{size} over all {len(FEATURES)}": tree_job(features=FEATURES),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in jobs}
    end_ms, voters = time.time_ns() // 1_000_000, max(min(MOST_VOTERS, count // EVENTS_PER_VOTER), 1)
    with ExitStack() as stack:
        rigs: dict[str, Rig] = {}
        for name, job in jobs.items():
            rig = rigs[name] = stack.enter_context(Rig(f"trees-{uuid.uuid4().hex[:6]}", PARTITIONS, job))
            write(rig.kafka, rig.settings.topic("events"), events(count, voters, SEED, end_ms))
        for number in range(1, rounds + 1):
            for name, rig in rigs.items():
                found = Bench(rig).contend(GROUNDSWELL, Log(rig.settings.topic("events"), count))
                measured[name].append(found)
                print(
                    f"round {number}: {name}: {found.rate:,.0f} events/s, {found.cpu_us:.2f} us of CPU an event, "
                    f"{found.triggers:,} triggers",
                    flush=True,
                )
    return measured


def report(measured: Mapping[str, Sequence[Measured]]) -> list[Row]:
    """Print what each configuration did, and return the result rows."""
    show(
        "the same events by the same worker, median (range)",
        ("", "events/s", "CPU us an event", "triggers"),
        [
            (
                name,
                spread([one.rate for one in found]),
                spread([one.cpu_us for one in found], 2),
                spread([one.triggers for one in found]),
            )
            for name, found in measured.items()
        ],
    )
    (linear, before), (trees, after), (every, most) = measured.items()
    rates = [median(one.rate for one in found) for found in (before, after, most)]
    cpus = [median(one.cpu_us for one in found) for found in (before, after, most)]
    return [
        judge(f"events/s with {trees} beside {linear}", rates[1], rates[0], LEAST_SPEED),
        compare(f"CPU us an event with {trees} beside {linear}", cpus[1], cpus[0]),
        compare(f"events/s with {every} beside {linear}", rates[2], rates[0]),
        compare(f"CPU us an event with {every} beside {linear}", cpus[2], cpus[0]),
    ]


def main() -> int:
    """Run, print, write the results; return 1 if the goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=3_000_000)
    arguments = parser.parse_args()
    try:
        rows = report(run(arguments.events, arguments.rounds))
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(write_rows("tree_models", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
