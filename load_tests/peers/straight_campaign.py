"""The limit for the campaign workload: a straight-line script like ``straight_line``, with 3 models and 6 campaigns.

It keeps the decayed counts that the models name for each voter, heeds consent and erasure, and is no more correct under
faults than the other. Counts are brought forward to each event, so events of a voter must come in the order of time.
Usage: ``python -m load_tests.peers.straight_campaign BOOTSTRAP REDIS_URL KEY_PREFIX TOPIC TRIGGERS COUNT``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from load_tests.job import ERASED, GRANTED, HALF_LIVES_MS, WITHDRAWN, Job, demo
from load_tests.peers.straight_line import CAPACITY, Clients, run
from stream.compiled import kernel

MOST_COUNTS: Final = 40
MOST_CAMPAIGNS: Final = 6
RECORD: Final = np.dtype(
    [
        ("counts", "<f8", (MOST_COUNTS,)),
        ("last_ms", "<f8"),
        ("fired_ms", "<f8", (MOST_CAMPAIGNS,)),
        ("armed", "u1", (MOST_CAMPAIGNS,)),
        ("seen", "?"),
        ("consent", "u1"),
        ("reserved", "u1", (384,)),
    ]
)
assert RECORD.itemsize == 768  # noqa: S101 (what the other does)
_YES, _NO, _GONE = 1, 2, 3
_CONSENTS: Final = {GRANTED: -_YES, WITHDRAWN: -_NO, ERASED: -_GONE}
_OTHER: Final = 0


class Tables:
    """The job as flat arrays."""

    def __init__(self, job: Job) -> None:
        """Lay out types, counts, models and campaigns by number."""
        counts = job.counts
        types = list(dict.fromkeys(count.type for count in counts))
        # A kind from 1 up has counts, 0 has none, and below are those of consent.
        self.kinds = {name: 1 + place for place, name in enumerate(types)} | _CONSENTS
        self.of_kind = np.array([1 + types.index(count.type) for count in counts])
        half_lives = list(HALF_LIVES_MS)
        self.half_life = np.array([half_lives.index(count.half_life) for count in counts])
        self.half_lives = np.array(list(HALF_LIVES_MS.values()))
        self.weights = np.zeros((len(job.models), len(counts)))
        for m, model in enumerate(job.models):
            for count, weight in model.weights.items():
                self.weights[m, counts.index(count)] = weight
        self.models = np.array([(model.bias, model.slope, model.intercept, model.is_logistic) for model in job.models])
        names = [model.name for model in job.models]
        self.campaigns = np.array(
            [
                (names.index(one.model), 1.0 if one.is_upward else -1.0, one.threshold, one.rearm, one.cooldown_ms)
                for one in job.campaigns
            ]
        )
        self.names = [(one.name, one.model) for one in job.campaigns]


@kernel
def logistic(x: float) -> float:
    """Return ``1 / (1 + exp(-x))``."""
    return 1.0 / (1.0 + math.exp(-x))


@kernel
def evaluate(
    counts: NDArray[np.float64], weights: NDArray[np.float64], models: NDArray[np.float64], scores: NDArray[np.float64]
) -> None:
    """Score one row of counts (float64[c]) with every model, into ``scores`` (float64[m])."""
    for m in range(len(models)):
        z = models[m, 0]
        for c in range(len(counts)):
            z += weights[m, c] * counts[c]
        z = models[m, 1] * z + models[m, 2]
        scores[m] = logistic(z) if models[m, 3] else z


@kernel
def allows(records: NDArray[Any], j: int, kind: int) -> bool:
    """Return whether an event of record ``j`` is to be counted; a change of consent is not, but recorded, in place."""
    r = records[j]
    if r["consent"] == _GONE:
        return False
    if kind < 0:
        r["consent"] = -kind
        if kind == -_GONE:
            r["counts"][:] = 0.0
            r["fired_ms"][:] = 0.0
            r["armed"][:] = 0
        return False
    return bool(r["consent"] != _NO)


@kernel
def fires(records: NDArray[Any], j: int, k: int, score: float, now: float, campaigns: NDArray[np.float64]) -> bool:
    """Return whether campaign ``k`` triggers for record ``j``, and move its state there, in place."""
    r = records[j]
    sign = campaigns[k, 1]
    if not r["armed"][k]:
        r["armed"][k] = sign * score <= sign * campaigns[k, 3]
        return False
    if sign * score < sign * campaigns[k, 2]:
        return False
    r["armed"][k] = 0
    fired_ms = r["fired_ms"]
    if fired_ms[k] != 0.0 and now - fired_ms[k] < campaigns[k, 4]:
        return False
    fired_ms[k] = now
    return True


@kernel
def step(
    slots: NDArray[np.int64],
    kinds: NDArray[np.int64],
    times: NDArray[np.float64],
    now: NDArray[np.float64],
    records: NDArray[Any],
    of_kind: NDArray[np.int64],
    half_life: NDArray[np.int64],
    half_lives: NDArray[np.float64],
    weights: NDArray[np.float64],
    models: NDArray[np.float64],
    campaigns: NDArray[np.float64],
    fired: NDArray[np.int64],
    after: NDArray[np.float64],
) -> int:
    """Take each event into its voter's record, in place; write (row, campaign) and score of triggers, count them."""
    factors = np.ones(len(half_lives))
    current = np.zeros(len(half_life))
    scores = np.zeros(len(models))
    found = 0
    for i in range(len(slots)):
        r = records[slots[i]]
        kept = r["counts"]
        if not allows(records, slots[i], kinds[i]):
            continue
        if not r["seen"]:
            r["seen"] = True
            r["last_ms"] = times[i]
            evaluate(current * 0.0, weights, models, scores)
            for k in range(len(campaigns)):
                sign = campaigns[k, 1]
                r["armed"][k] = sign * scores[int(campaigns[k, 0])] <= sign * campaigns[k, 3]
        for h in range(len(half_lives)):
            factors[h] = 2.0 ** (-(times[i] - r["last_ms"]) / half_lives[h])
        for c in range(len(half_life)):
            kept[c] = kept[c] * factors[half_life[c]] + (1.0 if of_kind[c] == kinds[i] else 0.0)
        r["last_ms"] = times[i]
        for h in range(len(half_lives)):
            factors[h] = 2.0 ** (-max(now[i] - times[i], 0.0) / half_lives[h])
        for c in range(len(half_life)):
            current[c] = kept[c] * factors[half_life[c]]
        evaluate(current, weights, models, scores)
        for k in range(len(campaigns)):
            score = scores[int(campaigns[k, 0])]
            if fires(records, slots[i], k, score, now[i], campaigns):
                fired[found, 0] = i
                fired[found, 1] = k
                after[found] = score
                found += 1
    return found


