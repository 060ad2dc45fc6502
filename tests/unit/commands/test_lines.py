from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from stream.commands.lines import Lines
from stream.errors import ConfigurationError

MOST = 1000
TEXT = b"first\n\n  \r\nsecond\r\n" + b"x" * 5000 + b"\nthird\n" + b"y" * MOST + b"\nlast"
EXPECTED = [(1, b"first"), (4, b"second"), (5, b"x" * (MOST + 1)), (6, b"third"), (7, b"y" * MOST), (8, b"last")]


def read(path: Path) -> list[tuple[int, bytes]]:
    lines = Lines(str(path), MOST)
    try:
        return [line for chunk in lines.chunks() for line in chunk]
    finally:
        lines.close()


def frames(data: bytes) -> bytes:
    middle = len(data) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(data[:middle]) + compress(data[middle:])


@pytest.mark.parametrize(
    "packed",
    [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), frames(TEXT)],
    ids=["plain", "gzip", "gzip members", "zstd frames"],
)
def test_lines_come_numbered_whatever_the_compression(tmp_path: Path, packed: bytes) -> None:
    # The name says nothing: the content does.
    path = tmp_path / "events.jsonl"
    path.write_bytes(packed)
    assert read(path) == EXPECTED


def test_lines_across_chunks_are_whole(tmp_path: Path) -> None:
    expected = [(number, b"%d" % number * 37) for number in range(1, 20_000)]
    path = tmp_path / "events"
    path.write_bytes(b"\n".join(line for _, line in expected))
    assert read(path) == expected


def test_endless_line_is_cut_and_the_next_one_found(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"z" * 1_000_000 + b"\nnext\n")
    assert read(path) == [(1, b"z" * (MOST + 1)), (2, b"next")]


def test_empty_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.touch()
    assert read(path) == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_damaged_compression_is_an_error_that_names_the_file(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "events"
    packed = bytearray(pack(os.urandom(50_000)))
    packed[20_000:20_100] = bytes(100)
    path.write_bytes(packed[:40_000])
    with pytest.raises(ConfigurationError, match=r"events"):
        read(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent.*No such file"):
        Lines(str(tmp_path / "absent"), MOST)


def test_line_on_a_pipe_is_given_before_the_next_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
        sink.write(b"one line\nhalf a")
        lines = Lines("-", MOST)
        chunks = lines.chunks()
        assert next(chunks) == [(1, b"one line")]
        sink.write(b" line\n")
        assert next(chunks) == [(2, b"half a line")]
        sink.close()
        assert list(chunks) == []
        assert lines.size_bytes is None
        lines.close()
