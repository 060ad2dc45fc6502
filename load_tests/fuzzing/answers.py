"""Mutated answers of Redis into the real store: a result, or an error that says what to do.

A list is not made to say that it has many more than a million elements: hiredis reserves what a list claims before it
comes, and nothing in it bounds that.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis.asyncio import Connection

from load_tests.fuzzing.mutation import change_bytes
from load_tests.fuzzing.promises import held_to
from load_tests.fuzzing.state import HEADERS, ROWS
from stream.errors import (
    CommitRefusedError,
    CommitUnknownError,
    StateMismatchError,
    StoreFailedError,
    StoreUnavailableError,
)
from stream.records import Commit, Header, Records
from stream.spans import Spans
from stream.stores import RedisEndpoint, RedisStore, check_server
from stream.stores.packing import packed
from stream.stores.route import cluster_slots
from tests.simulation import loop

DOCUMENTED: Final = (
    CommitRefusedError,
    CommitUnknownError,
    StateMismatchError,
    StoreFailedError,
    StoreUnavailableError,
)
OK: Final = b"+OK\r\n"
QUEUED: Final = b"+QUEUED\r\n"
HEADER: Final = replace(Header.from_bytes(HEADERS[1]), restoring=False)
COMMIT: Final = Commit(
    HEADER.offset, replace(HEADER, offset=HEADER.offset + 1), Records.of([(b"ada", b"x" * 768)]), {}, frozenset({"ada"})
)
RESTORING: Final = replace(HEADER, restoring=True)


def bulk(*words: bytes) -> list[bytes]:
    """Return strings in Redis' protocol."""
    return [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]


def listed(*answers: bytes) -> bytes:
    """Return a list of answers."""
    return b"*%d\r\n" % len(answers) + b"".join(answers)


def _look(header: Header = HEADER) -> list[bytes]:
    return [OK, *bulk(header.to_bytes())]


def _done(*answers: bytes) -> list[bytes]:
    return [OK, *[QUEUED] * len(answers), listed(*answers)]


_SLOTS: Final = listed(
    listed(b":0\r\n", b":8191\r\n", listed(*bulk(b"127.0.0.1"), b":7001\r\n", *bulk(b"a" * 40), b"*0\r\n")),
    listed(b":8192\r\n", b":16383\r\n", listed(b"$-1\r\n", b":7002\r\n", *bulk(b"b" * 40), b"*0\r\n")),
)
_INFO: Final = b"redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
_PAGE: Final = listed(*bulk(b"0"), listed(*bulk(b"{3}:v:ada", b"{3}:v:bob")))


async def _all(steps: Any) -> None:
    async for _ in steps:
        pass


Ask = Callable[[RedisStore], Awaitable[Any]]

EXCHANGES: Final[dict[str, tuple[Ask, list[bytes]]]] = {
    "read_header": (lambda store: store.read_header(), bulk(HEADER.to_bytes())),
    "claim": (lambda store: store.claim("two", HEADER), [*_look(), *_done(OK)]),
    "first claim": (lambda store: store.claim("two", HEADER), [OK, b"$-1\r\n", b":0\r\n", _PAGE]),
    "load": (lambda store: store.load(Spans.of_texts(["ada", "bob"])), [listed(*bulk(packed(b"x" * 768)), b"$-1\r\n")]),
    "read_together": (
        lambda store: store.read_together(["ada"]),
        _done(*bulk(HEADER.to_bytes()), listed(*bulk(packed(b"x" * 768)))),
    ),
    "voters": (lambda store: _all(store.voters()), [listed(*bulk(b"7"), b"*0\r\n"), _PAGE]),
    "commit": (
        lambda store: store.commit(COMMIT),
        [*_look(), listed(*bulk(*ROWS)), *_done(OK, b":1\r\n", b":1\r\n")],
    ),
    "outbox": (lambda store: store.outbox("triggers", 0, 10), [listed(*bulk(*ROWS))]),
    "trim": (lambda store: store.trim("triggers", 10), [b":3\r\n"]),
    "backlog": (lambda store: store.backlog(), [b":3\r\n", b":0\r\n", b":17\r\n"]),
    "clear": (
        lambda store: _all(store.clear(RESTORING.owner)),
        [*_look(RESTORING), *_done(b":3\r\n"), _PAGE, *_look(RESTORING), *_done(b":2\r\n")],
    ),
    "finish_restore": (lambda store: store.finish_restore(HEADER), [*_look(RESTORING), *_done(OK)]),
    "read_request": (lambda store: store.read_request(), bulk(b"{}")),
}

