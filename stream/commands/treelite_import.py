"""``python -m stream.commands.treelite_import FORMAT FILE [CLASS]``: prints the trees in a model that treelite reads.

A process of its own, which bounds itself: a file that makes a parser in C++ crash, run or grow ends this and nothing
else. Standard input holds the columns' names as JSON (null: XGBoost's JSON names them), standard output the keys of a
model file and the factor before its link, as JSON. Where the file is refused, the last line of standard error says why.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path
from typing import Any, Final

import orjson

from stream.errors import ConfigurationError, not_installed
from stream.features import FEATURES
from stream.scoring.forest import Forest, write_forest
from stream.scoring.imports import read_treelite

SECONDS: Final = 5
"""Of the processor, for one file."""
BYTES: Final = 1 << 30
"""Of memory, for one file."""
REFUSED: Final = 3
"""The exit status of a file that is refused with a reason; any other but 0 is a crash, or a bound that was met."""


def limit() -> None:
    """Bound what this process may take beyond what it has: SECONDS and BYTES; it leaves no core behind."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[0]) if statm.exists() else 0
    most = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Run from the command line; return the exit status."""
    kind, file, *classes = sys.argv[1:]
    return print_trees(kind, file, orjson.loads(sys.stdin.buffer.read()), int(classes[0]) if classes else None)


def print_trees(kind: str, file: str, names: list[str] | None, number: int | None = None) -> int:
    """Bound this process, and print the trees; return REFUSED, with a line on standard error, where there are none."""
    try:
        import treelite  # noqa: PLC0415 (an extra, which may not be installed)
    except ImportError:
        return _refuse(not_installed("treelite", "models"))
    limit()
    try:
        forest, factor = _read(treelite, kind, file, names, number)
        sys.stdout.buffer.write(orjson.dumps({"factor": factor, "forest": write_forest(forest, FEATURES)}))
    except ConfigurationError as error:
        return _refuse(str(error))
    except (treelite.TreeliteError, OSError, ValueError) as error:
        return _refuse(f"{file} is not read by treelite: {_reason(error)}")
    except MemoryError:
        return _refuse(f"{file} needs more than {BYTES} bytes of memory to be read")
    return 0


def _read(treelite: Any, kind: str, file: str, names: list[str] | None, number: int | None) -> tuple[Forest, float]:
    if names is None:
        names = _names(Path(file))
    if kind == "treelite":
        model = treelite.Model.deserialize(file)
    else:
        form = "json" if kind == "xgboost-json" else "ubjson"
        model = treelite.frontend.load_xgboost_model(file, format_choice=form)
    text = model.dump_as_json(pretty_print=False)
    try:
        dump = orjson.loads(text)
    except orjson.JSONDecodeError:
        # treelite leaves out what JSON cannot say.
        message = f"{file} holds a number that is infinite or NaN, expected thresholds and leaves that are finite"
        raise ConfigurationError(message) from None
    return read_treelite(dump, names, FEATURES, file, number)


def _names(file: Path) -> list[str]:
    """Return the names of the columns that XGBoost's JSON gives."""
    try:
        names = orjson.loads(file.read_bytes())["learner"]["feature_names"]
    except (ValueError, KeyError, TypeError):
        names = None
    if not isinstance(names, list) or not names:
        message = f"{file} does not name its columns: give a file of their names, one a line, by --features"
        raise ConfigurationError(message)
    return [str(name) for name in names]


def _reason(error: Exception) -> str:
    """Return an error's first line, without the time and the place in treelite's sources before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\[[0-9:]+\] \S+: ", "", lines[0])[:300]


def _refuse(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
