"""What decides must give the same bits everywhere: kernels hold to plain loops and the engine's own arithmetic."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = {"stream/arithmetic.py", "stream/partitioning.py", "stream/words.py", "stream/xxh3.py", "stream/zones.py"}
SOURCES = [path for path in sorted((ROOT / "stream").rglob("*.py")) if path.name != "compiled.py"]
# Sums and products whose order NumPy or BLAS chooses, and functions that libm or SVML rounds as the CPU pleases.
# fmt: off
FOREIGN = {
    "dot", "vdot", "inner", "outer", "matmul", "einsum", "tensordot", "sum", "nansum", "mean", "average",
    "prod", "cumsum", "cumprod", "std", "var", "exp", "exp2", "expm1", "log", "log2", "log10",
    "log1p", "pow", "power", "sin", "cos", "tan", "tanh",
}
# fmt: on
MODULES = {"np", "numpy", "math"}


def is_kernel(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(decorator, ast.Name) and decorator.id in {"kernel", "kernel_part"}
        for decorator in node.decorator_list
    )


def kernels() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.name}", node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and is_kernel(node)
    ]


def foreign_arithmetic(tree: ast.AST) -> list[str]:
    """Return every use of arithmetic whose bits are not the engine's own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult | ast.Pow):
            found.append(ast.unparse(node))
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in MODULES
            and node.attr in FOREIGN
        ):
            found.append(ast.unparse(node))
    return found


def test_kernels_use_no_arithmetic_but_the_engines_own() -> None:
    assert len(kernels()) >= 8
    assert {name: found for name, node in kernels() if (found := foreign_arithmetic(node))} == {}


def test_foreign_arithmetic_is_seen() -> None:
    tree = ast.parse("a = x @ y; b = np.dot(x, y) + math.exp(z) + z ** 0.5 + numpy.sum(x)")
    assert len(foreign_arithmetic(tree)) == 5


def test_only_one_place_decides_how_kernels_are_compiled() -> None:
    elsewhere = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(word in path.read_text() for word in ("njit", "fastmath"))
    ]
    assert elsewhere == []


def test_kernels_are_kept_apart() -> None:
    files = {name.split(":")[0] for name, _ in kernels()}
    assert {file for file in files - SHARED if "kernel" not in file} == set()
