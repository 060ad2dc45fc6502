"""A Redis of one process: sessions that speak its protocol to a Dataset, and what befalls a server.

Everything happens in single steps of the caller; nothing here waits, reads a clock or draws a number. Delays, cuts
and late executions are the wire's (``link``), and ``redis_wire`` is what a client holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.crc import key_slot

from tests.simulation.link import LinkBrokenError
from tests.simulation.redis_commands import COMMANDS, OK, Command, Simple, Words, keys_of
from tests.simulation.redis_data import Dataset, RefusedError, Value

_LOADING: Final = "LOADING Redis is loading the dataset in memory"
_READONLY: Final = "READONLY You can't write against a read only replica."
_OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."


class SimulatedRedis:
    """One server. Its attributes may be set at any time; what they change is met by the next command."""

    def __init__(self, host: str = "redis", port: int = 6379) -> None:
        self.host = host
        self.port = port
        self.data = Dataset()
        self.sessions: dict[int, Session] = {}
        self.down = False
        """Refuses connections."""
        self.loading = False
        """Up, and still reading its data: answers LOADING."""
        self.replica = False
        """Answers READONLY to a write."""
        self.full = False
        """Has reached maxmemory under noeviction: answers OOM to what needs more."""
        self.scan_again = 0
        """How many keys of one step of a SCAN come again in the next."""
        self.salt = 0
        """Another one after each restart and failover: a cursor of SCAN is of no use beyond them."""
        self.settings = {"maxmemory-policy": "noeviction", "appendonly": "yes", "maxmemory": "0"}
        self.cluster: SimulatedCluster | None = None
        self._opened = 0

    # --- what befalls a server ---------------------------------------------------------------------------

    def copy(self) -> Dataset:
        """Return the data as of now: what a lagging replica holds, or what an append-only file had last written."""
        return self.data.copy()

    def stop(self) -> None:
        """Go away: every session breaks, what was on its way to one is lost, and no connection is taken."""
        self.down = True
        self._break_sessions()

    def start(self) -> None:
        """Come back with the data that stopping left; nothing comes to one that is there already."""
        if not self.down:
            return
        self.down = False
        self.salt += 1

    def restart(self) -> None:
        """Stop and start at once."""
        self.stop()
        self.start()

    def fall_back(self, past: Dataset) -> None:
        """Restart with the data of a copy: what was written since is lost, though it was answered."""
        self.restart()
        self.data = self._owned(past)

    def promote(self, replica: Dataset) -> SimulatedRedis:
        """Give address and role to a replica that holds ``replica``; return the old primary, now a replica itself.

        Sessions stay with the old primary, which refuses their writes with READONLY; new ones go to the new one. In
        a cluster it has no slot any more, and answers MOVED to reads as well.
        """
        old = SimulatedRedis(self.host, self.port)
        old.data, old.sessions, old.settings, old.salt = self.data, self.sessions, self.settings, self.salt
        old.cluster = self.cluster
        old.replica = True
        for session in old.sessions.values():
            session.server = old
        self.sessions = {}
        self.data = self._owned(replica)
        self.salt += 1
        return old

    def _owned(self, data: Dataset) -> Dataset:
        """Return a copy without the keys of slots that another node has since: nobody ever reads those any more."""
        copy = data.copy()
        if self.cluster is not None:
            copy.values = {key: value for key, value in copy.values.items() if self.cluster.owner(key) is self}
        return copy

    def _break_sessions(self) -> None:
        for session in list(self.sessions.values()):
            session.close(broken=True)

    # --- sessions and writes -----------------------------------------------------------------------------

    def open(self) -> Session:
        """Take a connection; raises LinkBrokenError where the server is down."""
        if self.down:
            message = f"{self.host}:{self.port} refuses the connection"
            raise LinkBrokenError(message)
        self._opened += 1
        self.sessions[self._opened] = Session(self, self._opened)
        return self.sessions[self._opened]

    def write(self, key: bytes, value: Value | None) -> bool:
        """Put a value (None: nothing) in the place of a key's, touch it, and return whether there was any before."""
        known = key in self.data.values
        if value is not None:
            self.data.values[key] = value
        elif known:
            del self.data.values[key]
        if known or value is not None:
            for session in self.sessions.values():
                session.touched = session.touched or key in session.watched
        return known


