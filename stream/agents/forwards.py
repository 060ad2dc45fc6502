"""Carries events that landed in another partition to the one that they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stream.agents.relay import MODES, Modes, OnSent, OutboxRelay
from stream.agents.writing import Writer
from stream.columns import parse_origin
from stream.interfaces import PartitionStore
from stream.records import OutboxRow
from stream.signatures import Signer


class ForwardRelay(OutboxRelay):
    """Events that belong to another partition, on their way to it in the events topic.

    The receiver drops what it has had already by its origin, so no fence is needed; but of two events for the same
    partition the earlier one must stand there first.
    """

    def __init__(
        self,
        store: PartitionStore,
        topic: str,
        kafka: Mapping[str, Any],
        *,
        output: str = "forwards",
        modes: Modes | None = None,
        on_sent: OnSent | None = None,
        signer: Signer | None = None,
    ) -> None:
        """Take the store that holds the outbox; each row names its target partition of ``topic``.

        ``modes`` are shared by all relays of a process (None: this is the only one). ``signer`` signs every row:
        without one they count only in a deployment that is not signed.
        """
        super().__init__(store, output, topic, kafka, modes or Modes(), MODES[1:], on_sent)
        self._signer = signer

    async def _session(self) -> None:
        writer = await self._open(None, -1)
        try:
            while not self._is_outdone:
                rows = await self._take_page()
                if not rows:
                    await self._await_more(writer)
                    continue
                targets: dict[int, list[OutboxRow]] = {}
                for row in await self._signed(rows):
                    targets.setdefault(row.partition, []).append(row)
                sendings = [self._send_to(writer, partition, part) for partition, part in targets.items()]
                # All are awaited before an error is raised: none may go on beside the next session.
                for error in await asyncio.gather(*sendings, return_exceptions=True):
                    if error is not None:
                        raise error
                self._note_sent(rows)
                await self._store.trim(self._output, rows[-1].sequence)
        finally:
            await writer.close()

    async def _signed(self, rows: Sequence[OutboxRow]) -> Sequence[OutboxRow]:
        """Return the rows with signatures by the newest key that the partition's own header has in force."""
        header = None if self._signer is None else await self._store.read_header()
        if self._signer is None or header is None:
            return rows
        sign, keys = self._signer.sign, header.keys
        return [
            replace(
                row,
                headers=(*row.headers, sign(keys, row.partition, row.key, row.value, parse_origin(row.headers))),
            )
            for row in rows
        ]

    async def _send_to(self, writer: Writer, partition: int, rows: Sequence[OutboxRow]) -> None:
        first = 0
        while first < len(rows):
            first += await writer.send(self._topic, partition, rows, first)
