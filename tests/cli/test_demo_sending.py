"""The simulated systems send what was planned, through the SDK: ids, times, keys, lines, links, runs and failures."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.cli.demo.live import DAY_S, WAVE_S, Squeeze, run_live, waves
from controltower.cli.demo.model import Plan, SpanRef
from controltower.cli.demo.network import Network
from controltower.cli.demo.plan import history
from controltower.cli.demo.sending import in_order, send_all, shuffled
from controltower.cli.errors import CommandError
from tests.cli.otlp_recorder import Recorder, recording

END = datetime(2026, 11, 20, 16, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A small plan with the usual faults."""
    return history(4, 60, 45, END)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A collector that writes down what it is sent."""
    with recording() as found:
        yield found


def send(recorder: Recorder, plan: Plan, *, shuffle: bool = False) -> list[tuple[str, Span]]:
    """Send the plan and return what arrived."""
    with closing(Network(recorder.url, "token", "run-1")) as network:
        sent = send_all(
            network,
            plan,
            shuffle=shuffle,
            over_s=0,
            wait=lambda seconds: False,
            elapsed_s=lambda: 0.0,
            say=lambda done, total: None,
        )
        network.finish(sent)
        assert network.acknowledged == plan.span_count
    return recorder.spans()


@pytest.mark.parametrize("shuffle", [False, True])
def test_everything_planned_arrives_once(recorder: Recorder, plan: Plan, shuffle: bool) -> None:
    """Every planned span and both spans of each run arrive, each with its planned ids, parent, times and system."""
    arrived = {ref(span): (service, span) for service, span in send(recorder, plan, shuffle=shuffle)}

    assert len(arrived) == plan.span_count
    for trace, planned in in_order(plan):
        service, span = arrived[planned.ref]
        assert service == trace.system
        assert span.parent_span_id.hex() == planned.parent
        assert span.start_time_unix_nano == nanoseconds(planned.start)
        assert span.end_time_unix_nano == nanoseconds(planned.end)
        assert span.name == planned.name
        assert (span.status.code == 2) == bool(planned.error)
        assert [SpanRef(link.trace_id.hex(), link.span_id.hex()) for link in span.links][: len(planned.links)] == list(
            planned.links
        )


def test_a_step_says_what_was_planned(recorder: Recorder, plan: Plan) -> None:
    """Keys, scopes, context, exact amounts and lines are on the span; what the simulator knows beyond that is not."""
    arrived = {ref(span): span for _, span in send(recorder, plan)}
    for _, planned, step in plan.steps():
        span = arrived[planned.ref]
        attributes = {item.key: text(item.value) for item in span.attributes}
        lines = [
            {item.key: text(item.value) for item in event.attributes}
            for event in span.events
            if event.name == "controltower.line"
        ]
        assert attributes["controltower.step"] == step.code
        for type_, value in step.keys.items():
            assert attributes[f"controltower.key.{type_}"] == (value if isinstance(value, str) else ",".join(value))
        assert {name.removeprefix("controltower.context."): value for name, value in attributes.items() if "context" in name} == dict(step.context)  # fmt: skip
        assert attributes.get("controltower.amount") == (None if step.amount is None else format(step.amount, "f"))
        assert [line["line"] for line in lines] == [line.number for line in step.lines]
        assert [line["quantity"] for line in lines] == [format(line.quantity, "f") for line in step.lines]
        assert all("anchors" not in name and "document" not in name for name in attributes)


def test_a_run_is_there_with_counts_and_totals(recorder: Recorder, plan: Plan) -> None:
    """A batch run says when it ends how many records it had and what they add up to."""
    arrived = {ref(span): span for _, span in send(recorder, plan, shuffle=True)}
    runs = [trace.run for trace in plan.traces if trace.run]

    assert runs
    for run in runs:
        attributes = {item.key: text(item.value) for item in arrived[run.finished].attributes}
        assert attributes["controltower.run.records"] == str(run.expected)
        assert attributes["controltower.run.control_total"] == format(run.expected_total, "f")
        assert attributes["controltower.outcome"] == "ok"


def test_shuffling_is_random_and_repeatable(plan: Plan) -> None:
    """The shuffled order holds every span once, differs from the order of sending, and follows from the seed."""
    ordered, mixed = [span.ref for _, span in in_order(plan)], [span.ref for _, span in shuffled(plan)]

    assert sorted(ordered) == sorted(mixed)
    assert ordered != mixed
    assert mixed == [span.ref for _, span in shuffled(plan)]


def test_sending_is_spread_over_the_time_given(recorder: Recorder, plan: Plan) -> None:
    """With a time to spread over, the sender waits until each part's turn has come."""
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    with closing(Network(recorder.url, "", "run-1")) as network:
        send_all(
            network,
            plan,
            shuffle=False,
            over_s=100.0,
            wait=wait,
            elapsed_s=lambda: 0.0,
            say=lambda done, total: None,
        )

    assert waits == sorted(waits)
    assert 99 < waits[-1] < 100


