"""The scanner against orjson: the same columns for whatever bytes, and few rows that it leaves to orjson."""

from __future__ import annotations

import decimal
import random
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from load_tests import workload
from load_tests.fuzzing import BrokenPromiseError, run, scanning
from load_tests.fuzzing.scanning import LOG_MS, batch_of, compare, mutate
from load_tests.fuzzing.spelling import some_event, write
from stream.columns import Columns
from stream.details import DETAIL, TEXTS
from stream.embedded.electorate import Electorate
from stream.events import decode, json_kernels
from stream.events.field_kernels import SPANS
from stream.events.scan_kernels import scan_rows
from stream.events.tables import EVENTS
from stream.interfaces import Decoded
from stream.records import REJECT_REASONS
from tests.contracts.json_cases import MAY, MUST, MUST_NOT
from tests.parts import compiled

START_MS = 1_795_500_000_000
skip_value = compiled(json_kernels.skip_value)
skip_whitespace = compiled(json_kernels.skip_whitespace)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "https://tracker.example/site",
    "type": "social.comment",
    "subject": "voter-7",
    "time": "2026-11-24T21:25:54.250Z",
    "datacontenttype": "application/json",
    "data": {"account": "page", "text": "Grüße 🗳"},
}
RAW = orjson.dumps(EVENT)


def scanned(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
    """Return what the scanner alone says: kinds (-1: not sure), spans, escapes."""
    n = len(columns)
    kinds, spans, escaped = np.empty(n, np.int64), np.empty((SPANS, 2, n), np.int64), np.empty(n, np.uint16)
    buffer = np.frombuffer(columns.buffer, np.uint8)
    starts, stops = columns.value_starts, columns.value_stops
    tables, details = (EVENTS.words, EVENTS.fields, EVENTS.tables), np.zeros(n, DETAIL)
    scan_rows(buffer, starts, stops, *tables, 0, n, kinds, spans, escaped, details)
    return kinds, spans, escaped


def is_passed(text: bytes) -> bool:
    """Return whether the grammar's kernels pass a whole JSON text."""
    data = np.frombuffer(text, np.uint8)
    end = skip_value(data, 0, len(data))
    return end >= 0 and skip_whitespace(data, end, len(data)) == len(data)


def is_parsed(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


# --- the grammar ----------------------------------------------------------------------------------------


def test_every_listed_case_is_there() -> None:
    assert (len(MUST), len(MUST_NOT), len(MAY)) == (95, 188, 35)


@pytest.mark.parametrize("name", MUST)
def test_what_every_parser_takes_is_passed(name: str) -> None:
    assert is_parsed(MUST[name])
    assert is_passed(MUST[name])


@pytest.mark.parametrize("name", MUST_NOT)
def test_what_no_parser_takes_is_not_passed(name: str) -> None:
    assert not is_parsed(MUST_NOT[name])
    assert not is_passed(MUST_NOT[name])


@pytest.mark.parametrize("name", MAY)
def test_what_parsers_are_free_to_take_is_passed_only_if_orjson_takes_it(name: str) -> None:
    assert is_parsed(MAY[name]) or not is_passed(MAY[name])


@pytest.mark.parametrize("name", [*MUST, *MUST_NOT, *MAY])
def test_every_case_gives_the_same_columns_anywhere_in_an_event(name: str) -> None:
    case = {**MUST, **MUST_NOT, **MAY}[name]
    values = [case, RAW[:-1] + b',"extension":' + case + b"}", b'{"extension":' + case + b"," + RAW[1:]]
    values += [RAW.replace(b'{"account"', b'{"other":' + case + b',"account"')]
    values += [RAW.replace(b'"page"', case), RAW.replace(orjson.dumps(EVENT["data"]), case)]
    values += [RAW.replace(orjson.dumps(EVENT[member]), case) for member in EVENT if member != "data"]
    text = case.strip(b' []{}":')
    values += [RAW.replace(before, text) for before in (b"e-1", b"page", b"account", b"voter-7", b"subject")]
    compare(values)


def test_depth_that_is_not_sure_is_left_to_orjson() -> None:
    assert is_passed(b"[" * 32 + b"]" * 32)
    assert not is_passed(b"[" * 33 + b"]" * 33)
    deep = b"[" * 2000 + b"]" * 2000
    assert REJECT_REASONS[compare([RAW[:-1] + b',"x":' + deep + b"}"]).reject[0]] == "not_json"


# --- events ---------------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.randoms(use_true_random=False), min_size=1, max_size=4), st.booleans())
def test_events_in_all_spellings_give_the_same_columns(chances: list[random.Random], mutated: bool) -> None:
    values = [write(chance, some_event(chance)).encode() for chance in chances]
    compare([mutate(chance, value) if mutated else value for chance, value in zip(chances, values, strict=True)])


def test_spelled_events_reach_every_reason_and_both_ways() -> None:
    chance = random.Random(5)
    values = [write(chance, some_event(chance)).encode() for _ in range(4000)]
    decoded = compare(values)
    reasons = Counter(REJECT_REASONS[code] for code in decoded.reject.tolist())
    named = {"", "not_json", "not_cloudevent", "unknown_type", "bad_subject", "bad_time", "bad_data"}
    assert set(reasons) - {"too_large"} == named
    kinds, _, escaped = scanned(batch_of(values))
    taken = decoded.reject == 0
    assert reasons[""] > 1000
    assert (kinds[taken] >= 0).sum() > 500
    assert (kinds[taken] < 0).sum() > 100
    assert escaped.any()


def test_mutated_events_give_the_same_columns() -> None:
    counts = run("scan", 10_000, 3)
    assert counts.total() == 10_000
    assert counts["accepted"] > 1000


def test_fuzzer_sees_a_scanner_that_reads_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*arguments: Any, reference: bool = False) -> Decoded:
        decoded = decode(*arguments, reference=reference)
        if not reference:
            decoded.times[np.flatnonzero(decoded.reject == 0)[-1:]] += 1
        return decoded

    monkeypatch.setattr(scanning, "decode", careless)
    with pytest.raises(BrokenPromiseError, match="give other times in row") as caught:
        scanning.try_events(random.Random(1), 250)
    assert caught.value.data


@pytest.mark.parametrize("column", ["voters", "ids", "sources", "hashes", "kinds", "homes"])
def test_difference_names_what_differs(column: str) -> None:
    columns = batch_of([RAW, RAW.replace(b"social.comment", b"social.share").replace(b"e-1", b"e-2")])
    one, other = decode(columns, 7, LOG_MS), decode(columns, 7, LOG_MS, reference=True)
    assert scanning.difference(one, other) is None
    value = getattr(one, column)
    setattr(one, column, value.take(np.array([0, 0])) if hasattr(value, "take") and column != "homes" else value + 1)
    found = scanning.difference(one, other)
    assert found is None if column in {"voters", "sources"} else found in {(column, 0), (column, 1)}


# --- what is left to orjson -----------------------------------------------------------------------------


def test_benchmarks_events_are_all_scanned() -> None:
    columns = batch_of([value for _, value in workload.events(5000, 500, 1, LOG_MS)])
    kinds, _, escaped = scanned(columns)
    assert (kinds >= 0).all()
    assert not escaped.any()
    compare([columns.value(row) for row in range(len(columns))])


def test_one_in_a_hundred_of_the_demos_events_at_most_is_left_to_orjson() -> None:
    sent = Electorate(3, START_MS, voters=5000).until(START_MS + 3 * 3_600_000, 4000)
    values = [value for _, value in sent]
    kinds, _, _ = scanned(batch_of(values))
    assert len(values) > 5000
    assert 0 < (kinds < 0).mean() <= 0.01
    compare(values)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**15 - 1), st.integers(0, 14)), min_size=1, max_size=20))
