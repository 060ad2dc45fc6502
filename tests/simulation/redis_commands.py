"""The commands that a simulated Redis knows, in Redis 7's semantics and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.redis_data import RefusedError, in_order, pattern

if TYPE_CHECKING:
    from tests.simulation.redis_server import SimulatedRedis

Words = Sequence[bytes]


class Simple(str):
    """An answer that goes out as a simple string, as ``+OK``."""

    __slots__ = ()


OK: Final = Simple("OK")
_SYNTAX: Final = "ERR syntax error"
_NO_INTEGER: Final = "ERR value is not an integer or out of range"


@dataclass(frozen=True, slots=True)
class Command:
    """One command; ``run`` gets the words after the name and gives the answer, or raises RefusedError."""

    run: Callable[[SimulatedRedis, Words], Any]
    arity: int
    """Number of words with the name; negative: at least so many."""
    keys: tuple[int | None, int] = (0, 1)
    """Which of the words after the name are keys: up to the first, each second."""
    writes: bool = False
    grows: bool = False
    """Refused when memory is full."""
    while_loading: bool = False

    def fits(self, words: int) -> bool:
        """Return whether ``words``, the name among them, are as many as it takes."""
        return words == self.arity if self.arity >= 0 else words >= -self.arity


# --- strings and keys --------------------------------------------------------------------------------


def _get(server: SimulatedRedis, words: Words) -> bytes | None:
    return server.data.string(words[0])


def _set(server: SimulatedRedis, words: Words) -> Simple:
    if len(words) > 2:
        raise RefusedError(_SYNTAX)
    server.write(words[0], words[1])
    return OK


def _mget(server: SimulatedRedis, words: Words) -> list[bytes | None]:
    values = map(server.data.values.get, words)
    return [value if isinstance(value, bytes) else None for value in values]


def _mset(server: SimulatedRedis, words: Words) -> Simple:
    if len(words) % 2:
        message = "ERR wrong number of arguments for 'mset' command"
        raise RefusedError(message)
    for key, value in zip(words[::2], words[1::2], strict=True):
        server.write(key, value)
    return OK


def _exists(server: SimulatedRedis, words: Words) -> int:
    return sum(key in server.data.values for key in words)


def _unlink(server: SimulatedRedis, words: Words) -> int:
    return sum(server.write(key, None) for key in words)


def _flush(server: SimulatedRedis, words: Words) -> Simple:
    if len(words) > 1 or (words and words[0].upper() not in {b"SYNC", b"ASYNC"}):
        raise RefusedError(_SYNTAX)
    for key in list(server.data.values):
        server.write(key, None)
    return OK


def _size(server: SimulatedRedis, words: Words) -> int:
    return len(server.data.values)


def _scan(server: SimulatedRedis, words: Words) -> list[Any]:
    if not words[0].isdigit() or int(words[0]) >= 1 << 64:
        message = "ERR invalid cursor"
        raise RefusedError(message)
    count, glob = 10, None
    options = words[1:]
    for place in range(0, len(options), 2):
        name, value = options[place].upper(), options[place + 1 : place + 2]
        if not value or name not in {b"MATCH", b"COUNT"}:
            raise RefusedError(_SYNTAX)
        if name == b"MATCH":
            glob = pattern(value[0])
        else:
            count = _integer(value[0])
            if count < 1:
                raise RefusedError(_SYNTAX)
    cursor, keys = server.data.scan(int(words[0]), count, server.scan_again, server.salt)
    return [b"%d" % cursor, [key for key in keys if glob is None or glob.fullmatch(key)]]


# --- sorted sets -------------------------------------------------------------------------------------


def _zadd(server: SimulatedRedis, words: Words) -> int:
    pairs = words[1:]
    if len(pairs) % 2:
        raise RefusedError(_SYNTAX)
    scores = [_score(word) for word in pairs[::2]]
    old = server.data.sorted_set(words[0])
    new = {**old, **dict(zip(pairs[1::2], scores, strict=True))}
    if new != old:
        server.write(words[0], new)
    return len(new) - len(old)


def _zcard(server: SimulatedRedis, words: Words) -> int:
    return len(server.data.sorted_set(words[0]))


def _zrangebyscore(server: SimulatedRedis, words: Words) -> list[bytes]:
    within = _between(words[1], words[2])
    start, count, with_scores = 0, -1, False
    options = list(words[3:])
    while options:
        name = options.pop(0).upper()
        if name == b"WITHSCORES":
            with_scores = True
        elif name == b"LIMIT" and len(options) >= 2:
            start, count = _integer(options.pop(0)), _integer(options.pop(0))
        else:
            raise RefusedError(_SYNTAX)
    found = [item for item in in_order(server.data.sorted_set(words[0])) if within(item[1])]
    if start < 0:
        return []
    found = found[start:] if count < 0 else found[start : start + count]
    if with_scores:
        return [part for member, score in found for part in (member, b"%.17g" % score)]
    return [member for member, _ in found]


def _zremrangebyscore(server: SimulatedRedis, words: Words) -> int:
    within = _between(words[1], words[2])
    old = server.data.sorted_set(words[0])
    left = {member: score for member, score in old.items() if not within(score)}
    if len(left) < len(old):
        server.write(words[0], left or None)
    return len(old) - len(left)


def _between(low: bytes, high: bytes) -> Callable[[float], bool]:
    ends = []
    for word in (low, high):
        exclusive = word.startswith(b"(")
        try:
            # Read by C's strtod as it is: white space before a number is skipped, and nothing is 0.
            ends.append((exclusive, _score(word[exclusive:].lstrip() or b"0")))
        except RefusedError:
            message = "ERR min or max is not a float"
            raise RefusedError(message) from None
    (above, first), (below, last) = ends

    def within(score: float) -> bool:
        return (score > first if above else score >= first) and (score < last if below else score <= last)

    return within


def _score(word: bytes) -> float:
    try:
        # C's strtod takes neither white space at the ends nor Python's underscores.
        score = math.nan if not word or word != word.strip() or b"_" in word else float(word)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        message = "ERR value is not a valid float"
        raise RefusedError(message)
    return score


def _integer(word: bytes) -> int:
    digits = word.removeprefix(b"-")
    plain = digits.isdigit() and (digits == b"0" or not digits.startswith(b"0")) and word != b"-0"
    if not plain or not -(1 << 63) <= int(word) < 1 << 63:
        raise RefusedError(_NO_INTEGER)
    return int(word)


# --- the server --------------------------------------------------------------------------------------


def _ping(server: SimulatedRedis, words: Words) -> Simple | bytes:
    return words[0] if words else Simple("PONG")


def _info(server: SimulatedRedis, words: Words) -> bytes:
    fields = {
        "redis_version": "7.0.15",
        "role": "slave" if server.replica else "master",
        "loading": str(int(server.loading)),
        "cluster_enabled": str(int(server.cluster is not None)),
        **server.settings,
        "maxmemory_policy": server.settings["maxmemory-policy"],
        "aof_enabled": str(int(server.settings["appendonly"] == "yes")),
    }
    return "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()


def _config(server: SimulatedRedis, words: Words) -> Any:
    match [word.decode() for word in words]:
        case [verb, *names] if verb.upper() == "GET" and names:
            globs = [pattern(name.lower().encode()) for name in names]
            found = [name for name in server.settings if any(glob.fullmatch(name.encode()) for glob in globs)]
            return [part.encode() for name in found for part in (name, server.settings[name])]
        case [verb, name, value] if verb.upper() == "SET" and name in server.settings:
            server.settings[name] = value
            return OK
    return _no_subcommand("CONFIG", words)


def _cluster(server: SimulatedRedis, words: Words) -> Any:
    if words[0].upper() != b"SLOTS":
        return _no_subcommand("CLUSTER", words)
    if server.cluster is None:
        message = "ERR This instance has cluster support disabled"
        raise RefusedError(message)
    return server.cluster.slots()


def _client(server: SimulatedRedis, words: Words) -> Simple:
    if words[0].upper() not in {b"SETINFO", b"SETNAME"}:
        _no_subcommand("CLIENT", words)
    return OK


def _select(server: SimulatedRedis, words: Words) -> Simple:
    if words[0] != b"0":
        message = "ERR DB index is out of range"
        raise RefusedError(message)
    return OK


def _no_subcommand(name: str, words: Words) -> Any:
    message = f"ERR unknown subcommand '{words[0].decode(errors='replace')}'. Try {name} HELP."
    raise RefusedError(message)


_FIRST: Final = (1, 1)
_ALL: Final = (None, 1)

COMMANDS: Final[dict[bytes, Command]] = {
    b"GET": Command(_get, 2, _FIRST),
    b"SET": Command(_set, -3, _FIRST, writes=True, grows=True),
    b"MGET": Command(_mget, -2, _ALL),
    b"MSET": Command(_mset, -3, (None, 2), writes=True, grows=True),
    b"EXISTS": Command(_exists, -2, _ALL),
    b"UNLINK": Command(_unlink, -2, _ALL, writes=True),
    b"DEL": Command(_unlink, -2, _ALL, writes=True),
    b"FLUSHALL": Command(_flush, -1, writes=True),
    b"DBSIZE": Command(_size, 1),
    b"SCAN": Command(_scan, -2),
    b"ZADD": Command(_zadd, -4, _FIRST, writes=True, grows=True),
    b"ZCARD": Command(_zcard, 2, _FIRST),
    b"ZRANGEBYSCORE": Command(_zrangebyscore, -4, _FIRST),
    b"ZREMRANGEBYSCORE": Command(_zremrangebyscore, 4, _FIRST, writes=True),
    b"PING": Command(_ping, -1),
    b"INFO": Command(_info, -1, while_loading=True),
    b"CONFIG": Command(_config, -2, while_loading=True),
    b"CLUSTER": Command(_cluster, -2, while_loading=True),
    b"CLIENT": Command(_client, -2, while_loading=True),
    b"SELECT": Command(_select, 2, while_loading=True),
}


def keys_of(calls: Iterable[tuple[Command, Words]]) -> list[bytes]:
    """Return the keys that commands name."""
    return [key for command, words in calls for key in words[slice(0, *command.keys)]]
