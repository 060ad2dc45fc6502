"""The catalogue of features, and records in words."""

from __future__ import annotations

import numpy as np
import pytest

from stream.features import FEATURES, catalogue, describe
from stream.features.catalogue import DECLARED, DERIVED, OBSERVED
from stream.records import CONSENT_NO, EVENT_TYPES, VOTER, ContentId
from tests.oracle_record import FEATURES as ORACLES
from tests.voters import put_social


def test_features_are_named_once_in_the_order_of_their_indices() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 187
    assert FEATURES[:4] == (
        "social.follow.decayed_1d",
        "social.follow.decayed_7d",
        "social.follow.decayed_30d",
        "social.follow.decayed_90d",
    )
    assert FEATURES[20:24] == ("sessions", "session_events", "days_since_first_seen", "hours_since_last_seen")
    assert FEATURES == ORACLES


def test_every_feature_says_its_unit_and_meaning() -> None:
    assert [feature.name for feature in catalogue()] == list(FEATURES)
    for feature in catalogue():
        assert feature.unit, feature.name
        assert feature.meaning.endswith("."), feature.name
        assert feature.horizon, feature.name
        assert feature.provenance in {OBSERVED, DECLARED, DERIVED}, feature.name
        known = {*EVENT_TYPES, "event.attended", "any event", "what the voter does"}
        assert feature.sources, feature.name
        assert known.issuperset(feature.sources), feature.name


def test_what_tells_of_sides_issues_and_stances_can_reveal_opinion() -> None:
    open_minded = {feature.name.partition(".")[0] for feature in catalogue() if not feature.opinion}
    assert not open_minded & {"social", "issue", "words", "donation", "canvass"}
    assert {"sessions", "rhythm", "profile", "message"} <= open_minded


def test_description_names_every_number_in_the_record() -> None:
    record = np.zeros(1, VOTER)
    record["consent"], record["sessions"], record["last_offset"] = CONSENT_NO, 3, 12
    record["first_seen_s"], record["last_seen_ms"] = 86_400, 86_400_000
    put_social(record, "social.share", "7d", 2.5, 86_400_000)
    record["ring"][0, 0] = 255
    record["marks"][0, 3] = 7
    fields = {field.name: (field.value, field.unit) for field in describe(record[0])}
    assert fields["consent"] == ("withdrawn", "")
    assert fields["sessions"] == (3, "sessions")
    assert fields["last_offset"] == (12, "offset")
    assert fields["social.share.decayed_7d"] == (pytest.approx(2.5), "events at last_seen_ms")
    assert fields["ring[0]"] == ("00000000000000ff", "hash")
    assert fields["last_s.social.share"] == (86_400, "s since the epoch")
    assert str(fields["marks"][0]).split()[3] == "7"
    told_by_name = {"score", "score_tag", "fired_s", "campaign_tag", "armed", "last_s", "counts", "ring"}
    assert set(VOTER.names or ()) - told_by_name <= set(fields)
    assert set(FEATURES) <= set(fields)


def test_description_names_models_and_campaigns_by_their_slots() -> None:
    record = np.zeros(1, VOTER)
    record["score"][0, 1], record["score_tag"][0, 1] = 0.25, ContentId("model", "support", "").tag()
    record["armed"], record["fired_s"][0, 0] = 1, 99
    record["campaign_tag"][0, 0] = ContentId("campaign", "welcome", "").tag()
    fields = {field.name: field.value for field in describe(record[0], [None, "support"], ["welcome"])}
    assert fields["score.support"] == 0.25
    assert (fields["armed.welcome"], fields["fired_s.welcome"]) == ("yes", 99)


def test_state_of_something_that_is_not_active_goes_by_its_tag() -> None:
    record = np.zeros(1, VOTER)
    record["score"][0, 0], record["score_tag"][0, 0] = 0.25, 0xBEEF
    record["campaign_tag"][0, 2] = 0xCAFE
    names = {field.name for field in describe(record[0], ["support"], [])}
    assert {"score.model beef", "armed.campaign cafe", "fired_s.campaign cafe"} <= names
    assert "score.support" not in names
