"""Crossings, hysteresis, cooldown, and what changes when campaigns and models do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.records import MAX_CAMPAIGNS, MAX_MODELS, USE_ERASE, USE_FOLD, USE_SUPPRESSED, VOTER
from stream.triggers import Campaign, Campaigns, compile_campaigns, decide

UP = Campaign("up", "support", "up", 0.6, 0.4, 0)
DOWN = Campaign("down", "support", "down", 0.3, 0.5, 0)
MODEL_SLOTS = [None, ["support", "2"]]
SLOT = 1
MODEL_TAG = 5


def compiled(*campaigns: Campaign | None, tags: list[int] | None = None) -> Campaigns:
    padded = np.zeros(MAX_CAMPAIGNS, np.uint32)
    padded[: len(campaigns)] = range(100, 100 + len(campaigns)) if tags is None else tags
    slots = [None if campaign is None else [campaign.name, "1"] for campaign in campaigns]
    return compile_campaigns(campaigns, padded, slots, MODEL_SLOTS)


def single(score: float) -> float:
    """Return a score as records keep it."""
    return float(np.float32(score))


class Voter:
    """One voter whose scores are dictated."""

    def __init__(self) -> None:
        self.records: NDArray[Any] = np.zeros(1, VOTER)
        self.model_tag = MODEL_TAG
        self.empty = 0.2
        self.is_drawn = False
        self.canary_empty = 0.3

    def decide(
        self, campaigns: Campaigns, scores: list[float], now: list[int] | None = None, use: list[int] | None = None
    ) -> list[tuple[int, int, float, float]]:
        """Return (row, campaign slot, before, after) of each trigger; now counts from 1 unless given."""
        n = len(scores)
        rows = np.full((n, MAX_MODELS), np.nan)
        rows[:, SLOT] = scores
        tags, empty = np.zeros(MAX_MODELS, np.uint32), np.zeros(MAX_MODELS)
        tags[SLOT], empty[SLOT] = self.model_tag, self.empty
        times = np.array(range(1, n + 1) if now is None else now, np.int64)
        used = np.array([USE_FOLD] * n if use is None else use, np.int64)
        slots = np.zeros(n, np.int64)
        drawn = np.array([self.is_drawn << SLOT] * n, np.int64)
        empties = np.stack([empty, np.where(tags != 0, self.canary_empty, 0.0)])
        fired = decide(self.records, slots, times, used, rows, tags, empties, drawn, campaigns, 0, n)
        assert fired.canaries.tolist() == [self.is_drawn << SLOT] * len(fired.rows)
        columns = (fired.rows, fired.campaigns, fired.before, fired.after)
        return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def voter() -> Voter:
    return Voter()


def test_rise_across_the_threshold_fires_once_with_both_scores(voter: Voter) -> None:
    assert voter.decide(compiled(UP), [0.5, 0.7, 0.9]) == [(1, 0, 0.5, 0.7)]
    assert voter.records[0]["score"][SLOT] == np.float32(0.9)
    assert voter.records[0]["score_tag"].tolist() == [0, MODEL_TAG, 0, 0, 0, 0, 0, 0]


def test_reaching_the_threshold_is_crossing_it(voter: Voter) -> None:
    assert voter.decide(compiled(UP), [0.6]) == [(0, 0, 0.2, 0.6)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_score_beyond_a_single_is_kept_as_the_most_that_a_single_says(voter: Voter, sign: float) -> None:
    most = float(np.finfo(np.float32).max)
    campaign = Campaign("far", "support", "down" if sign > 0 else "up", 0.0, sign, 0)
    assert voter.decide(compiled(campaign), [sign * 1e100, -sign * 1e100]) == [(1, 0, sign * most, -sign * 1e100)]
    assert voter.records[0]["score"][SLOT] == -sign * most
    voter.decide(compiled(campaign), [np.nan])
    assert np.isnan(voter.records[0]["score"][SLOT])


def test_first_event_is_compared_with_the_empty_score(voter: Voter) -> None:
    assert voter.decide(compiled(UP), [0.8]) == [(0, 0, 0.2, 0.8)]


def test_voter_above_from_the_beginning_is_not_armed(voter: Voter) -> None:
    voter.empty = 0.5
    assert voter.decide(compiled(UP), [0.8, 0.9]) == []
    assert voter.decide(compiled(UP), [0.4, 0.8]) == [(1, 0, single(0.4), 0.8)]


def test_it_fires_again_only_after_falling_to_the_rearm_level(voter: Voter) -> None:
    assert [row for row, *_ in voter.decide(compiled(UP), [0.7, 0.41, 0.7, 0.4, 0.7])] == [0, 4]


def test_fall_across_the_threshold_fires_downward(voter: Voter) -> None:
    # 0.2 is below from the beginning: not armed.
    assert voter.decide(compiled(DOWN), [0.1, 0.5, 0.31, 0.3, 0.2]) == [(3, 0, single(0.31), 0.3)]


def test_both_directions_fire_in_slot_order(voter: Voter) -> None:
    both = compiled(DOWN, UP, None, Campaign("also", "support", "up", 0.6, 0.4, 0))
    assert [(row, slot) for row, slot, *_ in voter.decide(both, [0.7, 0.2, 0.7])] == [
        (0, 1),
        (0, 3),
        (1, 0),
        (2, 1),
        (2, 3),
    ]


def test_crossing_within_the_cooldown_is_passed_over_and_not_made_up_for(voter: Voter) -> None:
    campaign = compiled(Campaign("slow", "support", "up", 0.6, 0.4, 1000))
    scores, now = [0.7, 0.3, 0.7, 0.8, 0.3, 0.7], [1000, 1001, 1999, 2000, 2001, 2002]
    assert [row for row, *_ in voter.decide(campaign, scores, now)] == [0, 5]
    assert voter.records[0]["fired_s"][0] == 3


def test_cooldown_ends_after_exactly_its_time(voter: Voter) -> None:
    campaign = compiled(Campaign("slow", "support", "up", 0.6, 0.4, 1000))
    assert [row for row, *_ in voter.decide(campaign, [0.7, 0.3, 0.7], [5000, 5001, 6000])] == [0, 2]


def test_cooldown_begins_at_the_next_whole_second_and_is_never_too_short(voter: Voter) -> None:
    campaign = compiled(Campaign("slow", "support", "up", 0.6, 0.4, 1000))
    scores, now = [0.7, 0.3, 0.7, 0.3, 0.7], [5001, 5002, 6999, 6999, 7000]
    assert [row for row, *_ in voter.decide(campaign, scores, now)] == [0, 4]


def test_no_cooldown_holds_nothing_up(voter: Voter) -> None:
    assert [row for row, *_ in voter.decide(compiled(UP), [0.7, 0.3, 0.7], [5001, 5002, 5003])] == [0, 2]


def test_firing_while_the_log_knows_no_time_is_remembered(voter: Voter) -> None:
    campaign = compiled(Campaign("slow", "support", "up", 0.6, 0.4, 1000))
    assert [row for row, *_ in voter.decide(campaign, [0.7, 0.3, 0.7], [0, 0, 0])] == [0]
    assert voter.records[0]["fired_s"][0] == 1


def test_new_campaign_in_an_old_slot_starts_afresh(voter: Voter) -> None:
    voter.decide(compiled(Campaign("slow", "support", "up", 0.6, 0.4, 10**9)), [0.7])
    assert voter.decide(compiled(UP, tags=[777]), [0.8]) == [(0, 0, single(0.7), 0.8)]
    assert voter.records[0]["campaign_tag"][0] == 777


def test_new_campaign_owes_nothing_to_the_cooldown_of_the_one_before(voter: Voter) -> None:
    slow = Campaign("slow", "support", "up", 0.6, 0.4, 10**9)
    voter.decide(compiled(slow), [0.7])
    assert [row for row, *_ in voter.decide(compiled(slow, tags=[777]), [0.3, 0.7], [2, 3])] == [1]


def test_empty_score_at_the_rearm_level_is_armed(voter: Voter) -> None:
    voter.empty = 0.4
    assert len(voter.decide(compiled(UP), [0.7])) == 1


def test_score_of_another_model_in_the_slot_counts_as_empty(voter: Voter) -> None:
    voter.decide(compiled(UP), [0.5])
    voter.model_tag = 6
    assert voter.decide(compiled(UP), [0.7]) == [(0, 0, 0.2, 0.7)]


def test_campaign_whose_model_is_not_active_rests(voter: Voter) -> None:
    assert voter.decide(compiled(Campaign("idle", "gone", "up", 0.0, 0.0, 0)), [0.9]) == []
    assert not voter.records["campaign_tag"].any()


def test_inactive_models_scores_stay(voter: Voter) -> None:
    voter.records["score"][0, 4], voter.records["score_tag"][0, 4] = 0.125, 9
    voter.decide(compiled(UP), [0.5])
    assert (voter.records["score"][0, 4], voter.records["score_tag"][0, 4]) == (0.125, 9)


def test_suppressed_rows_decide_nothing(voter: Voter) -> None:
    assert voter.decide(compiled(UP), [0.9], use=[USE_SUPPRESSED]) == []
    assert voter.records.tobytes() == np.zeros(1, VOTER).tobytes()


def test_erasure_in_the_same_batch_clears_what_was_decided_before_it(voter: Voter) -> None:
    assert len(voter.decide(compiled(UP), [0.9, 0.0], use=[USE_FOLD, USE_ERASE])) == 1
    assert voter.records.tobytes() == np.zeros(1, VOTER).tobytes()


def test_last_slots_bit_is_its_own(voter: Voter) -> None:
    campaigns = [Campaign(f"c{slot}", "support", "up", 0.6, 0.4, 0) for slot in range(MAX_CAMPAIGNS)]
    assert len(voter.decide(compiled(*campaigns), [0.7, 0.3, 0.7])) == 2 * MAX_CAMPAIGNS
    assert voter.records[0]["armed"] == 0
    voter.decide(compiled(*campaigns), [0.3])
    assert voter.records[0]["armed"] == (1 << MAX_CAMPAIGNS) - 1


def test_first_score_of_a_canary_is_told_from_what_the_canary_gives_nothing(voter: Voter) -> None:
    voter.is_drawn = True
    assert voter.decide(compiled(UP), [0.7]) == [(0, 0, 0.3, 0.7)]


def test_canary_that_gives_nothing_more_than_the_rearm_level_begins_disarmed(voter: Voter) -> None:
    voter.is_drawn, voter.canary_empty = True, 0.65
    assert voter.decide(compiled(UP), [0.7, 0.4, 0.7]) == [(2, 0, single(0.4), 0.7)]


def test_state_goes_on_where_a_voter_comes_under_a_canary(voter: Voter) -> None:
    assert voter.decide(compiled(UP), [0.5]) == []
    voter.is_drawn = True
    assert voter.decide(compiled(UP), [0.7, 0.8]) == [(0, 0, 0.5, 0.7)]
