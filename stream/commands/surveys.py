"""One partition's log, looked through before rows are taken from it: from where it is read, and what it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.commands.outcomes import Collector, Cuts, Outcomes
from stream.commands.reading import PartitionReader
from stream.commands.replay import Derived, Replay
from stream.commands.sampling import Design
from stream.commands.verify import Sources
from stream.continuity import LogFacts
from stream.errors import StateMismatchError
from stream.interfaces import Library
from stream.records import Header
from stream.signatures import root_of
from stream.snapshots import Fitting, choose_to_replay


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass over a partition found."""

    partition: int
    found: Header
    """The header in Redis, of which the beginning counts; where there is none, one that begins with the log."""
    snapshot: Fitting | None
    """What a replay begins with; None: with nothing, where the deployment began."""
    stop: int
    """Offset at which the log ended."""
    begin_ms: int
    """The first log time; 0: none is known."""
    end_ms: int
    cuts: Cuts
    outcomes: Outcomes
    barred: frozenset[int]
    """Voters (``moments.hashed``) of whom there are no rows."""
    seen: Mapping[str, Counter[str]]
    """As ``Collector.seen``."""

    @property
    def first(self) -> int:
        """Offset of the first row that is replayed."""
        return self.found.start if self.snapshot is None else self.snapshot.manifest.offset

    @property
    def begun(self) -> str:
        """What a replay begins with, in words."""
        if self.snapshot is None:
            return "where the deployment began"
        return f"the snapshot {self.snapshot.name.text}"

    async def replay(self, sources: Sources, library: Library, log: PartitionReader) -> Replay:
        """Begin a replay over ``log``, which is closed with it."""
        return await _replay(sources, library, log, self.partition, self.found, self.snapshot)


async def survey(
    sources: Sources, number: int, design: Design, library: Library, passed: Callable[[int, int], None]
) -> Survey:
    """Go through a partition's log once; ``passed`` is told how many rows (as offsets), and of how many.

    Raises StateMismatchError where the log's beginning is gone and no snapshot stands in for it, ConfigurationError
    where it activates what the configuration topic does not hold.
    """
    log = sources.reader("events", number)
    try:
        first, stop = log.bounds()
        found, snapshot = await _beginning(sources, number, first, stop)
        replay = await _replay(sources, library, log, number, found, snapshot)
    except BaseException:
        log.close()
        raise
    collector = Collector(design.label, design.schedule, replay.header.log_time_ms, replay.taxonomy, library)
    replay.observe(collector.observe)
    begun = replay.header.offset

    async def leave(_derived: Derived) -> None:
        passed(replay.header.offset - begun, stop - begun)

    try:
        await replay.to(stop, leave)
    finally:
        replay.close()
    return Survey(
        partition=number,
        found=found,
        snapshot=snapshot,
        stop=stop,
        begin_ms=collector.begin_ms,
        end_ms=collector.end_ms,
        cuts=collector.cuts(),
        outcomes=collector.outcomes(),
        barred=frozenset(collector.barred),
        seen=collector.seen,
    )


async def _replay(
    sources: Sources, library: Library, log: PartitionReader, number: int, found: Header, snapshot: Fitting | None
) -> Replay:
    topic, keyring = sources.events_topic, sources.keyring
    return await Replay.open(number, topic, found, log, library, keyring, snapshot=snapshot)


async def _beginning(sources: Sources, number: int, first: int, stop: int) -> tuple[Header, Fitting | None]:
    """Return the header of which a replay needs the beginning, and the oldest snapshot if the log begins later."""
    store = sources.store(number)
    try:
        found = await store.read_header()
    finally:
        await store.close()
    if found is None:
        return Header.fresh("", sources.partition_count, "", first, root_of(sources.keyring)), None
    if first <= found.start:
        return found, None
    chosen, refused = None, list[str]()
    if sources.snapshots is not None:
        facts = LogFacts(sources.events_topic, found.topic_id, found.partition_count, first, stop)
        chosen, refused = await choose_to_replay(sources.snapshots(number), facts, found.start)
    if chosen is None:
        # Without what is gone nobody knows who withdrew consent there, and features would not be the stream's.
        message = (
            f"partition {number}: its log begins at offset {first} now and the deployment began at {found.start}, and "
            "no snapshot fits: rows can be taken only from a whole log, or from a snapshot on (`snapshot.url`)"
        )
        raise StateMismatchError("; ".join([message, *refused]))
    return found, chosen
