from __future__ import annotations

import numpy as np

from stream.spans import Spans

TEXTS = [b"ada", b"", "zoë".encode(), b"ada"]


def test_texts_come_back_as_they_were_laid_down() -> None:
    spans = Spans.of(TEXTS)
    assert len(spans) == 4
    assert list(spans) == TEXTS
    assert [spans[row] for row in range(4)] == TEXTS


def test_no_texts_are_no_rows() -> None:
    assert list(Spans.of([])) == []


def test_taken_rows_share_the_buffer() -> None:
    spans = Spans.of(TEXTS)
    taken = spans.take(np.array([2, 0]))
    assert list(taken) == [TEXTS[2], TEXTS[0]]
    assert taken.buffer is spans.buffer


def test_a_marked_row_has_no_text() -> None:
    assert list(Spans.of(TEXTS).without(np.array([True, False, True, False]))) == [b"", b"", b"", b"ada"]
