"""What is active: slots by name, contents compiled, and what is refused as a whole."""

from __future__ import annotations

import asyncio
from copy import deepcopy

import numpy as np
import pytest

from stream.activation import activate, place, restore
from stream.errors import ConfigurationError
from stream.records import MAX_CAMPAIGNS, MAX_MODELS, Activation, ContentId, Header
from stream.versions import MAX_PREVIOUS, MAX_TRIALS, ModelVersion
from tests.unit.agents.worksite import Shelf, turns


def header_of() -> Header:
    return Header("topic", 1, "me", 0, 0)


def contents(*names: str, sha256: str = "a" * 64, kind: str = "model") -> list[ContentId]:
    return [ContentId(kind, name, sha256) for name in names]


def names(slots: list[list[str] | None]) -> list[str | None]:
    return [None if item is None else item[0] for item in slots]


def test_new_names_take_the_lowest_slots_in_sorted_order() -> None:
    assert names(place([], contents("c", "a", "b"), "model")) == ["a", "b", "c"]


def test_name_keeps_its_slot_and_takes_its_new_version() -> None:
    before = place([], contents("a", "b", "c"), "model")
    after = place(before, contents("c", "a", sha256="b" * 64), "model")
    assert after == [["a", "b" * 64], None, ["c", "b" * 64]]
    assert before[0] == ["a", "a" * 64]


def test_freed_slots_are_taken_again_before_new_ones() -> None:
    before = place([], contents("a", "b", "c"), "model")
    freed = place(before, contents("b"), "model")
    assert names(freed) == [None, "b", None]
    assert names(place(freed, contents("b", "y", "z", "x"), "model")) == ["x", "b", "y", "z"]


@pytest.mark.parametrize(
    ("kind", "most"), [("model", MAX_MODELS), ("campaign", MAX_CAMPAIGNS), ("policy", 0), ("taxonomy", 1)]
)
def test_more_than_the_records_have_room_for_are_refused(kind: str, most: int) -> None:
    many = contents(*(f"m{n}" for n in range(most + 1)), kind=kind)
    assert len(place([], many[:most], kind)) == most
    with pytest.raises(ConfigurationError, match=f"{most + 1} contents of kind '{kind}' are more than the {most}"):
        place([], many, kind)


def test_full_set_of_other_names_fits_into_the_same_slots() -> None:
    before = place([], contents(*(f"a{n}" for n in range(MAX_MODELS))), "model")
    after = place(before, contents(*(f"b{n}" for n in range(MAX_MODELS))), "model")
    assert names(after) == [f"b{n}" for n in range(MAX_MODELS)]


def test_activation_compiles_what_it_lists_and_moves_the_header() -> None:
    shelf, header = Shelf(), header_of()
    model, campaign = shelf.model(), shelf.campaign()
    active = activate(header, Activation(1, (campaign, model)), shelf)
    assert active is not None
    assert active.model_names == ("likes",)
    assert active.models.tags.tolist() == [model.tag()] + [0] * (MAX_MODELS - 1)
    assert header.slots == {
        "model": [["likes", model.sha256]],
        "campaign": [["fan", campaign.sha256]],
        "policy": [],
        "taxonomy": [],
    }


def test_activation_of_nothing_frees_every_slot() -> None:
    shelf, header = Shelf(), header_of()
    activate(header, Activation(1, (shelf.model(), shelf.campaign())), shelf)
    active = activate(header, Activation(1), shelf)
    assert active is not None
    assert header.slots == {"model": [None], "campaign": [None], "policy": [], "taxonomy": []}
    assert active.model_names == (None,)
    assert not active.models.tags.any()


def unusable(case: str, shelf: Shelf) -> Activation:
    missing = ContentId("model", "gone", "a" * 64)
    of_case = {
        "a content that is not there": Activation(1, (missing,)),
        "a model that is no JSON": Activation(1, (shelf.add("model", "broken", b"{"),)),
        "a campaign that is no TOML": Activation(1, (shelf.add("campaign", "broken", b"="),)),
        "a content under another name": Activation(1, (shelf.add("model", "alias", shelf.contents[shelf.model()]),)),
        "a policy": Activation(1, (shelf.add("policy", "quiet", b"{}"),)),
    }
    return of_case[case]


