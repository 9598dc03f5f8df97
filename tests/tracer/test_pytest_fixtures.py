"""The fixtures that pytest finds when the package is installed, in a pytest of their own."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

pytest_plugins = "pytester"
ROOT = Path(__file__).resolve().parents[2]
NAME = "controltower.tracer.integrations.pytest"
OPTIONS = ("-p", NAME, "-p", "no:cacheprovider", "-W", "error", "--strict-markers")
TESTS = """
import pytest
from controltower import tracer


def post(number="I-1"):
    with tracer.step("p2p.invoice.posted", keys={"invoice": number}):
        pass


def test_a_step(assert_step):
    post()
    assert assert_step("p2p.invoice.posted", keys={"invoice": "I-1"}).name == "p2p.invoice.posted"


def test_each_test_has_its_own(captured_steps):
    post()
    [span] = captured_steps.spans
    assert (span.context.trace_id, span.context.span_id, span.start_time) == (1, 1, 1767603600 * 10**9)


@pytest.mark.controltower(mode="production", service="ap")
def test_options(captured_steps):
    with tracer.step("p2p.invoice.posted", amount=1.5):
        pass
    assert captured_steps.system.health().misuse == {"float_amount": 1}
    assert captured_steps.spans[0].resource.attributes["service.name"] == "ap"


def test_misuse_raises(assert_step):
    with pytest.raises(tracer.MisuseError):
        tracer.step("p2p.invoice.posted", amount=1.5)


def test_clean(canaries):
    with tracer.step("c2c.claim.sent", keys={"mrn": canaries.patient.mrn}):
        pass


def test_leaking(canaries):
    post(canaries.patient.account)


def test_missing(assert_step):
    post("I-2")
    assert_step("p2p.invoice.posted", keys={"invoice": "I-1"})
"""


def test_the_fixtures(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture, assertion and canaries work as fixtures; a missing step fails, and so does data of a patient."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # where it is installed it would be there twice
    pytester.makepyfile(TESTS)

    run = pytester.runpytest_subprocess(*OPTIONS)

    run.assert_outcomes(passed=6, failed=1, errors=1)
    run.stdout.fnmatch_lines(
        ["*patient data would leave the process:", "*controltower.key.invoice: account", "*0 steps p2p.invoice.posted*"]
    )


def test_the_pages_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/instrument.md shows passes, with the import that stands at the top of the page."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    page = (ROOT / "docs" / "instrument.md").read_text("utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def test_" in block]
    pytester.makepyfile(f"from controltower import tracer\n{example}")

    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=2)


def test_pytest_finds_it() -> None:
    """The distribution names the module, and the module has the fixtures."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module = import_module(project["entry-points"]["pytest11"]["controltower"])

    assert module.__name__ == NAME
    assert {"captured_steps", "assert_step", "canaries"} <= set(vars(module))
