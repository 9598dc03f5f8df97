"""One message of a broker as a record: what it says of itself as a line of JSON, its body behind it, and both as fields.

How often it was delivered is left out, because looking at it changes that: ids must be the same at every look.
"""

import json
import re
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.log_formats import LINE
from controltower.collector.scrapers.observation import Fields

FIELDS: Final = ("id", "type", "correlation_id", "exchange", "routing_key", "time")
DEATH: Final = ("queue", "exchange", "reason", "count", "time")
NAMES: Final = frozenset(
    {*(f"message.{name}" for name in FIELDS), *(f"dead.{name}" for name in DEATH), "trace.id", "trace.span", LINE}
)
HEADER: Final = "header."  # + name: one that the sender set
DEATHS: Final = "x-death"  # RabbitMQ puts the latest first
BY_DELIVERY: Final = frozenset({"x-delivery-count", "x-acquired-count"})  # set by the broker at each delivery

LONGEST_BYTES: Final = 1024 * 1024  # of a body
TOO_LONG: Final = "too_long: a message"

NOTHING: Final[Mapping[str, Any]] = {}
# What puts messages into topics of dead letters, and how it says where one died and of what.
CONVENTIONS: Final = (
    ("queue", ("__connect.errors.topic", "kafka_dlt-original-topic")),  # Kafka Connect, Spring for Kafka
    ("reason", ("__connect.errors.exception.class.name", "kafka_dlt-exception-cause-fqcn", "kafka_dlt-exception-fqcn")),
)

# Made once: `json.dumps` makes one for each call that says how it writes.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True)
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


class Message(NamedTuple):
    """What a broker tells of a message beside its body; all as texts, times in seconds since 1970."""

    id: str = ""
    type: str = ""
    correlation_id: str = ""
    exchange: str = ""
    routing_key: str = ""
    time: str = ""
    headers: Mapping[str, Any] = NOTHING
    dead: Mapping[str, str] = NOTHING  # why it was given up, where the broker and not a header says so

    def content(self, body: bytes) -> bytes:
        """Return it with its *body* as the content of a record."""
        told: dict[str, Any] = {name: value for name in FIELDS if (value := getattr(self, name))}
        headers = {name: plain(value) for name, value in self.headers.items() if name not in BY_DELIVERY}
        if headers:
            told["headers"] = headers
        if self.dead:
            told["dead"] = dict(self.dead)
        return _ENCODER.encode(told).encode() + b"\n" + body


def fields_of(content: bytes, encoding: str, parse: Callable[[str], dict[str, Any]]) -> Fields:
    """Return the fields of a record: those of its body as *parse* finds them, and those of the message by their prefix."""
    head, _, body = content.partition(b"\n")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        raise Rejection("bad_encoding", encoding) from None
    told = json.loads(head)
    headers, dead = told.pop("headers", {}), told.pop("dead", {})
    fields = parse(text) if text else {}
    fields.setdefault(LINE, text)
    fields.update({f"message.{name}": value for name, value in told.items()})
    fields.update({HEADER + name: value for name, value in headers.items() if isinstance(value, str)})
    fields.update({f"dead.{name}": value for name, value in (dead or _death(headers)).items()})
    if found := _TRACEPARENT.fullmatch(str(headers.get("traceparent", ""))):
        fields["trace.id"], fields["trace.span"] = found.groups()
    return fields


def _death(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the latest death of a message, and how often it was given up altogether."""
    deaths = headers.get(DEATHS)
    known = [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
    if not known:
        named = {name: [headers[each] for each in theirs if each in headers] for name, theirs in CONVENTIONS}
        return {name: str(values[0]) for name, values in named.items() if values}
    found = {name: value for name in DEATH if isinstance(value := known[0].get(name), str)}
    counts = [each.get("count", "") for each in known]
    return {**found, "count": str(sum(int(count) for count in counts if count.isdecimal()))}


def plain(value: object) -> Any:
    """Return a header's value as JSON has it: numbers as texts, times in seconds since 1970, bytes as UTF-8."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, str):
        return value
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(timegm(value.utctimetuple()))
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, int) else str(value)  # pika's long shows itself with an L
