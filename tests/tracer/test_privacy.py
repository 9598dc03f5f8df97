"""What libraries record is cut down before it leaves the process."""

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from controltower import tracer
from controltower.tracer.privacy import Privacy, attributes_of
from controltower.tracer.testing import capture, lines_of


def test_free_text_of_libraries_is_dropped_and_the_rest_kept() -> None:
    """Messages, addresses and SQL text go; type, route, times, links and our own lines stay."""
    with capture() as captured:
        library = captured.system.provider.get_tracer("library")
        with tracer.step("a.b.linked") as linked:
            pass
        with tracer.step("a.b.c", keys={"invoice": "I-1"}) as step:
            step.line(line=1, item="X")
            step.span.set_status(Status(StatusCode.ERROR, "patient Jane Doe"))
        span = library.start_span("GET /patients/{id}", links=[Link(linked.span_context)])
        span.set_attributes(
            {
                "http.route": "/patients/{id}",
                "url.full": "https://emr/patients/4711?name=Jane",
                "url.query": "name=Jane",
                "db.query.text": "SELECT 'Jane'",
                "db.query.summary": "SELECT patients",
                "db.query.parameter.0": "Jane",
                "http.request.header.cookie": ["Jane"],
                "user.name": "Jane",
                "user.hash": "t1:abc",
            }
        )
        span.record_exception(ValueError("patient Jane Doe"))
        span.end()

    step_span, library_span = captured.assert_step("a.b.c", failed=True), captured.spans[-1]
    for each in captured.spans:
        assert "Jane" not in each.to_json()
    assert lines_of(step_span) == [{"line": "1", "item": "X"}]
    assert dict(library_span.attributes or {}) == {
        "http.route": "/patients/{id}",
        "db.query.summary": "SELECT patients",
        "user.hash": "t1:abc",
    }
    assert [event.name for event in library_span.events] == ["exception"]
    assert (library_span.events[0].attributes or {})["exception.type"] == "ValueError"
    assert [link.context.span_id for link in library_span.links] == [linked.span_context.span_id]


def test_clean_spans_are_not_copied() -> None:
    """A step without free text costs no copy."""
    with capture() as captured, tracer.step("a.b.c", keys={"invoice": "I-1"}) as step:
        step.line(line=1)

    [span] = captured.spans
    assert Privacy(captured.system.pseudonyms).clean(span, attributes_of(span)) is span


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "expected"),
    [
        ("GET /patients/4711", "server", {"http.request.method": "GET"}, "GET"),
        ("GET /patients/4711", "server", {"http.method": "GET", "http.target": "/patients/4711?a=b"}, "GET"),
        ("GET /patients/{id}", "server", {"http.method": "GET", "http.route": "/patients/{id}"}, "GET /patients/{id}"),
        ("check in/out", "server", {}, "check in/out"),
        ("SELECT orders", "client", {"db.system.name": "postgresql"}, "SELECT orders"),
        ("--Jane orders", "client", {"db.system": "postgresql"}, "other orders"),
        ("'4711'", "client", {"db.system": "postgresql"}, "other"),
        ("send orders/4", "producer", {"messaging.system": "mqtt"}, "send orders/4"),
    ],
)
def test_names_have_no_paths_and_no_text_of_statements(
    name: str, kind: str, attributes: dict[str, str], expected: str
) -> None:
    """A request without a route is named by its method, a statement by its operation; all other names stay."""
    with capture() as captured:
        captured.system.provider.get_tracer("x").start_span(
            name, kind=SpanKind[kind.upper()], attributes=attributes
        ).end()

    assert [span.name for span in captured.spans] == [expected]


def test_trace_state_keeps_the_member_of_opentelemetry() -> None:
    """What a caller wrote into ``tracestate`` is passed on in headers, and not exported; of sampling it stays."""
    state = TraceState([("vendor", "Jane"), ("ot", "th:8")])
    caller = SpanContext(1, 2, True, TraceFlags(1), state)
    with capture() as captured:
        above = trace.set_span_in_context(trace.NonRecordingSpan(caller))
        captured.system.provider.get_tracer("x").start_span("x", above, links=[Link(caller)]).end()

    (span,) = captured.spans
    assert span.context is not None
    assert dict(span.context.trace_state) == dict(span.links[0].context.trace_state) == {"ot": "th:8"}
    assert (span.links[0].context.trace_id, span.links[0].context.span_id) == (1, 2)


def test_the_process_tells_nothing_of_its_command() -> None:
    """A resource detector of the host's may note the command line, in which a job is told whom it is about."""
    given = {"process.command_args": "--patient=Jane", "process.owner": "jane", "host.name": "h1"}
    with capture(resource=given) as captured, tracer.step("a.b.c"):
        pass

    found = captured.steps[0].resource.attributes
    assert found["host.name"] == "h1"
    assert not [name for name in found if name.startswith("process.")]
