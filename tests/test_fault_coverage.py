"""The table of faults in the documents names tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (F\d+) \| .+? \| (.+) \|$", TABLE, re.MULTILINE)


@cache
def defined_in(path: Path) -> set[str]:
    """Return the names of the tests of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("fault", "named"), ROWS, ids=[fault for fault, _ in ROWS])
def test_each_named_test_is_there(fault: str, named: str) -> None:
    """A test that is renamed or removed takes its fault out of the table, or is named anew."""
    tests = [name.split("::") for name in re.findall(r"`([^`]+)`", named)]

    assert tests
    assert [(path, name) for path, name in tests if name not in defined_in(TESTS / path)] == []


def test_every_number_stands_once_and_in_order() -> None:
    """What holds a fault is in one place."""
    numbers = [int(fault[1:]) for fault, _ in ROWS]

    assert numbers == sorted(set(numbers))
