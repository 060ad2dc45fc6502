"""How fast models of trees are scored, beside LightGBM, lleaves, ONNX Runtime and treelite.

``make bench-models PARTS=models``. One thread each, in rounds of all of them; per size of batch the median over the
rounds of each one's best time. Models are trained here from seeds, 100 trees of 31 leaves and 500 of 63. Each is called
as its users call it, LightGBM by ``Booster.predict``; beside it stands LightGBM's C call for one row, prepared before.
One row is each in turn, as a stream has them; beside it stands the same row again and again, whose way through
LightGBM's trees a processor learns. The exit status is 0 only if the goals are met.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import lightgbm
import numpy as np
import treelite

from load_tests.peers.environment import peers_python
from load_tests.peers.timing import seconds
from load_tests.report import Row, compare, judge, show, show_rows, write
from stream.features import FEATURES
from stream.records import MAX_MODELS
from stream.scoring.bitvectors import BitVectors, Picked, compile_forest
from stream.scoring.files import read_model
from stream.scoring.forest import write_forest
from stream.scoring.imports import read_lightgbm

ROWS: Final = 1024
COLUMNS: Final = len(FEATURES)
_TRAINING_ROWS: Final = 20_000


@dataclass(frozen=True)
class Size:
    """One model, and by how much ours is to be faster than others."""

    trees: int
    leaves: int
    beside_lightgbm: float
    beside_lleaves: float

    @property
    def name(self) -> str:
        """Its trees and leaves."""
        return f"{self.trees} x {self.leaves}"


SIZES: Final = (Size(100, 31, 18.0, 4.0), Size(500, 63, 12.0, 3.0))
C_CALL: Final = "LightGBM's C call for one row"
ONE_ROW: Final = 8.0
"""By how much one row is to be faster than in LightGBM."""
READING: Final = 50.0
"""By how much a model is to be ready sooner than lleaves compiles it."""
READING_SECONDS: Final = 0.1


def trained(size: Size, seed: int = 1) -> tuple[Any, Any]:
    """Return a booster and rows of singles, as float64[n, c], of a seed."""
    chance = np.random.default_rng(seed)
    rows = chance.gamma(1.0, 2.0, (_TRAINING_ROWS, COLUMNS)).astype(np.float32).astype(np.float64)
    signal = (
        np.sin(rows) @ chance.normal(size=COLUMNS) + 2.0 * (rows[:, 0] * rows[:, 1] > 2) + chance.normal(size=len(rows))
    )
    common = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "learning_rate": 0.05}
    data = lightgbm.Dataset(rows, signal > np.median(signal), feature_name=list(FEATURES))
    return lightgbm.train({**common, "num_leaves": size.leaves, "seed": seed}, data, size.trees), rows[:ROWS]


def ready(content: bytes) -> BitVectors:
    """Return what a worker makes of a model file."""
    forest = read_model(content, FEATURES).forest
    assert forest is not None  # noqa: S101 (it was written from one)
    return compile_forest(forest, {index: index for index in range(COLUMNS)}, (1.0, 0.0))


def c_call(path: Path, rows: Any) -> Callable[[int], Any]:
    """Return LightGBM's prediction of one row, by its number, with everything prepared that can be."""
    booster, prepared, found = lightgbm.Booster(model_file=path), ctypes.c_void_p(), np.empty(1)
    basic: Any = lightgbm.basic
    library = basic._LIB  # noqa: SLF001 (Python has no way to it)
    init = library.LGBM_BoosterPredictForMatSingleRowFastInit
    # One for a raw score, from the first tree to the last (-1), of doubles (1).
    parameters = 1, 0, -1, 1, ctypes.c_int32(COLUMNS), b"num_threads=1", ctypes.byref(prepared)
    if init(booster._handle, *parameters) != 0:  # noqa: SLF001
        message = "LightGBM's C call for one row could not be prepared"
        raise RuntimeError(message)
    places = [ctypes.c_void_p(row.ctypes.data) for row in rows]
    length, out = ctypes.byref(ctypes.c_int64()), ctypes.c_void_p(found.ctypes.data)
    predict = library.LGBM_BoosterPredictForMatSingleRowFast
    first = predict(prepared, places[0], length, out), found[0]
    if first != (0, booster.predict(rows[:1], raw_score=True)[0]):
        message = f"LightGBM's C call for one row gives {first}, expected status 0 and what the booster gives"
        raise RuntimeError(message)

    def run(row: int) -> Any:
        predict(prepared, places[row], length, out)
        return found, booster

    return run


