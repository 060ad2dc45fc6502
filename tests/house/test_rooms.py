"""Small rooms, said plainly: sizes, names and docstrings, with no list of exemptions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = sorted(path for house in ("stream", "load_tests", "tests") for path in (ROOT / house).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in PYTHON]
OURS = [name for name in NAMES if not name.startswith("tests/")]
MOST_LINES = {"stream": 400, "load_tests": 400, "tests": 600}
MOST_FUNCTION_LINES = 60
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(name: str) -> Iterator[tuple[str, Definition]]:
    """Yield every class and function of a file with its dotted name."""
    stack: list[tuple[str, ast.AST]] = [("", ast.parse((ROOT / name).read_text()))]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            dotted = prefix
            if isinstance(child, Definition):
                dotted = f"{prefix}.{child.name}".lstrip(".")
                yield dotted, child
            stack.append((dotted, child))


def public_definitions(name: str) -> Iterator[tuple[str, Definition]]:
    """Yield the public classes and functions of a module, and the public methods of its public classes."""
    tree = ast.parse((ROOT / name).read_text())
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, Definition) and not method.name.startswith("_"):
                        yield f"{node.name}.{method.name}", method


def test_there_are_files_to_judge() -> None:
    assert {"stream/pipeline.py", "stream/records.py"} <= set(OURS)


@pytest.mark.parametrize("name", NAMES)
def test_file_is_no_longer_than_its_room(name: str) -> None:
    lines = len((ROOT / name).read_text().splitlines())
    assert lines <= MOST_LINES[name.split("/", maxsplit=1)[0]], f"{name} has {lines} lines"


@pytest.mark.parametrize("name", NAMES)
def test_functions_fit_on_a_page(name: str) -> None:
    long = {
        dotted: node.end_lineno - node.lineno + 1
        for dotted, node in definitions(name)
        if not isinstance(node, ast.ClassDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize("name", OURS)
def test_what_is_public_is_documented(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    assert ast.get_docstring(tree), f"{name} does not say what it is"
    silent = [dotted for dotted, node in public_definitions(name) if not ast.get_docstring(node)]
    assert not silent


@pytest.mark.parametrize("name", NAMES)
def test_names_say_what_is_inside(name: str) -> None:
    parts = {part for step in Path(name).with_suffix("").parts for part in step.split("_")}
    assert not parts & EMPTY_NAMES
