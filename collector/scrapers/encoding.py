"""Steps as a request of OTLP: spans with ids of ours, of one service."""

from importlib.metadata import version

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from controltower.collector.scrapers.observation import AttributeValue, Step
from controltower.collector.scrapers.span_ids import TRACE_BYTES
from controltower.tracer import attributes

SCOPE = "controltower.scrape"


class Request:
    """A request that grows by steps."""

    def __init__(self, service: str) -> None:
        self.message = ExportTraceServiceRequest()
        resource = self.message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        self._scope: ScopeSpans = resource.scope_spans.add()
        self._scope.scope.name = SCOPE
        self._scope.scope.version = version("controltower")
        self._add = self._scope.spans.add

    def __len__(self) -> int:
        return len(self._scope.spans)

    def add(self, step: Step) -> None:
        """Add a step as a span."""
        span = self._add(
            trace_id=step.ids[:TRACE_BYTES],
            span_id=step.ids[TRACE_BYTES:],
            parent_span_id=step.parent,
            name=step.name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=step.at_ns,
            end_time_unix_nano=step.end_ns,
        )
        _write(span, step.attributes)
        for line in step.lines:
            _write(span.events.add(name=attributes.LINE_EVENT, time_unix_nano=step.at_ns), line)
        if step.failed:
            span.status.code = Status.STATUS_CODE_ERROR

    def encoded(self) -> bytes:
        """Return the request as it is sent."""
        return bytes(self.message.SerializeToString())


def _write(target: "Span | Span.Event", taken: dict[str, AttributeValue]) -> None:
    add = target.attributes.add
    for name, value in taken.items():
        if isinstance(value, str):
            add(key=name).value.string_value = value
        else:
            many = add(key=name).value.array_value.values
            for each in value:
                many.add().string_value = each
