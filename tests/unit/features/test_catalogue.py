"""The catalogue of features, and records in words."""

from __future__ import annotations

import numpy as np

from stream.features import FEATURES, catalogue, describe
from stream.records import CONSENT_NO, KIND, VOTER, ContentId


def test_features_are_named_once_in_the_order_of_their_indices() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 16 * 3 + 4
    assert FEATURES[:4] == (
        "social.follow.decayed_1d",
        "social.follow.decayed_7d",
        "social.follow.decayed_30d",
        "social.like.decayed_1d",
    )
    assert FEATURES[48:] == ("sessions", "session_events", "days_since_first_seen", "hours_since_last_seen")


def test_every_feature_says_its_unit_and_meaning() -> None:
    assert [feature.name for feature in catalogue()] == list(FEATURES)
    assert all(feature.unit and feature.meaning.endswith(".") for feature in catalogue())


def test_description_names_every_number_in_the_record() -> None:
    record = np.zeros(1, VOTER)
    record["consent"], record["sessions"], record["last_offset"] = CONSENT_NO, 3, 12
    record["decayed"][0, KIND["social.share"], 1] = 2.5
    record["ring"][0, 0] = 255
    fields = {field.name: (field.value, field.unit) for field in describe(record[0])}
    assert fields["consent"] == ("withdrawn", "")
    assert fields["sessions"] == (3, "sessions")
    assert fields["last_offset"] == (12, "offset")
    assert fields["social.share.decayed_7d"] == (2.5, "events at last_seen_ms")
    assert fields["ring[0]"] == ("00000000000000ff", "hash")
    assert len(fields) == 8 + 16 + 48


def test_description_names_models_and_campaigns_by_their_slots() -> None:
    record = np.zeros(1, VOTER)
    record["score"][0, 1], record["score_tag"][0, 1] = 0.25, ContentId("model", "support", "").tag()
    record["armed"], record["fired_ms"][0, 0] = 1, 99
    record["campaign_tag"][0, 0] = ContentId("campaign", "welcome", "").tag()
    fields = {field.name: field.value for field in describe(record[0], [None, "support"], ["welcome"])}
    assert fields["score.support"] == 0.25
    assert (fields["armed.welcome"], fields["fired_ms.welcome"]) == ("yes", 99)


def test_state_of_something_that_is_not_active_goes_by_its_tag() -> None:
    record = np.zeros(1, VOTER)
    record["score"][0, 0], record["score_tag"][0, 0] = 0.25, 0xBEEF
    record["campaign_tag"][0, 2] = 0xCAFE
    names = {field.name for field in describe(record[0], ["support"], [])}
    assert {"score.model 0000beef", "armed.campaign 0000cafe", "fired_ms.campaign 0000cafe"} <= names
    assert "score.support" not in names
