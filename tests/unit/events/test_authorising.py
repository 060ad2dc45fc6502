"""Control records and forwards count only with a signature by a key in force, for this place and these bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.columns import Headers, columns_of
from stream.errors import StateMismatchError
from stream.events import decode
from stream.interfaces import Authority, Decoded
from stream.records import KIND, REJECT_REASONS
from stream.signatures import Keyring
from tests.oracle_events import fingerprint_of
from tests.signed_logs import SECRETS, STRANGER, sign

TOPIC = "engagement.events"
NOW_MS = 1_795_555_555_000
PARTITION = 3
COUNT = 8
KEYRING = Keyring(SECRETS)


def authority(*ids: str, counters: Mapping[str, int] | None = None) -> Authority:
    return Authority(TOPIC, KEYRING, KEYRING.named(ids or ["first"]), counters or {})


def event(kind: str, data: object = None, **more: object) -> bytes:
    fields = {"specversion": "1.0", "id": "c-1", "source": "/test", "type": kind, "time": "2026-11-24T21:25:54Z"}
    return orjson.dumps({**fields, **({} if data is None else {"data": data}), **more})


def rotation(*ids: str) -> bytes:
    return event("keys.rotated", {"keys": [{"id": name, "fingerprint": fingerprint_of(SECRETS[name])} for name in ids]})


TICK = event("clock.tick")
ACTIVATION = event("config.activated", {"engine": 1, "contents": []})
ERASURE = event("privacy.erased", subject="ada")
LIKE = event("social.like", subject="ada")
ORIGIN = ("groundswell-origin", b"5:77")
RECORDS: dict[str, tuple[bytes | None, bytes, Headers]] = {
    "clock.tick": (None, TICK, ()),
    "config.activated": (None, ACTIVATION, ()),
    "keys.rotated": (None, rotation("first", "second"), ()),
    "privacy.erased": (b"ada", ERASURE, ()),
    "forward": (b"ada", LIKE, (ORIGIN,)),
    "forwarded erasure": (b"ada", ERASURE, (ORIGIN,)),
}
"""By what it is, key, value and headers (but for the signature) of each record that must be signed."""

Row = tuple[bytes | None, bytes | None, Headers]


def decoded(*rows: Row, by: Authority | None = None, partition: int = PARTITION, log_time: int = NOW_MS) -> Decoded:
    keys, values, headers = zip(*rows, strict=True)
    n = len(rows)
    columns = columns_of(partition, range(n), [log_time] * n, keys, values, headers)
    return decode(columns, COUNT, 0, authority() if by is None else by)


def reasons(found: Decoded) -> list[str]:
    return [REJECT_REASONS[code] for code in found.reject.tolist()]


def home_of(row: Row) -> int:
    """Return the partition in which a record's voter is at home, PARTITION for records of none."""
    homes = decode(columns_of(0, [0], [NOW_MS], [row[0]], [row[1]], [()]), COUNT, 0).homes
    return int(homes[0]) if homes[0] >= 0 else PARTITION


