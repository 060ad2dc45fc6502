"""Every error of Redis, and what the caller of a commit gets for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from stream.errors import (
    CommitRefusedError,
    CommitUnknownError,
    GroundswellError,
    StateMismatchError,
    StoreFailedError,
    StoreUnavailableError,
)
from stream.records import Commit, Header, OutboxRow, Records
from stream.spans import Spans
from stream.stores.endpoint import RedisEndpoint
from stream.stores.redis import RedisStore
from tests.unit.stores.resp import Answer, FakeRedis, bulk, close

_HEADER = Header("topic", 8, "one", start=100, offset=100)
_COMMIT = Commit(100, replace(_HEADER, offset=110), Records.of([(b"ada", b"x" * 768)]), {})

_TRANSIENT = {
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "BUSY": b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "MASTERDOWN": b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    "MOVED": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "ASK": b"-ASK 3999 127.0.0.1:6381\r\n",
    "TRYAGAIN": b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "CLUSTERDOWN": b"-CLUSTERDOWN Hash slot not served\r\n",
    "NOREPLICAS": b"-NOREPLICAS Not enough good replicas to write.\r\n",
}
_LASTING = {
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "MISCONF": b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n",
    "NOAUTH": b"-NOAUTH Authentication required.\r\n",
    "NOPERM": b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
    "CROSSSLOT": b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
    "WRONGTYPE": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    "ERR": b"-ERR unknown command 'MSET', with args beginning with: '{3}:v:ada' 'x'\r\n",
}
_ERRORS: list[tuple[str, bytes, type[GroundswellError]]] = [
    *((code, text, StoreUnavailableError) for code, text in _TRANSIENT.items()),
    *((code, text, StoreFailedError) for code, text in _LASTING.items()),
]
each_error = pytest.mark.parametrize(("code", "text", "expected"), _ERRORS, ids=[code for code, *_ in _ERRORS])


def _fake(**answers: Answer | Callable[[list[bytes]], Answer]) -> FakeRedis:
    """A server on which the commit goes well, but for ``answers``."""
    well: dict[str, Answer | Callable[[list[bytes]], Answer]] = {
        "WATCH": b"+OK\r\n",
        "GET": bulk(_HEADER.to_bytes()),
        "MULTI": b"+OK\r\n",
        "MSET": b"+QUEUED\r\n",
        "EXEC": b"*1\r\n+OK\r\n",
    }
    return FakeRedis(well | answers)


def _store(fake: FakeRedis, answer_timeout_seconds: float = 5.0) -> RedisStore:
    endpoint = RedisEndpoint(port=fake.port, answer_timeout_seconds=answer_timeout_seconds)
    return RedisStore(endpoint, "{3}:")


async def _fails(expected: type[GroundswellError], awaitable: Awaitable[object]) -> str:
    with pytest.raises(GroundswellError) as caught:
        await awaitable
    assert type(caught.value) is expected
    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None or "ada" not in str(caught.value.__cause__)
    return str(caught.value)


async def test_commits_that_go_well_use_one_connection_and_one_exchange_each_after_the_first_look() -> None:
    async with _fake() as fake:
        store = _store(fake)
        await store.commit(_COMMIT)
        await store.commit(_COMMIT)
        await store.close()
        look, transaction = ["WATCH", "GET"], ["MULTI", "MSET", "EXEC"]
        assert fake.heard == [(1, name) for name in (*look, *transaction, *look, *transaction, *look)]


@each_error
async def test_error_answered_to_a_read(code: str, text: bytes, expected: type[GroundswellError]) -> None:
    async with _fake(MGET=text) as fake:
        store = _store(fake)
        message = await _fails(expected, store.load(Spans.of_texts(["ada"])))
        assert f"answered {code}: " in message
        await store.close()


@each_error
async def test_error_answered_before_the_transaction(code: str, text: bytes, expected: type[GroundswellError]) -> None:
    async with _fake(GET=text) as fake:
        store = _store(fake)
        assert f"answered {code}: " in await _fails(expected, store.commit(_COMMIT))
        assert (1, "MULTI") not in fake.heard
        await store.close()


@each_error
async def test_error_answered_to_a_queued_command(code: str, text: bytes, expected: type[GroundswellError]) -> None:
    aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    async with _fake(MSET=text, EXEC=aborted) as fake:
        store = _store(fake)
        assert f"answered {code}: " in await _fails(expected, store.commit(_COMMIT))
        await store.close()


@each_error
async def test_error_answered_to_exec_itself(code: str, text: bytes, expected: type[GroundswellError]) -> None:
    async with _fake(EXEC=text) as fake:
        store = _store(fake)
        assert f"answered {code}: " in await _fails(expected, store.commit(_COMMIT))
        await store.close()


@pytest.mark.parametrize("code", ["READONLY", "NOREPLICAS", "OOM", "MISCONF"])
async def test_exec_that_aborts_for_a_reason_of_its_own_is_judged_by_it(code: str) -> None:
    reason = (_TRANSIENT | _LASTING)[code][1:]
    expected = StoreUnavailableError if code in _TRANSIENT else StoreFailedError
    async with _fake(EXEC=b"-EXECABORT Transaction discarded because of: " + reason) as fake:
        store = _store(fake)
        assert f"answered {code}: " in await _fails(expected, store.commit(_COMMIT))
        await store.close()


async def test_exec_that_aborts_without_a_reason_stops() -> None:
    async with _fake(EXEC=b"-EXECABORT Transaction discarded because of previous errors.\r\n") as fake:
        store = _store(fake)
        assert "answered EXECABORT" in await _fails(StoreFailedError, store.commit(_COMMIT))
        await store.close()


@pytest.mark.parametrize("text", [_LASTING["WRONGTYPE"], _LASTING["OOM"], _TRANSIENT["LOADING"], b"+OK\r\n+OK\r\n"])
async def test_error_inside_the_answer_of_exec_stops(text: bytes) -> None:
    async with _fake(EXEC=b"*2\r\n+OK\r\n" + text if text.startswith(b"-") else b"*2\r\n" + text) as fake:
        store = _store(fake)
        message = await _fails(StoreFailedError, store.commit(_COMMIT))
        assert "does not roll back" in message
        await store.close()


async def test_nil_from_exec_is_tried_again_while_the_header_stays_ours() -> None:
    answers = [b"*-1\r\n", b"*-1\r\n", b"*1\r\n+OK\r\n"]
    async with _fake(EXEC=lambda _: answers.pop(0)) as fake:
        store = _store(fake)
        await store.commit(_COMMIT)
        assert [name for _, name in fake.heard].count("EXEC") == 3
        await store.close()


async def test_nil_from_exec_is_a_refusal_once_the_header_is_anothers() -> None:
    headers = [_HEADER, replace(_HEADER, owner="two")]
    async with _fake(EXEC=b"*-1\r\n", GET=lambda _: bulk(headers.pop(0).to_bytes())) as fake:
        store = _store(fake)
        assert "claimed by 'two'" in await _fails(CommitRefusedError, store.commit(_COMMIT))
        await store.close()


async def test_nil_from_exec_without_end_is_given_back_to_the_caller() -> None:
    async with _fake(EXEC=b"*-1\r\n") as fake:
        store = _store(fake)
        await _fails(StoreUnavailableError, store.commit(_COMMIT))
        await store.close()


async def test_nobody_listening_is_unavailable() -> None:
    async with FakeRedis() as fake:
        pass
    for call in (_store(fake).commit(_COMMIT), _store(fake).load(Spans.of_texts(["ada"])), _store(fake).read_header()):
        assert "cannot be reached" in await _fails(StoreUnavailableError, call)


@pytest.mark.parametrize("name", ["WATCH", "GET"])
@pytest.mark.parametrize("answer", [close, None], ids=["closed", "silent"])
async def test_no_answer_before_the_transaction_is_unavailable(name: str, answer: Answer) -> None:
    async with _fake(**{name: answer}) as fake:
        await _fails(StoreUnavailableError, _store(fake, 0.1).commit(_COMMIT))


@pytest.mark.parametrize("name", ["MULTI", "MSET", "EXEC"])
@pytest.mark.parametrize("answer", [close, None], ids=["closed", "silent"])
async def test_no_answer_once_the_transaction_was_sent_is_unknown(name: str, answer: Answer) -> None:
    async with _fake(**{name: answer}) as fake:
        assert "may or may not be written" in await _fails(CommitUnknownError, _store(fake, 0.1).commit(_COMMIT))


async def test_unknown_commit_is_settled_on_a_connection_made_after_it() -> None:
    async with _fake(EXEC=close) as fake:
        store = _store(fake)
        assert await store.read_header() == _HEADER
        await _fails(CommitUnknownError, store.commit(_COMMIT))
        before = fake.connections
        assert await store.read_header() == _HEADER
        assert fake.heard[-1] == (before + 1, "GET")
        await store.close()


async def test_connection_of_a_cancelled_commit_is_not_used_again() -> None:
    reached = asyncio.Event()

    def silent(_: list[bytes]) -> Answer:
        reached.set()
        return None

    async with _fake(EXEC=silent) as fake:
        store = _store(fake)
        task = asyncio.create_task(store.commit(_COMMIT))
        await asyncio.wait_for(reached.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fake.answers["EXEC"] = b"*1\r\n+OK\r\n"
        await store.commit(_COMMIT)
        assert [number for number, name in fake.heard if name == "EXEC"][-1] == 2
        await store.close()


async def test_connection_of_a_cancelled_read_is_not_used_again() -> None:
    reached = asyncio.Event()

    def silent(_: list[bytes]) -> Answer:
        reached.set()
        return None

    async with _fake(MGET=silent) as fake:
        store = _store(fake)
        task = asyncio.create_task(store.load(Spans.of_texts(["ada"])))
        await asyncio.wait_for(reached.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fake.answers["MGET"] = b"*1\r\n$3\r\nbob\r\n"
        assert await store.load(Spans.of_texts(["bob"])) == [b"bob"]
        assert fake.heard[-1] == (2, "MGET")
        await store.close()


async def test_connection_that_met_an_error_is_not_used_again() -> None:
    async with _fake(GET=_TRANSIENT["READONLY"]) as fake:
        store = _store(fake)
        await _fails(StoreUnavailableError, store.commit(_COMMIT))
        fake.answers["GET"] = bulk(_HEADER.to_bytes())
        await store.commit(_COMMIT)
        assert [number for number, name in fake.heard if name == "EXEC"][-1] == 2
        await store.close()


async def test_trim_whose_answer_was_lost_is_not_repeated_behind_the_callers_back() -> None:
    async with _fake(ZREMRANGEBYSCORE=close) as fake:
        await _fails(StoreUnavailableError, _store(fake).trim("triggers", 5))
        assert fake.heard == [(1, "ZREMRANGEBYSCORE")]


async def test_damaged_outbox_row_does_not_show_whose_it_is() -> None:
    async with _fake(ZRANGEBYSCORE=b"*1\r\n" + bulk(b"\0ada")) as fake:
        store = _store(fake)
        assert "row of 4 bytes" in await _fails(StateMismatchError, store.outbox("triggers", 0, 10))
        await store.close()


@pytest.mark.parametrize("answer", [b">0\r\n", b"-MOVED\r\n", b"%1\r\n*0\r\n:1\r\n", b"*4294967295\r\n"])
async def test_answer_that_the_library_stumbles_over_is_an_error_of_ours(answer: bytes) -> None:
    async with _fake(GET=answer) as fake:
        store = _store(fake)
        assert "not expected of it" in await _fails(StoreFailedError, store.read_header())
        await store.close()


async def test_outbox_that_is_not_in_sequence_is_damage_and_no_reading_without_end() -> None:
    """A server that answers each page with the same full page; the commit of an erasure reads page after page."""
    page = [OutboxRow(sequence, 0, b"bob", b"{}", ()).to_bytes() for sequence in range(1, 1001)]
    async with _fake(ZRANGEBYSCORE=b"*1000\r\n" + b"".join(map(bulk, page))) as fake:
        store = _store(fake)
        message = "outbox triggers of partition {3} holds sequence 1 behind"
        assert f"{message} 7" in await _fails(StateMismatchError, store.outbox("triggers", 7, 1000))
        erasing = replace(_COMMIT, erased=frozenset({"ada"}))
        assert f"{message} 1000" in await _fails(StateMismatchError, store.commit(erasing))
        await store.close()


async def test_voters_are_looked_for_from_the_beginning_on_each_new_connection() -> None:
    """A cursor means nothing to another server: going on with it there would pass voters over."""
    asked: list[bytes] = []

    def scan(words: list[bytes]) -> bytes:
        asked.append(words[1])
        cursor = b"0" if len(asked) == 4 else b"%d" % len(asked)
        return b"*2\r\n" + bulk(cursor) + b"*1\r\n" + bulk(b"{3}:v:voter-%d" % len(asked))

    async with _fake(SCAN=scan) as server:
        store = RedisStore(RedisEndpoint(port=server.port), "{3}:")
        found: list[str] = []
        async for page in store.voters():
            found += page
            if len(asked) == 2:
                # Any other call that meets an error drops the store's connections.
                await store.close()
        await store.close()
    assert asked == [b"0", b"1", b"0", b"3"]
    assert found == ["voter-1", "voter-2", "voter-3", "voter-4"]
