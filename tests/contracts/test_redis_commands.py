"""The same random commands from two sessions to the simulated Redis and to the real ones: the same answers."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from stream.stores.endpoint import RedisEndpoint
from stream.stores.outcomes import code_of
from stream.stores.route import connected
from stream.stores.wire import Session, pack
from tests.simulation.redis_server import SimulatedRedis
from tests.simulation.redis_wire import endpoint_of

SCORES = (b"1", b"2", b"3.5", b"10", b"-2", b"1e3", b"+inf", b"-inf")
ENDS = (*SCORES, b"(1", b"(3.5", b"(-inf", b"(+inf", b"(10")
ODD = (b"", b"x", b"(", b"nan", b"1_0", b"(x", b"-0", b"01", b"9223372036854775808")


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.kafka)])
def real(request: pytest.FixtureRequest) -> RedisEndpoint:
    url = os.environ.get("GROUNDSWELL_TEST_REDIS")
    if request.param == "redis" and not url:
        pytest.skip("GROUNDSWELL_TEST_REDIS is not set")
    valkey: RedisEndpoint = request.getfixturevalue("valkey")
    return valkey if request.param == "valkey" else RedisEndpoint.from_url(url or "")


class Script:
    """Draws commands; keys are few, so that sessions meet."""

    def __init__(self, seed: int, prefix: bytes, *, nested: bool) -> None:
        self.nested = nested
        """Valkey spoils a transaction for MULTI or WATCH inside it, Redis only refuses them."""
        self.inside = [False, False]
        self.chance = random.Random(seed)
        self.keys = [prefix + key for key in (b"a", b"b", b"c", b"box", b"box2")]
        self.prefix = prefix

    def key(self) -> bytes:
        return self.chance.choice(self.keys)

    def some(self, most: int) -> list[bytes]:
        return [self.key() for _ in range(self.chance.randint(1, most))]

    def text(self) -> bytes:
        return self.chance.choice((b"", b"v", b"two\r\nlines", b"\x00\xff", b"12", b"x" * 700))

    def number(self, choices: tuple[bytes, ...]) -> bytes:
        return self.chance.choice(ODD) if self.chance.random() < 0.04 else self.chance.choice(choices)

    def box(self) -> bytes:
        return self.chance.choice(self.keys[-2:]) if self.chance.random() < 0.9 else self.key()

    def command(self, session: int) -> list[bytes]:
        """Return the next command of a session; MULTI and WATCH come inside a MULTI only where ``nested``."""
        words = self.odd(self.sound())
        while not self.nested and self.inside[session] and words[0].upper() in {b"MULTI", b"WATCH"}:
            words = self.odd(self.sound())
        if words[0].upper() in {b"MULTI", b"EXEC", b"DISCARD"}:
            # One with a word too many counts as inside, whatever it does: the next command is drawn for either.
            self.inside[session] = words[0].upper() == b"MULTI" or (self.inside[session] and len(words) > 1)
        return words

    def odd(self, words: list[bytes]) -> list[bytes]:
        draw = self.chance.random()
        if draw < 0.02:
            del words[self.chance.randrange(1, len(words)) if len(words) > 1 else 0 :]
            return words or [b"PING"]
        if draw < 0.04:
            return [*words, self.text()]
        return [words[0].lower(), *words[1:]] if draw < 0.1 else words

    def sound(self) -> list[bytes]:
        name = self.chance.choices(
            (
                *(b"GET", b"SET", b"MGET", b"MSET", b"EXISTS", b"UNLINK", b"DEL", b"ZADD", b"ZRANGEBYSCORE"),
                *(b"ZREMRANGEBYSCORE", b"ZCARD", b"WATCH", b"MULTI", b"EXEC", b"DISCARD", b"PING", b"NOSUCH"),
            ),
            (4, 4, 2, 3, 2, 1, 1, 6, 6, 3, 2, 5, 7, 10, 1, 1, 0.2),
        )[0]
        if name in {b"GET", b"ZCARD"}:
            return [name, self.key()]
        if name == b"SET":
            return [name, self.chance.choice(self.keys[:3]) if self.chance.random() < 0.9 else self.key(), self.text()]
        if name in {b"MGET", b"EXISTS", b"UNLINK", b"DEL", b"WATCH"}:
            return [name, *self.some(3)]
        if name == b"MSET":
            return [name, *[word for key in self.some(3) for word in (key, self.text())]]
        if name == b"ZADD":
            pairs = [(self.number(SCORES), self.text()) for _ in range(self.chance.randint(1, 3))]
            return [name, self.box(), *[word for pair in pairs for word in pair]]
        if name == b"ZRANGEBYSCORE":
            limit = [b"LIMIT", self.number((b"0", b"1", b"2")), self.number((b"0", b"1", b"5", b"-1"))]
            scores = [b"WITHSCORES"] if self.chance.random() < 0.3 else []
            ends = [self.number(ENDS), self.number(ENDS)]
            return [name, self.box(), *ends, *scores, *(limit if self.chance.random() < 0.5 else [])]
        if name == b"ZREMRANGEBYSCORE":
            return [name, self.box(), self.number(ENDS), self.number(ENDS)]
        return [name]


class Sessions:
    """Opens sessions, and closes them at the end of the block."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Callable[[RedisEndpoint], Awaitable[Session]]:
        return self._open

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _open(self, endpoint: RedisEndpoint) -> Session:
        connection = await connected(endpoint)
        self._stack.push_async_callback(connection.disconnect)
        return Session(connection, 5)


