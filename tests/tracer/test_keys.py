"""How keys travel inside a process and in message headers."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan

from controltower import tracer
from controltower.tracer.propagation import (
    MAX_BAGGAGE_BYTES,
    MAX_BAGGAGE_VALUE,
    KeyRing,
    decode_ring,
    encode_ring,
    merge_baggage,
    ring_in,
)
from controltower.tracer.testing import Captured, capture

ALLOWED = frozenset({"purchase_order", "invoice"})


def keys_of(span: ReadableSpan) -> dict[str, object]:
    """Return the keys and scopes on a span."""
    return {
        name.removeprefix("controltower."): value
        for name, value in (span.attributes or {}).items()
        if name.startswith(("controltower.key.", "controltower.scope."))
    }


def named(captured: Captured, name: str) -> ReadableSpan:
    """Return the one span with this name."""
    [found] = [span for span in captured.spans if span.name == name]
    return found


def test_children_inherit_keys_and_own_keys_win() -> None:
    """A child step carries its parent's keys; a type that it names itself replaces the inherited one with its scope."""
    with capture() as captured, tracer.step("a.b.parent", keys={"purchase_order": "PO-1"}) as parent:
        parent.key("invoice", "I-1", scope="V-1")
        with tracer.step("a.b.child", keys={"invoice": "I-2"}), tracer.step("a.b.grandchild"):
            pass

    assert keys_of(named(captured, "a.b.child")) == {"key.purchase_order": "PO-1", "key.invoice": "I-2"}
    assert keys_of(named(captured, "a.b.grandchild")) == {"key.purchase_order": "PO-1", "key.invoice": "I-2"}


def test_spans_of_libraries_inherit_keys() -> None:
    """A technical span below a step carries its keys, so that a search by key finds the call that failed."""
    with capture() as captured:
        library = captured.system.provider.get_tracer("library")
        with (
            tracer.step("a.b.parent", keys={"purchase_order": "PO-1"}) as step,
            library.start_as_current_span("SELECT"),
        ):
            step.key("invoice", "I-1", scope="V-1")
            with library.start_as_current_span("INSERT"):
                pass
        with library.start_as_current_span("outside"):
            pass

    assert keys_of(named(captured, "SELECT")) == {"key.purchase_order": "PO-1"}
    assert keys_of(named(captured, "INSERT")) == {
        "key.purchase_order": "PO-1",
        "key.invoice": "I-1",
        "scope.invoice": "V-1",
    }
    assert keys_of(named(captured, "outside")) == {}


def test_many_values_stay_on_their_step() -> None:
    """A payment run with 500 invoices keeps all of them on itself and copies none to its children."""
    invoices = [f"I-{number}" for number in range(500)]
    with (
        capture() as captured,
        tracer.step("a.b.parent", keys={"invoice": invoices, "payment": "P-1"}),
        tracer.step("a.b.child"),
    ):
        pass

    assert keys_of(named(captured, "a.b.parent"))["key.invoice"] == tuple(invoices)
    assert keys_of(named(captured, "a.b.child")) == {"key.payment": "P-1"}


def test_keys_without_a_step() -> None:
    """``tracer.keys`` gives keys to everything inside and to nothing after."""
    with capture() as captured:
        with tracer.keys({"invoice": "I-1"}, purchase_order=["PO-1", "PO-2"]), tracer.step("a.b.inside"):
            pass
        with tracer.step("a.b.after"):
            pass

    assert keys_of(named(captured, "a.b.inside")) == {"key.invoice": "I-1", "key.purchase_order": ("PO-1", "PO-2")}
    assert keys_of(named(captured, "a.b.after")) == {}


def test_tasks_keep_their_own_keys() -> None:
    """Concurrent tasks do not see each other's keys; each inherits from the step that started it."""

    async def one(order: str) -> None:
        async with tracer.step("a.b.task", keys={"purchase_order": order}):
            await asyncio.sleep(0)
            async with tracer.step("a.b.below", context={"order": order}):
                await asyncio.sleep(0)

    async def main() -> None:
        async with tracer.step("a.b.parent", keys={"requisition": "R-1"}):
            await asyncio.gather(*(one(f"PO-{number}") for number in range(20)))

    with capture() as captured:
        asyncio.run(main())

    below = [span for span in captured.steps if span.name == "a.b.below"]
    assert len(below) == 20
    for span in below:
        order = (span.attributes or {})["controltower.context.order"]
        assert keys_of(span) == {"key.requisition": "R-1", "key.purchase_order": order}


