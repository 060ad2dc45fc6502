"""Lines of a file or of standard input, as they come; gzip and zstd are known by their first bytes."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import zstandard

from stream.errors import ConfigurationError

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES: Final = 1 << 16
_DAMAGED: Final = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)


class Lines:
    """The lines of one source, in chunks of what is there: a slow pipe's line is given when it has come."""

    def __init__(self, source: str, most_bytes: int) -> None:
        """Open a file, or standard input for ``-``. A line longer than ``most_bytes`` is cut to one byte more.

        Raises ConfigurationError where it cannot be read.
        """
        self.source = source
        try:
            raw = sys.stdin.buffer if source == "-" else Path(source).open("rb")  # noqa: SIM115 (closed by close)
        except OSError as error:
            message = f"{source!r} cannot be read: {error.strerror}"
            raise ConfigurationError(message) from error
        self._raw = cast(BinaryIO, raw)
        self._most = most_bytes
        self._stream = _decompressed(self._raw)
        self._regular = source != "-" and Path(source).is_file()
        self.size_bytes = os.fstat(self._raw.fileno()).st_size if self._regular else None
        """Of the file as it lies there; None for a pipe."""

    def position_bytes(self) -> int:
        """Return how much of a regular file was read."""
        return self._raw.tell() if self._regular else 0

    def chunks(self) -> Iterator[list[tuple[int, bytes]]]:
        """Give (line number from 1, bytes without the line's end), blank lines left out.

        Raises ConfigurationError where compressed data is damaged.
        """
        number, rest = 0, b""
        while True:
            try:
                data = self._stream.read1(_CHUNK_BYTES)
            except _DAMAGED as error:
                message = f"{self.source!r} is damaged after line {number}: {error}"
                raise ConfigurationError(message) from error
            *whole, rest = (rest + data).split(b"\n")
            # Enough of an endless line is kept to know that it is too long, and where it ends.
            rest = rest[: self._most + 2]
            if not data and rest:
                whole.append(rest)
            chunk = [(number + place, self._cut(line)) for place, line in enumerate(whole, 1) if line.strip()]
            number += len(whole)
            if chunk:
                yield chunk
            if not data:
                return

    def close(self) -> None:
        """Close the file."""
        if self.source != "-":
            self._raw.close()

    def _cut(self, line: bytes) -> bytes:
        return line.removesuffix(b"\r")[: self._most + 1]


def _decompressed(raw: BinaryIO) -> Any:
    """Return a stream with ``read1`` over what the bytes of ``raw`` stand for."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(Any, raw))
    head = buffered.peek(len(_ZSTD))[: len(_ZSTD)]
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=buffered)
    return _Zstd(buffered) if head == _ZSTD else buffered


class _Zstd:
    """What zstd frames stand for; unlike the library's own reader it notices an end within a frame."""

    def __init__(self, packed: Any) -> None:
        self._packed = packed
        self._frame: Any = None

    def read1(self, size: int) -> bytes:
        """Return some bytes, none at the end of the last frame; raise EOFError for an end within one."""
        while True:
            data = b""
            if self._frame is not None and self._frame.eof:
                data, self._frame = self._frame.unused_data, None
            data = data or self._packed.read1(size)
            if not data and self._frame is None:
                return b""
            if not data:
                message = "it ends within a zstd frame"
                raise EOFError(message)
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            unpacked: bytes = self._frame.decompress(data)
            if unpacked:
                return unpacked
