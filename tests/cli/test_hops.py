"""Which spans are on a transaction's way, and what is told of its messages."""

from dataclasses import replace
from datetime import timedelta

from controltower.cli.hops import Way, around
from controltower.cli.path import hop_lines
from controltower.cli.shapes import hop_of
from controltower.store.read import Member, Span
from tests.factories import AT, membership, step

PROCESS = {
    "messaging.operation.type": "process",
    "messaging.system": "rabbitmq",
    "messaging.destination.name": "orders",
    "controltower.message.wait_ms": "1250",
    "controltower.message.redelivered": "true",
    "controltower.message.delivery_count": "2",
}


def span(id_: str, parent: str = "", attributes: dict[str, str] | None = None, trace: str = "t") -> Span:
    """Return one span of a trace."""
    return Span(trace, id_, parent, id_, "Consumer", "erp", AT, 1, "Unset", "", attributes or {})


def members(*steps: str) -> list[Member]:
    """Return steps of a transaction with these span ids in one trace."""
    made = [replace(step(at=AT), trace_id="t", span_id=id_) for id_ in steps]
    return [Member(each, membership(each)) for each in made]


def test_what_is_above_and_below_a_step_is_on_its_way() -> None:
    """Not what is beside it: a run has the messages of many transactions in one trace. Circles end."""
    spans = [
        span("run"), span("record", "run"), span("step", "record"), span("send", "step"), span("deep", "send"),
        span("other", "run"), span("other send", "other"), span("a", "b"), span("b", "a"), span("send", trace="u"),
    ]  # fmt: skip

    assert [each.name for each in around(members("step"), spans)] == ["run", "record", "step", "send", "deep"]
    assert around(members("absent"), spans) == []


def test_messages_and_files_are_told_with_their_wait() -> None:
    """What nobody said is null; a number that is none is, too."""
    file = {"controltower.style": "file", "controltower.message.wait_ms": "60000"}
    found = Way(
        (
            span("p", attributes=PROCESS),
            span("s", attributes={"messaging.operation.type": "send", "controltower.message.wait_ms": "soon"}),
            span("f", attributes=file),
            span("sql", attributes={"db.system.name": "postgresql"}),
            replace(span("late", attributes={**PROCESS, "controltower.outcome": "rejected"}), at=AT + timedelta(1)),
        ),
        truncated=True,
    )
    shapes = [hop_of(hop) for hop in found.hops]
    lines = hop_lines(found).splitlines()

    assert [(shape["operation"], shape["broker"], shape["wait_ms"]) for shape in shapes] == [
        ("process", "rabbitmq", 1250),
        ("send", "", None),
        ("process", "file", 60000),
        ("process", "rabbitmq", 1250),
    ]
    assert (shapes[0]["redelivered"], shapes[0]["delivery_count"], shapes[1]["redelivered"]) == (True, 2, None)
    assert "waited 1,250 ms" in lines[0]
    assert lines[0].endswith("delivery 2")
    assert lines[3].endswith("rejected delivery 2")
    assert "More spans" in lines[4]