def signed(name: str, *, counter: int = 5, **more: str) -> Row:
    key, value, headers = RECORDS[name]
    return key, value, (*headers, sign(home_of(RECORDS[name]), key, value, headers, counter=counter, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RECORDS)
def test_signed_record_counts_and_an_unsigned_one_does_not(name: str) -> None:
    place = home_of(RECORDS[name])
    found = decoded(signed(name), RECORDS[name], partition=place)
    assert reasons(found) == ["", "not_authorised"]
    assert found.kinds[0] >= 0
    assert found.kinds[1] == -1
    assert decoded(signed(name), partition=place, by=authority("second", "first")).reject[0] == 0


@pytest.mark.parametrize("name", RECORDS)
@settings(derandomize=True, max_examples=150, deadline=None)
@given(data=st.data())
def test_any_altered_byte_is_a_reject(name: str, data: st.DataObject) -> None:
    key, value, headers = signed(name)
    *others, (title, signature) = headers
    assert signature is not None
    assert value is not None
    origin = others[0][1] if others else None
    parts = {"signature": signature, "value": value, "key": key, "origin": origin}
    part = data.draw(st.sampled_from([part for part, text in parts.items() if text]))
    text = parts[part] or b""
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    parts[part] = text[:place] + bytes([other]) + text[place + 1 :]
    assert parts["signature"] is not None
    altered: list[tuple[str, bytes | None]] = [(title, parts["signature"])]
    if parts["origin"] is not None:
        altered.insert(0, (ORIGIN[0], parts["origin"]))
    found = decoded((parts["key"], parts["value"], altered), partition=home_of(RECORDS[name]))
    if columns_of(0, [0], [0], [None], [None], [altered]).origin_partitions[0] < 0 and name == "forward":
        # Nothing says any more that it was forwarded: an ordinary event is left.
        assert part == "origin"
        return
    assert found.reject[0] != 0
    assert found.kinds[0] == -1
    if part != "value":
        assert reasons(found) == ["not_authorised"]


@pytest.mark.parametrize("name", RECORDS)
def test_record_of_another_partition_or_namespace_or_key_is_a_reject(name: str) -> None:
    key, value, headers = RECORDS[name]
    place = home_of(RECORDS[name])
    forged = [
        sign((place + 1) % COUNT, key, value, headers),
        sign(place, key, value, headers, topic="other.engagement.events"),
        sign(place, key, value, headers, secret=STRANGER),
        sign(place, key, value, headers, name="second"),
        sign(place, key, value, () if headers else (ORIGIN,)),
        sign(place, None if key else b"", value, headers),
    ]
    rows: list[Row] = [(key, value, (*headers, signature)) for signature in forged]
    assert reasons(decoded(*rows, partition=place)) == ["not_authorised"] * len(forged)


def test_forward_says_nothing_without_a_signature_whatever_else_is_wrong_with_it() -> None:
    rows: list[Row] = [(None, value, (ORIGIN,)) for value in (b"{", None, b"[]", b"x" * 70_000, event("social.poke"))]
    assert set(reasons(decoded(*rows))) == {"not_authorised"}


def test_unauthorised_tick_does_not_move_time() -> None:
    late = event("clock.tick", time="2026-11-24T22:00:00Z")
    rows: list[Row] = [
        (None, TICK, (sign(PARTITION, None, TICK),)),
        (None, late, ()),
        (None, late, (sign(PARTITION, None, late),)),
    ]
    found = decoded(*rows, log_time=0)
    assert reasons(found) == ["", "not_authorised", ""]
    assert (np.diff(found.now) == [0, 2_046_000]).all()


def test_ordinary_events_need_no_signature_and_a_wrong_one_is_not_looked_at() -> None:
    forged = sign(PARTITION, b"x", LIKE, secret=STRANGER)
    assert reasons(decoded((b"ada", LIKE, ()), (b"ada", LIKE, (forged,)))) == ["", ""]


@pytest.mark.parametrize("name", ["config.activated", "keys.rotated"])
def test_old_record_is_a_reject_and_the_last_one_again_changes_nothing(name: str) -> None:
    rows = [signed(name, counter=counter) for counter in (7, 7, 6, 8, 7, 8)]
    found = decoded(*rows)
    assert reasons(found) == ["", "", "not_authorised", "", "not_authorised", ""]
    assert found.again.tolist() == [False, True, False, False, False, True]
    assert found.authority is not None
    assert found.authority.counters == {name: 8}
    if name == "config.activated":
        assert list(found.activations) == [0, 3]


def test_old_ticks_and_erasures_are_let_through_since_they_change_nothing() -> None:
    place = home_of(RECORDS["privacy.erased"])
    tick = (None, TICK, (sign(place, None, TICK, counter=2),))
    rows = [signed("privacy.erased", counter=9), tick, signed("privacy.erased", counter=1), tick]
    found = decoded(*rows, partition=place)
    assert reasons(found) == [""] * 4
    assert not found.again.any()


def test_rotation_counts_from_its_row_on() -> None:
    def tick(name: str) -> Row:
        return None, TICK, (sign(PARTITION, None, TICK, name=name),)

    both, second = rotation("first", "second"), rotation("second")
    found = decoded(
        tick("second"),
        (None, both, (sign(PARTITION, None, both, counter=2),)),
        tick("second"),
        tick("first"),
        (None, second, (sign(PARTITION, None, second, name="second", counter=3),)),
        tick("first"),
        tick("second"),
    )
    assert reasons(found) == ["not_authorised", "", "", "", "", "not_authorised", ""]
    assert found.authority is not None
    assert found.authority.keys == KEYRING.named(["second"])


@pytest.mark.parametrize(
    "value",
    [
        event("keys.rotated", {"keys": []}),
        event("keys.rotated", {"keys": [{"id": "first", "fingerprint": "x"}]}),
        orjson.dumps({**orjson.loads(rotation("second")), "time": "soon"}),
    ],
)
def test_rotation_that_does_not_fit_rotates_nothing_but_its_counter_is_spent(value: bytes) -> None:
    found = decoded((None, value, (sign(PARTITION, None, value, counter=4),)))
    assert reasons(found)[0] in {"bad_data", "bad_time"}
    assert found.authority is not None
    assert found.authority.keys == KEYRING.root
    assert found.authority.counters == {"keys.rotated": 4}


def test_rotation_to_a_key_that_the_keyring_lacks_stops_and_names_it() -> None:
    keys = {"keys": [{"id": "fourth", "fingerprint": "0" * 32}]}
    value = event("keys.rotated", keys)
    with pytest.raises(StateMismatchError, match=r"offset 0 on: key 'fourth' with fingerprint 0{32} is in force"):
        decoded((None, value, (sign(PARTITION, None, value),)))
    other = event("keys.rotated", {"keys": [{"id": "second", "fingerprint": "0" * 32}]})
    with pytest.raises(StateMismatchError, match="another secret"):
        decoded((None, other, (sign(PARTITION, None, other),)))


def test_without_keys_control_records_count_unsigned_and_there_are_none_to_rotate() -> None:
    values = [TICK, ACTIVATION, ERASURE, rotation("second")]
    columns = columns_of(PARTITION, range(4), [NOW_MS] * 4, [None] * 4, values, [()] * 4)
    found = decode(columns, COUNT, 0)
    assert reasons(found) == ["", "", "", "unknown_type"]
    assert found.kinds.tolist() == [*(KIND[name] for name in ("clock.tick", "config.activated", "privacy.erased")), -1]
    assert found.authority is None
