"""A commit whose answer is lost comes to a certain end, and is never applied twice."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from stream.agents import commit as commit_room
from stream.agents.commit import commit_exactly_once, retrying
from stream.errors import CommitRefusedError, CommitUnknownError, StoreFailedError, StoreUnavailableError
from stream.records import Commit, Header, OutboxRow, Records
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.simulation.loop import run

PREFIX = "{0}:"
UNKNOWN = CommitUnknownError("no answer")
AWAY = StoreUnavailableError("loading")


class Case:
    """A claimed partition, and a commit of one record and one row that takes it from offset 0 to 5."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.store = MemoryStore(self.server, PREFIX)
        self.unknown = 0

    async def claim(self, owner: str = "me") -> Header:
        return await self.store.claim(owner, Header("topic", 1, "", 0, 0))

    async def commit(self) -> Commit:
        header = replace(await self.claim(), offset=5)
        header.sequences["rejects"] = 1
        return Commit(0, header, Records.of([(b"ada", b"x" * 768)]), {"rejects": [OutboxRow(1, 0, b"ada", b"value")]})

    async def finish(self, commit: Commit) -> None:
        await commit_exactly_once(self.store, commit, self.note)

    def note(self) -> None:
        self.unknown += 1

    async def found(self) -> tuple[int, str, int]:
        """Return the header's offset and owner, and how many rows the outbox holds."""
        header = await self.store.read_header()
        assert header is not None
        return header.offset, header.owner, len(await self.store.outbox("rejects", 0, 10))


@pytest.fixture
def case() -> Case:
    return Case()


class Meddler(MemoryStore):
    """Redis' twin to whose header something happens between a lost answer and the next look."""

    async def read_header(self) -> Header | None:
        header = await super().read_header()
        if header is not None:
            await super().claim("other", header)
        return await super().read_header()


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("times", [1, 3])
async def test_lost_answer_is_settled_by_the_header(case: Case, executed: bool, times: int) -> None:
    commit = await case.commit()
    case.server.faults += [Fault("commit", UNKNOWN) for _ in range(times - 1)]
    case.server.faults.append(Fault("commit", UNKNOWN, executed=executed))
    await case.finish(commit)
    assert await case.found() == (5, "me", 1)
    assert case.unknown == times
    assert case.server.faults == []


async def test_executed_commit_is_not_sent_again(case: Case) -> None:
    commit = await case.commit()
    case.server.faults += [Fault("commit", UNKNOWN, executed=True), Fault("commit", AssertionError("sent again"))]
    await case.finish(commit)
    assert len(case.server.faults) == 1


async def test_refused_after_unknown_is_settled_by_the_header(case: Case) -> None:
    commit = await case.commit()

    class Late(MemoryStore):
        """The lost commit is executed only when the second is on its way."""

        async def commit(self, commit: Commit) -> None:
            if case.unknown:
                await super().commit(commit)
            await super().commit(commit)

    case.store = Late(case.server, PREFIX)
    case.server.faults.append(Fault("commit", UNKNOWN))
    await case.finish(commit)
    assert await case.found() == (5, "me", 1)


async def test_unknown_commit_under_another_owners_token_is_refused(case: Case) -> None:
    commit = await case.commit()
    case.store = Meddler(case.server, PREFIX)
    case.server.faults.append(Fault("commit", UNKNOWN))
    with pytest.raises(CommitRefusedError, match=r"hold offset 0 or 5, found offset 0"):
        await case.finish(commit)
    assert "{0}:v:ada" not in case.server.values


async def test_unknown_commit_whose_header_is_gone_is_refused(case: Case) -> None:
    commit = await case.commit()

    class Emptied(MemoryStore):
        async def read_header(self) -> Header | None:
            return None

    case.store = Emptied(case.server, PREFIX)
    case.server.faults.append(Fault("commit", UNKNOWN, executed=True))
    with pytest.raises(CommitRefusedError, match="found no header"):
        await case.finish(commit)


async def test_refused_commit_without_a_lost_answer_is_not_looked_up(case: Case) -> None:
    commit = await case.commit()
    await case.claim("other")
    case.server.faults.append(Fault("read_header", AssertionError("looked up")))
    with pytest.raises(CommitRefusedError, match="claimed by 'other'"):
        await case.finish(commit)
    assert case.unknown == 0


async def test_store_that_is_away_is_asked_until_it_is_back(case: Case) -> None:
    commit = await case.commit()
    case.server.faults += [Fault("commit", AWAY), Fault("commit", UNKNOWN), Fault("read_header", AWAY)]
    await case.finish(commit)
    assert await case.found() == (5, "me", 1)


async def test_store_that_failed_is_not_asked_again(case: Case) -> None:
    commit = await case.commit()
    case.server.faults += [Fault("commit", StoreFailedError("OOM")), Fault("commit", AssertionError("asked again"))]
    with pytest.raises(StoreFailedError, match="OOM"):
        await case.finish(commit)


async def test_long_wait_is_logged(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(commit_room, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(commit_room, "LONGEST_WAIT_SECONDS", 0.002)
    caplog.set_level(logging.WARNING)
    commit = await case.commit()
    case.server.faults += [Fault("commit", AWAY) for _ in range(3)]
    case.server.faults += [Fault("read_header", AWAY) for _ in range(3)]
    await case.finish(commit)
    await retrying(case.store.read_header, "header")
    assert "a commit waits for the store: loading" in caplog.text
    assert "waiting for the store (header): loading" in caplog.text


def test_try_that_took_long_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """One of a large commit takes many times the longest wait, and the first of several says what mends it."""
    caplog.set_level(logging.WARNING)

    class Slow(MemoryStore):
        async def commit(self, commit: Commit) -> None:
            await asyncio.sleep(25)
            await super().commit(commit)

    async def main() -> None:
        case = Case()
        commit = await case.commit()
        case.store = Slow(case.server, PREFIX)
        case.server.faults.append(Fault("commit", UNKNOWN))
        await case.finish(commit)
        assert asyncio.get_running_loop().time() == pytest.approx(50, abs=1)

    run(main())
    assert caplog.text.count("a commit waits for the store: no answer") == 1


async def test_reads_and_claims_are_repeated_and_give_the_answer(case: Case) -> None:
    case.server.faults += [Fault("claim", AWAY), Fault("claim", UNKNOWN, executed=True)]
    header = await retrying(case.claim, "claim")
    assert header.owner == "me"


async def test_store_that_was_away_for_long_is_asked_within_half_a_second(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    commit = await case.commit()
    case.server.faults += [Fault("commit", AWAY) for _ in range(20)]
    await case.finish(commit)
    case.server.faults += [Fault("read_header", AWAY) for _ in range(20)]
    await retrying(case.store.read_header, "header")
    assert len(waits) == 40
    assert max(waits) == 0.5