def test_threads_with_copied_context_inherit() -> None:
    """A thread that runs in a copy of the context is below the step; one without starts a trace of its own."""

    def work(name: str) -> None:
        with tracer.step(name):
            pass

    with capture() as captured, ThreadPoolExecutor(2) as pool, tracer.step("a.b.parent", keys={"invoice": "I-1"}):
        context = contextvars.copy_context()
        pool.submit(context.run, work, "a.b.copied").result()
        pool.submit(work, "a.b.bare").result()

    assert keys_of(named(captured, "a.b.copied")) == {"key.invoice": "I-1"}
    assert keys_of(named(captured, "a.b.bare")) == {}
    assert named(captured, "a.b.bare").parent is None


def test_message_headers_carry_keys_and_the_sender() -> None:
    """A consumer links to the producer's span and has its keys; it is not in the producer's trace."""
    headers: dict[str, str] = {}
    with capture() as captured:
        with tracer.step("a.b.published", keys={"purchase_order": "PO-1"}, kind="producer") as sent:
            tracer.inject(headers)
        with tracer.received(headers) as sender:
            assert sender is not None
            with tracer.step("a.b.consumed", kind="consumer", links=[sender]):
                pass

    consumed = named(captured, "a.b.consumed")
    assert keys_of(consumed) == {"key.purchase_order": "PO-1"}
    assert [link.context.span_id for link in consumed.links] == [sent.span_context.span_id]
    assert consumed.context is not None
    assert consumed.context.trace_id != sent.span_context.trace_id


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "nonsense", "baggage": "controltower.key.invoice"},
        {"traceparent": "00-0-0-0", "baggage": ",,=;=,controltower.key.invoice=%5B%22"},
        {"baggage": "controltower.key.=x,controltower.key.visit=V,controltower.key.invoice=" + "x" * 5000},
    ],
)
def test_foreign_headers_give_no_keys(headers: dict[str, str]) -> None:
    """Malformed, unlisted or oversized headers are ignored."""
    with capture(), tracer.received(headers) as sender:
        assert sender is None
        assert ring_in().keys == {}


values = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), min_size=1, max_size=20)


@given(st.dictionaries(st.sampled_from(sorted(ALLOWED)), values.map(lambda many: tuple(dict.fromkeys(many)))))
def test_baggage_round_trip(keys: dict[str, tuple[str, ...]]) -> None:
    """Whatever text a key holds, the receiver gets the same text, or nothing of that type when it is too large."""
    ring = KeyRing(keys, {type_: f"scope of {type_}" for type_ in keys})
    header = merge_baggage(None, ring, ALLOWED)
    received = decode_ring(header, ALLOWED)

    assert len(header) <= MAX_BAGGAGE_BYTES
    assert header.isascii()
    for type_ in received.keys:
        assert received.keys[type_] == keys[type_]
        assert received.scopes[type_] == ring.scopes[type_]
    if len(header) < MAX_BAGGAGE_BYTES / 4 and header:
        assert received.keys == keys


@given(st.text(max_size=300))
def test_any_baggage_header_is_survived(header: str) -> None:
    """No header raises or gives an unlisted key."""
    ring = decode_ring(header, ALLOWED)

    assert ring.keys.keys() <= ALLOWED
    assert all(len(value) <= MAX_BAGGAGE_VALUE for many in ring.keys.values() for value in many)


def test_encoding_leaves_out_what_does_not_fit() -> None:
    """A type is sent whole or not at all, never with some of its values."""
    ring = KeyRing({"invoice": ("I" * 200,) * 20, "purchase_order": ("PO-1",)}, {})

    assert encode_ring(ring, ALLOWED) == ["controltower.key.purchase_order=PO-1"]


def test_carried_functions_run_below_the_step_in_threads_and_executors() -> None:
    """``carry`` holds the open step for a pool that outlives it, for many calls at once, and for coroutines."""

    def work(number: int) -> None:
        tracer.current_step().line(line=number)

    async def work_async() -> None:
        with tracer.step("a.b.child"):
            await asyncio.sleep(0)

    with capture() as captured:
        with tracer.step("a.b.parent", keys={"invoice": "I-1"}):
            carried, carried_async = tracer.carry(work), tracer.carry(work_async)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(carried, range(8)))
        asyncio.run(carried_async())

    captured.assert_step("a.b.parent", lines=8)
    assert keys_of(named(captured, "a.b.child")) == {"key.invoice": "I-1"}
    assert asyncio.iscoroutinefunction(carried_async)


def test_work_without_a_step_is_counted() -> None:
    """In a thread of its own nothing is open: what is said there reaches no step, and the counter tells."""
    with capture() as captured, tracer.step("a.b.parent"), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: tracer.current_step().key("invoice", "I-1")).result()

    assert captured.system.health().misuse == {"no_current_step": 1}
