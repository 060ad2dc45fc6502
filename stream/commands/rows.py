"""The Parquet file of rows for training: written group by group, so that memory holds only the last ones."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from stream.commands.sampling import SPLITS, Rows
from stream.errors import ConfigurationError, not_installed, quoted
from stream.features import FEATURES

METADATA_KEY: Final = "groundswell"
"""Under which the file's metadata holds JSON."""
COLUMNS: Final = ("voter", "time_ms", "label", "weight", "censored", "split")
"""What stands before the features."""
GROUP_ROWS: Final = 32_768
_COMPRESSION: Final = "zstd"


def parquet() -> Any:
    """Return ``pyarrow`` with its ``parquet`` module loaded; raise ConfigurationError where it is not installed."""
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ConfigurationError(not_installed("pyarrow", "train")) from error


class RowFile:
    """A file on its way: it takes its name once it is whole."""

    def __init__(self, path: Path) -> None:
        """Begin a file; raise ConfigurationError where pyarrow is missing or the path cannot be written."""
        self._arrow = parquet()
        if not path.name or path.is_dir():
            message = f"{quoted(str(path))} is a directory, expected the path of a file to write"
            raise ConfigurationError(message)
        self._path = path
        self.partial = path.with_name(f".{path.name}.partial")
        """Where it is until then."""
        self._waiting: list[Rows] = []
        self._waiting_rows = 0
        arrow = self._arrow
        types = (arrow.string(), arrow.int64(), arrow.int8(), arrow.float32(), arrow.bool_(), arrow.string())
        fields = [*zip(COLUMNS, types, strict=True), *((name, arrow.float32()) for name in FEATURES)]
        self._schema = arrow.schema(fields)
        options = {"compression": _COMPRESSION, "use_dictionary": ["voter", "split"]}
        try:
            # It holds voter ids and what they did, so it is its owner's alone.
            self.partial.unlink(missing_ok=True)
            self.partial.touch(0o600, exist_ok=False)
            self._writer = arrow.parquet.ParquetWriter(str(self.partial), self._schema, **options)
        except OSError as error:
            raise _unwritable(path, error) from error
        self.counts = dict.fromkeys(("rows", "positives", "negatives", "censored", *SPLITS), 0)

    def add(self, rows: Rows) -> None:
        """Write rows."""
        self._waiting.append(rows)
        self._waiting_rows += len(rows.voters)
        counts, decided = self.counts, ~rows.censored
        counts["rows"] += len(rows.voters)
        counts["positives"] += int(np.count_nonzero(decided & (rows.labels == 1)))
        counts["negatives"] += int(np.count_nonzero(decided & (rows.labels == 0)))
        counts["censored"] += int(np.count_nonzero(rows.censored))
        for name, count in zip(SPLITS, np.bincount(rows.splits, minlength=len(SPLITS)).tolist(), strict=True):
            counts[name] += count
        if self._waiting_rows >= GROUP_ROWS:
            self._write()

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write what is left, and ``metadata`` as JSON."""
        try:
            if self._waiting:
                self._write()
            self._writer.add_key_value_metadata({METADATA_KEY: orjson.dumps(metadata)})
            self._writer.close()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def publish(self) -> None:
        """Give the file its name, in the place of another."""
        try:
            self.partial.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def abandon(self) -> None:
        """Remove what was written, if it has not taken its name."""
        # On a full disk even the end cannot be written, and is not what went wrong.
        with suppress(OSError, self._arrow.ArrowException):
            self._writer.close()
        self.partial.unlink(missing_ok=True)

    def _write(self) -> None:
        """Write what waits as groups of rows."""
        arrow, waiting = self._arrow, self._waiting
        lengths = [len(rows.voters) for rows in waiting]
        censored = np.concatenate([rows.censored for rows in waiting])
        features = np.concatenate([rows.features for rows in waiting])
        splits = np.concatenate([rows.splits for rows in waiting])
        columns = [
            arrow.array([voter for rows in waiting for voter in rows.voters], arrow.string()),
            arrow.array(np.repeat(np.array([rows.moment_ms for rows in waiting], np.int64), lengths)),
            arrow.array(np.concatenate([rows.labels for rows in waiting]), mask=censored),
            arrow.array(np.concatenate([rows.weights for rows in waiting])),
            arrow.array(censored),
            arrow.array(np.array(SPLITS, object)[splits], arrow.string()),
            *(arrow.array(np.ascontiguousarray(features[:, place])) for place in range(len(FEATURES))),
        ]
        table = arrow.Table.from_arrays(columns, schema=self._schema)
        try:
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._waiting, self._waiting_rows = [], 0


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the JSON in a file's metadata; raise ConfigurationError for a file that ``groundswell dataset`` wrote not.

    ``path`` is quoted in its text.
    """
    arrow = parquet()
    try:
        found = arrow.parquet.read_metadata(str(path)).metadata or {}
        metadata: dict[str, Any] = orjson.loads(found[METADATA_KEY.encode()])
    except (OSError, KeyError, ValueError, arrow.ArrowInvalid) as error:
        message = f"{path} is no file of `groundswell dataset`: {error}"
        raise ConfigurationError(message) from error
    return metadata


def read_moment(path: Path, moment_ms: int, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return some columns of the rows of one moment."""
    table = parquet().parquet.read_table(str(path), columns=list(columns), filters=[("time_ms", "==", moment_ms)])
    return {name: table[name].to_pylist() for name in columns}


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written: {error}")
