"""What the next activation says: roles given and taken, and what is kept to go back to."""

from __future__ import annotations

import pytest

from stream.columns import columns_of
from stream.commands.activating import activation_event
from stream.commands.roles import applied, promoted, retired, rolled_back, shadow_of, trial_of, tried, version_in
from stream.errors import ConfigurationError
from stream.events import decode
from stream.records import Activation, ContentId
from stream.versions import MAX_PREVIOUS, ModelVersion

A, B, C, D = (letter * 64 for letter in "abcd")
CAMPAIGN = ContentId("campaign", "fan", D)
OTHER = ContentId("model", "other", D)
ACTIVE = Activation(1, (CAMPAIGN, ContentId("model", "likes", A), OTHER))


def roles(activation: Activation, name: str = "likes") -> dict[str, str]:
    """Return by role the first letter of the version of a model that has it."""
    names = ("active", "shadow", "canary", "previous")
    return {role: found[0] for role in names if (found := version_in(activation, name, role))}


def shadow(sha256: str, name: str = "likes") -> ModelVersion:
    return ModelVersion(name, sha256, "shadow")


def canary(sha256: str, share: float = 0.1, name: str = "likes") -> ModelVersion:
    return ModelVersion(name, sha256, "canary", share)


def test_trials_stand_beside_what_is_active() -> None:
    after = tried(tried(ACTIVE, shadow(B)), canary(C))
    assert roles(after) == {"active": "a", "shadow": "b", "canary": "c"}
    assert after.contents == ACTIVE.contents
    assert roles(tried(after, shadow(D))) == {"active": "a", "shadow": "d", "canary": "c"}


def test_version_goes_from_shadow_to_canary_and_is_no_longer_both() -> None:
    assert roles(tried(tried(ACTIVE, shadow(B)), canary(B))) == {"active": "a", "canary": "b"}


def test_canarys_share_is_the_last_one_said() -> None:
    after = tried(tried(ACTIVE, canary(B, 0.1)), canary(B, 0.5))
    assert [version.share for version in after.versions] == [0.5]


def test_trial_of_what_is_active_or_a_canary_beside_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="aaaaaaaaaaaa of model 'likes' is active already"):
        tried(ACTIVE, shadow(A))
    with pytest.raises(ConfigurationError, match="model 'unheard-of' is not active"):
        tried(ACTIVE, canary(A, name="unheard-of"))
    assert roles(tried(ACTIVE, shadow(A, "unheard-of")), "unheard-of") == {"shadow": "a"}


def test_promotion_ends_the_trial_and_keeps_what_was_active() -> None:
    before = tried(tried(ACTIVE, shadow(B)), canary(C))
    assert trial_of(before, "likes") == C
    after = promoted(before, "likes", C, 5)
    assert roles(after) == {"active": "c", "shadow": "b", "previous": "a"}
    assert roles(after, "other") == {"active": "d"}
    assert CAMPAIGN in after.contents
    assert trial_of(after, "likes") == B
    with pytest.raises(ConfigurationError, match="is active already"):
        promoted(after, "likes", C, 6)
    with pytest.raises(ConfigurationError, match="neither canary nor shadow"):
        trial_of(ACTIVE, "likes")


def test_shadow_is_what_a_canary_is_made_of_where_no_version_is_said() -> None:
    assert shadow_of(tried(tried(ACTIVE, shadow(B)), canary(C)), "likes") == B
    with pytest.raises(ConfigurationError, match="model 'likes' has no shadow"):
        shadow_of(tried(ACTIVE, canary(C)), "likes")


def test_rollback_goes_back_and_forth() -> None:
    after = promoted(promoted(ACTIVE, "likes", B, 5), "likes", C, 6)
    back = rolled_back(after, "likes", 7)
    assert roles(back) == {"active": "b", "previous": "c"}
    assert roles(rolled_back(back, "likes", 8)) == {"active": "c", "previous": "b"}
    with pytest.raises(ConfigurationError, match="no version of model 'likes' is known to have been active before"):
        rolled_back(ACTIVE, "likes", 9)


def test_retired_model_has_no_role_but_the_one_to_go_back_to() -> None:
    after = retired(tried(promoted(ACTIVE, "likes", B, 5), canary(C)), "likes", None, 6)
    assert roles(after) == {"previous": "b"}
    assert roles(after, "other") == {"active": "d"}
    assert roles(rolled_back(after, "likes", 7)) == {"active": "b"}
    assert roles(retired(after, "other", None, 8)) == {"previous": "b"}
    for number in range(20):
        after = retired(promoted(after, f"m{number:02}", A, number), f"m{number:02}", None, 10 + number)
    kept = {one.name for one in after.versions if one.role == "previous"}
    assert kept == {f"m{number:02}" for number in range(20 - MAX_PREVIOUS, 20)}
    with pytest.raises(ConfigurationError, match="neither active nor on trial"):
        retired(after, "likes", None, 9)


def test_rollback_leaves_no_canary_in_place() -> None:
    before = tried(promoted(ACTIVE, "likes", B, 5), canary(C))
    with pytest.raises(ConfigurationError, match=r"is a canary.*model retire likes --version cccccccccccc`"):
        rolled_back(before, "likes", 6)
    assert roles(rolled_back(retired(before, "likes", C, 6), "likes", 7)) == {"active": "a", "previous": "b"}


def test_one_version_on_trial_is_retired_alone() -> None:
    before = tried(tried(ACTIVE, shadow(B)), canary(C))
    assert roles(retired(before, "likes", B, 5)) == {"active": "a", "canary": "c"}
    assert roles(retired(before, "likes", A, 5)) == {"previous": "a"}
    with pytest.raises(
        ConfigurationError, match="version dddddddddddd of model 'likes' is neither active nor on trial"
    ):
        retired(before, "likes", D, 5)


def test_applied_configuration_keeps_trials_of_the_models_that_stay() -> None:
    before = tried(tried(tried(ACTIVE, shadow(B)), canary(C)), shadow(B, "other"))
    contents = [ContentId("model", "likes", C), CAMPAIGN]
    after = applied(before, contents, 5)
    assert roles(after) == {"active": "c", "shadow": "b", "previous": "a"}
    assert roles(after, "other") == {"previous": "d"}
    assert roles(applied(after, contents, 6), "other") == {"previous": "d"}
    assert roles(applied(before, contents, 5, keep_trials=False)) == {"active": "c", "previous": "a"}


def test_applied_configuration_that_changes_nothing_says_the_same() -> None:
    first = applied(ACTIVE, ACTIVE.contents, 5)
    assert roles(first) == {"active": "a"}
    moved = promoted(tried(first, canary(B)), "likes", B, 6)
    assert applied(moved, moved.contents, 7) == moved


def test_event_says_what_the_decoder_reads() -> None:
    activation = promoted(tried(tried(ACTIVE, shadow(B)), canary(C, 0.25, "other")), "likes", C, 1_790_000_000_000)
    value = activation_event(activation, "an-id")
    decoded = decode(columns_of(0, [0], [1], [None], [value], [()]), 1, 0)
    found = decoded.activations[0]
    assert (found.engine, found.contents) == (activation.engine, activation.contents)
    assert sorted(found.versions) == list(activation.versions)