def test_amounts_of_fifteen_digits_are_scanned_to_the_bit(numbers: list[tuple[int, int]]) -> None:
    texts = [str(decimal.Decimal(digits).scaleb(-decimals)) for digits, decimals in numbers]
    texts = [text for text in texts if "E" not in text and 0 < float(text) <= 10**9]
    values = [
        RAW.replace(b"social.comment", b"donation.started").replace(
            orjson.dumps(EVENT["data"]), b'{"amount":' + text.encode() + b"}"
        )
        for text in texts
    ]
    kinds, _, _ = scanned(batch_of(values))
    assert (kinds >= 0).all()
    decoded = compare(values)
    assert decoded.details.values["amount"].tolist() == [float(text) for text in texts]


def test_details_are_what_was_written() -> None:
    datas: dict[str, tuple[dict[str, Any], list[bytes], int]] = {
        "site.page_view": (
            {"device": "phone", "title": "t", "url": "/é", "referrer": None},
            ["/é".encode(), b"", b"phone"],
            0,
        ),
        "event.rsvp": ({"answer": "maybe", "guests": 3}, [], 3),
        "canvass.contacted": ({"support": 4, "issue": 'a"b', "answer": "yes"}, [b'a"b'], 4),
        "message.clicked": ({"channel": "pigeon", "url": "/x"}, [b"pigeon"], 0),
        "donation.completed": ({"amount": 5, "currency": "EUR", "method": "card"}, [b"card"], 0),
        "profile.updated": (
            {"source": "s", "time_zone": "z", "language": "l", "age_band": "a", "region": "r", "support": 2},
            [b"r", b"a", b"l", b"z", b"s"],
            0,
        ),
        "social.follow": ({"account": "@a"}, [b"@a"], 0),
        "event.attended": ({"event": "e"}, [], 0),
    }
    values = [orjson.dumps({**EVENT, "type": kind, "data": data}) for kind, (data, _, _) in datas.items()]
    decoded = compare(values)
    assert not decoded.reject.any()
    for row, (_, texts, code) in enumerate(datas.values()):
        found = [decoded.details.text(row, place) for place in range(TEXTS)]
        assert found == [*texts, *[b""] * (TEXTS - len(texts))]
        assert decoded.details.values["code"][row] == code
    assert decoded.details.values["amount"].tolist() == [0, 0, 0, 0, 5, 0, 0, 0]


