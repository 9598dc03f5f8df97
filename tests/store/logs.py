"""Requests of log records for tests."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.store.otlp import NOON_NS, Value, attributes, value


def log(body: Value = "text", have: Mapping[str, Value] | None = None, **changes: Any) -> LogRecord:
    """Return a record at noon."""
    fields: dict[str, Any] = {
        "time_unix_nano": NOON_NS,
        "body": value(body),
        "attributes": attributes((have or {}).items()),
    }
    return LogRecord(**(fields | changes))


def logs(*records: LogRecord, service: str = "erp") -> ExportLogsServiceRequest:
    """Return a request with the records of one service."""
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    resource.resource.attributes.extend(attributes([("service.name", service)]))
    resource.scope_logs.add().log_records.extend(records)
    return made
