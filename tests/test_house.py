"""The shape of the library itself."""

import ast
from pathlib import Path

import pytest

import handdgcl

ROOT = Path(handdgcl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Each may import what stands before it: base, hands, images of hands, samples, method, study.
ORDER = (
    "files",
    "config",
    "project",
    "tracking",
    "hands",
    "render",
    "data",
    "model",
    "rows",
    "families",
    "train",
)
ORDER += ("evaluate", "report", "cli", "bench")
MOST_LINES, MOST_OF_A_FUNCTION = 250, 40


def part(path):
    """The module or subpackage that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_order_names_all_parts():
    assert {part(path) for path in FILES} == {*ORDER, "__init__"}


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_one_way(name):
    later = ORDER[ORDER.index(name) + 1 :]
    for path in FILES:
        if part(path) != name:
            continue
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            package, _, rest = module.partition(".")
            assert package != handdgcl.__name__ or rest.split(".")[0] not in later, f"{path}: {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_and_files_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = (ast.get_docstring(node) or "").count("\n")
            assert node.end_lineno - node.lineno - documentation <= MOST_OF_A_FUNCTION, node.name