def _plain(answer: Any) -> Any:
    if isinstance(answer, list):
        return [_plain(each) for each in answer]
    # Texts differ between versions, and nothing rests on them: code and class are what the store reads.
    return (type(answer).__name__, code_of(answer)) if isinstance(answer, Exception) else answer


@pytest.mark.parametrize("seed", range(6))
async def test_same_commands_get_the_same_answers(
    request: pytest.FixtureRequest, real: RedisEndpoint, seed: int
) -> None:
    prefix = f"{{commands-{secrets.token_hex(6)}}}:".encode()
    script = Script(seed, prefix, nested=request.node.callspec.params["real"] == "redis")
    ours, theirs = endpoint_of(SimulatedRedis()), real
    kinds: set[str] = set()
    async with Sessions() as opened:
        pairs = [(await opened(ours), await opened(theirs)) for _ in range(2)]
        for step in range(500):
            session = script.chance.randrange(2)
            batch = [script.command(session) for _ in range(script.chance.choice((1, 1, 2, 4)))]
            payload = b"".join([pack(*words) for words in batch])
            found, expected = [_plain(await each.ask(payload, len(batch))) for each in pairs[session]]
            assert found == expected, f"seed {seed}, step {step}, session {session}: {batch}"
            kinds.update("touched" if answer is None else "done" for answer in expected[-1:] if batch[-1] == [b"EXEC"])
            kinds.update(answer[0] for answer in expected if isinstance(answer, tuple))
        await pairs[0][1].ask(pack(b"DISCARD") + pack(b"DEL", *script.keys), 2)
    assert {"touched", "done", "ExecAbortError", "ResponseError"} <= kinds


@pytest.mark.parametrize("glob", [b"*", b"v:*", b"v:?", b"v:[a-c]", b"v:[^a]*", rb"v:\*", b"v:[]", b"[vw]:\\[*"])
async def test_scan_gives_the_keys_that_match_as_the_real_one(real: RedisEndpoint, glob: bytes) -> None:
    prefix = f"{{scan-{secrets.token_hex(6)}}}:".encode()
    keys = [prefix + key for key in (b"v:a", b"v:b", b"v:*", b"v:[x]", b"w:[y", b"v:", b"v:ab", b"header")]
    found = []
    async with Sessions() as opened:
        for endpoint in (real, endpoint_of(SimulatedRedis())):
            session = await opened(endpoint)
            await session.ask(pack(b"MSET", *[word for key in keys for word in (key, b"1")]), 1)
            seen, cursor = set[bytes](), b"0"
            while True:
                command = pack(b"SCAN", cursor, b"MATCH", prefix + glob, b"COUNT", b"3")
                ((cursor, page),) = await session.ask(command, 1)
                seen.update(page)
                if cursor == b"0":
                    break
            found.append(seen)
            await session.ask(pack(b"DEL", *keys), 1)
    assert found[0] == found[1]


async def test_scan_gives_each_lasting_key_whatever_is_written_meanwhile() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        server = SimulatedRedis()
        lasting = {b"lasting-%d" % number for number in range(200)}
        for key in lasting:
            server.write(key, b"1")
        session = server.open()
        seen: list[bytes] = []
        cursor = b"0"
        while True:
            server.scan_again = chance.randrange(3)
            cursor, page = session.execute([b"SCAN", cursor, b"COUNT", b"%d" % chance.randint(1, 40)])
            seen += page
            for _ in range(chance.randrange(10)):
                server.write(b"passing-%d" % chance.randrange(50), chance.choice((None, b"2")))
            if cursor == b"0":
                break
        assert lasting <= set(seen)
        assert len(seen) > len(set(seen))


@pytest.mark.parametrize(
    ("flag", "begin", "end", "code"),
    [
        ("full", (b"CONFIG", b"SET", b"maxmemory", b"1"), (b"CONFIG", b"SET", b"maxmemory", b"0"), "OOM"),
        ("replica", (b"REPLICAOF", b"127.0.0.1", b"1"), (b"REPLICAOF", b"NO", b"ONE"), "READONLY"),
    ],
)
async def test_server_that_takes_no_writes_answers_as_the_real_one(
    valkey: RedisEndpoint, flag: str, begin: tuple[bytes, ...], end: tuple[bytes, ...], code: str
) -> None:
    server = SimulatedRedis()
    key = f"{{refusals-{secrets.token_hex(6)}}}:a".encode()
    write, look = pack(b"SET", key, b"1"), pack(b"GET", key)
    async with Sessions() as opened:
        admin = await opened(valkey)
        answers = []
        for endpoint in (endpoint_of(server), valkey):
            session = await opened(endpoint)
            # One transaction is queued before the server changes, one after it.
            waiting = await opened(endpoint)
            await waiting.ask(pack(b"MULTI") + write, 2)
            setattr(server, flag, True)
            await admin.ask(pack(*begin), 1)
            try:
                found = await session.ask(write + pack(b"MULTI") + write + pack(b"EXEC") + look, 5)
                found += await waiting.ask(pack(b"EXEC"), 1)
            finally:
                setattr(server, flag, False)
                await admin.ask(pack(*end), 1)
            answers.append([(_plain(answer), str(answer)) for answer in found])
    assert answers[0] == answers[1]
    assert answers[0][0][0][1] == answers[0][5][0][1] == code
