"""What libraries record is cut down before it leaves the process."""

from opentelemetry.trace import Link, Status, StatusCode

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