def test_a_collector_that_refuses_is_reported(recorder: Recorder, plan: Plan) -> None:
    """Spans that are not acknowledged are an error that says how many."""
    recorder.status = 400
    network = Network(recorder.url, "", "run-1")
    trace, span = next(in_order(plan))
    network.send(trace, span)

    with closing(network), pytest.raises(CommandError, match="acknowledged 0 of 1 spans"):
        network.finish(1)


def test_live_waves_never_use_a_number_twice() -> None:
    """Numbers go on from wave to wave, and each wave begins when the one before has taken its orders."""
    coming = waves(3, 10.0, END)
    first, second = next(coming), next(coming)
    anchors = [
        {anchor for each in wave for span in each.trace.spans if span.step for anchor in span.step.anchors}
        for wave in (first, second)
    ]

    assert len(anchors[0]) == pytest.approx(20, abs=2)
    assert not anchors[0] & anchors[1]
    assert min(each.at for each in second) >= END + timedelta(seconds=WAVE_S)


def test_live_time_is_squeezed() -> None:
    """A simulated day takes seconds, in order and from the wave's own beginning."""
    squeeze = Squeeze(END, END + timedelta(hours=1))

    assert squeeze(END) == END + timedelta(hours=1)
    assert squeeze(END + timedelta(days=2)) == END + timedelta(hours=1, seconds=2 * DAY_S)


def test_live_sends_what_is_due_and_nothing_that_is_not(recorder: Recorder) -> None:
    """Live traffic follows the clock: what has not happened yet is not sent."""
    now = [END]

    def wait(seconds: float) -> bool:
        now[0] += timedelta(seconds=5)
        return now[0] > END + timedelta(seconds=300)

    with closing(Network(recorder.url, "", "run-1")) as network:
        sent = run_live(network, 3, 6.0, now=lambda: now[0], wait=wait, say=lambda done, total: None)
        network.finish(sent)
    times: dict[str, list[int]] = defaultdict(list)
    for service, span in recorder.spans():
        times[service].append(span.end_time_unix_nano)

    assert sent > 200
    assert max(max(found) for found in times.values()) <= nanoseconds(now[0])
    assert {"requisition-saas", "erp", "edi-gateway", "warehouse"} <= set(times)


def ref(span: Span) -> SpanRef:
    """Return a span's ids."""
    return SpanRef(span.trace_id.hex(), span.span_id.hex())


def nanoseconds(at: datetime) -> int:
    """Return a time as OTLP writes it."""
    elapsed = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1000


def text(value: object) -> str:
    """Return an attribute's value as text; the values of an array with commas between."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    assert isinstance(value, AnyValue)
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return ",".join(each.string_value for each in value.array_value.values)
    return str(getattr(value, str(kind)))
