"""The contents of ``engagement.config``: every version of every campaign, model and policy, by its hash."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.agents.closing import close_consumer, unbroken
from stream.errors import ConfigurationError
from stream.features import taxonomy_of
from stream.records import CONTENT_KINDS, ContentId

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
POLL_MS: Final = 1000

_KEY = re.compile(rf"({'|'.join(CONTENT_KINDS)})/([a-z][a-z0-9_-]{{0,63}})/([0-9a-f]{{64}})")


def content_of(key: bytes | None) -> ContentId | None:
    """Return what a record key of the configuration topic names, None if it is not ``kind/name/sha256``."""
    match = _KEY.fullmatch((key or b"").decode("utf-8", "replace"))
    return None if match is None else ContentId(*match.groups())


class ConfigurationLibrary:
    """The whole configuration topic in memory, kept up to date without a consumer group.

    Only committed records count, and only content whose SHA-256 is the one in its key.
    """

    def __init__(self, topic: str, kafka: Mapping[str, Any], *, is_threaded: bool = False) -> None:
        """Take the configuration topic (one partition) and aiokafka's connection settings.

        With ``is_threaded`` a taxonomy that is waited for is compiled in a thread, so that its activation finds it done
        and the event loop goes on meanwhile.
        """
        self._is_threaded = is_threaded
        self._where = TopicPartition(topic, 0)
        self._kafka = kafka
        self._contents: dict[ContentId, bytes] = {}
        self._changed = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many contents are in hand."""
        return len(self._contents)

    def get(self, content: ContentId) -> bytes | None:
        """Return a content's bytes, None while it is not in hand."""
        return self._contents.get(content)

    def models(self) -> list[ContentId]:
        """Return the models in hand."""
        return [content for content in self._contents if content.kind == "model"]

    async def start(self) -> None:
        """Begin to read; return when everything that stood in the topic at this moment is in hand."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="configuration library")
        await self._until(self._caught_up)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Return when all of ``contents`` are in hand; waits for ever for one that is never written."""
        wanted = set(contents)
        while True:
            missing = sorted(wanted - self._contents.keys())
            if not missing:
                break
            log.info("waiting for %d contents of %s, first %s", len(missing), self._where.topic, missing[0].key())
            self._changed.clear()
            await self._until(self._changed)
        for content in wanted if self._is_threaded else ():
            if content.kind == "taxonomy":
                # The activation finds what is wrong with it again, and says so.
                with suppress(ConfigurationError):
                    await asyncio.to_thread(taxonomy_of, self._contents[content])

    async def stop(self) -> None:
        """Stop reading; what is in hand stays."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])

    async def _until(self, event: asyncio.Event) -> None:
        """Wait for an event, or raise what ended the reading."""
        if self._reading is None:
            message = f"the library of {self._where.topic} is not reading: start it first"
            raise RuntimeError(message)
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait([waiting, self._reading], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not waiting.done() and self._reading is not None:
            self._reading.result()

    async def _read(self) -> None:
        while True:
            consumer = AIOKafkaConsumer(
                **self._kafka,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
            )
            try:
                await unbroken(consumer.start())
                await self._follow(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("%s could not be read, the next try follows: %r", self._where.topic, error)
            finally:
                await close_consumer(consumer)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        # Asked before the first fetch: behind one on the same connection the answer would wait for its time-out.
        start = (await consumer.beginning_offsets([self._where]))[self._where]
        stop = (await consumer.end_offsets([self._where]))[self._where]
        consumer.assign([self._where])
        consumer.seek(self._where, start)
        while True:
            if not self._caught_up.is_set() and await consumer.position(self._where) >= stop:
                self._caught_up.set()
            wait_ms = POLL_MS if self._caught_up.is_set() else POLL_MS // 20
            for record in (await consumer.getmany(self._where, timeout_ms=wait_ms)).get(self._where, ()):
                self._take(record.offset, record.key, record.value)

    def _take(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        content = content_of(key)
        if content is None or value is None:
            log.warning(
                "record %d of %s is ignored: key %r, expected kind/name/sha256 and a value",
                offset,
                self._where.topic,
                key,
            )
            return
        found = hashlib.sha256(value).hexdigest()
        if found != content.sha256:
            log.warning(
                "record %d of %s is ignored: its SHA-256 is %s, its key says %s",
                offset,
                self._where.topic,
                found,
                content.key(),
            )
            return
        self._contents[content] = value
        self._changed.set()