class Session:
    """What a server knows of one connection; it outlives its client while bytes are on their way to it."""

    def __init__(self, server: SimulatedRedis, number: int) -> None:
        self.server = server
        self.number = number
        self.watched: set[bytes] = set()
        self.touched = False
        self.on_broken: list[Any] = []
        """Called without arguments when the server breaks the connection."""
        self._reader = hiredis.Reader()
        self._queued: list[tuple[Command, Words]] | None = None
        self._refused = False
        self._open = True

    def receive(self, data: bytes) -> bytes:
        """Execute the commands that are whole with ``data``, and return their answers in Redis' protocol.

        Raises LinkBrokenError where the connection is closed.
        """
        if not self._open:
            message = f"the connection to {self.server.host}:{self.server.port} is closed"
            raise LinkBrokenError(message)
        self._reader.feed(data)
        answers: list[bytes] = []
        while (words := self._reader.gets()) is not False:
            answers.append(encoded(self.execute(words)))
        return b"".join(answers)

    def close(self, *, broken: bool = False) -> None:
        """End the session: it forgets its WATCH and executes nothing more."""
        if self._open:
            self._open = False
            self.server.sessions.pop(self.number, None)
            for tell in self.on_broken if broken else ():
                tell()

    def execute(self, words: Words) -> Any:
        """Execute one command and return its answer; an error answer is returned too."""
        name = words[0].upper()
        try:
            if name in _TRANSACTION:
                return self._control(name, words[1:])
            command = self._command(words)
            if self._queued is not None:
                self._queued.append((command, words[1:]))
                return Simple("QUEUED")
            return command.run(self.server, words[1:])
        except RefusedError as error:
            return error

    def _control(self, name: bytes, words: Words) -> Any:
        """Execute what is never queued."""
        if bool(words) == (name == b"WATCH"):
            return _TRANSACTION[name](self, words)
        error = _arity(name)
        if name == b"EXEC":
            self._forget()
            message = f"EXECABORT Transaction discarded because of: {str(error).removeprefix('ERR ')}"
            raise RefusedError(message)
        self._refused = True
        raise error

    def _command(self, words: Words) -> Command:
        """Return the command that ``words`` call; raise RefusedError, and spoil a MULTI, where it may not run."""
        command = COMMANDS.get(words[0].upper())
        try:
            if command is None:
                name = words[0].decode(errors="replace")
                begin = "".join(f"'{word.decode(errors='replace')}' " for word in words[1:])
                message = f"ERR unknown command '{name}', with args beginning with: {begin}"
                raise RefusedError(message)
            if not command.fits(len(words)):
                raise _arity(words[0])
            self._admit([(command, words[1:])])
        except RefusedError:
            self._refused = True
            raise
        return command

    def _admit(self, calls: Sequence[tuple[Command, Words]]) -> None:
        """Raise RefusedError where the server as it is now runs no such commands."""
        server = self.server
        if server.cluster is not None:
            server.cluster.admit(server, keys_of(calls))
        if server.full and any(command.grows for command, _ in calls):
            raise RefusedError(_OOM)
        if server.replica and any(command.writes for command, _ in calls):
            raise RefusedError(_READONLY)
        if server.loading and not all(command.while_loading for command, _ in calls):
            raise RefusedError(_LOADING)

    def _multi(self, words: Words) -> Simple:
        if self._queued is not None:
            message = "ERR MULTI calls can not be nested"
            raise RefusedError(message)
        self._queued, self._refused = [], False
        return OK

    def _exec(self, words: Words) -> list[Any] | None:
        if self._queued is None:
            message = "ERR EXEC without MULTI"
            raise RefusedError(message)
        calls, refused, touched = self._queued, self._refused, self.touched
        self._forget()
        try:
            self._admit(calls)
        except RefusedError as error:
            if str(error).startswith("MOVED"):
                raise
            message = f"EXECABORT Transaction discarded because of: {error}"
            raise RefusedError(message) from None
        if refused:
            message = "EXECABORT Transaction discarded because of previous errors."
            raise RefusedError(message)
        return None if touched else [self._run(command, words) for command, words in calls]

    def _run(self, command: Command, words: Words) -> Any:
        try:
            return command.run(self.server, words)
        except RefusedError as error:
            return error

    def _discard(self, words: Words) -> Simple:
        if self._queued is None:
            message = "ERR DISCARD without MULTI"
            raise RefusedError(message)
        self._forget()
        return OK

    def _watch(self, words: Words) -> Simple:
        if self._queued is not None:
            message = "ERR WATCH inside MULTI is not allowed"
            raise RefusedError(message)
        if self.server.cluster is not None:
            self.server.cluster.admit(self.server, words)
        self.watched.update(words)
        return OK

    def _unwatch(self, words: Words) -> Simple:
        self.watched, self.touched = set(), False
        return OK

    def _forget(self) -> None:
        """Leave the MULTI, and with it the WATCH."""
        self._queued, self._refused = None, False
        self._unwatch(())


