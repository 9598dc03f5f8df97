"""The allowed direction of imports between the product's packages, and where SQL may live."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = "controltower"
ALLOWED: dict[str, tuple[str, ...]] = {
    "tracer": (),
    "store": ("tracer.attributes",),
    "collector": ("store", "tracer"),
    "alerts": ("store",),
    "dashboard": ("store", "tracer.attributes"),
    "cli": ("alerts", "collector", "dashboard", "store", "tracer"),
}
# The tracer runs inside other people's processes: whatever else it imports they would have to install.
TRACER_THIRD_PARTY = {"opentelemetry", "google", "requests"}  # the exporter of OpenTelemetry brings the other two
SQL = re.compile(
    r"^\s*(SELECT\s.+\sFROM|INSERT\s+INTO|CREATE\s+(TABLE|DATABASE)|ALTER\s+TABLE|DROP\s+TABLE)\s", re.DOTALL
)


def imported_names(path: Path) -> Iterator[str]:
    """Yield every dotted name that the module at *path* imports absolutely."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(name: str, package: str) -> bool:
    """Whether a module of *package* may import *name*."""
    top, _, below = name.partition(".")
    if top in ALLOWED:
        return False  # a short name: it works from the repository root only
    if top != PRODUCT:
        return True  # third party
    return any(below == allowed or below.startswith(f"{allowed}.") for allowed in (package, *ALLOWED[package]))


def statements(path: Path) -> Iterator[str]:
    """Yield every text of the module at *path* that is an SQL statement."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.value.strip().splitlines()[0]


def modules(package: str) -> list[Path]:
    """Return the modules of *package*."""
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_only_what_it_may(package: str) -> None:
    """Each package imports only itself and what the table lists for it."""
    offenders = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imported_names(path)
        if not is_allowed(name, package)
    ]

    assert modules(package)
    assert offenders == []


def test_tests_import_by_the_long_name() -> None:
    """Tests import what is installed, never a folder of the checkout."""
    offenders = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("tests")
        for name in imported_names(path)
        if name.partition(".")[0] in ALLOWED
    ]

    assert offenders == []


def test_tracer_needs_opentelemetry_only() -> None:
    """The SDK imports the standard library and OpenTelemetry, outside of its integrations."""
    import sys

    known = set(sys.stdlib_module_names) | TRACER_THIRD_PARTY | {PRODUCT}
    offenders = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("tracer")
        if "integrations" not in path.parts
        for name in imported_names(path)
        if name.partition(".")[0] not in known
    ]

    assert offenders == []


@pytest.mark.parametrize("package", [package for package in ALLOWED if package != "store"])
def test_only_the_store_knows_sql(package: str) -> None:
    """No other package than the store holds an SQL statement."""
    offenders = [f"{path.relative_to(ROOT)}: {text}" for path in modules(package) for text in statements(path)]

    assert offenders == []


@pytest.mark.parametrize(
    ("name", "package", "allowed"),
    [
        ("controltower.store.rows.Step", "alerts", True),
        ("controltower.collector.app", "alerts", False),
        ("controltower.tracer.attributes", "store", True),
        ("controltower.tracer.journal", "store", False),
        ("controltower.tracer.journal", "collector", True),
        ("store.rows", "cli", False),
        ("json", "tracer", True),
    ],
)
def test_the_table_is_applied(name: str, package: str, allowed: bool) -> None:
    """The check refuses a planted fault and lets the listed arrows pass."""
    assert is_allowed(name, package) is allowed
