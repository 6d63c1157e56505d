"""The shape of the library itself."""

import ast
from pathlib import Path

import pytest

import handdgcl

ROOT = Path(handdgcl.__file__).parent
ORDER = ("hands", "data", "model", "train", "evaluate", "sweeps", "report", "bench")
FILES = sorted(ROOT.rglob("*.py"))


def imported(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("room", ORDER)
def test_imports_run_one_way(room):
    later = ORDER[ORDER.index(room) + 1 :]
    for path in (ROOT / room).rglob("*.py"):
        for module in imported(path):
            assert not module.startswith(tuple(f"handdgcl.{name}" for name in later)), f"{path}: {module}"


def test_functions_and_files_stay_short():
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= 250, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                documentation = (ast.get_docstring(node) or "").count("\n")
                assert node.end_lineno - node.lineno - documentation <= 40, f"{path}: {node.name}"
