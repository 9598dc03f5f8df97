"""``tracer.instrument``: what it hooks, what it leaves out and why, and the way back."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from controltower import tracer
from controltower.tracer.hooks import HOOKS, Hook, is_there, numbers
from controltower.tracer.testing import capture
from tests.conftest import missing
from tests.tracer.hooked import needs
from tests.tracer.serving import asgi

PAGE = Path(__file__).resolve().parents[2] / "docs" / "instrument.md"
ROW = re.compile(
    r"^\| `([a-z0-9-]+)` \| ([a-z ]+) \| (\S+) (\S+) \| (\S+) \| .+ \| `(test_hook_\w+\.py)` \|$", re.MULTILINE
)


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    """Take every hook off after a test."""
    yield
    tracer.uninstrument()


def test_the_page_lists_every_hook() -> None:
    """The table of docs/instrument.md and the registry say the same, and each hook's test is where the table says."""
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))

    assert [row[:5] for row in rows] == [
        (hook.name, hook.kind, hook.distribution, hook.oldest, hook.tested) for hook in HOOKS.values()
    ]
    for name, *_, test in rows:
        assert f'"{name}"' in Path(__file__).with_name(test).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("hook", HOOKS.values(), ids=lambda hook: hook.name)
def test_the_version_tested_is_the_one_here(hook: Hook) -> None:
    """A new major version of a library is tested before the table names it."""
    try:
        here = version(hook.distribution)
    except PackageNotFoundError:
        missing(f"{hook.distribution} is not installed")
        return
    assert numbers(here)[0] == numbers(hook.tested)[0]
    assert numbers(hook.oldest) <= numbers(here)


def test_one_call_hooks_what_is_installed() -> None:
    """Every hook is on or has a reason; a second call changes nothing."""
    first, second = tracer.instrument(), tracer.instrument()

    assert first == second
    assert set(first.on) | set(first.off) == set(HOOKS)
    assert set(first.on).isdisjoint(first.off)
    for name, why in first.off.items():
        hook = HOOKS[name]
        expected = {
            f"{hook.distribution} is not installed": not is_there(hook.module),
            "install controltower[hooks]": not is_there(f"opentelemetry.instrumentation.{hook.needs}"),
            "Django has no settings yet: hook it after them and before get_wsgi_application()": name == "django",
        }
        assert expected.get(why), f"{name}: {why}"


def test_an_application_has_one_span_with_every_hook_on() -> None:
    """FastAPI stands on Starlette, and requests on urllib3: with all hooks on, each request has one span at each end."""
    needs("fastapi", "requests", instrumentations=("fastapi", "requests", "starlette", "urllib3"))
    import fastapi
    import requests

    with capture() as captured:
        assert {"fastapi", "starlette", "requests", "urllib3"} <= set(tracer.instrument().on)
        app = fastapi.FastAPI()

        @app.get("/orders")
        def orders() -> str:
            return "none"

        with asgi(app) as address:
            requests.get(f"{address}/orders", timeout=10).raise_for_status()
        kinds = sorted(span.kind.name for span in captured.spans)

    assert kinds == ["CLIENT", "SERVER"]


def test_what_cannot_be_hooked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown names, missing libraries, old ones and those built in another way have their own reasons."""
    pika = HOOKS["pika"]
    monkeypatch.setitem(HOOKS, "absent", replace(pika, name="absent", module="no_such", distribution="no-such"))
    monkeypatch.setitem(HOOKS, "old", replace(pika, name="old", module="pytest", distribution="pytest", oldest="999"))
    monkeypatch.setitem(HOOKS, "other", replace(pika, name="other", module="pytest", distribution="pytest"))

    off = tracer.instrument().off
    assert off["absent"] == "no-such is not installed"
    assert off["old"].endswith("is older than 999")
    assert off["other"].endswith("failed with ModuleNotFoundError")
    with pytest.raises(tracer.MissingExtraError, match="absent: no-such is not installed"):
        tracer.instrument("absent")
    with pytest.raises(tracer.SettingError, match=r"instrument: there is no hook 'x'; there are pika"):
        tracer.instrument("x")


def test_a_rival_of_the_same_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """When OpenTelemetry's own instrumentation is on, ours stays off and says so."""

    class PikaInstrumentor:
        is_instrumented_by_opentelemetry = True

    module = type(sys)("opentelemetry.instrumentation.pika")
    module.PikaInstrumentor = PikaInstrumentor  # type: ignore[attr-defined]  # made for this test
    monkeypatch.setitem(sys.modules, module.__name__, module)

    assert "two spans" in tracer.instrument().off["pika"]


def test_processing_what_no_hook_received(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is misuse in development; in production the block runs all the same, and it is counted."""
    with capture(), pytest.raises(tracer.MisuseError), tracer.processing("what"):
        pass
    system = tracer.System(service="x", mode="production")
    monkeypatch.setattr("controltower.tracer.default._holder.system", system)
    with tracer.processing(("what", None)) as sender:
        assert sender is None

    assert system.health().misuse == {"unknown_message": 1}
    system.shutdown()
