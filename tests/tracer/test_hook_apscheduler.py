"""APScheduler with its real schedulers and executors: threads, processes and a loop."""

import asyncio
import queue
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import attribute, hooked, needs

needs("apscheduler")
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

ENDED = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED


def work(number: str) -> None:
    """A job with a step in it."""
    with tracer.step("p2p.invoice.posted", keys={"invoice": "I-1"}):
        if number == "fails":
            raise LookupError("patient Jane Doe")


async def work_async(number: str) -> None:
    """A job on the loop."""
    await asyncio.sleep(0)
    work(number)


@pytest.fixture
def captured() -> Iterator[Captured]:
    """The spans of a process with the hook."""
    with hooked("apscheduler") as found:
        yield found


def run(scheduler: Any, function: Any, argument: str, **options: Any) -> Any:
    """Run a job once, and return how the scheduler says that it ended."""
    events: queue.Queue[Any] = queue.Queue()
    scheduler.add_listener(events.put, ENDED)
    scheduler.add_job(function, args=[argument], **options)
    scheduler.start()
    try:
        return events.get(timeout=20)
    finally:
        scheduler.shutdown()


def test_a_job_in_a_thread(captured: Captured) -> None:
    """Its steps are below its run, which is nobody's child; arguments are not kept."""
    with tracer.step("a.b.c"):
        event = run(BackgroundScheduler(timezone=UTC), work, "12345")

    assert event.exception is None
    (span,) = [each for each in captured.spans if each.name.startswith("run ")]
    step = captured.assert_step("p2p.invoice.posted", keys={"invoice": "I-1"})
    assert span.name.endswith(".work")
    assert span.parent is None
    assert step.parent is not None
    assert span.context is not None
    assert step.parent.span_id == span.context.span_id
    assert str(attribute(span, "controltower.context.job_late_ms")).isdigit()
    assert not any("12345" in each.to_json() for each in captured.spans)


def test_a_job_that_fails(captured: Captured) -> None:
    """The scheduler gets the exception; the span has its type and not its text."""
    event = run(BackgroundScheduler(timezone=UTC), work, "fails")

    (span,) = [each for each in captured.spans if each.name.startswith("run ")]
    assert isinstance(event.exception, LookupError)
    assert attribute(span, "error.type") == "LookupError"
    assert not any("Jane" in each.to_json() for each in captured.spans)


def test_a_job_that_was_missed(captured: Captured) -> None:
    """A run that came too late to be made has a span, too."""
    late = datetime.now(UTC) - timedelta(hours=1)
    run(BackgroundScheduler(timezone=UTC), work, "1", trigger="date", run_date=late, misfire_grace_time=60)

    (span,) = captured.spans
    assert attribute(span, "error.type") == "missed"
    assert attribute(span, "controltower.context.job_planned") == late.isoformat()
    assert int(str(attribute(span, "controltower.context.job_late_ms"))) >= 3_600_000


def test_a_job_on_a_loop(captured: Captured) -> None:
    """Coroutines are run by another function of the library."""

    async def session() -> None:
        done = asyncio.Event()
        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.add_listener(lambda _: done.set(), ENDED)
        scheduler.add_job(work_async, args=["1"])
        scheduler.start()
        try:
            await asyncio.wait_for(done.wait(), 20)
        finally:
            scheduler.shutdown()

    asyncio.run(session())

    (span,) = [each for each in captured.spans if each.name.startswith("run ")]
    assert captured.assert_step("p2p.invoice.posted").parent is not None
    assert attribute(span, "error.type") is None


def test_a_pool_of_processes_still_runs(captured: Captured) -> None:
    """The function goes to another process by its name; spans there belong to that process."""
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ProcessPoolExecutor(1)})
    event = run(scheduler, print, "")

    assert event.exception is None
