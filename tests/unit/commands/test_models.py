"""What the commands about models know: versions in the topic, roles by partition, and what the log says last."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest

from stream.activation import activate
from stream.commands.activating import active_by, follow
from stream.commands.contents import prove
from stream.commands.models import Listed, listed_of, readers_of, to_lines, version_of
from stream.commands.reading import ReadContents, Record
from stream.errors import ConfigurationError
from stream.records import Activation, ContentId, Header
from stream.versions import ModelVersion
from tests.simulation.topics import MemoryReader, MemoryTopic
from tests.unit.agents.worksite import NOW_MS, TOPIC, Shelf, activation, event, like


def trial(content: ContentId, role: str, share: float = 0.0) -> ModelVersion:
    return ModelVersion(content.name, content.sha256, role, share, 7)


def library(shelf: Shelf) -> ReadContents:
    return ReadContents(shelf.contents)


def log_of(*values: bytes) -> MemoryReader:
    records = [Record(number, NOW_MS + number, None, value, ()) for number, value in enumerate(values)]
    return MemoryReader(MemoryTopic(records, 0, len(records)))


def header_after(shelf: Shelf, *contents: ContentId, versions: tuple[ModelVersion, ...] = ()) -> Header:
    header = Header("topic", 1, "me", 0, 0)
    assert activate(header, Activation(1, contents, versions), shelf) is not None
    return header


def test_listing_has_every_version_and_its_roles_by_partition() -> None:
    shelf = Shelf()
    first, second, third = (shelf.model(bias=bias, description=f"number {bias}") for bias in (1.0, 2.0, 3.0))
    headers = {
        0: header_after(shelf, first, versions=(trial(second, "canary", 0.1),)),
        1: header_after(shelf, second, versions=(trial(first, "previous"), trial(second, "active"))),
        2: None,
    }
    rows = listed_of(library(shelf), headers)
    found = [(row.sha256, row.role, row.share, row.since_ms, row.partitions) for row in rows]
    assert found == [
        (first.sha256, "active", 0.0, 0, (0,)),
        (first.sha256, "previous", 0.0, 7, (1,)),
        (second.sha256, "active", 0.0, 7, (1,)),
        (second.sha256, "canary", 0.1, 7, (0,)),
        (third.sha256, "", 0.0, 0, ()),
    ]
    assert [row.description for row in rows] == ["number 1.0"] * 2 + ["number 2.0"] * 2 + ["number 3.0"]
    assert rows[3].to_dict()["since"] == "1970-01-01T00:00:00.007Z"
    assert {row.partitions for row in listed_of(library(shelf), None)} == {None}


def test_listing_is_whole_on_a_terminal_of_any_width() -> None:
    rows = [
        Listed("gives_online", "a" * 64, "active", 0.0, 7, (0, 1, 2, 3), "Whether a voter gives\x1b online."),
        Listed("support", "b" * 64, "canary", 0.1, 7, (0, 2, 3, 5), ""),
        Listed("support", "c" * 64, "", 0.0, 0, None, "The next one."),
    ]
    assert to_lines(rows).splitlines() == [
        "model         version       role    share  since                     partitions",
        "gives_online  aaaaaaaaaaaa  active         1970-01-01T00:00:00.007Z  0-3",
        r"    Whether a voter gives\x1b online.",
        "support       bbbbbbbbbbbb  canary  0.1    1970-01-01T00:00:00.007Z  0, 2-3, 5",
        "support       cccccccccccc                                           unknown",
        "    The next one.",
    ]
    assert to_lines([]) == "model  version  role  share  since  partitions"


def test_version_is_known_by_how_it_begins() -> None:
    shelf = Shelf()
    first, second = shelf.model(bias=1.0), shelf.model(bias=2.0)
    assert version_of(library(shelf), "likes", second.sha256[:6]) == second.sha256
    for prefix in ("", "fff", first.sha256[:3], "0000", first.sha256 + "0", "?" * 8):
        with pytest.raises(ConfigurationError, match=f"{first.sha256[:12]}, {second.sha256[:12]}"):
            version_of(library(shelf), "likes", prefix)
    with pytest.raises(ConfigurationError, match="holds none"):
        version_of(library(shelf), "unheard-of", first.sha256)


def test_campaigns_that_read_a_model_are_named() -> None:
    shelf = Shelf()
    contents = (shelf.campaign("z"), shelf.campaign("a"), shelf.campaign("b", "other"), shelf.model())
    assert readers_of(Activation(1, contents), "likes", shelf) == ["a", "z"]


def test_activations_behind_the_header_count_and_those_before_it_do_not() -> None:
    shelf = Shelf()
    old, new, trying = shelf.model(bias=1.0), shelf.model(bias=2.0), shelf.model(bias=3.0)
    header = header_after(shelf, new)
    header.offset = 2
    before = deepcopy(header)
    log = log_of(activation(old), like("ada", 1), like("ada", 2), activation(new, versions=[trial(trying, "shadow")]))
    found = active_by(follow(header, log, shelf, TOPIC, None))
    assert found.contents == (new,)
    assert [(one.sha256, one.role) for one in found.versions] == [(trying.sha256, "shadow")]
    assert header == before
    header.offset = 4
    assert active_by(follow(header, log, shelf, TOPIC, None)).versions == ()


@pytest.mark.parametrize("case", ["a type that is spelled with escapes", "a broken row"])
def test_log_is_followed_as_a_worker_does(case: str) -> None:
    shelf = Shelf()
    old, new = shelf.model(bias=1.0), shelf.model(bias=2.0)
    values: dict[str, tuple[bytes, ContentId]] = {
        "a type that is spelled with escapes": (activation(new).replace(b"config.", b"\\u0063onfig."), new),
        "a broken row": (activation(new)[:-1], old),
    }
    value, expected = values[case]
    found = follow(header_after(shelf, old), log_of(value), shelf, TOPIC, None)
    assert active_by(found).contents == (expected,)


def test_activation_of_what_was_written_meanwhile_is_not_passed_over() -> None:
    """What this command writes next would undo it without a word."""
    shelf = Shelf()
    log = log_of(activation(ContentId("model", "likes", "f" * 64)))
    with pytest.raises(ConfigurationError, match=r"model/likes/f+ was activated meanwhile, by another command"):
        follow(header_after(shelf, shelf.model()), log, shelf, TOPIC, None)


def test_unusable_activation_is_proven_so_before_it_is_written() -> None:
    shelf = Shelf()
    trials = tuple(trial(shelf.model(f"m{number}"), "shadow") for number in range(5))
    with pytest.raises(ConfigurationError, match="5 versions on trial, expected at most 4"):
        prove(Activation(1, (), trials), shelf)
    prove(Activation(1, (), trials[:4]), shelf)
    broken = shelf.add("model", "broken", orjson.dumps({"name": "broken"}))
    with pytest.raises(ConfigurationError):
        prove(Activation(1, (), (trial(broken, "shadow"),)), shelf)


def test_other_events_that_name_an_activation_change_nothing() -> None:
    shelf = Shelf()
    model = shelf.model()
    data: dict[str, Any] = {"text": "config.activated"}
    log = log_of(event("social.comment", "ada", "c", data))
    assert active_by(follow(header_after(shelf, model), log, shelf, TOPIC, None)).contents == (model,)
