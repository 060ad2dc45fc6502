"""``verify`` follows the keys of a signed deployment, and says which one it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.commands.restore import Replayed, first_header, rooted
from stream.commands.topics import TopicFacts
from stream.commands.verify import verify_sources
from stream.errors import StateMismatchError
from stream.records import Header
from stream.signatures import Keyring
from tests.signed_logs import SECRETS, generate_signed
from tests.simulation.topics import MemoryDeployment, work

SEED = 2004
"""A log of one partition, with rotations and forgeries."""
KEYRING = Keyring(SECRETS)
FACTS = TopicFacts("engagement.events", "topic-1", 1, (0,), (9,))


async def deployment() -> MemoryDeployment:
    log = generate_signed(SEED, 400)
    made = MemoryDeployment([log])
    left = await work(made.sources(), log.partition, made.store(log.partition))
    assert left.header.keys != left.header.root
    assert any(dict(row.headers)["reason"] == b"not_authorised" for row in left.sent["rejects"])
    for output, rows in left.sent.items():
        made.write(output, rows)
    return made


async def test_everything_derived_under_rotating_keys_is_the_same() -> None:
    report = await verify_sources((await deployment()).sources())
    assert report.difference is None
    assert report.not_compared == []
    assert report.partitions[0].triggers > 20
    assert report.partitions[0].header


@pytest.mark.parametrize("field", ["keys", "counters"])
async def test_header_with_other_keys_or_counters_is_a_difference(field: str) -> None:
    made = await deployment()
    store = made.store(0)
    header = await store.read_header()
    assert header is not None
    if field == "keys":
        header.keys = KEYRING.named(["first", "third-3", "second"])
    else:
        header.counters = {"config.activated": 1}
    made.server.values[f"{made.prefix(0)}header"] = header.to_bytes()
    report = await verify_sources(made.sources())
    assert report.difference is not None
    assert f"field '{field}'" in report.difference.place


@pytest.mark.parametrize("lacking", ["first", "second"])
async def test_keyring_that_lacks_a_key_of_the_log_is_named(lacking: str) -> None:
    made = await deployment()
    fewer = Keyring({name: secret for name, secret in SECRETS.items() if name != lacking})
    with pytest.raises(StateMismatchError, match=rf"key '{lacking}' .* holds no such key"):
        await verify_sources(replace(made.sources(), keyring=fewer))


async def test_signed_deployment_is_not_verified_without_a_keyring() -> None:
    made = await deployment()
    with pytest.raises(StateMismatchError, match="no keyring is set"):
        await verify_sources(replace(made.sources(), keyring=None))


# --- restoring -------------------------------------------------------------------------------------------


def test_restoration_begins_with_the_key_that_the_deployment_began_with() -> None:
    plan = Replayed(0, 4, 9, "")
    rotated = Header.fresh("topic-1", 1, "", 4, KEYRING.named(["first"]))
    rotated.keys = KEYRING.named(["third-3"])
    (planned,) = rooted(FACTS, {0: rotated}, [plan], KEYRING)
    assert first_header(FACTS, planned) == Header.fresh("topic-1", 1, "", 4, KEYRING.named(["first"]))
    # A lost header began as another one did, or else with the oldest key of the keyring.
    later = Header.fresh("topic-1", 2, "", 0, KEYRING.named(["second"]))
    two = replace(FACTS, partition_count=2)
    assert rooted(two, {0: None, 1: later}, [plan], KEYRING)[0].root == KEYRING.named(["second"])
    assert rooted(FACTS, {0: None}, [plan], KEYRING)[0].root == KEYRING.root
    assert rooted(FACTS, {0: None}, [plan], None)[0].root == []


def test_restoration_without_the_first_key_is_refused() -> None:
    plan = Replayed(0, 0, 9, "")
    signed = Header.fresh("topic-1", 1, "", 0, KEYRING.root)
    with pytest.raises(StateMismatchError, match="key 'first'"):
        rooted(FACTS, {0: signed}, [plan], Keyring({"second": SECRETS["second"]}))
    with pytest.raises(StateMismatchError, match="no keyring is set"):
        rooted(FACTS, {0: signed}, [plan], None)
    with pytest.raises(StateMismatchError, match="began without a keyring"):
        rooted(FACTS, {0: Header("topic-1", 1, "", 0, 0)}, [plan], KEYRING)
