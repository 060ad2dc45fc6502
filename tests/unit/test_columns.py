"""Rows to columns: spans of keys, values and signatures over one buffer, and where forwarded rows came from."""

from __future__ import annotations

import pytest

from stream.columns import Headers, columns_of, joined


def test_every_span_gives_back_the_bytes_it_was_made_of() -> None:
    keys = [b"k0", None, b"", b"k3"]
    values = [b"v0", b"", None, b"v3"]
    headers: list[Headers] = [
        [("groundswell-signature", b"k1:5:ab")],
        [],
        [("other", b"x"), ("groundswell-signature", None), ("groundswell-signature", b"first"), *[("x", b"y")]],
        [("groundswell-signature", b"one"), ("groundswell-signature", b"two")],
    ]
    columns = columns_of(0, [4, 5, 7, 9], [0] * 4, keys, values, headers)
    assert [columns.key(row) for row in range(4)] == keys
    assert [columns.value(row) for row in range(4)] == [value or b"" for value in values]
    assert [columns.signature(row) for row in range(4)] == [b"k1:5:ab", b"", b"first", b"one"]
    assert columns.signature_starts.tolist()[1] == columns.signature_stops.tolist()[1] == -1


def test_row_is_forwarded_from_the_first_header_that_is_an_origin() -> None:
    headers: list[Headers] = [
        [("groundswell-origin", b"x"), ("groundswell-origin", b"2:17"), ("groundswell-origin", b"3:1")],
        [("groundswell-origin", None)],
        [("groundswell-signature", b"1:2")],
    ]
    columns = columns_of(0, [0, 1, 2], [0] * 3, [None] * 3, [None] * 3, headers)
    assert columns.origin_partitions.tolist() == [2, -1, -1]
    assert columns.origin_offsets.tolist() == [17, -1, -1]
    assert columns.buffer == b"1:2"


def test_no_rows_are_a_batch_too() -> None:
    columns = columns_of(3, [], [], [], [], [], start=7, next_offset=9)
    assert len(columns) == len(columns.signature_starts) == 0
    assert (columns.start, columns.next) == (7, 9)


def test_joined_batches_are_the_rows_of_all_over_one_buffer() -> None:
    signed: Headers = [("groundswell-signature", b"k1:5:ab"), ("groundswell-origin", b"2:17")]
    batches = [
        columns_of(3, [4, 5], [10, 11], [b"a", None], [b"one", None], [[], signed], epoch=2, start=3, next_offset=7),
        columns_of(3, [], [], [], [], [], epoch=2, start=7, next_offset=8),
        columns_of(3, [8, 9], [12, 0], [None, b"bc"], [b"", b"two"], [signed, []], epoch=2, start=8, next_offset=12),
    ]
    whole = joined(batches)
    assert (whole.partition, whole.epoch, whole.start, whole.next, len(whole)) == (3, 2, 3, 12, 4)
    assert whole.offsets.tolist() == [4, 5, 8, 9]
    assert whole.log_times.tolist() == [10, 11, 12, 0]
    assert [whole.key(row) for row in range(4)] == [b"a", None, None, b"bc"]
    assert [whole.value(row) for row in range(4)] == [b"one", b"", b"", b"two"]
    assert [whole.signature(row) for row in range(4)] == [b"", b"k1:5:ab", b"k1:5:ab", b""]
    assert whole.origin_offsets.tolist() == [-1, 17, 17, -1]
    assert joined(batches[:1]) is batches[0]
    assert whole.value_starts.tolist()[1] == whole.value_stops.tolist()[1] == -1


@pytest.mark.parametrize("is_followed", [False, True])
def test_rows_joined_are_followed_where_the_last_of_them_are(is_followed: bool) -> None:
    first, last = (columns_of(0, [number], [0], [None], [b""], [()]) for number in (0, 1))
    first.is_followed, last.is_followed = not is_followed, is_followed
    assert joined([first, last]).is_followed is is_followed
