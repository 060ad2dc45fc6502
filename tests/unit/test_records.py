"""What stands in Redis is believed only where it has the types and the sense of what a commit writes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import orjson
import pytest

from stream.errors import StateMismatchError
from stream.records import Header, OutboxRow

SOUND = Header(
    "topic",
    8,
    "owner",
    start=100,
    offset=120,
    slots={"model": [["support", "ab"], None], "campaign": [], "policy": [], "taxonomy": []},
    origins={"3": 17},
)


def test_sound_header_comes_back() -> None:
    assert Header.from_bytes(SOUND.to_bytes()) == SOUND
    assert Header.from_bytes(replace(SOUND, restoring=True).to_bytes()).restoring


def test_header_of_before_there_were_taxonomies_has_none_active() -> None:
    fields = orjson.loads(SOUND.to_bytes())
    del fields["slots"]["taxonomy"]
    assert Header.from_bytes(orjson.dumps(fields)) == SOUND


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"offset": "120"}, "offset is '120', expected int"),
        ({"offset": True}, "offset is True, expected int"),
        ({"offset": 1 << 63}, "offset is 9223372036854775808, expected int"),
        ({"offset": -1}, "offset is -1, expected at least 0"),
        ({"partition_count": 0}, "partition_count is 0"),
        ({"owner": None}, "owner is None, expected str"),
        ({"restoring": 0}, "restoring is 0, expected bool"),
        ({"slots": {"model": []}}, "slots has the keys"),
        ({"slots": {"model": [["a"]], "campaign": [], "policy": [], "taxonomy": []}}, "slots.model is"),
        ({"slots": {"model": [["a", 1]], "campaign": [], "policy": [], "taxonomy": []}}, "slots is"),
        ({"slots": {"model": [None] * 9, "campaign": [], "policy": [], "taxonomy": []}}, "expected at most 8"),
        ({"sequences": {"triggers": 1, "rejects": 0}}, "sequences has the keys"),
        ({"sequences": {"triggers": -1, "rejects": 0, "forwards": 0}}, "sequences is"),
        ({"totals": []}, "totals is"),
        ({"origins": {"x": 1}}, "origins has the key 'x'"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_header_with_a_field_that_cannot_be_is_refused_by_its_name(changes: dict[str, Any], words: str) -> None:
    content = {**orjson.loads(SOUND.to_bytes()), **changes}
    with pytest.raises(StateMismatchError, match=words):
        Header.from_bytes(orjson.dumps(content))


@pytest.mark.parametrize("name", [field.name for field in fields(Header)])
def test_no_field_of_a_header_may_be_of_another_type(name: str) -> None:
    content = {**orjson.loads(SOUND.to_bytes()), name: 1.5}
    with pytest.raises(StateMismatchError, match=f"{name} is 1.5"):
        Header.from_bytes(orjson.dumps(content))


ROW = OutboxRow(7, 3, b"ada", b"value", (("name", b"\xff"),))


NUMBERED = replace(ROW, headers=(*ROW.headers, ("groundswell-sequence", b"7")))


def test_sound_row_comes_back() -> None:
    rows = [ROW, ROW.tombstone(), replace(ROW, key=b"", value=b"", headers=())]
    rows += [NUMBERED, replace(NUMBERED, sequence=8), replace(NUMBERED, headers=NUMBERED.headers[1:])]
    rows += [replace(NUMBERED, value=None), replace(NUMBERED, headers=NUMBERED.headers[::-1])]
    for row in rows:
        assert OutboxRow.from_bytes(row.to_bytes()) == row


def test_row_stands_in_redis_as_these_bytes() -> None:
    """They are in Redis and in snapshots already: whoever changes them must read both."""
    assert NUMBERED.to_bytes() == (
        b"\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x03\x00\x00\x00\x03\x00\x00\x00\x05adavalue"
        b'[["name","\xc3\xbf"],["groundswell-sequence","7"]]'
    )


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("groundswell-sequence", b"7"),),
        (("groundswell-sequence", b"8"),),
        *[(('quo"te\\', b'"\\\n\x00\x7f\x80\xff'), ("groundswell-sequence", b"7"))] * 2,
        (("groundswell-sequence", b"7"), ("name", b"0")),
        ROW.tombstone().headers,
    ],
)
def test_headers_stand_in_redis_as_plain_json(headers: tuple[tuple[str, bytes], ...]) -> None:
    plain = orjson.dumps([(name, text.decode("latin-1")) for name, text in headers])
    assert replace(ROW, headers=headers).to_bytes() == ROW.to_bytes().removesuffix(b'[["name","\xc3\xbf"]]') + plain


@pytest.mark.parametrize(
    "data",
    [
        NUMBERED.to_bytes()[:-1],
        NUMBERED.to_bytes()[:19] + b"\x06" + NUMBERED.to_bytes()[20:],
        NUMBERED.to_bytes()[:19] + b"\x17" + NUMBERED.to_bytes()[20:],
        NUMBERED.to_bytes()[:19] + b"\x7f" + NUMBERED.to_bytes()[20:],
        NUMBERED.to_bytes().replace(b'[["name"', b'{["name"'),
        NUMBERED.to_bytes().replace(b"],[", b",["),
        NUMBERED.to_bytes().replace(b'","\xc3', b'",1,"\xc3'),
        ROW.to_bytes()[:30],
        ROW.to_bytes().replace(b'[["name"', b"[[[1]"),
        ROW.to_bytes()[:28] + b'[["name",1]]',
        ROW.to_bytes()[:28] + b'{"na":"me"}',
        ROW.to_bytes()[:28] + b'["ab"]',
        ROW.to_bytes()[:28] + '[["name","ű"]]'.encode(),
        ROW.to_bytes()[:12] + b"\xff\xff\xff\x00" + ROW.to_bytes()[16:],
        b"",
    ],
)
def test_row_that_cannot_be_is_refused_without_a_word_of_it(data: bytes) -> None:
    with pytest.raises(StateMismatchError, match="damaged") as raised:
        OutboxRow.from_bytes(data)
    assert "ada" not in str(raised.value)
