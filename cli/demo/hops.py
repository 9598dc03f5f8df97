"""Attributes of the technical spans between business steps: HTTP calls, queue messages, EDI envelopes."""

from typing import Final

from controltower.cli.demo.model import Attributes, SpanRef
from controltower.tracer import attributes

BROKER: Final = "rabbitmq"
DEAD_LETTERS: Final = "dead-letters"


def http_server(method: str, route: str, status: int = 200) -> Attributes:
    """Return the attributes of a served HTTP request."""
    return {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "url.scheme": "https",
    }


def http_client(method: str, host: str, template: str, status: int = 200) -> Attributes:
    """Return the attributes of an HTTP request sent."""
    return {
        "http.request.method": method,
        "server.address": host,
        "server.port": 443,
        "url.template": template,
        "http.response.status_code": status,
    }


def publish(queue: str, message: str) -> Attributes:
    """Return the attributes of a message sent."""
    return _message(queue, message, "publish", "send")


def process(queue: str, message: str) -> Attributes:
    """Return the attributes of a message worked on."""
    return {**_message(queue, message, "process", "process"), "messaging.consumer.group.name": f"{queue}-workers"}


def _message(queue: str, message: str, name: str, kind: str) -> Attributes:
    return {
        "messaging.system": BROKER,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": queue,
        "messaging.message.id": message,
    }


def database(operation: str, table: str) -> Attributes:
    """Return the attributes of a statement on a business system's own database."""
    return {
        "db.system.name": "oracle.db",
        "db.operation.name": operation,
        "db.collection.name": table,
        "db.query.summary": f"{operation} {table}",
    }


def file(name: str, size: int) -> Attributes:
    """Return the attributes of a file that is written or read."""
    return {"file.name": name, "file.size": size, attributes.STYLE: "file"}


def message_of(sent: SpanRef) -> str:
    """Return the message id that a publishing span stands for."""
    return f"msg-{sent.span_id}"
