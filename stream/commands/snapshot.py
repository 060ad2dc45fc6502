"""``groundswell snapshot``: a snapshot of each partition now, by its worker or, where none is at work, from Redis."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from stream.commands.headers import read_headers
from stream.commands.topics import chosen_partitions, facts
from stream.errors import ConfigurationError, GroundswellError, SnapshotFailedError, SnapshotRefusedError
from stream.records import Header
from stream.settings import Settings
from stream.snapshots import Capture, Catalogue, CopiedStore, Manifest, Request, SnapshotName
from stream.stores.redis import RedisStore

PICK_UP_SECONDS: Final = 5.0
"""A worker looks for requests every second, and moves its header at least every few."""
UNHEARD_SECONDS: Final = 60.0
"""So long a worker may be at another snapshot of the same partition."""
ANSWER_SECONDS: Final = 3600.0
_POLL_SECONDS: Final = 0.25

Sleep = Callable[[float], Awaitable[None]]


class RequestStore(CopiedStore, Protocol):
    """What asking for a snapshot needs of a partition's store; both stores offer it."""

    async def read_request(self) -> bytes | None:
        """Return what was written last, None where there is nothing."""
        ...

    async def write_request(self, data: bytes) -> None:
        """Leave word."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one partition."""

    partition: int
    text: str
    is_error: bool = False

    def __str__(self) -> str:
        """Return one line."""
        return f"partition {self.partition}: {self.text}"


@dataclass(frozen=True, slots=True)
class Listed:
    """One snapshot."""

    partition: int
    name: SnapshotName
    manifest: Manifest | None
    refusal: str = ""
    """Why it cannot be used."""

    def __str__(self) -> str:
        """Return one line."""
        if self.manifest is None:
            return f"partition {self.partition}: {self.name.text}: unusable: {self.refusal}"
        size = f"{self.manifest.records} records, {self.manifest.size / 1e6:.1f} MB"
        return f"partition {self.partition}: {self.name.text}: offset {self.manifest.offset}, {size}"


def take(settings: Settings, partition: int | None, tell: Callable[[Taken], None]) -> bool:
    """Take a snapshot of every partition (or one), all at once; return whether all came to be.

    Raises ConfigurationError where the settings name no place for snapshots, or an unknown partition; TopicError,
    StoreFailedError or StoreUnavailableError where Kafka or Redis cannot be asked.
    """
    numbers, catalogues = _catalogues(settings, partition)
    headers = asyncio.run(read_headers(settings, max(numbers) + 1, RedisStore.read_header))
    return asyncio.run(_take_all(settings, {number: headers[number] for number in numbers}, catalogues, tell))


def listing(settings: Settings, partition: int | None) -> list[Listed]:
    """Return the snapshots of every partition (or one), newest first; errors as ``take``'s."""
    _, catalogues = _catalogues(settings, partition)
    return asyncio.run(list_snapshots(list(catalogues.values())))


def _catalogues(settings: Settings, partition: int | None) -> tuple[Sequence[int], dict[int, Catalogue]]:
    storage = settings.snapshot.storage()
    if storage is None:
        message = "snapshot.url is not set: say where snapshots are, such as --set snapshot.url=file:///backup"
        raise ConfigurationError(message)
    numbers = chosen_partitions(settings.topic("events"), facts(settings).partition_count, partition)
    return numbers, {number: settings.snapshots_of(number, storage) for number in numbers}


async def list_snapshots(catalogues: Sequence[Catalogue]) -> list[Listed]:
    """Return what is in catalogues, newest first; of each snapshot only its manifest is read."""
    found = []
    for catalogue in catalogues:
        number = catalogue.place.partition
        for name in await catalogue.complete():
            try:
                found.append(Listed(number, name, await catalogue.reader(name).manifest()))
            except SnapshotRefusedError as error:
                found.append(Listed(number, name, None, str(error)))
    return found


