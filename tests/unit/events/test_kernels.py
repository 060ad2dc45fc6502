"""The kernels against plain Python: RFC 3339 against datetime, home partitions against the keys' own."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.events import kernels
from stream.events.kernels import NOT_A_TIME, find_homes, parse_times, settle
from stream.partitioning import partition_of
from stream.spans import Spans
from tests.parts import compiled

parse_time = compiled(kernels.parse_time)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GRAMMAR = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:[0-5]\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII | re.IGNORECASE
)


def parsed(text: str) -> int:
    data = np.frombuffer(text.encode(), np.uint8)
    return parse_time(data, 0, len(data))


def expected(text: str) -> int:
    """Return what datetime says to a text that the grammar of RFC 3339 lets through."""
    match = GRAMMAR.fullmatch(text)
    if match is None:
        return NOT_A_TIME
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in "zZ" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        return NOT_A_TIME
    minutes = (int(zone[1:3]) * 60 + int(zone[4:])) * (-1 if zone[0] == "-" else 1)
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds - minutes * 60) * 1000 + int(((fraction or "") + "000")[:3])


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1985-04-12T23:20:50.52Z", 482_196_050_520),
        ("1996-12-19T16:39:57-08:00", 851_042_397_000),
        ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130),
        ("1970-01-01t00:00:00z", 0),
        ("2000-02-29T00:00:00-00:00", 951_782_400_000),
        ("2026-11-24T21:25:55.9999999999999999999999999Z", 1_795_555_555_999),
        ("9999-12-31T23:59:59.999-23:59", 253_402_387_139_999),
    ],
)
def test_times_of_rfc_3339_are_read(text: str, milliseconds: int) -> None:
    assert parsed(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        *["", "2026", "2026-11-24", "2026-11-24T21:25:55", "2026-11-24 21:25:55Z", "2026-11-24T21:25Z"],
        *["2026-11-24T21:25:55.Z", "2026-11-24T21:25:55,5Z", "2026-11-24T21:25:55.5", "2026-11-24T21:25:55ZZ"],
        *["2026-11-24T24:00:00Z", "2026-11-24T21:60:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z"],
        *["2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z"],
        *["2026-11-24T21:25:55+24:00", "2026-11-24T21:25:55+01:60", "2026-11-24T21:25:55+0100", "+026-11-24T21:25:55Z"],
        *["2026-11-24T21:25:55+01:000", "2026-11-24T21:25:55 01:00", "2026/11/24T21:25:55Z", "2026-W48-2T21:25:55Z"],
        *[" 2026-11-24T21:25:55Z", "2026-11-24T21:25:55Z\n", "٢٠٢٦-11-24T21:25:55Z", "2026-11-24T21:25:5:Z"],
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    assert parsed(text) == NOT_A_TIME


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00"])
def test_leap_second_is_refused(text: str) -> None:
    assert parsed(text) == NOT_A_TIME


two = st.integers(0, 99).map("{:02}".format)
SHAPED = st.tuples(
    st.one_of(st.integers(1990, 2030), st.integers(0, 9999)).map("{:04}".format),
    st.sampled_from("-----/"),
    st.one_of(st.integers(0, 13).map("{:02}".format), two),
    st.just("-"),
    st.one_of(st.integers(0, 32).map("{:02}".format), two),
    st.sampled_from("TTTTt "),
    st.one_of(st.integers(0, 24).map("{:02}".format), two),
    st.just(":"),
    st.one_of(st.integers(0, 60).map("{:02}".format), two),
    st.sampled_from("::::."),
    st.one_of(st.integers(0, 60).map("{:02}".format), two),
    st.one_of(st.just(""), st.from_regex(r"\.[0-9]{0,7}", fullmatch=True)),
    st.one_of(st.sampled_from(["Z", "z", ""]), st.from_regex(r"[+-][012][0-9]:[0-6][0-9]", fullmatch=True)),
).map("".join)


@settings(derandomize=True, max_examples=800, deadline=None)
@given(st.one_of(SHAPED, st.datetimes().map(lambda moment: moment.isoformat() + "Z"), st.text(max_size=30)))
def test_times_agree_with_datetime(text: str) -> None:
    # datetime ends in the year 1; no event may be older than 2000.
    if not text.startswith("0000"):
        assert parsed(text) == expected(text)


def test_every_day_of_the_calendar_has_its_number() -> None:
    first = datetime(1999, 12, 31, tzinfo=UTC).toordinal()
    texts = [f"{datetime.fromordinal(first + day):%Y-%m-%d}T00:00:00Z" for day in range(0, 150_000, 7)]
    days = [parsed(text) // 86_400_000 for text in texts]
    assert days == [first + day - EPOCH.toordinal() for day in range(0, 150_000, 7)]


def test_kernels_are_compiled_and_agree_with_their_python() -> None:
    texts = ["", "2026-11-24T21:25:55.5Z", "?", "1999-12-31T23:59:59Z", "2026-11-24T21:25:55+01:00"]
    buffer = np.frombuffer("".join(texts).encode(), np.uint8)
    stops = np.cumsum([len(text) for text in texts])
    starts = np.array([0, *stops[:-1]])
    compiled, plain = np.empty((2, len(texts)), np.int64)
    parse_times(buffer, starts, stops, compiled)
    parse_times.py_func(buffer, starts, stops, plain)  # type: ignore[attr-defined]
    assert compiled.tolist() == plain.tolist()
    assert compiled.tolist() == [-1, 1_795_555_555_500, NOT_A_TIME, NOT_A_TIME, 1_795_551_955_000]
    find_homes(buffer, starts, stops, 3, compiled)
    for compiled_kernel in (parse_times, find_homes, settle):
        assert hasattr(compiled_kernel, "signatures")
    assert parse_times.signatures  # type: ignore[attr-defined]
    assert find_homes.signatures  # type: ignore[attr-defined]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=70), max_size=8), st.integers(1, 300))
def test_home_is_the_partition_of_the_voters_key(voters: list[str], count: int) -> None:
    keys = [voter.encode("utf-8", "replace") for voter in voters]
    homes = np.empty(len(keys), np.int64)
    texts = Spans.of(keys)
    find_homes(texts.buffer, texts.starts, texts.stops, count, homes)
    for key, home in zip(keys, homes.tolist(), strict=True):
        fit = 1 <= len(key) <= 64 and not any(byte < 32 or byte == 127 for byte in key)
        assert home == (partition_of(key, count) if fit else -1)
