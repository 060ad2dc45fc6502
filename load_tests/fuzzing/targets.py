"""The one table of what is fuzzed, and how much of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from load_tests.fuzzing.promises import Trial


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of bytes."""

    name: str
    what: str
    share: int
    """Parts of all inputs, in thousandths."""
    unit: int
    """Inputs that are tried together: what is drawn for them depends on seed, target and the unit's number alone."""
    module: str
    function: str

    def trial(self) -> Trial:
        """Return what tries its inputs; imports it, and so everything it compiles, only now."""
        trial: Trial = getattr(import_module(f"load_tests.fuzzing.{self.module}"), self.function)
        return trial

    def chance(self, seed: int, unit: int) -> random.Random:
        """Return the random numbers of one unit."""
        return random.Random(f"{seed}/{self.name}/{unit}")


TARGETS: Final = (
    Target("batches", "record batches of Kafka, as aiokafka reads them", 100, 100, "batches", "try_batches"),
    Target("decode", "rows of the log", 80, 250, "decoding", "try_rows"),
    Target("scan", "events, read by the scanner and by orjson", 165, 250, "scanning", "try_events"),
    Target("header", "headers in Redis", 100, 50, "state", "try_headers"),
    Target("record", "voters' records in Redis", 130, 50, "records", "try_records"),
    Target("outbox", "outbox rows in Redis", 100, 50, "state", "try_rows"),
    Target("snapshot", "snapshots' manifests and files", 50, 10, "snapshots", "try_snapshots"),
    Target("model", "model files of weights", 40, 25, "files", "try_models"),
    Target("trees", "model files of trees", 40, 25, "trees", "try_model_files"),
    Target("lightgbm", "LightGBM's text", 40, 25, "trees", "try_lightgbm"),
    Target("treelite", "what treelite says of a model", 30, 25, "trees", "try_treelite"),
    Target("campaign", "campaign files", 50, 25, "files", "try_campaigns"),
    Target("taxonomy", "taxonomies", 25, 10, "files", "try_taxonomies"),
    Target("answers", "answers of a broken Redis", 50, 10, "answers", "try_answers"),
)


def run(name: str, inputs: int, seed: int) -> Counter[str]:
    """Try ``inputs`` inputs of a target in this process; return how many came to what.

    Raises BrokenPromiseError for the first input that broke a promise.
    """
    target = next(target for target in TARGETS if target.name == name)
    trial = target.trial()
    counts: Counter[str] = Counter()
    for unit, number in units(target, inputs):
        counts += trial(target.chance(seed, unit), number)
    return counts


def units(target: Target, inputs: int) -> Iterable[tuple[int, int]]:
    """Give each unit's number and how many inputs it tries."""
    for unit in range(-(-inputs // target.unit)):
        yield unit, min(target.unit, inputs - unit * target.unit)