class Runtimes:
    """All that score one model, by name."""

    def __init__(self, size: Size, directory: Path) -> None:
        """Train the model, and have everyone read it."""
        booster, self.rows = trained(size)
        path, rows_path = directory / "model.txt", directory / "rows.npy"
        booster.save_model(path)
        np.save(rows_path, self.rows)
        forest, _ = read_lightgbm(path.read_bytes(), FEATURES, size.name)
        content = json.dumps({"name": "m", "kind": "trees", **write_forest(forest, FEATURES), "link": "identity"})
        out, self._places = np.empty((ROWS, MAX_MODELS)), np.arange(ROWS)
        for count in (1, ROWS):
            ready(content.encode()).score(self._first(count), out, 0)
        begun = time.perf_counter()
        ours = ready(content.encode())
        ours.score(self._first(1), out, 0)
        self.took = {"Groundswell": time.perf_counter() - begun}
        ours.score(self._first(ROWS), out, 0)
        self.equal = bool((out[:, 0] == booster.predict(self.rows, raw_score=True)).all())
        lite = treelite.frontend.load_lightgbm_model(path)
        self._runs: dict[str, Callable[[int], Any]] = {
            "Groundswell": lambda n: ours.score(self._first(n), out, 0),
            "LightGBM": lambda n: booster.predict(self.rows[:n], raw_score=True, num_threads=1),
            "treelite gtil": lambda n: treelite.gtil.predict(lite, self.rows[:n], nthread=1, pred_margin=True),
        }
        self._ones: dict[str, Callable[[int], Any]] = {
            "Groundswell": lambda row: ours.score(Picked(self.rows, self._places[row : row + 1]), out, 0),
            "LightGBM": lambda row: booster.predict(self.rows[row : row + 1], raw_score=True, num_threads=1),
            C_CALL: c_call(path, self.rows),
        }
        self._peer = subprocess.Popen(
            [peers_python("models"), "-m", "load_tests.peers.model_runtimes", str(path), str(rows_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.took |= self._answer()

    def _first(self, n: int) -> Picked:
        return Picked(self.rows, self._places[:n])

    def measure(self, n: int) -> dict[str, float]:
        """Return each one's seconds for ``n`` rows."""
        assert self._peer.stdin is not None  # noqa: S101 (a pipe)
        found = {name: seconds(partial(run, n)) for name, run in self._runs.items()}
        self._peer.stdin.write(f"{n}\n")
        self._peer.stdin.flush()
        return found | self._answer()

    def in_turn(self) -> dict[str, float]:
        """Return seconds for each row in turn, one by one."""

        def all_rows(run: Callable[[int], Any]) -> None:
            for row in range(ROWS):
                run(row)

        return {name: seconds(partial(all_rows, run), least=0.5) / ROWS for name, run in self._ones.items()}

    def close(self) -> None:
        """End the other process."""
        self._peer.kill()
        self._peer.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._peer.stdout is not None  # noqa: S101 (a pipe)
        line = self._peer.stdout.readline()
        if not line:
            message = f"the other runtimes ended with status {self._peer.wait()}"
            raise RuntimeError(message)
        found: dict[str, float] = json.loads(line)
        return found


def run(size: Size, rounds: int) -> list[Row]:
    """Measure one model in rounds, print a table, and return the rows of results."""
    with tempfile.TemporaryDirectory() as directory:
        runtimes = Runtimes(size, Path(directory))
        found: dict[tuple[str, int], list[float]] = defaultdict(list)
        in_turn: dict[str, list[float]] = defaultdict(list)
        try:
            for _ in range(rounds):
                for n in (1, ROWS):
                    for name, took in runtimes.measure(n).items():
                        found[name, n].append(took / n * 1e6)
                for name, took in runtimes.in_turn().items():
                    in_turn[name].append(took * 1e6)
        finally:
            runtimes.close()
    micros = {place: median(values) for place, values in found.items()}
    names = sorted({name for name, _ in micros}, key=lambda name: micros[name, ROWS])
    lines = [
        (name, f"{micros[name, ROWS]:.3f}", f"{micros[name, 1]:.1f}", f"{runtimes.took.get(name, float('nan')):.3f}")
        for name in names
    ]
    show(f"{size.name} leaves", ("", f"us a row of {ROWS}", "us for one row", "seconds to the first score"), lines)
    each = {name: median(values) for name, values in in_turn.items()}
    one_by_one = f"{size.name}: rows a us, 1 at once, each in turn,"
    return [
        *_rows(size, micros, runtimes.took),
        judge(f"{one_by_one} beside LightGBM", 1 / each["Groundswell"], 1 / each["LightGBM"], ONE_ROW),
        compare(f"{one_by_one} beside {C_CALL}", 1 / each["Groundswell"], 1 / each[C_CALL]),
        Row(f"{size.name}: sums equal to LightGBM's, bit for bit", runtimes.equal, None, None, 1.0, runtimes.equal),
    ]


def _rows(size: Size, micros: dict[tuple[str, int], float], took: dict[str, float]) -> list[Row]:
    """Return the results: how many times as fast as each other one."""

    def speed(name: str, n: int) -> float:
        return 1.0 / micros[name, n]

    def beside(name: str, n: int, goal: float | None) -> Row:
        measure = f"{size.name}: rows a us, {n} at once{', the same again and again,' if n == 1 else ','} beside {name}"
        if goal is None:
            return compare(measure, speed("Groundswell", n), speed(name, n))
        return judge(measure, speed("Groundswell", n), speed(name, n), goal)

    ready_in = took["Groundswell"]
    return [
        beside("LightGBM", ROWS, size.beside_lightgbm),
        beside("lleaves", ROWS, size.beside_lleaves),
        beside("ONNX Runtime", ROWS, None),
        beside("treelite gtil", ROWS, None),
        beside("LightGBM", 1, None),
        judge(f"{size.name}: models ready a second, beside lleaves", 1 / ready_in, 1 / took["lleaves"], READING),
        judge(f"{size.name}: seconds from a model file to the first score", ready_in, None, READING_SECONDS, "less"),
    ]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = [row for size in SIZES for row in run(size, rounds)]
    show_rows(rows)
    print(write("models", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
