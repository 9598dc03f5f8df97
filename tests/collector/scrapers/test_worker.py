"""One source at work: nothing counts as read before the collector acknowledged it, and nothing is sent in other bytes."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.collector.scrapers.definition import LogSource, parse_sources
from controltower.collector.scrapers.delivery import Collector, Delivery, StoppedError
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.positions import Positions
from controltower.collector.scrapers.worker import Worker
from controltower.tracer.tokens import Tokeniser
from tests.collector.requests import PATIENCE_S, Tower
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.sources import KEY
from tests.collector.scrapers.writers import ManualClock

SOURCE = """
sources:
  app:
    kind: log
    files: ['FOLDER/app.log*']
    service: erp-adapter
    class: CLASS
    rules:
      - match: {line: '^order (?P<po>[^ ]+) (?P<amount>[^ ]+)'}
        step: p2p.purchase_order.created
        keys: {purchase_order: po}
        amount: amount
      - match: {line: '^case (?P<case>[^ ]+) (?P<who>.*)'}
        step: implant.case.scheduled
        keys: {case: case}
        context: {facility: who}
"""
ALWAYS: Answer = (200, {}, b"")


def source_in(folder: Path, name: str = "other") -> LogSource:
    """Return the source of the logs in *folder*."""
    text = SOURCE.replace("FOLDER", str(folder)).replace("CLASS", name)
    source = parse_sources(text, "sources.yaml").sources["app"]
    assert isinstance(source, LogSource)
    return source


def worker_of(
    folder: Path, url: str, *, token: str = "", name: str = "other", pause: Callable[[float], bool] | None = None
) -> Worker:
    """Return what works on the logs in *folder*."""
    collector = Collector(url, token)
    policies = Policies(default_policy(), Tokeniser((KEY,)))
    redactor = Redactor(default_policy(), (KEY,))
    delivery = Delivery(collector, "app", pause=pause) if pause is not None else None
    source = source_in(folder, name)
    return Worker("app", source, folder / "state", collector, policies, redactor, ManualClock(), delivery)


def spans_of(bodies: list[bytes]) -> list[Any]:
    """Return the spans of requests."""
    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    return [span for request in requests for span in request.resource_spans[0].scope_spans[0].spans]


def attributes_of(span: Any) -> dict[str, str]:
    """Return a span's attributes of text."""
    return {each.key: each.value.string_value for each in span.attributes}


def test_a_real_collector_stores_each_step_once(tmp_path: Path, tower: Tower) -> None:
    """What was read is in the journal; reading again sends nothing."""
    (tmp_path / "app.log").write_bytes(b"order PO-1 10.00\nnothing\norder PO-2 20.00\n")
    first = worker_of(tmp_path, tower.url, token=tower.token)
    first.run_once()
    second = worker_of(tmp_path, tower.url, token=tower.token)
    second.run_once()

    (request,) = tower.stored()
    (resource,) = request.resource_spans
    assert resource.resource.attributes[0].value.string_value == "erp-adapter"
    assert [attributes_of(span)["controltower.key.purchase_order"] for span in resource.scope_spans[0].spans] == [
        "PO-1",
        "PO-2",
    ]
    assert (first.health.records, first.health.steps, first.health.unmatched) == (3, 2, 1)
    assert (second.health.records, second.health.steps) == (0, 0)


def test_lost_positions_make_no_second_span(tmp_path: Path, tower: Tower) -> None:
    """A source that is read anew, in other batches, has the ids it had."""
    log = tmp_path / "app.log"
    log.write_bytes(b"order PO-1 10.00\n")
    worker_of(tmp_path, tower.url, token=tower.token).run_once()
    (tmp_path / "state" / "position").unlink()
    with log.open("ab") as file:
        file.write(b"order PO-2 20.00\n")
    worker_of(tmp_path, tower.url, token=tower.token).run_once()

    ids = [span.span_id for request in tower.stored() for span in request.resource_spans[0].scope_spans[0].spans]
    assert len(ids) == 3
    assert len(set(ids)) == 2


def test_the_position_is_saved_after_the_answer(tmp_path: Path) -> None:
    """While the collector does not answer with success, the request is kept and the position is not."""
    (tmp_path / "app.log").write_bytes(b"order PO-1 10.00\n")
    with answering(lambda *_: (503, {}, b"")) as server:
        worker = worker_of(tmp_path, server.url, pause=lambda _: True)
        with pytest.raises(StoppedError):
            worker.run_once()
    state, batch = Positions(tmp_path / "state").open()

    assert state is None
    assert batch is not None
    assert batch.body == server.bodies[0]


def test_what_was_on_its_way_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """After a stop the same bytes are sent, although the log is longer, or gone, and the rules are others by then."""
    log = tmp_path / "app.log"
    log.write_bytes(b"order PO-1 10.00\n")
    with answering(lambda number, _: (503, {}, b"") if not number else ALWAYS) as server:
        with pytest.raises(StoppedError):
            worker_of(tmp_path, server.url, pause=lambda _: True).run_once()
        log.unlink()
        (tmp_path / "app.log.1").write_bytes(b"order PO-2 20.00\n")
        worker_of(tmp_path, server.url).run_once()

    assert server.bodies[1] == server.bodies[0]
    assert [attributes_of(span)["controltower.key.purchase_order"] for span in spans_of(server.bodies[1:])] == [
        "PO-1",
        "PO-2",
    ]


