"""Holdouts: the same voters for everybody who knows the experiment's name, drawn as canaries draw."""

from __future__ import annotations

import numpy as np

from stream.holdouts import held_out
from stream.records import USE_FOLD
from stream.scoring.canaries import Canary, take_canaries
from stream.spans import Spans

VOTERS = [f"voter-{number}" for number in range(4000)]


def test_share_is_what_was_asked_for() -> None:
    for share in (0.0, 0.1, 0.5, 1.0):
        assert abs(np.mean([held_out("letter", share, voter) for voter in VOTERS]) - share) < 0.03


def test_larger_share_holds_out_more_beside_the_same() -> None:
    few = {voter for voter in VOTERS if held_out("letter", 0.1, voter)}
    more = {voter for voter in VOTERS if held_out("letter", 0.2, voter)}
    assert few < more


def test_experiments_draw_independently() -> None:
    both = np.mean([held_out("letter", 0.5, voter) and held_out("call", 0.5, voter) for voter in VOTERS])
    assert abs(both - 0.25) < 0.03


def test_kernel_that_draws_canaries_draws_the_same() -> None:
    experiment = np.frombuffer(b"letter\0", np.uint8)
    n = len(VOTERS)
    scores = np.stack([np.zeros(n), np.ones(n)], axis=1)
    drawn = np.zeros(n, np.int64)
    voters = Spans.of_texts(VOTERS)
    take_canaries([Canary(experiment, 0.3, 1, 0)], voters, np.full(n, USE_FOLD, np.int64), 0, n, scores, drawn)
    assert scores[:, 0].tolist() == [float(held_out("letter", 0.3, voter)) for voter in VOTERS]
