"""The schemas and the AsyncAPI document fit the package's own lists, and each other."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from stream.columns import ORIGIN_HEADER, SIGNATURE_HEADER
from stream.events import asyncapi, schema, schema_names
from stream.records import CONTENT_KINDS, EVENT_TYPES, REJECT_REASONS, SEQUENCE_HEADER, TOMBSTONE_HEADER, ContentId

TOPICS = ("engagement.events", "engagement.triggers", "engagement.rejects", "engagement.config")


def resolve(document: dict[str, Any], reference: str) -> Any:
    """Return what a reference within the document points to."""
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [reference for value in node.values() for reference in references(value)]
    return [reference for value in node for reference in references(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", schema_names())
def test_schema_is_valid_and_of_its_type(name: str) -> None:
    document = schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["properties"]["type"] == {"const": name}
    assert document["title"] == name
    assert document["description"].endswith(".")


def test_each_type_and_the_trigger_have_a_schema() -> None:
    assert schema_names() == (*EVENT_TYPES, "campaign.triggered")


def test_unknown_schema_is_named() -> None:
    with pytest.raises(KeyError, match=r"social\.poke"):
        schema("social.poke")


def test_schema_cannot_be_spoiled_for_the_next_caller() -> None:
    schema("social.like").clear()
    assert schema("social.like")["title"] == "social.like"


def test_topics_are_those_of_the_design() -> None:
    assert tuple(channel["address"] for channel in asyncapi()["channels"].values()) == TOPICS


def test_events_topic_carries_every_type() -> None:
    document = asyncapi()
    messages = document["channels"]["events"]["messages"]
    assert tuple(messages) == EVENT_TYPES
    assert [resolve(document, message["$ref"])["name"] for message in messages.values()] == list(EVENT_TYPES)


def test_messages_refer_to_their_own_schema_and_say_what_it_says() -> None:
    for name in schema_names():
        message = asyncapi()["components"]["messages"][name]
        assert message["payload"]["schema"]["$ref"] == f"./schemas/{name}.json"
        assert message["summary"] == schema(name)["description"]


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    found = references(document)
    assert found
    for reference in found:
        if reference.startswith("#/"):
            resolve(document, reference)
        else:
            assert reference.removeprefix("./schemas/").removesuffix(".json") in schema_names()


def test_every_message_has_a_channel_and_every_channel_an_operation() -> None:
    document = asyncapi()
    carried = {name for channel in document["channels"].values() for name in channel["messages"]}
    assert carried == set(document["components"]["messages"])
    handled = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert handled == {f"#/channels/{name}" for name in document["channels"]}
    for operation in document["operations"].values():
        channel = resolve(document, operation["channel"]["$ref"])
        assert len(operation["messages"]) == len(channel["messages"])


def test_reject_headers_are_the_closed_list_of_reasons() -> None:
    headers = asyncapi()["components"]["messages"]["rejected"]["headers"]
    names = ["reason", "topic", "partition", "offset", "time", SEQUENCE_HEADER]
    assert headers["required"] == names
    assert [name for name in headers["properties"] if name != "length"] == names
    assert headers["properties"]["reason"]["enum"] == list(REJECT_REASONS[1:])


def test_headers_have_the_names_that_the_package_writes() -> None:
    messages = asyncapi()["components"]["messages"]
    assert SEQUENCE_HEADER in messages["campaign.triggered"]["headers"]["required"]
    assert messages["withdrawn"]["headers"]["required"] == [SEQUENCE_HEADER, TOMBSTONE_HEADER]
    voters = [name for name in EVENT_TYPES if not name.startswith(("clock.", "config.", "keys."))]
    assert all(ORIGIN_HEADER in messages[name]["headers"]["properties"] for name in voters)
    assert all(SIGNATURE_HEADER in messages[name]["headers"]["properties"] for name in EVENT_TYPES)


def test_content_key_is_described_as_it_is_written() -> None:
    key = asyncapi()["components"]["messages"]["content"]["bindings"]["kafka"]["key"]
    for kind in CONTENT_KINDS:
        jsonschema.validate(ContentId(kind, "support_2", "0" * 64).key(), key)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(ContentId("engine", "support", "0" * 64).key(), key)


def test_trigger_schema_names_every_type_that_may_cause_one() -> None:
    control = ("consent.", "privacy.", "clock.", "config.", "keys.")
    cause = schema("campaign.triggered")["properties"]["data"]["properties"]["cause"]
    # The gate folds every event of a voter but consent and erasure, and whatever is folded may fire.
    assert cause["properties"]["type"]["enum"] == [name for name in EVENT_TYPES if not name.startswith(control)]


@pytest.mark.parametrize("name", ["canvass.contacted", "profile.updated"])
def test_support_runs_from_against_us_to_for_us(name: str) -> None:
    support = schema(name)["properties"]["data"]["properties"]["support"]
    assert "1 (strong opposition) to 5 (strong support)" in support["description"]


def test_trigger_schema_takes_a_trigger_and_refuses_a_broken_one() -> None:
    trigger: dict[str, Any] = {
        "specversion": "1.0",
        "id": "3-17-welcome",
        "source": "/engagement.events/3",
        "type": "campaign.triggered",
        "subject": "voter-7",
        "time": "2026-11-24T21:22:31.123Z",
        "datacontenttype": "application/json",
        "sequence": "4",
        "data": {
            "campaign": "welcome",
            "campaign_version": "0" * 64,
            "model": "support",
            "models": {"support": "1" * 64},
            "score_before": 0.4312,
            "score_after": 0.6123,
            "cause": {
                "id": "e-1",
                "source": "https://tracker.example/site",
                "type": "social.share",
                "time": "2026-11-24T21:22:31.000Z",
                "partition": 3,
                "offset": 17,
            },
            "log_time_ms": 1_795_555_351_123,
            "sequence": 4,
            "why": "support rose from 0.4312 to 0.6123 and crossed 0.6 after social.share",
            "contributions": [{"feature": "social.share.decayed_7d", "value": 2.25, "contribution": 1.1475}],
            "action": {"channel": "email"},
        },
    }
    validator = jsonschema.Draft202012Validator(schema("campaign.triggered"))
    validator.validate(trigger)
    for name in ("subject", "sequence", "data"):
        assert not validator.is_valid({key: value for key, value in trigger.items() if key != name})
    assert not validator.is_valid({**trigger, "id": "welcome"})
    assert not validator.is_valid({**trigger, "data": {**trigger["data"], "contributions": [{}]}})
