"""What a batch says of drift: rows as they were folded, under the versions that scored them."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.records import ContentId
from stream.scoring import Drift
from stream.versions import ModelVersion
from tests.unit.agents.worksite import activation, event, like
from tests.unit.test_pipeline import Desk

HISTOGRAM = {"edges": [0.5, 1.5], "counts": [1, 1, 1]}
TRAINING: dict[str, Any] = {"training": {"score": HISTOGRAM, "features": {"social.like.decayed_1d": HISTOGRAM}}}


def shadow_of(content: ContentId) -> ModelVersion:
    return ModelVersion(content.name, content.sha256, "shadow")


async def test_without_training_histograms_nothing_is_sampled() -> None:
    desk = await Desk().opened()
    outcome = await desk.take(activation(desk.shelf.model()), like("ada", 1))
    assert (outcome.watch, outcome.samples) == (None, [])


async def test_rows_are_sampled_as_they_stand_after_each_event_and_only_those_folded() -> None:
    desk = await Desk().opened()
    model = desk.shelf.model(bias=10.0, **TRAINING)
    withdrawn = event("consent.withdrawn", "bob", "w", {"purpose": "engagement"})
    twice = like("ada", 1), like("ada", 1), like("ada", 2)
    outcome = await desk.take(activation(model), *twice, withdrawn, like("bob", 1))
    (sample,) = outcome.samples
    assert outcome.watch is sample.watch
    assert [(one.model, one.sha256, one.role, one.feature) for one in sample.watch.all] == [
        ("likes", model.sha256, "active", "social.like.decayed_1d"),
        ("likes", model.sha256, "active", ""),
    ]
    assert (sample.every, sample.values.round(4).tolist()) == (1, [[1.0, 11.0], [2.0, 12.0]])


async def test_rows_on_both_sides_of_an_activation_are_of_their_own_versions() -> None:
    desk = await Desk().opened()
    model, other = desk.shelf.model(**TRAINING), desk.shelf.model(bias=100.0, **TRAINING)
    begin, promoted = activation(model, versions=[shadow_of(other)]), activation(other)
    outcome = await desk.take(begin, like("ada", 1), promoted, like("ada", 2))
    first, second = outcome.samples
    assert [(one.sha256, one.role, one.feature) for one in first.watch.all] == [
        (model.sha256, "active", "social.like.decayed_1d"),
        (model.sha256, "active", ""),
        (other.sha256, "shadow", ""),
    ]
    assert first.values.round(4).tolist() == [[1.0, 1.0, 101.0]]
    assert second.values.round(4).tolist() == [[2.0, 102.0]]
    assert outcome.watch is second.watch


async def test_counts_come_to_the_same_however_the_log_is_cut() -> None:
    voters = [f"voter-{number}" for number in range(700)]
    found = []
    for size in (7, 15):
        desk, drift = await Desk().opened(), Drift()
        model = desk.shelf.model(**TRAINING)
        events = [activation(model), *(like(voter, f"{voter}{n}") for n in range(2) for voter in voters)]
        for first in range(0, len(events), size):
            outcome = await desk.take(*events[first : first + size])
            drift.take(outcome.watch, outcome.samples)
        found.append({one.feature: index for one, index in drift.indices()})
    assert found[0] == found[1]
    assert len(found[0]) == 2
    shares = np.array([0.5, 0.5])
    expected = float(((shares - 1 / 3) * np.log(shares * 3)).sum()) + (1e-4 - 1 / 3) * float(np.log(3e-4))
    assert np.allclose(list(found[0].values()), expected)