async def _take_all(
    settings: Settings,
    headers: dict[int, Header | None],
    catalogues: dict[int, Catalogue],
    tell: Callable[[Taken], None],
) -> bool:
    async def one(number: int, header: Header | None) -> bool:
        store = RedisStore(settings.redis.endpoint(), settings.key_prefix(number))
        try:
            taken = await take_one(store, catalogues[number], settings.topic("events"), header)
        except GroundswellError as error:
            taken = Taken(number, f"no snapshot: {error}", is_error=True)
        finally:
            await store.close()
        tell(taken)
        return not taken.is_error

    return all(await asyncio.gather(*(one(number, header) for number, header in headers.items())))


async def take_one(
    store: RequestStore, catalogue: Catalogue, topic: str, header: Header | None, sleep: Sleep = asyncio.sleep
) -> Taken:
    """Ask the worker that holds the partition; copy the state from Redis where it stands still instead.

    ``header`` is how it stood just now. Raises SnapshotFailedError, SnapshotStorageError and what the store raises.
    """
    number = catalogue.place.partition
    if header is None:
        return Taken(number, "no state yet")
    if header.restoring:
        message = "it is being restored, or that was cut off: wait for `groundswell restore` to end, or run it (again)"
        raise SnapshotFailedError(message)
    token = secrets.token_hex(4)
    await store.write_request(Request(token).to_bytes())
    waited = 0.0
    while waited < UNHEARD_SECONDS:
        answer = await _answer(store, token, PICK_UP_SECONDS, sleep)
        if answer is not None and answer.state == "begun":
            answer = await _answer(store, token, ANSWER_SECONDS, sleep, past="begun")
        if answer is not None:
            return _told(number, answer)
        waited += PICK_UP_SECONDS
        found = await store.read_header()
        if found == header:
            manifest = await copy_still(store, catalogue, topic, header, token)
            if manifest is not None:
                await store.write_request(Request(token, "taken", "from Redis").to_bytes())
                return Taken(number, f"taken at offset {manifest.offset}, from Redis: no worker is at work")
            found = await store.read_header()
        if found is None:
            message = "its state is gone meanwhile"
            raise SnapshotFailedError(message)
        header = found
    await store.write_request(Request(token, "failed", "nobody took it").to_bytes())
    message = "its worker does not take snapshots: set snapshot.url for the workers as well"
    raise SnapshotFailedError(message)


async def copy_still(
    store: CopiedStore, catalogue: Catalogue, topic: str, header: Header, token: str
) -> Manifest | None:
    """Copy a state that nobody works on; return None, leaving nothing, where it went on meanwhile."""
    created_ms = time.time_ns() // 1_000_000
    writer = catalogue.writer(SnapshotName.make(created_ms, header.offset, token))
    moved = False

    async def committed() -> int:
        nonlocal moved
        moved = moved or await store.read_header() != header
        if moved:
            message = "it goes on"
            raise SnapshotFailedError(message)
        return header.offset

    capture = Capture(header, store, writer, stands_still=True)
    try:
        return await capture.run(catalogue.place, topic, created_ms, committed)
    except SnapshotFailedError:
        await writer.abandon()
        if moved or await store.read_header() != header:
            return None
        raise
    except BaseException:
        await writer.abandon()
        raise


async def _answer(store: RequestStore, token: str, seconds: float, sleep: Sleep, past: str = "asked") -> Request | None:
    """Return the request once it is past a state, None where that does not come in time."""
    waited = 0.0
    while waited < seconds:
        found = Request.from_bytes(await store.read_request())
        if found is not None and found.token == token and found.state not in ("asked", past):
            return found
        await sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
    return None


def _told(number: int, answer: Request) -> Taken:
    if answer.state == "taken":
        return Taken(number, f"taken {answer.text}, by its worker")
    return Taken(number, f"no snapshot: {answer.text}", is_error=True)