def test_a_bad_record_stops_nothing(tmp_path: Path) -> None:
    """It is in the file of rejects with its reason, once, and the others are sent."""
    (tmp_path / "app.log").write_bytes(b"order PO-1 10.00\norder PO-2 abc\norder PO-3 30.00\n")
    with answering(lambda number, _: (503, {}, b"") if not number else ALWAYS) as server:
        with pytest.raises(StoppedError):
            worker_of(tmp_path, server.url, pause=lambda _: True).run_once()
        worker = worker_of(tmp_path, server.url)
        worker.run_once()

    (reject,) = (tmp_path / "state" / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert '"reason": "bad_amount"' in reject
    assert "abc" not in reject
    assert len(spans_of(server.bodies[1:])) == 2


def test_a_span_that_is_refused_is_told(tmp_path: Path) -> None:
    """What the collector will never take is counted, and the position goes on."""
    (tmp_path / "app.log").write_bytes(b"order PO-1 10.00\norder PO-2 20.00\n")

    def decide(_: int, body: bytes) -> Answer:
        return (400, {}, b"") if b"PO-1" in body else ALWAYS

    with answering(decide) as server:
        worker = worker_of(tmp_path, server.url)
        worker.run_once()
        worker_of(tmp_path, server.url).run_once()

    assert (worker.health.steps, worker.health.refused) == (2, 1)
    assert len(server.bodies) == 3  # both, each alone, and nothing the second time


def test_patients_stay_here(tmp_path: Path) -> None:
    """A source of class phi sends tokens, and of the rest only what the policy lists, in the shape it says."""
    (tmp_path / "app.log").write_bytes(b"case 4711-0815 Jane Smith, 1 Main Street\n")
    with answering(lambda *_: ALWAYS) as server:
        worker_of(tmp_path, server.url, name="phi").run_once()

    (span,) = spans_of(server.bodies)
    assert attributes_of(span)["controltower.key.case"].startswith("t1:")
    assert not {word for word in (b"4711", b"Smith", b"Main") if any(word in body for body in server.bodies)}
    saved = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert b"Smith" not in saved


def test_it_works_until_it_is_stopped(tmp_path: Path) -> None:
    """A thread reads what comes, survives a collector that is away, and ends when it is asked to."""
    log = tmp_path / "app.log"
    came = [threading.Event() for _ in range(3)]
    calls = iter(came)

    def decide(number: int, _: bytes) -> Answer:
        if number == 1:
            return 503, {"Retry-After": "0"}, b""
        next(calls).set()
        return ALWAYS

    with answering(decide) as server:
        worker = worker_of(tmp_path, server.url)
        worker.start()
        for number, event in enumerate(came):
            with log.open("ab") as file:
                file.write(b"order PO-%d 10.00\n" % number)
            assert event.wait(PATIENCE_S)
        worker.ask_to_stop()
        assert worker.join(PATIENCE_S)

    assert len({span.span_id for span in spans_of(server.bodies)}) == 3
    assert Positions(tmp_path / "state").open()[1] is None


def test_a_damaged_position_is_told_and_tried_again(tmp_path: Path) -> None:
    """The work fails visibly, and goes on when the file is in order."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "position").write_bytes(b"not ours")
    (tmp_path / "app.log").write_bytes(b"order PO-1 10.00\n")
    sent = threading.Event()
    failed = threading.Event()

    def decide(*_: object) -> Answer:
        sent.set()
        return ALWAYS

    with answering(decide) as server:
        worker = worker_of(tmp_path, server.url)
        worker.on_failure = failed.set
        worker.start()
        assert failed.wait(PATIENCE_S)
        assert "damaged" in worker.failing
        (folder / "position").unlink()
        assert sent.wait(PATIENCE_S)
        worker.ask_to_stop()
        assert worker.join(PATIENCE_S)

    assert worker.failing == ""


def test_a_clock_that_is_set_back_holds_nothing_up(tmp_path: Path) -> None:
    """A position that moved over records of no interest is saved after a second, whatever the clock says."""
    (tmp_path / "app.log").write_bytes(b"nothing\n")
    clock, seconds = ManualClock(), [0.0]
    policies = Policies(default_policy(), Tokeniser((KEY,)))
    folder = tmp_path / "state"
    worker = Worker(
        "app",
        source_in(tmp_path),
        folder,
        Collector("http://none"),
        policies,
        None,
        clock,
        monotonic=lambda: seconds[0],
    )
    worker._begin()
    worker.round()
    before = Positions(folder).open()[0]
    clock.ahead_ns -= 3600 * 10**9
    seconds[0] += 1.5
    worker.round()
    after = Positions(folder).open()[0]
    worker._end()

    assert before is None
    assert after is not None
    assert after["reader"]["generations"][0]["offset"] == 8
