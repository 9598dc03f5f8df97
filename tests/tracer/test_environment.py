"""A process that another one starts continues its trace, by variables of the environment."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.tracer.configure import resolve
from controltower.tracer.default import ProcessSystem
from controltower.tracer.testing import capture

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what configures a process that was started with some variables."""
    made: list[ProcessSystem] = []

    def configured(**variables: str) -> tuple[ProcessSystem, InMemorySpanExporter]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        exporter = InMemorySpanExporter()
        made.append(ProcessSystem(settings=resolve({}, service="child", exporter=exporter, own_traces=False)))
        return made[-1], exporter

    yield configured
    for system in made:
        system.shutdown()


def test_what_is_given_along_is_taken_up(child: Any) -> None:
    """A step in the child is below the one that started it, and has its keys that may travel."""
    with capture() as captured, captured.system.step("a.b.c", keys={"purchase_order": "PO-1", "claim": "T-1"}) as step:
        variables = captured.system.environment()
    system, exporter = child(**variables)
    with system.step("d.e.f", keys={"shipment": "S-1"}):
        pass
    system.flush()

    (found,) = exporter.get_finished_spans()
    keys = {name for name in found.attributes if ".key." in name}
    assert variables.keys() == {"TRACEPARENT", "BAGGAGE"}
    assert (found.context.trace_id, found.parent.span_id) == (step.span_context.trace_id, step.span_context.span_id)
    assert keys == {"controltower.key.purchase_order", "controltower.key.shipment"}


def test_only_what_has_no_span_above_it(child: Any) -> None:
    """Within a step of the child's own, and within a run, the nearest span is the one above."""
    system, exporter = child(TRACEPARENT=PARENT)
    with system.step("a.b.c") as outer, system.step("d.e.f"):
        pass
    with system.batch("load") as run, run.record("g.h.i"):
        pass
    system.flush()

    above = {span.name: f"{span.parent.span_id:016x}" for span in exporter.get_finished_spans()}
    assert above["a.b.c"] == above["load started"] == PARENT.split("-")[2]
    assert above["d.e.f"] == f"{outer.span_context.span_id:016x}"
    assert above["g.h.i"] == above["load"] not in (above["a.b.c"], above["d.e.f"])


@pytest.mark.parametrize("bad", ["", "00-0-0-01", f"ff{PARENT[2:]}", PARENT.upper().replace("B", "G"), "x" * 10_000])
def test_a_bad_variable_is_none(bad: str, child: Any) -> None:
    """What is no trace context starts a trace of its own."""
    system, exporter = child(TRACEPARENT=bad)
    with system.step("a.b.c"):
        pass
    system.flush()

    assert exporter.get_finished_spans()[0].parent is None


def test_nothing_open_gives_nothing() -> None:
    """Outside of every step there is nothing to give along."""
    with capture():
        assert tracer.environment() == {}
