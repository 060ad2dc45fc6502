"""Bytes changed by chance through everything that reads bytes: no crash, no hang, no flood of memory.

Run as ``python -m load_tests.fuzz --inputs 100000 --seed 1 [--target NAME]``: spreads the inputs over the targets and
over two processes, prints what they came to, and exits 1 at the first input that raised an error that is not
documented, took over a second of the processor, stood still, ended its process, or needed over 1 GB. Each such input is
printed with the command that tries it again, and its bytes are kept in ``load_tests/results``. Kernels check their
bounds meanwhile (NUMBA_BOUNDSCHECK), so that a write beyond an array is found and not a crash much later.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from load_tests.fuzzing import TARGETS, BrokenPromiseError, Target
from load_tests.fuzzing.targets import units
from load_tests.report import RESULTS

MOST_SECONDS: Final = 1.0
"""Of the processor, for one unit of inputs: so no single one can have hung."""
MOST_STILL_SECONDS: Final = 60.0
"""By the wall clock, for one unit: a kernel that never ends is not interrupted, its process is."""
MOST_BYTES: Final = 1 << 30
_CHUNK_UNITS: Final = 40
_PROCESSES: Final = 2

Chunk = tuple[str, int, list[tuple[int, int]]]
"""Target, seed, and units with their numbers of inputs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in which unit."""

    target: str
    seed: int
    unit: int
    what: str
    data: bytes = b""

    def keep(self) -> str:
        """Write the input to a file, and return what to print."""
        again = f"python -m load_tests.fuzz --target {self.target} --seed {self.seed} --unit {self.unit}"
        lines = [f"{self.target}, seed {self.seed}, unit {self.unit}: {self.what}", f"again: {again}"]
        if self.data:
            RESULTS.mkdir(exist_ok=True)
            path = RESULTS / f"fuzz-{self.target}-{self.seed}-{self.unit}.bin"
            path.write_bytes(self.data)
            lines.append(f"input: {path}")
        return "\n".join(lines)


# --- in a process that tries inputs --------------------------------------------------------------------


def try_unit(target: Target, seed: int, unit: int, inputs: int) -> Counter[str]:
    """Try one unit; raise BrokenPromiseError where an input broke a promise, took too long or too much."""
    trial = target.trial()
    before, peak_before = time.process_time(), peak_bytes()
    try:
        counts = trial(target.chance(seed, unit), inputs)
    except MemoryError as error:
        message = f"more than {MOST_BYTES} bytes of memory are needed"
        raise BrokenPromiseError(message) from error
    seconds = time.process_time() - before
    if seconds > MOST_SECONDS:
        message = f"{seconds:.2f} s of the processor for {inputs} inputs, expected at most {MOST_SECONDS}"
        raise BrokenPromiseError(message)
    peak = peak_bytes()
    if peak > max(MOST_BYTES, peak_before):
        message = f"{peak} bytes of memory were in use, expected at most {MOST_BYTES}"
        raise BrokenPromiseError(message)
    return counts


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit_memory() -> None:
    """Let this process ask for so much more memory that it cannot hold more than MOST_BYTES; where Linux says so."""
    try:
        size, held = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[:2])
    except OSError:
        return
    page = resource.getpagesize()
    limit = size * page + MOST_BYTES - held * page
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def work(pipe: Connection, progress: Any, names: Sequence[str]) -> None:
    """Try the chunks that come by ``pipe``, and answer with counts or a Failure; ``progress`` is the unit at hand."""
    targets = {target.name: target for target in TARGETS}
    for name in names:
        # Compiled and imported before anything is measured.
        targets[name].trial()(targets[name].chance(0, -1), 2)
    limit_memory()
    pipe.send(Counter[str]())
    while True:
        chunk: Chunk | None = pipe.recv()
        if chunk is None:
            return
        name, seed, numbers = chunk
        counts: Counter[str] = Counter()
        for unit, inputs in numbers:
            progress.value = unit
            try:
                counts += try_unit(targets[name], seed, unit, inputs)
            except BrokenPromiseError as error:
                pipe.send(Failure(name, seed, unit, str(error), error.data))
                return
        pipe.send(counts)


# --- in the process that hands them out ----------------------------------------------------------------


class Worker:
    """One process that tries inputs."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start it."""
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self._progress = context.Value("q", -1, lock=False)
        self._process: BaseProcess = context.Process(target=work, args=(other, self._progress, names), daemon=True)
        self._process.start()
        other.close()
        self.chunk: Chunk | None = None
        self._seen, self._since = -1, time.monotonic()

    def give(self, chunk: Chunk | None) -> None:
        """Hand it the next chunk; None: there is no more."""
        self.chunk = chunk
        self._since = time.monotonic()
        self.pipe.send(chunk)

    def answer(self) -> Counter[str] | Failure:
        """Return what came of its chunk."""
        try:
            answer: Counter[str] | Failure = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(5)
            return self._failure(f"the process ended with exit code {self._process.exitcode}")
        return answer

    def stands_still(self) -> Failure | None:
        """Return a failure where the same unit has been at hand for too long."""
        now = time.monotonic()
        if self._progress.value != self._seen or self.chunk is None:
            self._seen, self._since = self._progress.value, now
        if now - self._since < MOST_STILL_SECONDS:
            return None
        return self._failure(f"no end after {MOST_STILL_SECONDS:.0f} s")

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()

    def _failure(self, what: str) -> Failure:
        name, seed, _ = self.chunk or ("start", 0, [])
        return Failure(name, seed, self._progress.value, what)


