"""Carries outbox rows to their topic, each once and in sequence.

Every session begins anew from what stands in Kafka and Redis: fence, tail, outbox. Nothing that a former producer
seemed to have sent is remembered, so an error of any kind, or no answer at all, has one remedy: a new session.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced

from stream.agents.closing import unbroken
from stream.agents.commit import LONGEST_WAIT_SECONDS
from stream.agents.fence import FenceUnsupportedError
from stream.agents.handover import Handover
from stream.agents.tail import last_sequence
from stream.agents.writing import OPEN_SECONDS, Writer
from stream.errors import CommitRefusedError, RelayFencedError, RelayGapError, StoreUnavailableError
from stream.interfaces import PartitionStore
from stream.records import OutboxRow

log = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS: Final = 0.05
BACKOFF_LAST_SECONDS: Final = 5.0
FENCED_SECONDS: Final = 1.0
"""Wait of an owner that was fenced: two that are awake at once take turns no faster than this."""
BATCH_BYTES: Final = 256 * 1024
"""A batch holds one row in any case; halved where the broker finds a batch too large."""
PAGE_ROWS: Final = (1, 256, 4096)
"""Outbox rows read at once: fewest, at first, most."""
PAGE_BYTES: Final = (1024 * 1024, 4 * 1024 * 1024)
"""A page smaller than the first is doubled, one larger than the second is halved."""

MODES: Final = ("fenced", "idempotent", "plain")
"""How writes are protected, best first."""

OnSent = Callable[[Sequence[OutboxRow]], None]


class Modes:
    """The modes that a process tries, and those that its brokers have granted to any of its relays.

    A broker that once granted one knows it: whatever it says later, no relay goes on in a worse one.
    """

    def __init__(self, tried: Sequence[str] = MODES) -> None:
        """Try some of MODES, best first; nothing was granted yet."""
        self.tried = tuple(tried)
        self._granted: tuple[str, ...] = ()

    def grant(self, mode: str) -> None:
        """Note that a broker has granted ``mode``."""
        self._granted = max(self._granted, MODES[MODES.index(mode) :], key=len)

    def has_granted(self, mode: str) -> bool:
        """Return whether a broker has granted ``mode``, or a better one."""
        return mode in self._granted


class OutboxRelay(ABC):
    """What relays have in common: waiting, opening a writer, starting again after an error."""

    def __init__(
        self,
        store: PartitionStore,
        output: str,
        topic: str,
        kafka: Mapping[str, Any],
        modes: Modes,
        tried: Sequence[str],
        on_sent: OnSent | None,
    ) -> None:
        """Take one output of one partition's store; ``kafka`` holds aiokafka's connection settings.

        ``modes`` are shared by all relays of a process, and ``tried`` those of them that this one tries.
        """
        self._store = store
        self._output = output
        self._topic = topic
        self._kafka = kafka
        self._modes = modes
        self._tried = tried
        self._level = 0
        """How many of the modes tried were refused."""
        self._on_sent = on_sent
        self._awake = asyncio.Event()
        self._handed = Handover()
        self._has_read = False
        """Whether this session has read a page: what follows may be handed over."""
        self._committed = 0
        self._sent = 0
        self._has_looked = False
        """Whether the outbox has told what was sent before."""
        self._failures = 0
        self._page = PAGE_ROWS[1]
        self._batch_bytes = BATCH_BYTES

    @property
    def backlog(self) -> int:
        """Rows that are committed and not known to be sent."""
        return max(0, self._committed - self._sent)

    @property
    def sent_through(self) -> int | None:
        """The last sequence that is known to be sent; None while the outbox was not looked at yet."""
        return self._sent if self._has_looked else None

    @property
    def mode(self) -> str:
        """How writes are protected: one of MODES; the one to be tried next while nothing was written."""
        return next(filter(self._modes.has_granted, self._tried[: self._level]), self._tried[self._level])

    @property
    def _is_outdone(self) -> bool:
        """Whether another relay was granted what this one was refused: the refusal was a passing error."""
        return self.mode != self._tried[self._level]

    def wake(self, sequence: int, rows: Sequence[OutboxRow] = ()) -> None:
        """Say that rows up to and with ``sequence`` are committed; ``rows``, the last of them, need not be read."""
        if self._has_read:
            self._handed.put(rows)
        self._committed = max(self._committed, sequence)
        self._awake.set()

    def forget(self) -> None:
        """Read from the store whatever is not being sent yet: a commit is about to withdraw rows there."""
        self._handed.clear()

    async def run(self) -> None:
        """Relay until cancelled; Kafka's and the store's passing errors are waited out.

        Raises CommitRefusedError where the store lost rows: the partition is to be claimed again. Raises RelayGapError,
        StateMismatchError and StoreFailedError: nothing but stopping is right then.
        """
        while True:
            try:
                await self._await_rows()
                try:
                    await self._session()
                finally:
                    self._has_read = False
                    self._handed.clear()
            except MessageSizeTooLargeError as error:
                self._batch_bytes = max(1, self._batch_bytes // 2)
                await self._back_off(error)
            except (KafkaError, RelayFencedError, StoreUnavailableError, TimeoutError, OSError) as error:
                await self._back_off(error)

    @abstractmethod
    async def _session(self) -> None:
        """Open a writer, send rows until an error, and close it."""

    async def _back_off(self, error: Exception) -> None:
        seconds = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, 16))
        if isinstance(error, StoreUnavailableError):
            # A full outbox holds up the partition.
            seconds = min(seconds, LONGEST_WAIT_SECONDS)
        if isinstance(error, RelayFencedError | ProducerFenced):
            seconds = max(seconds, FENCED_SECONDS)
        self._failures += 1
        log.warning(
            "relay of %s to %s starts again in %.2f s (attempt %d, backlog %d): %r",
            self._output,
            self._topic,
            seconds,
            self._failures,
            self.backlog,
            error,
        )
        await asyncio.sleep(seconds)

    async def _await_rows(self) -> None:
        """Return once the outbox holds a row: until then nothing is fenced, and no connection is held.

        Raises CommitRefusedError where the store has fallen back behind what was committed to it: rows that it lost
        would be waited for without an end, and a full outbox keeps the next commit from finding that out.
        """
        while True:
            self._awake.clear()
            known = self._committed
            # The header first: then an empty outbox says that all it counts was sent.
            header = await self._store.read_header()
            committed = 0 if header is None else header.sequences.get(self._output, 0)
            if committed < known:
                message = f"the header counts {committed} rows of output {self._output!r}, and {known} were committed"
                raise CommitRefusedError(message)
            self._committed = max(self._committed, committed)
            rows = await self._store.outbox(self._output, 0, 1)
            self._has_looked = True
            if rows:
                self._sent = max(self._sent, rows[0].sequence - 1)
                return
            self._sent = max(self._sent, committed)
            await self._awake.wait()

    async def _take_page(self) -> list[OutboxRow]:
        """Return the lowest rows in the outbox, without a gap among them; what was handed over follows a page read.

        From the lowest and not from the last one sent, so that a row that comes back below it (a store that fell
        behind and was replayed) is trimmed and does not stay for ever.
        """
        is_woken = self._awake.is_set()
        self._awake.clear()
        committed = self._committed
        if self._has_read:
            handed = self._handed.take(self._sent)
            if handed or (self._sent >= committed and not is_woken):
                return handed
        rows = await self._store.outbox(self._output, 0, self._page)
        self._has_read = True
        if not rows:
            # Rows leave the outbox only when they are known to be written, whoever wrote them.
            self._sent = max(self._sent, committed)
        else:
            size = sum(len(row.value or b"") for row in rows)
            if len(rows) == self._page and size < PAGE_BYTES[0]:
                self._page = min(self._page * 2, PAGE_ROWS[2])
            elif size > PAGE_BYTES[1]:
                self._page = max(self._page // 2, PAGE_ROWS[0])
        for before, row in pairwise(rows):
            self._check_next(before.sequence, row, "the outbox")
        return rows

    def _check_next(self, last: int, row: OutboxRow, where: str) -> None:
        if row.sequence == last + 1:
            return
        missing = f"after sequence {last} in {where} comes {row.sequence}, expected {last + 1}"
        mend = "run `groundswell verify`"
        if last == 0:
            missing = (
                f"{where} begins at offset 0 and holds no row, and the next is {row.sequence}, expected 1: what was "
                "sent is lost, or the topic was made anew"
            )
            mend = (
                "`groundswell restore --no-snapshot` has all of it sent again, where the log reaches back to the "
                f"deployment's start; to go on without it, have Kafka delete the records of {where} up to its end "
                "(kafka-delete-records.sh)"
            )
        message = f"output {self._output!r} for {self._topic} has a gap: {missing}; {mend}"
        raise RelayGapError(message)

    async def _await_more(self, writer: Writer) -> None:
        try:
            async with asyncio.timeout(writer.seconds_to_renewal()):
                await self._awake.wait()
        except TimeoutError:
            await writer.renew()

    def _note_sent(self, rows: Sequence[OutboxRow]) -> None:
        self._failures = 0
        self._sent = max(self._sent, rows[-1].sequence)
        if self._on_sent is not None:
            self._on_sent(rows)

    async def _open(self, transactional_id: str | None, partition: int) -> Writer:
        """Return an open writer in the best mode that the broker knows; one that was ever granted is never left."""
        while True:
            mode = self.mode
            writer = Writer(self._kafka, mode, self._batch_bytes)
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    if mode == "fenced" and transactional_id is not None:
                        await unbroken(writer.open_fenced(transactional_id, self._topic, partition))
                    else:
                        await unbroken(writer.open())
            except BaseException as error:
                await writer.close()
                if not isinstance(error, FenceUnsupportedError):
                    raise
                if self._modes.has_granted(mode) or mode == self._tried[-1]:
                    raise KafkaError(str(error)) from error
                self._level += 1
                log.warning(
                    "relay of %s to %s falls back to %s writes: %s", self._output, self._topic, self.mode, error
                )
            else:
                self._modes.grant(mode)
                self._level = self._tried.index(mode)
                return writer


class Relay(OutboxRelay):
    """One output of one partition, on its way to the partition of the same number in ``topic``.

    Where the broker knows no fence (the embedded one), an idempotent or plain producer writes instead: exact as long
    as one worker runs and its writes are answered.
    """

    def __init__(
        self,
        store: PartitionStore,
        output: str,
        topic: str,
        partition: int,
        kafka: Mapping[str, Any],
        transactional_id: str,
        *,
        modes: Modes | None = None,
        on_sent: OnSent | None = None,
    ) -> None:
        """Take the store that holds the outbox; ``transactional_id`` names namespace, output and partition.

        ``modes`` are shared by all relays of a process (None: this is the only one). ``on_sent`` is called with the
        rows of each batch once the broker has acknowledged it.
        """
        modes = modes or Modes()
        super().__init__(store, output, topic, kafka, modes, modes.tried, on_sent)
        self._partition = partition
        self._transactional_id = transactional_id

    async def _session(self) -> None:
        writer = await self._open(self._transactional_id, self._partition)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                last = await unbroken(last_sequence(self._kafka, self._topic, self._partition))
            log.info(
                "relay of %s to %s[%d] goes on after sequence %s, %s",
                self._output,
                self._topic,
                self._partition,
                last,
                self.mode,
            )
            await self._relay(writer, last)
        finally:
            await writer.close()

    async def _relay(self, writer: Writer, last: int | None) -> None:
        """Send what the outbox holds after sequence ``last``, for as long as there is more or the session has written.

        Of one that has written, the broker knows what must come next. Before that nothing would tell that the topic
        has lost what was just read there: it is read anew once there is something to send. One without a fence ends
        when there is a fence to be had.
        """
        while not self._is_outdone:
            await writer.renew()
            rows = await self._take_page()
            if rows:
                last = await self._send_page(writer, rows, last)
            elif writer.has_written:
                await self._await_more(writer)
            else:
                return

    async def _send_page(self, writer: Writer, rows: Sequence[OutboxRow], last: int | None) -> int:
        """Send what the topic lacks of a page; return the last sequence known to stand there.

        ``last`` is None where retention took all that was sent: whatever is lowest in the outbox is next then, since
        rows leave it only when they are known to be written. It is 0 where nothing was ever sent.
        """
        fresh = rows if last is None else rows[max(last + 1 - rows[0].sequence, 0) :]
        if fresh and last is not None and fresh[0].sequence != last + 1:
            # A later owner may have sent and trimmed what is missing: it is a gap only while the fence is still ours.
            await writer.confirm()
            self._check_next(last, fresh[0], f"partition {self._partition}")
        first = 0
        while first < len(fresh):
            count = await writer.send(self._topic, self._partition, fresh, first)
            self._note_sent(fresh[first : first + count])
            first += count
        last = rows[-1].sequence if last is None else max(last, rows[-1].sequence)
        self._sent = max(self._sent, last)
        await self._store.trim(self._output, last)
        return last
