"""Other runtimes of a LightGBM model, timed when asked: run by load_tests.models in an environment of their own.

``python -m load_tests.peers.model_runtimes MODEL ROWS`` reads a text model and rows (npy, float64[n, c]), prints a line
of JSON when each runtime has the model (seconds that took, by name), and then, for each line on standard input, which
is a number of rows, the seconds of one prediction of so many rows, by name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import lightgbm
import lleaves
import numpy as np
import onnxruntime
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from load_tests.peers.timing import seconds

Predict = Callable[[Any], Any]


def compiled(path: str) -> Predict:
    """Return lleaves' prediction, one thread."""
    model = lleaves.Model(model_file=path)
    model.compile(raw_score=True)
    return lambda rows: model.predict(rows, n_jobs=1)


def onnx(path: str, columns: int) -> Predict:
    """Return ONNX Runtime's prediction, one thread; it takes singles."""
    booster = lightgbm.Booster(model_file=path)
    converted = convert_lightgbm(booster, initial_types=[("rows", FloatTensorType([None, columns]))], zipmap=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(converted.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"rows": rows.astype(np.float32)})


def main() -> None:
    """Answer until standard input ends."""
    # Libraries in C++ print what they like to standard output.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    path, rows = sys.argv[1], np.load(sys.argv[2])
    runtimes: dict[str, Predict] = {}
    took: dict[str, float] = {}
    made: dict[str, Callable[[], Predict]] = {
        "lleaves": lambda: compiled(path),
        "ONNX Runtime": lambda: onnx(path, rows.shape[1]),
    }
    for name, make in made.items():
        begun = time.perf_counter()
        runtimes[name] = make()
        runtimes[name](rows[:1])
        took[name] = time.perf_counter() - begun
    print(json.dumps(took), file=answers)
    for line in sys.stdin:
        some = rows[: int(line)]
        print(json.dumps({name: seconds(partial(run, some)) for name, run in runtimes.items()}), file=answers)


if __name__ == "__main__":
    main()