@pytest.mark.parametrize(
    "case",
    [
        "a content that is not there",
        "a model that is no JSON",
        "a campaign that is no TOML",
        "a content under another name",
        "a policy",
    ],
)
def test_unusable_activation_changes_nothing(case: str) -> None:
    shelf, header = Shelf(), header_of()
    activate(header, Activation(1, (shelf.model("kept"),)), shelf)
    before = deepcopy(header)
    assert activate(header, unusable(case, shelf), shelf) is None
    assert header == before


def test_campaign_whose_model_is_not_active_keeps_its_slot_and_sleeps() -> None:
    shelf, header = Shelf(), header_of()
    active = activate(header, Activation(1, (shelf.campaign(model="absent"),)), shelf)
    assert active is not None
    assert names(header.slots["campaign"]) == ["fan"]
    assert active.campaigns.models[0] == -1


def trial(content: ContentId, role: str = "shadow", share: float = 0.0) -> ModelVersion:
    return ModelVersion(content.name, content.sha256, role, share)


def test_trials_are_scored_behind_the_slots_and_take_none() -> None:
    shelf, header = Shelf(), header_of()
    model, better = shelf.model(), shelf.model(bias=0.75, weights={"social.share.decayed_7d": 2.0})
    other = shelf.model("other", bias=0.5)
    trials = (trial(other), trial(better, "canary", 0.25), ModelVersion("likes", "f" * 64, "previous"))
    active = activate(header, Activation(1, (model, shelf.campaign()), trials), shelf)
    assert active is not None
    assert header.slots["model"] == [["likes", model.sha256]]
    assert [entry["role"] for entry in header.versions] == [version.role for version in sorted(trials)]
    assert active.model_names == ("likes",)
    assert len(active.models.tags) == MAX_MODELS + 2
    assert active.models.tags[MAX_MODELS:].tolist() == [model.tag(), other.tag()]
    assert active.shadows == (("other", MAX_MODELS + 1),)
    assert [(one.slot, one.column, one.share) for one in active.canaries] == [(0, MAX_MODELS, 0.25)]
    assert len(active.models.columns) == 2
    assert active.empty[:, 0].tolist() == [0.0, 0.75]
    assert active.empty[:, 1:].any() == np.False_


@pytest.mark.parametrize(
    ("roles", "room"), [(["shadow"] * (MAX_TRIALS + 1), "trials"), (["previous"] * (MAX_PREVIOUS + 1), "previous")]
)
def test_more_versions_than_there_is_room_for_change_nothing(roles: list[str], room: str) -> None:
    shelf, header = Shelf(), header_of()
    versions = tuple(trial(shelf.model(f"{room}{number}"), role) for number, role in enumerate(roles))
    before = deepcopy(header)
    assert activate(header, Activation(1, (), versions), shelf) is None
    assert header == before
    assert activate(header, Activation(1, (), versions[1:]), shelf) is not None


def test_canary_needs_an_active_version_and_a_shadow_none() -> None:
    shelf, header = Shelf(), header_of()
    model = shelf.model()
    assert activate(header, Activation(1, (shelf.model("other"),), (trial(model, "canary", 0.5),)), shelf) is None
    assert activate(header, Activation(1, (), (trial(model),)), shelf) is not None
    assert header.slots["model"] == []


def test_next_activation_ends_what_it_does_not_name() -> None:
    shelf, header = Shelf(), header_of()
    model = shelf.model()
    activate(header, Activation(1, (model,), (trial(shelf.model(bias=1.0), "canary", 0.5),)), shelf)
    active = activate(header, Activation(1, (model,)), shelf)
    assert active is not None
    assert (active.canaries, header.versions) == ((), [])


async def test_restored_header_has_its_trials_once_their_contents_are_in_hand() -> None:
    shelf, header = Shelf(), header_of()
    versions = (trial(shelf.model(bias=1.0), "canary", 0.5), ModelVersion("likes", "f" * 64, "previous"))
    activate(header, Activation(1, (shelf.model(),), versions), shelf)
    late = Shelf()
    restoring = asyncio.create_task(restore(Header.from_bytes(header.to_bytes()), late))
    late.model()
    await turns()
    assert not restoring.done()
    late.model(bias=1.0)
    assert [one.share for one in (await restoring).canaries] == [0.5]


async def test_header_is_restored_once_its_contents_are_in_hand() -> None:
    shelf, header = Shelf(), header_of()
    activate(header, Activation(1, (shelf.model(), shelf.campaign())), shelf)
    late = Shelf()
    restoring = asyncio.create_task(restore(header, late))
    late.model()
    await turns()
    assert not restoring.done()
    late.campaign()
    active = await restoring
    assert active.model_names == ("likes",)
