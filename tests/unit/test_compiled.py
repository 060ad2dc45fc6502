"""What ``stream.compiled`` rests on in Numba: a version that lacks it is told here, not by a slow start."""

from __future__ import annotations

from typing import Any

import numba
import pytest
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from stream import compiled


def _twice(x: int) -> int:
    return 2 * x


def test_parts_leave_out_steps_of_numbas_and_are_optimized_in_their_kernel_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: set[str] = set()
    left: list[str] = []
    numbas: Any = Compiler.define_pipelines
    optimize: Any = compiled._PartLibrary._optimize_final_module
    assert callable(JITCodeLibrary._optimize_final_module)
    assert callable(JITCodeLibrary._finalize_final_module)

    def define(self: Any) -> Any:
        (pipeline,) = numbas(self)
        steps.update(step.name() for step, _ in pipeline.passes)
        return [pipeline]

    def leave(library: Any) -> None:
        left.append(library.name)
        optimize(library)

    monkeypatch.setattr(Compiler, "define_pipelines", define)
    monkeypatch.setattr(compiled._PartLibrary, "_optimize_final_module", leave)
    part = compiled.kernel_part(_twice)

    def four_times(x: int) -> int:
        return part(part(x))

    compiler: Any = numba.njit
    assert compiler(error_model="numpy")(four_times)(3) == 12
    assert set(compiled._NEEDLESS) <= steps
    assert len(left) == 1
    assert "_twice" in left[0]
