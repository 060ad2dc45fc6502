"""Mutated voters' records through the table and every kernel: no damaged record reaches beyond itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import orjson

from load_tests.fuzzing.decoding import LOG_MS, sound_events
from load_tests.fuzzing.files import CAMPAIGNS, MODELS
from load_tests.fuzzing.promises import BrokenPromiseError, expect, held_to
from stream.activation import Active, build
from stream.columns import columns_of
from stream.errors import CommitRefusedError, StateMismatchError
from stream.layout import MARKS
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import KIND, RECORD_VERSION, RING_LENGTH, VOTER, ContentId, Header
from stream.spans import Spans
from stream.stores import Table
from stream.stores.packing import KernelPacking, packed, unpacked

OFFSET: Final = 1000
SENTINEL: Final = "sentinel"
_SLOTS: Final[dict[str, list[list[str] | None]]] = {
    "model": [["support", "0"], ["reach", "1"]],
    "campaign": [["welcome", "2"], ["win_back", "3"]],
    "policy": [],
    "taxonomy": [],
}


class Shelf:
    """A library of the sound model and campaign files (interfaces.Library)."""

    def __init__(self) -> None:
        """Hold the contents under the slots' versions."""
        self._contents = dict(zip("0123", (*MODELS[:2], *CAMPAIGNS), strict=True))

    def get(self, content: ContentId) -> bytes | None:
        """Return a content."""
        return self._contents.get(content.sha256)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Return at once."""


@cache
def _active() -> Active:
    return build(_SLOTS, Shelf())


def sound_record(chance: random.Random, last_offset: int) -> bytes:
    """Return a record as folding might have left it."""
    record = np.zeros(1, VOTER)
    record["version"], record["last_offset"] = RECORD_VERSION, last_offset
    record["ring_next"], record["consent"] = chance.randrange(RING_LENGTH), chance.randrange(4)
    record["armed"] = chance.randrange(4)
    record["first_seen_s"], record["last_seen_ms"] = LOG_MS // 1000 - 10**7, LOG_MS - chance.randrange(10**9)
    record["last_s"] = LOG_MS // 1000 - chance.randrange(10**7)
    record["sessions"], record["session_events"] = 3, 2
    record["ring"] = np.frombuffer(chance.randbytes(8 * RING_LENGTH), "<u8")
    record["counts"] = chance.random() * 10
    record["marks"] = np.frombuffer(chance.randbytes(len(MARKS)), np.uint8)
    record["active_days"] = chance.randrange(1 << 28)
    record["score"] = chance.random()
    record["campaign_tag"][0, :2] = _active().campaigns.tags[:2]
    return record.tobytes()


def mutate(chance: random.Random, record: bytes) -> bytes:
    """Return a record with a few of its fields or bytes changed, of another length, or other bytes altogether."""
    draw = chance.random()
    if draw < 0.03:
        return chance.randbytes(VOTER.itemsize)
    data = bytearray(record)
    if draw < 0.4:
        # Most of these pass the table, so that the kernels meet them.
        for _ in range(chance.choice((1, 1, 4, 40))):
            place = 8 * chance.randrange(2, len(data) // 8)
            data[place : place + 8] = chance.choice(
                (b"\xff" * 8, b"\0" * 8, b"\0" * 6 + b"\xf0\x7f", b"\0" * 6 + b"\xf8\x7f", b"\0" * 7 + b"\x80")
            )
    elif draw < 0.9:
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.choice((chance.randrange(24), chance.randrange(len(data))))] = chance.randrange(256)
    else:
        first = chance.randrange(len(data) + 1)
        data[first : first + chance.choice((0, 1, 8))] = chance.randbytes(chance.choice((0, 1, 8)))
    return bytes(data)


def try_records(chance: random.Random, inputs: int, table_of: Callable[[int], Table] = Table) -> Counter[str]:
    """Load mutated records; put those that are taken through every step, beside a sound one that must stay so."""
    counts: Counter[str] = Counter()
    taken: dict[str, bytes] = {SENTINEL: sound_record(chance, OFFSET - 1)}
    for number in range(inputs):
        record = sound_record(chance, OFFSET - chance.choice((1, 1, 1, 0)))
        value = mutate(chance, chance.choice((record, packed(record))))
        with held_to("record", value, (StateMismatchError, CommitRefusedError), counts):
            data = unpacked_by_both(value)
            table = table_of(1)
            _, unknown = table.index(Spans.of_texts(["voter"]))
            table.fill(unknown, [data], OFFSET)
            taken[f"voter-{number}"] = data
    events = [_event(chance) for _ in range(2 * len(taken))]
    alone = _processed({SENTINEL: taken[SENTINEL]}, events[:2], table_of)
    together = _processed(taken, events, table_of)
    expect(
        alone[SENTINEL] == together.get(SENTINEL), "a damaged record touched the sound one", b"".join(taken.values())
    )
    return counts


def unpacked_by_both(value: bytes) -> bytes:
    """Return a value of Redis as a record's bytes, the same by the kernel and by its reference."""
    record = unpacked(value)
    expect(KernelPacking(b"").unpacked([value, value]) == [record] * 2, "a record is unpacked in two ways", value)
    return record


def _event(chance: random.Random) -> dict[str, Any]:
    kinds = [KIND["social.like"], KIND["donation.completed"], KIND["consent.granted"], KIND["privacy.erased"]]
    event: dict[str, Any] = orjson.loads(sound_events(chance)[chance.choice([*range(16), *kinds])])
    return event


def _processed(
    taken: dict[str, bytes], events: Sequence[dict[str, Any]], table_of: Callable[[int], Table]
) -> dict[str, bytes]:
    """Take two events for each voter, the sentinel's first, through steps 1 to 8; return the records to be written."""
    rows = [
        orjson.dumps({**event, "id": f"e-{number}", "subject": list(taken)[number // 2 % len(taken)]})
        for number, event in enumerate(events)
    ]
    n = len(rows)
    columns = columns_of(0, range(OFFSET, OFFSET + n), [LOG_MS] * n, [None] * n, rows, [()] * n)
    header = Header("topic", 1, "", OFFSET, OFFSET, slots={kind: list(slots) for kind, slots in _SLOTS.items()})
    state = PartitionState(0, "events", header, table_of(1000), _active())

    async def load(voters: Spans) -> list[bytes | None]:
        return [taken[voter] for voter in voters.texts()]

    _finish(process_batch(state, columns, Shelf(), load))
    commit = take_commit(state, OFFSET)
    Header.from_bytes(commit.header.to_bytes())
    everything = b"".join(taken.values())
    for _, data in commit.records:
        record = np.frombuffer(data, VOTER)[0]
        whole = record["version"] == RECORD_VERSION and record["ring_next"] < RING_LENGTH
        expect(bool(whole), "a record is left that could not be loaded again", everything)
    for output in commit.outbox.values():
        for row in output:
            expect(type(row).from_bytes(row.to_bytes()) == row, "an outbox row is left that cannot be read", everything)
    return {voter.decode(): data for voter, data in commit.records}


def _finish(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    except Exception as error:
        message = f"processing raised {error!r:.300}"
        raise BrokenPromiseError(message) from error
    message = "processing waits for something"
    raise BrokenPromiseError(message)