_TRANSACTION: Final[dict[bytes, Callable[[Session, Words], Any]]] = {
    b"MULTI": Session._multi,
    b"EXEC": Session._exec,
    b"DISCARD": Session._discard,
    b"WATCH": Session._watch,
}


def _arity(name: bytes) -> RefusedError:
    return RefusedError(f"ERR wrong number of arguments for '{name.decode(errors='replace').lower()}' command")


class SimulatedCluster:
    """Several servers with the 16,384 slots between them, each in one stretch at first."""

    def __init__(self, nodes: Sequence[SimulatedRedis]) -> None:
        self.nodes = list(nodes)
        self._owners = [self.nodes[slot * len(nodes) // 16_384] for slot in range(16_384)]
        self._stretches: list[list[Any]] = []
        """What CLUSTER SLOTS answers; empty where it is not known."""
        for node in nodes:
            node.cluster = self

    def owner(self, key: bytes) -> SimulatedRedis:
        """Return the node that a key is on."""
        return self._owners[key_slot(key)]

    def move(self, slot: int, to: SimulatedRedis) -> None:
        """Give a slot and its keys to another node: its old one answers MOVED, and whoever watched a key is told."""
        old = self._owners[slot]
        for key in [key for key in old.data.values if key_slot(key) == slot] if to is not old else ():
            to.write(key, old.data.values[key])
            old.write(key, None)
        self._owners[slot] = to
        self._stretches = []

    def admit(self, node: SimulatedRedis, keys: Sequence[bytes]) -> None:
        """Raise RefusedError where ``node`` does not hold the keys' one slot."""
        slots = {key_slot(key) for key in keys}
        if len(slots) > 1:
            message = "CROSSSLOT Keys in request don't hash to the same slot"
            raise RefusedError(message)
        for slot in slots:
            owner = self._owners[slot]
            if owner is not node:
                message = f"MOVED {slot} {owner.host}:{owner.port}"
                raise RefusedError(message)

    def slots(self) -> list[Any]:
        """Return the answer of CLUSTER SLOTS."""
        if not self._stretches:
            for slot, owner in enumerate(self._owners):
                if slot and owner is self._owners[slot - 1]:
                    self._stretches[-1][1] = slot
                else:
                    identity = f"{self.nodes.index(owner):040x}".encode()
                    self._stretches.append([slot, slot, [owner.host.encode(), owner.port, identity, []]])
        return self._stretches


def encoded(answer: Any) -> bytes:
    """Return an answer in Redis' protocol (RESP2)."""
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, Simple):
        return b"+%b\r\n" % answer.encode()
    if isinstance(answer, RefusedError):
        # What a command said may be quoted in it, line ends and all.
        return b"-%b\r\n" % str(answer).replace("\r", " ").replace("\n", " ").encode()
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, bytes):
        return b"$%d\r\n%b\r\n" % (len(answer), answer)
    return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))
