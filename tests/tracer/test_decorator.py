"""Steps as decorators."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace

from controltower import tracer
from controltower.tracer.testing import capture


@tracer.step("a.b.sync", context={"kind": "sync"})
def sync_work(order: str) -> str:
    """Work of the host."""
    tracer.current_step().key("purchase_order", order)
    return order.lower()


@tracer.step("a.b.async")
async def async_work(order: str) -> str:
    """Work of the host."""
    await asyncio.sleep(0)
    tracer.current_step().key("purchase_order", order)
    return order.lower()


@tracer.step("a.b.generator")
def items(count: int) -> Iterator[int]:
    """Work of the host."""
    for number in range(count):
        tracer.current_step().line(line=number)
        yield number
    if count == 13:
        raise LookupError


@tracer.step("a.b.async_generator")
async def async_items(count: int) -> AsyncIterator[int]:
    """Work of the host."""
    for number in range(count):
        tracer.current_step().line(line=number)
        yield number


def test_each_call_is_a_step_of_the_system_configured_then() -> None:
    """Functions are decorated at import, before any set-up; each call is one step, and the function is unchanged."""
    with capture() as captured:
        assert [sync_work("PO-1"), sync_work("PO-2")] == ["po-1", "po-2"]
        assert asyncio.run(async_work("PO-3")) == "po-3"

    captured.assert_step("a.b.sync", keys={"purchase_order": "PO-1"}, context={"kind": "sync"})
    captured.assert_step("a.b.sync", keys={"purchase_order": "PO-2"})
    captured.assert_step("a.b.async", keys={"purchase_order": "PO-3"})
    assert sync_work.__name__ == "sync_work"
    assert sync_work.__doc__ == "Work of the host."


def test_generator_is_one_step_and_current_only_inside() -> None:
    """The step spans the first to the last item; what the consumer does in between is not below it."""
    with capture() as captured:
        for _ in items(3):
            with tracer.step("a.b.consumer"):
                pass

    captured.assert_step("a.b.generator", lines=3)
    consumers = [span for span in captured.steps if span.name == "a.b.consumer"]
    assert [span.parent for span in consumers] == [None] * 3


def test_generator_left_early_ends_its_step() -> None:
    """A consumer that stops is no failure; an exception of the body is."""
    with capture() as captured:
        started = items(10)
        assert next(started) == 0
        started.close()  # type: ignore[attr-defined]  # typed as iterator, as in most code
        with pytest.raises(LookupError):
            list(items(13))

    captured.assert_step("a.b.generator", lines=1)
    captured.assert_step("a.b.generator", lines=13, failed=True)


def test_async_generator_is_one_step() -> None:
    """As for generators."""

    async def consume() -> list[int]:
        return [number async for number in async_items(4)]

    with capture() as captured:
        assert asyncio.run(consume()) == [0, 1, 2, 3]

    captured.assert_step("a.b.async_generator", lines=4)


def test_generator_takes_sent_values_and_thrown_exceptions() -> None:
    """``send`` and ``throw`` reach the body as without the decorator."""

    @tracer.step("a.b.echo")
    def echo() -> Iterator[object]:
        received: object = None
        while True:
            try:
                received = yield received
            except KeyError as error:
                received = type(error)

    with capture() as captured:
        generator = echo()
        next(generator)
        assert generator.send("x") == "x"  # type: ignore[attr-defined]
        assert generator.throw(KeyError) is KeyError  # type: ignore[attr-defined]
        generator.close()  # type: ignore[attr-defined]

    captured.assert_step("a.b.echo")


def test_current_step_is_safe_without_one() -> None:
    """Outside of any step the calls go nowhere and break nothing."""
    with capture() as captured:
        tracer.current_step().key("invoice", "I-1").line(line=1).outcome("ok").context(vendor="V")

    assert captured.spans == ()


def test_carried_generators_run_below_the_step() -> None:
    """The body of a generator that another thread reads is below the step, and the reader in between is not."""

    def numbers() -> Iterator[int]:
        for number in range(2):
            with tracer.step("a.b.inside"):
                yield number

    async def numbers_async() -> AsyncIterator[int]:
        for number in numbers():
            yield number

    async def read(carried: AsyncIterator[int]) -> list[int]:
        return [number async for number in carried]

    with capture() as captured:
        with tracer.step("a.b.outer") as outer:
            carried, carried_async = tracer.carry(numbers), tracer.carry(numbers_async)
        for _ in carried():
            assert trace.get_current_span() is trace.INVALID_SPAN
        assert asyncio.run(read(carried_async())) == [0, 1]

    inside = [span for span in captured.steps if span.name == "a.b.inside"]
    assert [span.parent and span.parent.span_id for span in inside] == [outer.span_context.span_id] * 4
