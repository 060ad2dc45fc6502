"""A batch of a signed deployment through its steps: what a forgery or a replay must not change."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import pytest

from stream.columns import Headers, columns_of
from stream.errors import StateMismatchError
from stream.pipeline import Outcome, PartitionState, process_batch
from stream.records import Header
from stream.signatures import Keyring
from stream.stores.table import Table
from tests.signed_logs import SECRETS, sign
from tests.unit.agents.worksite import NOW_MS, TOPIC, Shelf, activation, event, like
from tests.unit.test_pipeline import reasons, voter_at

KEYRING = Keyring(SECRETS)
COUNT = 2
ADA = voter_at(0, COUNT)
Row = tuple[bytes | None, bytes | None, Headers]


class Post:
    """One partition of a signed deployment, and the rows that it is given."""

    def __init__(self, keyring: Keyring = KEYRING) -> None:
        header = Header.fresh("topic-1", COUNT, "me", 0, keyring.root)
        self.shelf = Shelf()
        self.keyring = keyring
        self.header = header

    async def opened(self) -> Post:
        self.state = await PartitionState.open(0, TOPIC, self.header, Table(100), self.shelf, self.keyring)
        return self

    async def take(self, *rows: Row) -> Outcome:
        start = self.header.offset
        keys, values, headers = zip(*rows, strict=True)
        offsets = range(start, start + len(rows))
        columns = columns_of(0, offsets, [NOW_MS] * len(rows), keys, values, headers)

        async def load(voters: object) -> list[bytes | None]:
            return [None for _ in voters]  # type: ignore[attr-defined]

        return await process_batch(self.state, columns, self.shelf, load)


def signed(key: bytes | None, value: bytes, counter: int = 1, headers: Headers = ()) -> Row:
    return key, value, (*headers, sign(0, key, value, headers, counter=counter))


async def test_forged_forward_is_a_reject_and_its_origin_does_not_count() -> None:
    post = await Post().opened()
    origin = ("groundswell-origin", b"1:50")
    value = like(ADA, 1)
    key = ADA.encode()
    outcome = await post.take((key, value, [origin]), (None, b"{", [origin]))
    assert outcome.rejects == {"not_authorised": 2}
    assert outcome.folded == 0
    assert post.header.origins == {}
    # The real one of that place still counts, and once.
    outcome = await post.take(signed(key, value, 1, [origin]), signed(key, value, 2, [origin]))
    assert (outcome.folded, outcome.duplicates, outcome.rejects) == (1, 1, {})
    assert post.header.origins == {"1": 50}
    outcome = await post.take((key, like(ADA, 2), [("groundswell-origin", b"1:49")]))
    assert outcome.rejects == {"not_authorised": 1}


async def test_erasure_without_a_key_erases_nothing_and_is_not_laundered_by_a_forward() -> None:
    post = await Post().opened()
    stray = voter_at(1, COUNT)
    await post.take((ADA.encode(), like(ADA, 1), ()))
    outcome = await post.take(
        (ADA.encode(), event("privacy.erased", ADA, "x", {}), ()),
        (stray.encode(), event("privacy.erased", stray, "y", {}), ()),
    )
    assert outcome.rejects == {"not_authorised": 2}
    assert outcome.forwards == 0
    assert (await post.take((ADA.encode(), like(ADA, 2), ()))).folded == 1
    erasure = signed(ADA.encode(), event("privacy.erased", ADA, "z", {}))
    await post.take(erasure)
    assert (await post.take((ADA.encode(), like(ADA, 3), ()), erasure)).suppressed == 2


async def test_old_activation_again_changes_nothing() -> None:
    post = await Post().opened()
    first = signed(None, activation(post.shelf.model(), post.shelf.campaign(threshold=2.5)), 10)
    second = signed(None, activation(post.shelf.model(), post.shelf.campaign(threshold=9.5)), 20)
    await post.take(first, second)
    before = asdict(post.header)
    outcome = await post.take(second, first, (None, first[1], ()))
    assert outcome.duplicates == 1
    assert outcome.rejects == {"not_authorised": 2}
    assert reasons(post.state.outbox["rejects"]) == [("not_authorised", 3), ("not_authorised", 4)]
    assert post.header.slots == before["slots"]
    assert post.header.counters == {"config.activated": 20}


async def test_forged_activation_of_another_engine_or_unknown_content_holds_nobody_up() -> None:
    post = await Post().opened()
    other = orjson.loads(activation())
    other["data"]["engine"] = 9
    unknown = orjson.loads(activation())
    unknown["data"]["contents"] = [{"kind": "model", "name": "none", "sha256": "0" * 64}]
    outcome = await post.take((None, orjson.dumps(other), ()), (None, orjson.dumps(unknown), ()))
    assert outcome.rejects == {"not_authorised": 2}


async def test_state_is_as_it_was_where_a_rotation_names_a_key_that_is_not_there() -> None:
    post = await Post(Keyring({"first": SECRETS["first"]})).opened()
    keys = [{"id": name, "fingerprint": found} for name, found in KEYRING.named(["first", "second"])]
    before = asdict(post.header)
    with pytest.raises(StateMismatchError, match="offset 1 on: key 'second'"):
        await post.take(
            (ADA.encode(), like(ADA, 1), ()), signed(None, event("keys.rotated", None, "k", {"keys": keys}))
        )
    assert asdict(post.header) == before
    assert len(post.state.table) == 0


async def test_unsigned_state_and_keyring_do_not_fit() -> None:
    header = Header("topic-1", COUNT, "me", 0, 0)
    with pytest.raises(StateMismatchError, match=r"engagement\.events partition 0 began without a keyring"):
        await PartitionState.open(0, TOPIC, header, Table(100), Shelf(), KEYRING)
