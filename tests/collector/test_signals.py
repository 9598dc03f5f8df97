"""Logs and metrics, and what a token is bound to: traces, which have most tests, are one signal of three."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)

from controltower.collector.admission import Admitted, Limits, admit
from controltower.collector.otlp import LOGS, METRICS, TRACES
from controltower.collector.status import Refusal
from tests.collector.requests import Tower, request_of, span

LIMITS = Limits()


def logs_of(*records: LogRecord) -> bytes:
    """Return the export request of *records*."""
    resource = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="tests")))
    body: bytes = ExportLogsServiceRequest(resource_logs=[resource]).SerializeToString()
    return body


def metrics_of(*metrics: Metric) -> bytes:
    """Return the export request of *metrics*."""
    resource = ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])
    body: bytes = ExportMetricsServiceRequest(resource_metrics=[resource]).SerializeToString()
    return body


EVERY_KIND = metrics_of(
    Metric(name="gauge", gauge=Gauge(data_points=[NumberDataPoint(as_int=1), NumberDataPoint(as_double=2.0)])),
    Metric(name="sum", sum=Sum(data_points=[NumberDataPoint(as_int=3)])),
    Metric(name="histogram", histogram=Histogram(data_points=[HistogramDataPoint(count=4)])),
    Metric(
        name="exponential",
        exponential_histogram=ExponentialHistogram(data_points=[ExponentialHistogramDataPoint(count=5)]),
    ),
    Metric(name="summary", summary=Summary(data_points=[SummaryDataPoint(count=6)])),
    Metric(name="none"),
)


def test_each_signal_has_its_path_and_its_journal(tower: Tower) -> None:
    """What is posted to the path of a signal is in the journal of that signal, byte for byte, and in no other."""
    bodies = {"traces": request_of(span(1)), "logs": logs_of(LogRecord(severity_text="INFO")), "metrics": EVERY_KIND}
    answers = {signal: tower.send(body, f"/v1/{signal}") for signal, body in bodies.items()}

    assert {(answer.status, answer.body) for answer in answers.values()} == {(200, b"")}
    assert {signal: tower.stored_bodies(signal) for signal in bodies} == {
        signal: [body] for signal, body in bodies.items()
    }


def test_a_log_record_with_an_invalid_id_is_kept_without_it(tower: Tower) -> None:
    """Ids are optional in logs; the sender learns how many were left out, and that nothing was rejected."""
    good = LogRecord(trace_id=bytes(range(16)), span_id=bytes(range(8)))
    records = [good, LogRecord(trace_id=b"short", span_id=bytes(range(8))), LogRecord(span_id=bytes(8)), LogRecord()]
    answer = tower.send(logs_of(*records), "/v1/logs")
    partial = ExportLogsServiceResponse.FromString(answer.body).partial_success

    assert partial.rejected_log_records == 0
    assert partial.error_message.startswith("2 log records were changed: a trace id that is not 16 bytes")
    (stored,) = map(ExportLogsServiceRequest.FromString, tower.stored_bodies("logs"))
    assert list(stored.resource_logs[0].scope_logs[0].log_records) == [
        good,
        LogRecord(span_id=bytes(range(8))),
        LogRecord(),
        LogRecord(),
    ]


def test_the_items_of_metrics_are_data_points() -> None:
    """A metric of any kind counts as many items as it has points; the limit is on these."""
    admitted, refused = admit(METRICS, EVERY_KIND, LIMITS), admit(METRICS, EVERY_KIND, Limits(items=5))

    assert isinstance(admitted, Admitted)
    assert (admitted.items, admitted.rejected, admitted.body) == (6, 0, EVERY_KIND)
    assert isinstance(refused, Refusal)
    assert refused.http == 413


def test_a_token_of_one_source_speaks_for_no_other() -> None:
    """What is of another service is left out and counted; a request of nothing else is refused."""
    ours, theirs = request_of(span(1)), request_of(span(2), span(3)).replace(b"tests", b"other")
    some = admit(TRACES, ours + theirs, LIMITS, sources=frozenset({"tests"}))
    none = admit(TRACES, theirs, LIMITS, sources=frozenset({"tests"}))
    nameless = admit(
        LOGS, logs_of(LogRecord()).replace(b"service.name", b"service.nome"), LIMITS, sources=frozenset("x")
    )

    assert some == Admitted(
        ours, 1, 2, "2 spans were rejected: this token may not send for their service.name.", redacted={}
    )
    assert isinstance(none, Refusal)
    assert none.http == 403
    assert isinstance(nameless, Refusal)


def test_what_redaction_changes_is_what_is_stored() -> None:
    """The hook is called with the parsed request of the signal, and decides what is written."""

    def redact(signal: str, request: object) -> dict[tuple[str, str], int]:
        request.resource_spans[0].scope_spans[0].spans[0].name = signal.encode()  # type: ignore[attr-defined]
        return {("span.name", "shape"): 1}

    admitted = admit(TRACES, request_of(span(1, name="patient")), LIMITS, redact=redact)

    assert isinstance(admitted, Admitted)
    assert admitted.redacted == {("span.name", "shape"): 1}
    assert b"patient" not in admitted.body
    assert admitted.body == request_of(span(1, name="traces"))
