"""How long an exchange with Redis may take, in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest

from stream.errors import CommitUnknownError, StoreUnavailableError
from stream.records import Commit, Header, Records
from stream.stores.endpoint import RedisEndpoint
from stream.stores.redis import RedisStore
from stream.stores.wire import Session, Wire
from tests.simulation.loop import run

MEGABYTE = memoryview(bytes(1_000_000))


class Link:
    """A connection on which each byte takes its time, to a server that gives these answers and then none.

    After ``room`` bytes it takes no more.
    """

    is_connected = True

    def __init__(self, bytes_a_second: float, answers: Sequence[Any] = (), room: float = math.inf) -> None:
        self.bytes_a_second = bytes_a_second
        self.answers = list(answers)
        self.room = room

    async def send_packed_command(self, pieces: Sequence[bytes | memoryview], *, check_health: bool) -> None:
        assert not check_health
        size = sum(map(len, pieces))
        self.room -= size
        await asyncio.sleep(1e9 if self.room < 0 else size / self.bytes_a_second)

    async def read_response(self) -> Any:
        if not self.answers:
            await asyncio.sleep(1e9)
        return self.answers.pop(0)

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait


def asked(link: Any, payload: bytes | Sequence[bytes | memoryview]) -> float:
    """Return how many seconds it takes until a payload is answered ``OK``."""

    async def main() -> float:
        assert await Session(link, 5.0).ask(payload, 1) == [b"OK"]
        return asyncio.get_running_loop().time()

    return run(main())


def refused(link: Any, payload: bytes | Sequence[bytes | memoryview]) -> tuple[str, float]:
    """Return what is said of a payload that is given up, and after how many seconds."""

    async def main() -> tuple[str, float]:
        with pytest.raises(TimeoutError) as caught:
            await Session(link, 5.0).ask(payload, 1)
        return str(caught.value), asyncio.get_running_loop().time()

    return run(main())


@pytest.mark.parametrize("bytes_a_second", [6e6, 0.3e6])
def test_commit_that_catches_up_goes_through_a_slow_link(bytes_a_second: float) -> None:
    seconds = asked(Link(bytes_a_second, [b"OK"]), [MEGABYTE] * 300)
    assert seconds == pytest.approx(300e6 / bytes_a_second, rel=0.01)


def test_piece_has_time_for_its_size() -> None:
    assert asked(Link(6e6, [b"OK"]), bytes(MEGABYTE) * 100) == pytest.approx(100 / 6, abs=0.1)


def test_answer_is_waited_for_as_long_as_the_setting_says() -> None:
    text, seconds = refused(Link(6e6), b"PING")
    assert seconds == pytest.approx(5, abs=0.1)
    assert text == (
        "of 0.0 MB it took 0.0 and then neither took more nor answered for longer than redis.answer_timeout_seconds = "
        "5; raise it if server and link are only slow"
    )


def test_server_that_takes_no_more_is_given_up_as_soon_as_one_that_does_not_answer() -> None:
    text, seconds = refused(Link(20e6, room=40e6), [MEGABYTE] * 100)
    assert seconds == pytest.approx(40 / 20 + 5.2, abs=0.1)
    assert text.startswith("of 100.0 MB it took 40.0 and then neither took more nor answered")


def test_answer_to_a_large_payload_has_time_for_what_buffers_hold() -> None:
    text, seconds = refused(Link(20e6), [MEGABYTE] * 100)
    assert seconds == pytest.approx(100 / 20 + 5 + 2, abs=0.1)
    assert text.startswith("of 100.0 MB it took 100.0 and")


def store_on(link: Any) -> RedisStore:
    async def connect() -> Any:
        return link

    store = RedisStore(RedisEndpoint(), "{3}:")
    store._commits, store._reads = Wire(connect, 5.0), Wire(connect, 5.0)
    return store


def test_commit_whose_answer_does_not_come_names_the_setting() -> None:
    header = Header("topic-id", 1, "me", 0, 7)
    commit = Commit(7, header, Records.of([]), {})
    link = Link(6e6, [b"OK", header.to_bytes()])
    with pytest.raises(CommitUnknownError, match=r"at offset 7 may or may not be written: .*redis\.answer_timeout_sec"):
        run(store_on(link).commit(commit))


def test_read_whose_answer_does_not_come_names_the_setting() -> None:
    with pytest.raises(StoreUnavailableError, match=r"of 0\.0 MB it took 0\.0 and .*redis\.answer_timeout_seconds = 5"):
        run(store_on(Link(6e6)).read_header())
