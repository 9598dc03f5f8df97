"""What is installed is what the checkout holds."""

from importlib.metadata import distributions, requires, version
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("alerts", "cli", "collector", "dashboard", "store", "tracer")
SHIPPED = {".py", ".sql", ".proto", ".yaml", ".toml", ".css", ".svg", ".typed"}  # .typed is py.typed


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_installed(folder: str) -> None:
    """No module, statement or flow definition is left out of the wheel."""
    installed = files(f"controltower.{folder}")
    shipped = [path.relative_to(ROOT / folder) for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SHIPPED]

    missing = [str(path) for path in shipped if not installed.joinpath(*path.parts).is_file()]

    assert shipped
    assert missing == []


def test_no_package_of_the_short_names_is_installed() -> None:
    """The wheel brings ``controltower`` only: short names would collide in other people's environments."""
    installed = [dist for dist in distributions(name="controltower") if any(dist.files or ())]
    records = [path for dist in installed if dist.read_text("RECORD") for path in dist.files or ()]

    assert records
    assert {path.parts[0] for path in records}.isdisjoint(FOLDERS)


def test_the_base_needs_opentelemetry_only() -> None:
    """A service that is traced installs OpenTelemetry and nothing else."""
    base = [need for need in requires("controltower") or [] if "extra ==" not in need]

    assert base
    assert all(need.startswith("opentelemetry-") for need in base)


def test_the_version_is_known() -> None:
    """The distribution carries its version."""
    assert version("controltower").count(".") == 2
