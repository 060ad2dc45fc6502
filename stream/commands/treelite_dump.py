"""``python -m stream.commands.treelite_dump FORMAT FILE``: prints what treelite says of a model, within bounds.

A process of its own: a file that makes a parser in C++ crash, run or grow ends this and nothing else.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Final

_SECONDS: Final = 5
_BYTES: Final = 1 << 30


def main() -> int:
    """Print the dump; return 1, with one line on standard error, where there is none."""
    kind, file = sys.argv[1:]
    try:
        import treelite  # noqa: PLC0415 (an extra, which may not be installed)
    except ImportError:
        print("treelite is not installed: pip install 'groundswell[models]'", file=sys.stderr)
        return 1
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + _BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + _SECONDS, used + _SECONDS))
    try:
        if kind == "treelite":
            model = treelite.Model.deserialize(file)
        else:
            form = "json" if kind == "xgboost-json" else "ubjson"
            model = treelite.frontend.load_xgboost_model(file, format_choice=form)
        print(model.dump_as_json(pretty_print=False))
    except (treelite.TreeliteError, MemoryError, OSError, ValueError) as error:
        text = str(error).strip().splitlines()
        print(text[-1] if text else type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