def chunks(names: Sequence[str], inputs: int, seed: int) -> list[Chunk]:
    """Spread the inputs over the targets by their shares, in pieces for the processes."""
    chosen = [target for target in TARGETS if target.name in names]
    shares = sum(target.share for target in chosen)
    found: list[Chunk] = []
    left = inputs
    for target in chosen:
        number = left if target is chosen[-1] else inputs * target.share // shares
        left -= number
        numbers = list(units(target, number))
        for first in range(0, len(numbers), _CHUNK_UNITS):
            found.append((target.name, seed, numbers[first : first + _CHUNK_UNITS]))
    return found


def fuzz(names: Sequence[str], inputs: int, seed: int) -> dict[str, Counter[str]] | Failure:
    """Try ``inputs`` inputs; return what they came to by target, or the first failure."""
    waiting = chunks(names, inputs, seed)[::-1]
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    workers = [Worker(names) for _ in range(_PROCESSES)]
    busy = {worker.pipe: worker for worker in workers}
    try:
        while busy:
            for pipe in wait(list(busy), timeout=1):
                worker = busy[pipe]  # type: ignore[index]
                answer = worker.answer()
                if isinstance(answer, Failure):
                    return answer
                if worker.chunk is not None:
                    counts[worker.chunk[0]] += answer
                worker.give(waiting.pop() if waiting else None)
                if worker.chunk is None:
                    del busy[worker.pipe]
            still = next(filter(None, [worker.stands_still() for worker in busy.values()]), None)
            if still is not None:
                return still
    finally:
        for worker in workers:
            worker.stop()
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(description="Bytes changed by chance through everything that reads bytes.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=names, help="this one alone")
    parser.add_argument("--unit", type=int, help="this unit alone, in this process: what a failure says")
    options = parser.parse_args(arguments)
    if options.unit is not None:
        if options.target is None:
            parser.error("--unit needs --target")
        target = next(target for target in TARGETS if target.name == options.target)
        sys.stdout.write(f"{dict(try_unit(target, options.seed, options.unit, target.unit))}\n")
        return 0
    with tempfile.TemporaryDirectory() as kernels:
        # Kernels that check their bounds must not be taken for those that do not.
        os.environ.update(NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=kernels)
        started = time.monotonic()
        found = fuzz([options.target] if options.target else names, options.inputs, options.seed)
    if isinstance(found, Failure):
        sys.stderr.write(f"{found.keep()}\n")
        return 1
    for target in TARGETS:
        for outcome, count in sorted(found.get(target.name, {}).items()):
            sys.stdout.write(f"{target.name:10}{outcome:30}{count:>10,}\n")
    total = sum(counts.total() for counts in found.values())
    seconds = time.monotonic() - started
    sys.stdout.write(f"{total:,} inputs of seed {options.seed} in {seconds:.0f} s: no crash, no hang, under 1 GB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