ODD: Final = (
    *[b":5\r\n", b":-1\r\n", b":99999999999999999999\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$0\r\n\r\n", b"+\r\n"],
    *[
        b"-\r\n",
        b"-ERR\r\n",
        b"-MOVED\r\n",
        b"-MOVED 1 x:y\r\n",
        b"-ASK 99999 h:1\r\n",
        b"-EXECABORT\r\n",
        b"-OOM x\r\n",
    ],
    *[b"-\xff\xfe \x00\r\n", b"-LOADING x\r\n", b"-NOAUTH\r\n", b"-READONLY x\r\n", b"-CLUSTERDOWN\r\n", b"-ERR \r\n"],
    *[b"%1\r\n*0\r\n:1\r\n", b"~1\r\n:1\r\n", b">2\r\n+a\r\n+b\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n"],
    *[
        b"=7\r\ntxt:abc\r\n",
        b"$4294967295\r\n",
        b"*4294967295\r\n",
        b"*-7\r\n",
        b"$-7\r\n",
        b"$3\r\nabc",
        b"\r\n",
        b"\0",
    ],
    *[b"*1\r\n" * 200, b"*1000000\r\n", b"$1000000\r\n", b"-" + b"x" * 5000 + b"\r\n", b"+" + b"9" * 5000 + b"\r\n"],
)


def mutated(chance: random.Random, answers: list[bytes]) -> bytes:
    """Return what a server sends in place of ``answers``: one of them is another, missing or doubled, or bytes are."""
    parts = list(answers)
    draw = chance.random()
    place = chance.randrange(len(parts))
    if draw < 0.4:
        parts[place] = chance.choice(ODD)
    elif draw < 0.5:
        parts[place : place + 1] = chance.choice(([], [parts[place]] * 2))
    data = bytearray(b"".join(parts))
    if draw >= 0.4:
        for _ in range(chance.choice((1, 1, 2, 4))):
            change_bytes(chance, data, answers, ODD, _replace_count)
    return bytes(data)


def _replace_count(chance: random.Random, data: bytearray) -> None:
    """Change a number behind a sign that begins a length."""
    places = [place for place, byte in enumerate(data) if byte in b"*$:"]
    if places:
        first = chance.choice(places) + 1
        data[first : first + 1] = chance.choice((b"0", b"-", b"9", b"", b"11", b"x", b"1000000"))


class _Silence(asyncio.Transport):
    """The client's end of a connection to a server that has said all it will say."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def writelines(self, list_of_data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Deaf(Connection):
    """redis-py's connection, with ``said`` for all that it will ever read."""

    said = b""

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=1 << 30, loop=loop)
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        self._writer = asyncio.StreamWriter(_Silence(), protocol, self._reader, loop)
        self._reader.feed_data(self.said)
        self._reader.feed_eof()


@dataclass(frozen=True, slots=True)
class BrokenServer(RedisEndpoint):
    """Where every first connection reads the same bytes, whatever it asks, and later ones nothing."""

    said: list[bytes] = field(default_factory=list, compare=False)

    def connection(self) -> Connection:
        """Return a connection that is not connected yet."""
        # Without what redis-py says of itself: it reads that from its package's files, for each connection anew.
        made = _Deaf(host=self.host, port=self.port, socket_timeout=None, driver_info=None)
        made.said = self.said.pop() if self.said else b""
        return made


def try_answers(chance: random.Random, inputs: int) -> Counter[str]:
    """Ask something of the store and give it mutated answers; the waits between its tries pass in virtual time."""
    return loop.run(_try_answers(chance, inputs))


async def _try_answers(chance: random.Random, inputs: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        name = chance.choice([*EXCHANGES, "cluster_slots", "check_server"])
        answers = EXCHANGES[name][1] if name in EXCHANGES else [_SLOTS] if name == "cluster_slots" else bulk(_INFO)
        data = mutated(chance, answers)
        endpoint = BrokenServer(said=[data])
        with held_to(f"answer to {name}", data, DOCUMENTED, counts):
            if name == "cluster_slots":
                await cluster_slots(endpoint)
            elif name == "check_server":
                await check_server(endpoint)
            else:
                store = RedisStore(endpoint, "{3}:")
                try:
                    await EXCHANGES[name][0](store)
                finally:
                    await store.close()
    return counts
