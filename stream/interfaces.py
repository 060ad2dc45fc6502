"""The seams between the rooms: what a stage returns, what a store and a voter table offer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.details import DETAIL, Details
from stream.records import Activation, Commit, ContentId, Header, Keys, OutboxRow, Records
from stream.signals import SIGNAL
from stream.signatures import Keyring
from stream.spans import Spans

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose control records count at one place of a partition's log, where they must be signed."""

    topic: str
    """Full name of the events topic."""
    keyring: Keyring
    keys: Keys
    """The keys in force; never changed in place."""
    counters: Mapping[str, int]
    """By type of control record, the counter of the last one taken; never changed in place."""

    def counted(self, name: str, counter: int) -> Authority:
        """Return the authority after a record of type ``name`` with that counter."""
        return replace(self, counters={**self.counters, name: counter})

    def rotated(self, keys: Keys, where: str) -> Authority:
        """Return the authority under these keys; raise StateMismatchError for one that is not in the keyring."""
        self.keyring.require(keys, where)
        return replace(self, keys=keys)


@dataclass(slots=True)
class Decoded:
    """Step 1's result: one element for each log row, in log order.

    A rejected row has its code in ``reject`` and nothing else of it may be used.
    """

    kinds: NDArray[np.int64]
    """Kind code (records.KIND); -1 where rejected."""
    reject: NDArray[np.int64]
    """Code of the reason (records.REJECT); 0 where accepted."""
    times: NDArray[np.int64]
    """The event's own time in ms since the epoch; the row's ``now`` where it gives none."""
    now: NDArray[np.int64]
    """Log time at the row: the largest append time (or tick) up to it, ms; 0 while unknown."""
    hashes: NDArray[np.uint64]
    """xxh3-64 of source, NUL, id; never 0."""
    voters: Spans
    """Voter id (the event's subject); empty for rejected rows and control records."""
    ids: Spans
    """The event's own id, as ``sources``; empty for rejected rows. All three lie in one buffer."""
    sources: Spans
    homes: NDArray[np.int64]
    """The partition that the voter belongs to; -1 for rejected rows and control records."""
    activations: dict[int, Activation]
    """By row, the activations."""
    again: NDArray[np.bool_]
    """Control records that were taken just before: they change nothing."""
    authority: Authority | None = None
    """Whose control records count after these rows; None where none are signed."""
    details: Details = field(default_factory=lambda: Details(np.empty(0, np.uint8), np.zeros(0, DETAIL)))
    """What of their data features read."""
    signals: NDArray[Any] = field(default_factory=lambda: np.zeros(0, SIGNAL))
    """SIGNAL[n]: what the rows say under the taxonomy that is active at each; zeros before step 5 comes to a row."""
    unknown: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    """By row, which of its texts the taxonomy does not know: bits by place in UNKNOWN; as ``signals``."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.kinds)


@dataclass(slots=True)
class Fired:
    """Step 7's result: one element for each trigger, by row, then campaign slot."""

    rows: NDArray[np.int64]
    campaigns: NDArray[np.int64]
    """Campaign slot."""
    before: NDArray[np.float64]
    """The campaign's model's score as of the voter's event before, in the precision of records (a single)."""
    after: NDArray[np.float64]
    canaries: NDArray[np.int64]
    """Bit ``m``: model slot ``m``'s score was its canary's."""


@dataclass(frozen=True, slots=True)
class Strongest:
    """The features that weighed most in some scores; what follows ``counts`` is one score's after the other's."""

    counts: NDArray[np.int64]
    """How many features each score has here."""
    features: NDArray[np.int64]
    """Catalogue index."""
    values: NDArray[np.float64]
    contributions: NDArray[np.float64]
    """In the score's unit before its link."""


class VoterTable(Protocol):
    """The records of one partition in memory, and which of them Redis does not have yet."""

    records: NDArray[Any]
    """Array of records.VOTER by slot. Replaced when the table grows: fetch it anew after ``index``."""
    limit: int
    """How many voters ``evict`` leaves in memory; may be changed at any time."""

    @property
    def changed(self) -> int:
        """How many records have changed since ``take_dirty``."""
        ...

    def __len__(self) -> int:
        """Return how many voters are in memory."""
        ...

    def index(self, voters: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the slot of each voter (-1 for an empty id), and the slots whose records must be loaded first."""
        ...

    def fill(self, slots: NDArray[np.int64], values: Sequence[bytes | None], next_offset: int) -> None:
        """Put loaded records in place; None starts an empty one. Raise CommitRefusedError for a record ahead."""
        ...

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Undo ``index`` for slots whose loading failed."""
        ...

    def mark(self, slots: NDArray[np.int64]) -> None:
        """Note that the records in these slots (repeats and -1 allowed) have changed."""
        ...

    def voters(self, slots: NDArray[np.int64]) -> Spans:
        """Return the voter ids of slots in use."""
        ...

    def take_dirty(self) -> Records:
        """Copy out the changed records and mark them as on their way (neither dirty nor evictable)."""
        ...

    def committed(self) -> None:
        """Note that what ``take_dirty`` gave last is in Redis."""
        ...

    def evict(self) -> int:
        """Drop clean records beyond the limit, least recently used first; return how many."""
        ...


class PartitionStore(Protocol):
    """One partition's state in Redis (or its twin in memory)."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        ...

    async def claim(self, owner: str, fresh: Header | None) -> Header:
        """Write ``owner`` into the header (into ``fresh`` if there is none) and return it as it then stands.

        Raises StateMissingError where there is neither, StateMismatchError where the header is missing beside any
        voter key.
        """
        ...

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return each voter's record bytes, None for an unknown voter: one MGET."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Write all of ``commit`` in one atomic step, or nothing.

        Raises CommitRefusedError (another owner or offset), CommitUnknownError (no answer),
        StoreUnavailableError (nothing done, retry) or StoreFailedError (stop).
        """
        ...

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows of an output with a sequence above ``after``, in sequence."""
        ...

    async def trim(self, output: str, through: int) -> None:
        """Remove the rows of an output up to and with the sequence ``through``."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Library(Protocol):
    """The contents of the configuration topic that are in hand."""

    def get(self, content: ContentId) -> bytes | None:
        """Return a content's bytes, None while it is not in hand."""
        ...

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Return when every one of ``contents`` is in hand."""
        ...


class Both(Protocol):
    """Does two pieces of work at once, neither of which touches what the other does."""

    def __call__(self, one: Callable[[], None], other: Callable[[], None], /) -> None:
        """Return when both are done; raise what ``one`` raised, else what ``other`` did."""
        ...


class Profiler(Protocol):
    """Counts the processor's time of steps."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Count the block, in which nothing may be awaited, to a step."""
        ...

    def timed(self, name: str, work: Coroutine[Any, Any, _Result]) -> Coroutine[Any, Any, _Result]:
        """Return ``work``, whose own running counts to a step."""
        ...


class NoProfile:
    """Counts nothing (Profiler), and costs next to nothing."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return _NOTHING

    def timed(self, name: str, work: Coroutine[Any, Any, _Result]) -> Coroutine[Any, Any, _Result]:
        """Return ``work`` as it is."""
        return work


_NOTHING: Final = nullcontext()
