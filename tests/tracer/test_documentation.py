"""What docs/instrument.md says is true."""

import re
from pathlib import Path

import pytest

from controltower import tracer
from controltower.tracer.configure import Options
from controltower.tracer.key_types import PATIENT_TYPES
from controltower.tracer.propagation import DEFAULT_PROPAGATED
from controltower.tracer.testing import capture
from tests.tracer.hooked import needs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "instrument.md"


@pytest.fixture
def page() -> str:
    """Return the page."""
    return PAGE.read_text(encoding="utf-8")


def test_examples_run(page: str) -> None:
    """Every example but the set-up runs as it is."""
    needs("lxml", "jsonpath_rfc9535")
    names: dict[str, object] = {"tracer": tracer}
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if not re.search(r"configure\(|def test_", block)
    ]
    with capture() as captured:
        try:
            for block in blocks:
                exec(compile(block, str(PAGE), "exec"), names)
        finally:
            tracer.uninstrument()

    assert len(blocks) >= 5
    captured.assert_step("p2p.purchase_order.dispatched", keys={"interchange": "ACME|SUPPLIER|000000017"}, lines=1)


def test_every_setting_is_documented(page: str) -> None:
    """The table of settings is complete and names nothing else."""
    settings = page.partition("## A step")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", settings, re.MULTILINE)) == set(Options.__annotations__)


def test_key_types_of_headers_are_documented(page: str) -> None:
    """Both lists of key types are those in the code."""
    listed = re.search(r"only these types: (.*?)\. Without", page, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == DEFAULT_PROPAGATED
    patients = re.search(r"lead to a patient \((.*?), and `token_types`\)", page, re.DOTALL)
    assert patients is not None
    assert set(re.findall(r"`(\w+)`", patients[1])) == PATIENT_TYPES


def test_the_journals_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/journal.md shows a journal that is used on its own."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.with_name("journal.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, "journal.md", "exec"), {})

    assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} == {"", ".seen"}
