"""A file's sidecar: who works on a file is linked to who wrote it, and nothing is joined that does not belong."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controltower import tracer
from controltower.tracer.sidecar import ANOTHER_FILE, SUFFIX, UNREADABLE
from controltower.tracer.testing import Captured, capture
from tests.tracer.hooked import PO, assert_linked, attribute

CONTENT = "PO-1042;250.00\n"


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Spans with a clock that steps a millisecond at each reading, of a system that counts instead of raising."""
    with capture(mode="production") as found:
        yield found


@pytest.fixture
def file(tmp_path: Path, captured: Captured) -> Path:
    """A file that a step wrote, with its sidecar."""
    path = tmp_path / "orders.csv"
    path.write_text(CONTENT, encoding="utf-8")
    with tracer.step("p2p.purchase_order.dispatched", keys={**PO, "payment": "PAY-1"}):
        assert tracer.write_sidecar(path) == path.with_name(f"orders.csv{SUFFIX}")
    return path


def worked_on(captured: Captured, path: Path) -> bool:
    """Work on a file with a step; return whether its writer was known."""
    with tracer.processing_file(path) as sender, tracer.step("p2p.purchase_order.acknowledged"):
        pass
    return sender is not None


def test_the_reader_is_linked_to_the_writer(captured: Captured, file: Path) -> None:
    """The work has the writer's keys that may travel, its wait, a trace of its own, and nothing of the file."""
    assert worked_on(captured, file)

    written, read, work = captured.spans
    assert_linked(work, written)
    assert work.kind.name == "INTERNAL"
    assert read.parent == work.context
    for span in (read, work):
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
        assert attribute(span, "controltower.key.payment") is None
    wait = attribute(work, "controltower.message.wait_ms")
    assert isinstance(wait, int)
    assert 0 < wait < 100
    assert not any(text in work.to_json() for text in ("orders", "250.00", file.name))
    assert "payment" not in file.with_name(f"orders.csv{SUFFIX}").read_text(encoding="utf-8")


def test_a_sidecar_that_is_there_before_its_file(captured: Captured, tmp_path: Path) -> None:
    """Where readers take a file when they see it, its sidecar is written first, and is of the content that is renamed."""
    part, path = tmp_path / "orders.part", tmp_path / "orders.csv"
    part.write_text(CONTENT, encoding="utf-8")
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        tracer.write_sidecar(path, content=part)
        part.rename(path)

    assert worked_on(captured, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["orders.csv", f"orders.csv{SUFFIX}"]


def rewritten(path: Path) -> None:
    path.write_text("PO-2000;1.00\n", encoding="utf-8")


def broken(text: str) -> Callable[[Path], None]:
    return lambda path: void(path.with_name(path.name + SUFFIX).write_text(text, encoding="utf-8"))


def void(_: object) -> None:
    """Return nothing."""


@pytest.mark.parametrize(
    ("happens", "counted"),
    [
        (lambda path: path.with_name(path.name + SUFFIX).unlink(), {}),
        (rewritten, {ANOTHER_FILE: 1}),
        (broken("{}"), {ANOTHER_FILE: 1}),
        (broken("["), {UNREADABLE: 1}),
        (broken("[" * 8000), {UNREADABLE: 1}),
        (broken('{"traceparent": 1}'), {UNREADABLE: 1}),
        (broken(json.dumps({"x": "y" * 9000})), {UNREADABLE: 1}),
    ],
)
def test_a_sidecar_that_is_not_believed(
    captured: Captured, file: Path, happens: Callable[[Path], None], counted: dict[str, int]
) -> None:
    """Without one, or with one that is broken or of another content, the work goes on alone; the latter are counted."""
    happens(file)

    assert not worked_on(captured, file)
    work = captured.spans[-1]
    assert (work.links, attribute(work, "controltower.key.purchase_order")) == ((), None)
    assert captured.system.health().misuse == counted


def test_a_disk_that_takes_nothing(captured: Captured, tmp_path: Path) -> None:
    """The host goes on, and the file goes without its trace, which is counted."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        assert tracer.write_sidecar(tmp_path / "nowhere" / "orders.csv") is None

    assert captured.system.health().misuse == {"sidecar_not_written": 1}


def test_an_exception_in_the_work_passes_through(captured: Captured, file: Path) -> None:
    """Its type is on the span, and the context is what it was."""
    with pytest.raises(KeyError), tracer.processing_file(file):
        raise KeyError("Maria Example")

    work = captured.spans[-1]
    assert attribute(work, "error.type") == "KeyError"
    assert "Maria" not in work.to_json()