def test_events_as_other_languages_write_them_are_scanned() -> None:
    """PHP escapes slashes, Python and many others what is not ASCII; some indent."""
    ascii_only = b"".join(
        b"\\u%04x" % ord(character) if ord(character) > 127 else character.encode() for character in "Grüße"
    )
    values = [
        RAW.replace(b"/", b"\\/"),
        RAW.replace("Grüße 🗳".encode(), ascii_only + b"\\ud83d\\uddf3"),
        orjson.dumps(EVENT, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        RAW.replace(b"subject", b"s\\u0075bject").replace(b"voter-7", b"v\\u00fcter\\t7"),
    ]
    kinds, _, escaped = scanned(batch_of(values))
    assert (kinds >= 0).all()
    assert escaped.astype(bool).tolist() == [True, True, False, True]
    decoded = compare(values)
    assert decoded.sources[0] == EVENT["source"].encode()
    assert decoded.reject.tolist() == [0, 0, 0, decoded.reject[3]]
    assert REJECT_REASONS[decoded.reject[3]] == "bad_subject"


def test_spans_are_of_the_batchs_own_buffer_where_nothing_was_odd() -> None:
    columns = batch_of([RAW, RAW])
    decoded = decode(columns, 7, LOG_MS)
    own = np.frombuffer(columns.buffer, np.uint8)
    assert all(np.shares_memory(texts.buffer, own) for texts in (decoded.voters, decoded.ids, decoded.sources))
    columns = batch_of([RAW, RAW[:-1] + b',"id":"e-2"}', RAW[:-1]])
    odd = decode(columns, 7, LOG_MS)
    assert list(odd.ids) == [b"e-1", b"e-2", b""]
    assert np.shares_memory(odd.ids.buffer, np.frombuffer(columns.buffer, np.uint8))
    assert odd.ids.buffer is odd.voters.buffer is odd.sources.buffer
    assert not odd.ids.buffer.flags.writeable


def test_odd_rows_and_escapes_in_one_batch_give_the_same_columns() -> None:
    escaped = RAW.replace(b"https://", b"https:\\/\\/")
    odd = escaped[:-1] + b',"id":"e-2","subject":"voter-\\u0039","time":null}'
    decoded = compare([RAW, escaped, odd, RAW[:-1], RAW])
    assert list(decoded.ids) == [b"e-1", b"e-1", b"e-2", b"", b"e-1"]
    assert list(decoded.voters) == [b"voter-7", b"voter-7", b"voter-9", b"", b"voter-7"]
    assert set(decoded.sources) == {EVENT["source"].encode(), b""}


def test_names_of_every_length_have_the_packages_hash() -> None:
    values = [orjson.dumps({**EVENT, "id": "i" * length, "source": "s" * 256}) for length in range(1, 257)]
    values += [
        orjson.dumps({**EVENT, "id": "🗳" * (length // 9 + 1), "source": "s" * length}) for length in range(1, 257)
    ]
    values += [orjson.dumps({**EVENT, "id": "i" * length, "source": "s"}) for length in range(1, 257)]
    assert not compare(values).reject.any()


def test_any_cut_and_order_of_rows_scans_the_same() -> None:
    chance = random.Random(8)
    values = [write(chance, some_event(chance)).encode() for _ in range(60)]
    whole = compare(values)
    for row, value in enumerate(values):
        alone = compare([value])
        assert alone.kinds[0] == whole.kinds[row]
        assert (alone.voters[0], alone.ids[0], alone.sources[0]) == (
            whole.voters[row],
            whole.ids[row],
            whole.sources[row],
        )
