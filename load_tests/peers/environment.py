"""Where contenders run that need more than this project's own environment: Java, and Python packages of their own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_ENVIRONMENTS: Final = _ROOT / ".peers"
_KAFKA: Final = _ROOT / ".kafka"
_QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
STREAMS_THREADS: Final = min(os.cpu_count() or 1, 4)
"""One for each core, and no more than there are partitions."""


@cache
def peers_python(name: str = "requirements") -> str:
    """Return the interpreter of an environment of contenders, which is made where it is missing or of other packages.

    ``name`` is that of a file of locked requirements beside this one.
    """
    requirements = Path(__file__).with_name(f"{name}.txt")
    environment = _ENVIRONMENTS / name
    made = environment / "made"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = environment / "bin" / "python"
    if not made.exists() or made.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r"]
        subprocess.run([*install, str(requirements)], check=True)
        made.write_text(wanted)
    return str(python)


@cache
def streams() -> tuple[str, ...]:
    """Return the command that runs the Kafka Streams contender, which is compiled where it is not."""
    subprocess.run(["bash", str(_ROOT / ".ci" / "peers")], check=True)
    return ("java", _QUIET, "-cp", f"{_KAFKA / 'streams-classes'}:{_KAFKA / 'streams'}/*", "StreamsJob")


def streams_arguments(
    bootstrap: str, name: str, topic: str, triggers: str, count: int, directory: Path, commit_ms: int = 100
) -> list[str]:
    """Return the arguments of StreamsJob; the job is in ``job.json`` in ``directory``, and its state goes there."""
    where = [str(directory / "job.json"), str(directory / "state")]
    return [bootstrap, name, topic, triggers, str(count), *where, str(commit_ms), str(STREAMS_THREADS)]
