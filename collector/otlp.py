"""The signals: where each is posted, what its request and its answer are, and what of a request cannot be stored.

``SIGNALS`` is the one list of signals. A signal names its messages and finds what in a valid request has no identity;
everything else is common to all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controltower.collector.lenient import lenient
from controltower.collector.otlp_json import Plan, plan_of
from controltower.collector.wire import Message, Shape, shape_of

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found and changed in a request."""

    rejected: int = 0  # items that were taken out
    repaired: int = 0  # items that were kept with a part of them left out


@dataclass(frozen=True, slots=True)
class Signal:
    """A kind of telemetry: where it is posted, and what its request is."""

    name: str
    path: str
    service: str  # full name of the service over gRPC
    items: str  # what its items are called
    generated: Any  # class of the request; DecodeError when a text of it is no UTF-8
    request: Any  # the same, in which texts are bytes
    plan: Plan  # of the request in OTLP/JSON
    shallow: Shape
    deep: Shape
    lists: Callable[[Any], Iterator[Any]]  # a parsed request -> its lists of items, in the order of the wire
    check: Callable[[Any], Checked]  # takes out of a parsed request what cannot be stored
    reject_reason: str
    repair_reason: str
    respond: Callable[[int, str], Message]  # rejected items and words for the sender -> the answer


_NO_TRACE: Final = bytes(TRACE_ID_BYTES)
_NO_SPAN: Final = bytes(SPAN_ID_BYTES)


def _is_trace_id(value: bytes) -> bool:
    return len(value) == TRACE_ID_BYTES and value != _NO_TRACE


def _is_span_id(value: bytes) -> bool:
    return len(value) == SPAN_ID_BYTES and value != _NO_SPAN


def _lists_of_spans(request: Any) -> Iterator[Any]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield scope.spans


def _lists_of_records(request: Any) -> Iterator[Any]:
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            yield scope.log_records


def _lists_of_points(request: Any) -> Iterator[Any]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind:
                    yield getattr(metric, kind).data_points


def _check_traces(request: Any) -> Checked:
    """Take out the spans whose trace or span id is none."""
    rejected = 0
    for spans in _lists_of_spans(request):
        bad = [
            number
            for number, span in enumerate(spans)
            if len(trace_id := span.trace_id) != TRACE_ID_BYTES
            or trace_id == _NO_TRACE
            or len(span_id := span.span_id) != SPAN_ID_BYTES
            or span_id == _NO_SPAN
        ]
        rejected += len(bad)
        for number in reversed(bad):
            del spans[number]
    return Checked(rejected)


def _check_logs(request: Any) -> Checked:
    """Take ids that are none out of the records, which are kept: a record need not belong to a trace."""
    repaired = 0
    for records in _lists_of_records(request):
        for record in records:
            trace_id, span_id = record.trace_id, record.span_id
            if (trace_id and not _is_trace_id(trace_id)) or (span_id and not _is_span_id(span_id)):
                repaired += _drop_invalid_ids(record)
    return Checked(repaired=repaired)


def _drop_invalid_ids(record: Any) -> int:
    if not _is_trace_id(record.trace_id):
        record.trace_id = b""
    if not _is_span_id(record.span_id):
        record.span_id = b""
    return 1


def _check_metrics(request: Any) -> Checked:
    """Accept: a data point has no identity that could be missing."""
    return Checked()


def _respond_traces(rejected: int, words: str) -> Message:
    if not (rejected or words):
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=words)
    return ExportTraceServiceResponse(partial_success=partial)


def _respond_logs(rejected: int, words: str) -> Message:
    if not (rejected or words):
        return ExportLogsServiceResponse()
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=words)
    return ExportLogsServiceResponse(partial_success=partial)


def _respond_metrics(rejected: int, words: str) -> Message:
    if not (rejected or words):
        return ExportMetricsServiceResponse()
    partial = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=words)
    return ExportMetricsServiceResponse(partial_success=partial)


def _signal(name: str, service: str, generated: Any, items: str, messages: frozenset[str], **rules: Any) -> Signal:
    request = lenient(generated)
    return Signal(
        plan=plan_of(generated.DESCRIPTOR),
        name=name,
        path=f"/v1/{name}",
        service=f"opentelemetry.proto.collector.{service}",
        items=items,
        generated=generated,
        request=request,
        shallow=shape_of(request.DESCRIPTOR, messages, below_items=False),
        deep=shape_of(request.DESCRIPTOR, messages, below_items=True),
        **rules,
    )


_POINTS: Final = ("NumberDataPoint", "HistogramDataPoint", "ExponentialHistogramDataPoint", "SummaryDataPoint")

TRACES: Final = _signal(
    "traces",
    "trace.v1.TraceService",
    ExportTraceServiceRequest,
    "spans",
    frozenset({"opentelemetry.proto.trace.v1.Span"}),
    lists=_lists_of_spans,
    check=_check_traces,
    reject_reason="a trace id must be 16 bytes and a span id 8 bytes, neither all zero",
    repair_reason="",
    respond=_respond_traces,
)
LOGS: Final = _signal(
    "logs",
    "logs.v1.LogsService",
    ExportLogsServiceRequest,
    "log records",
    frozenset({"opentelemetry.proto.logs.v1.LogRecord"}),
    lists=_lists_of_records,
    check=_check_logs,
    reject_reason="",
    repair_reason="a trace id that is not 16 bytes, a span id that is not 8 bytes, or one of zeros is left out",
    respond=_respond_logs,
)
METRICS: Final = _signal(
    "metrics",
    "metrics.v1.MetricsService",
    ExportMetricsServiceRequest,
    "data points",
    frozenset(f"opentelemetry.proto.metrics.v1.{point}" for point in _POINTS),
    lists=_lists_of_points,
    check=_check_metrics,
    reject_reason="",
    repair_reason="",
    respond=_respond_metrics,
)

SIGNALS: Final[Mapping[str, Signal]] = MappingProxyType({signal.name: signal for signal in (TRACES, LOGS, METRICS)})
