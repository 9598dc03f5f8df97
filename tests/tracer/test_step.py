"""What a step becomes on the wire."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from controltower import tracer
from controltower.tracer.testing import FIRST_NS, capture, lines_of


def test_step_is_a_span_with_our_attributes() -> None:
    """Everything given on a step is an attribute of the convention; amounts keep their digits."""
    with (
        capture() as captured,
        tracer.step(
            "p2p.invoice.posted",
            keys={"invoice": "I-1", "purchase_order": ["PO-1", "PO-2"]},
            scopes={"invoice": "V-7"},
            context={"vendor": "V-7"},
            amount="1250.00",
            currency="USD",
            quantity=Decimal(2),
            uom="EA",
            outcome="ok",
            business_time=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=-5))),
            actor="human",
            style="edi",
            interface="ap-inbound",
            kind="consumer",
        ),
    ):
        pass

    span = captured.assert_step("p2p.invoice.posted")
    assert span.kind.name == "CONSUMER"
    assert dict(span.attributes or {}) == {
        "controltower.step": "p2p.invoice.posted",
        "controltower.key.invoice": "I-1",
        "controltower.key.purchase_order": ("PO-1", "PO-2"),
        "controltower.scope.invoice": "V-7",
        "controltower.context.vendor": "V-7",
        "controltower.amount": "1250.00",
        "controltower.currency": "USD",
        "controltower.quantity": "2",
        "controltower.uom": "EA",
        "controltower.outcome": "ok",
        "controltower.business_time": "2026-03-01T12:00:00-05:00",
        "controltower.actor": "human",
        "controltower.style": "edi",
        "controltower.interface": "ap-inbound",
    }


def test_later_calls_say_the_same_as_options() -> None:
    """What becomes known inside the block is set by methods, which chain."""
    with capture() as captured, tracer.step("p2p.invoice.matched") as step:
        step.key("invoice", "I-1", scope="V-7").key("invoice", "I-2").context(vendor="V-7")
        step.amount("10", "EUR").quantity("3", "BX").outcome("rejected", "price_variance")

    captured.assert_step(
        "p2p.invoice.matched",
        keys={"invoice": ["I-1", "I-2"]},
        context={"vendor": "V-7"},
        amount="10",
        currency="EUR",
        quantity="3",
        outcome="rejected",
        reason="price_variance",
    )


def test_lines_are_events_and_all_of_them_arrive() -> None:
    """A document with more lines than OpenTelemetry's default of 128 events keeps them all."""
    with capture() as captured, tracer.step("p2p.purchase_order.created") as step:
        for number in range(1, 1001):
            step.line(line=number, item="8100", quantity=2, unit_price="625.0050", keys={"receipt": ["R-1"]})

    span = captured.assert_step("p2p.purchase_order.created", lines=1000)
    assert span.dropped_events == 0
    assert lines_of(span)[-1] == {
        "line": "1000",
        "item": "8100",
        "quantity": "2",
        "unit_price": "625.0050",
        "controltower.key.receipt": "R-1",
    }


def test_host_exception_passes_and_marks_the_step() -> None:
    """The host's exception goes on unchanged; of it only the type is recorded, because its message may name a patient."""
    error = ValueError("patient Jane Doe not found")
    with (
        capture() as captured,
        pytest.raises(ValueError, match="Jane") as raised,
        tracer.step("p2p.invoice.posted"),
    ):
        raise error

    assert raised.value is error
    span = captured.assert_step("p2p.invoice.posted", failed=True)
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert span.events == ()
    assert "Jane" not in span.to_json()


def test_replay_refers_to_the_original_and_links_to_it() -> None:
    """A replayed span is named and linked; of a message only its reference is known."""
    with capture() as captured:
        with tracer.step("a.b.original") as original:
            pass
        with tracer.step("a.b.replayed", replay_of=original):
            pass
        with tracer.step("a.b.resent") as step:
            step.replay_of("message-17")

    ids = original.span_context
    replayed = captured.assert_step("a.b.replayed", replay_of=f"{ids.trace_id:032x}-{ids.span_id:016x}")
    assert [link.context.span_id for link in replayed.links] == [ids.span_id]
    assert captured.assert_step("a.b.resent", replay_of="message-17").links == ()


def test_other_attributes_keep_their_type() -> None:
    """OpenTelemetry's own attributes can be given, with the types of its conventions."""
    given: dict[str, str | bool | int | float] = {
        "http.response.status_code": 422,
        "app.ratio": 0.5,
        "app.flag": True,
        "app.name": "x",
    }
    with capture() as captured, tracer.step("a.b.c", attributes=given):
        pass

    found = captured.assert_step("a.b.c").attributes or {}
    assert {name: found[name] for name in given} == given
    assert found["app.flag"] is True


def test_back_dated_step_has_the_given_times() -> None:
    """History can be emitted with times of its own, as an aware datetime or in nanoseconds."""
    start = datetime(2025, 12, 1, 8, tzinfo=UTC)
    with capture() as captured, tracer.step("p2p.goods.received", start_time=start, end_time=FIRST_NS) as step:
        step.line(line=1)

    span = captured.assert_step("p2p.goods.received")
    assert span.start_time == int(start.timestamp()) * 10**9
    assert span.end_time == FIRST_NS
    assert span.start_time <= span.events[0].timestamp <= span.end_time


def test_duplicate_and_replay_link_what_they_repeat() -> None:
    """A step, its traceparent or the id of a message: each is the reference, and what is a span is linked, too."""
    with capture() as captured:
        with tracer.step("p2p.invoice.received") as original:
            pass
        context = original.span_context
        traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
        with tracer.step("p2p.invoice.received", duplicate_of=original):
            pass
        with tracer.step("p2p.invoice.posted") as step:
            step.replay_of(traceparent)
        with tracer.step("p2p.invoice.paid") as step:
            step.duplicate_of("msg-7")

    reference = f"{context.trace_id:032x}-{context.span_id:016x}"
    twice = captured.assert_step("p2p.invoice.received", outcome="duplicate", context={"duplicate_of": reference})
    again = captured.assert_step("p2p.invoice.posted", replay_of=reference)
    paid = captured.assert_step("p2p.invoice.paid", outcome="duplicate", context={"duplicate_of": "msg-7"})
    assert [link.context.span_id for link in (*twice.links, *again.links)] == [context.span_id] * 2
    assert paid.links == ()
