"""What must hold of a header and its log before a partition is worked on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from stream.errors import GroundswellError, StateMismatchError
from stream.records import Commit, Header, Records
from stream.stores.memory import MemoryStore
from tests.unit.agents.worksite import TOPIC_ID, Site, Tape, closed, like, opened, put_ahead, site_of

pytestmark = pytest.mark.usefixtures("kernels")


async def refusal(site: Site) -> str:
    with pytest.raises(GroundswellError) as caught:
        await site.open()
    await closed(site)
    assert isinstance(caught.value, StateMismatchError)
    return str(caught.value)


async def test_missing_header_of_a_log_that_lost_its_beginning_names_init() -> None:
    text = await refusal(site_of(tape=Tape(begin=17)))
    assert "begins at offset 17" in text
    assert "groundswell init --from 17" in text


async def test_missing_header_beside_a_voter_is_damage() -> None:
    site = site_of()
    put_ahead(site, "ada", 5)
    assert "groundswell restore" in await refusal(site)


HELD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "log cut": ({"offset": 5}, {}, "stands at offset 5, but the log ends at 2"),
    "retention": ({"offset": 1}, {"begin": 2}, "stands at offset 1, but the log begins at 2"),
    "topic made anew": ({"topic_id": "old"}, {}, "topic id 'old', but 'engagement.events' has id 'topic-1'"),
    "partitions": ({"partition_count": 3}, {}, "made for 3 partitions, but 'engagement.events' has 1"),
    "engine": ({"engine": 2}, {}, "decided by engine 2, and this build is engine 1"),
}


async def site_with(header: dict[str, Any], tape: dict[str, Any], **changes: Any) -> Site:
    site = site_of(tape=Tape(**tape), **changes)
    site.tape.write(like("ada", 1), like("ada", 2))
    fields: dict[str, Any] = {"topic_id": TOPIC_ID, "partition_count": 1, "owner": "", "start": 0, "offset": 0} | header
    await MemoryStore(site.server, site.prefix).claim("before", Header(**fields))
    return site


@pytest.mark.parametrize("case", HELD)
async def test_state_that_does_not_fit_its_log_stops_and_names_the_mend(case: str) -> None:
    header, tape, expected = HELD[case]
    text = await refusal(await site_with(header, tape))
    assert expected in text
    # Another namespace has another events topic, so there is no older log to begin on.
    assert "under another namespace, with topics of its own (`groundswell topics create`" in text
    assert "groundswell init" not in text
    # State of another log, partitioning or engine is not brought back into this one.
    assert ("groundswell restore" in text) == (case in {"log cut", "retention"})


async def test_partition_that_is_being_restored_is_left_alone() -> None:
    site = await site_with({}, {})
    await site.store.begin_restore(replace(site.header(), owner="restorer", restoring=True))
    before = dict(site.server.values)
    text = await refusal(site)
    assert "being restored" in text
    assert "run it (again)" in text
    assert site.server.values == before


async def test_topic_without_an_id_fits_any() -> None:
    async with opened(await site_with({"topic_id": "old"}, {}, topic_id="")) as site:
        assert site.tape.position == 0


async def test_owner_that_went_on_since_the_log_was_asked_is_no_damage() -> None:
    site = site_of()
    site.tape.write(like("ada", 1))
    store = MemoryStore(site.server, site.prefix)
    await store.claim("before", Header(topic_id=TOPIC_ID, partition_count=1, owner="", start=0, offset=0))
    claim = site.store.claim

    async def late(owner: str, fresh: Header) -> Header:
        # Before the claim is written, the owner before takes and commits what was written meanwhile.
        site.tape.write(like("ada", 2), like("ada", 3))
        before = await store.read_header()
        assert before is not None
        await store.commit(Commit(0, replace(before, offset=3), Records.of([]), {}))
        return await claim(owner, fresh)

    with patch.object(site.store, "claim", late):
        async with opened(site) as site:
            assert site.tape.position == 3