class Script(Clients):
    """The script's state: every voter's record in memory."""

    def __init__(self, bootstrap: str, redis_url: str, prefix: str, triggers: str) -> None:
        """Connect, and compile the kernel."""
        super().__init__(bootstrap, redis_url, prefix, triggers)
        self.tables = Tables(demo())
        self.records = np.zeros(CAPACITY, RECORD)
        self.step(np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros(1), np.zeros(1))
        self.records[:] = np.zeros((), RECORD)

    def step(
        self,
        slots: NDArray[np.int64],
        kinds: NDArray[np.int64],
        times: NDArray[np.float64],
        now: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Take events into the records; return (row, campaign) and score of each trigger."""
        to = self.tables
        fired = np.zeros((len(slots) * len(to.campaigns), 2), np.int64)
        after = np.zeros(len(fired))
        job = (to.of_kind, to.half_life, to.half_lives, to.weights, to.models, to.campaigns)
        found = step(slots, kinds, times, now, self.records, *job, fired, after)
        return fired[:found], after[:found]

    def take(self, messages: Sequence[Any]) -> int:
        """Take a batch through decoding, scoring, sending and storing; return how many events it held."""
        documents, voters, now = self.read(messages)
        n = len(documents)
        slots = self.slots(voters)
        kinds = np.fromiter((self.tables.kinds.get(document["type"], _OTHER) for document in documents), np.int64, n)
        stamps = [datetime.fromisoformat(document["time"]).timestamp() * 1000 for document in documents]
        fired, after = self.step(slots, kinds, np.array(stamps), now)
        for (row, campaign), score in zip(fired.tolist(), after.tolist(), strict=True):
            name, model = self.tables.names[campaign]
            value = {
                "voter": voters[row],
                "campaign": name,
                "model": model,
                "score": score,
                "cause": documents[row]["id"],
            }
            self.send(voters[row], orjson.dumps(value))
        self.save(self.records, np.unique(slots), n)
        return n


def main() -> None:
    """Run and print what was measured."""
    bootstrap, redis_url, prefix, topic, triggers, count = sys.argv[1:7]
    result = run(Script(bootstrap, redis_url, prefix, triggers), bootstrap, topic, int(count))
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main()
