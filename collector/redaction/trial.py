"""What a policy would do to a file: OTLP as JSON (one request, or one per line) or as protobuf, or plain text."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types

from controltower.collector.otlp import SIGNALS, Signal
from controltower.collector.otlp_json import to_protobuf
from controltower.collector.redaction.keys import EVERY_TENANT
from controltower.collector.redaction.policy import ClassName
from controltower.collector.redaction.redactor import Redactor
from controltower.collector.redaction.settings import Redaction
from controltower.collector.status import Refusal

MOST_LINES: Final = 20  # of a text, that are shown as they would be stored
TEXT: Final = "text"


@dataclass(frozen=True, slots=True)
class Done:
    """What a rule does to a field; attributes by their names."""

    field: str
    rule: str
    name: str
    times: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found in the file, how many items it holds, and what would be done to them."""

    kind: str  # a signal, or text
    items: int
    done: tuple[Done, ...]
    lines: tuple[tuple[int, str], ...] = ()  # of a text: number and what would be stored


class NotTelemetryError(ValueError):
    """A file begins like OTLP/JSON and is none; the message says where."""


def trial(data: bytes, redaction: Redaction, name: ClassName, tenant: str = EVERY_TENANT) -> Trial:
    """Return what the policy for sources of class *name* does to *data* of *tenant*. Raises NotTelemetryError."""
    redactor = Redactor(redaction.policy, redaction.keys.of(tenant), name, notes_names=True)
    found = list(_requests(data))
    if not found:
        return _text(data, redactor)
    kinds = sorted({signal.name for signal, _ in found})
    items = 0
    for signal, request in found:
        items += sum(len(each) for each in signal.lists(request))
        redactor(signal.name, request)
    return Trial(" and ".join(kinds), items, _done(redactor))


def _requests(data: bytes) -> Iterator[tuple[Signal, Any]]:
    """Yield the requests in *data*; none when it is a text."""
    if data.lstrip().startswith(b"{"):
        yield from _json_requests(data)
    elif data:
        fitting = [(signal, request) for signal in SIGNALS.values() if (request := _parsed(signal, data)) is not None]
        yield from fitting[:1]


def _json_requests(data: bytes) -> Iterator[tuple[Signal, Any]]:
    try:
        json.loads(data)
        bodies = [data]
    except ValueError:
        bodies = [line for line in data.splitlines() if line.strip()]
    for number, body in enumerate(bodies, start=1):
        signal = next((each for each in SIGNALS.values() if f'"{next(iter(each.plan))}"'.encode() in body), None)
        if signal is None:
            raise NotTelemetryError(f"line {number} holds no resourceSpans, resourceLogs or resourceMetrics")
        converted = to_protobuf(signal.plan, body)
        if isinstance(converted, Refusal):
            raise NotTelemetryError(f"line {number}: {converted.message}")
        yield signal, signal.request.FromString(converted.body)


def _parsed(signal: Signal, data: bytes) -> Any | None:
    """Return the request of *signal* that *data* is, None when it holds anything else: the signals look alike."""
    try:
        request = signal.request.FromString(data)
    except DecodeError:
        return None
    whole = request.ByteSize()
    request.DiscardUnknownFields()
    return request if request.ByteSize() == whole and any(len(each) for each in signal.lists(request)) else None


def _text(data: bytes, redactor: Redactor) -> Trial:
    """Treat each line as the body of a log record."""
    lines = data.decode("utf-8", "replace").splitlines()
    request = SIGNALS["logs"].request()
    records = request.resource_logs.add().scope_logs.add().log_records
    for line in lines:
        records.add().body.string_value = line.encode()
    redactor("logs", request)
    stored = [bytes(record.body.string_value).decode("utf-8", "replace") for record in records]
    changed = [(at, now) for at, (was, now) in enumerate(zip(lines, stored, strict=True), start=1) if was != now]
    return Trial(TEXT, len(lines), _done(redactor), tuple(changed[:MOST_LINES]))


def _done(redactor: Redactor) -> tuple[Done, ...]:
    named = redactor.names()
    plain = Counter(redactor.counts())
    for (field, rule, _), times in named.items():
        plain[(field, rule)] -= times
    done = [Done(field, rule, name, times) for (field, rule, name), times in named.items()]
    done += [Done(field, rule, "", times) for (field, rule), times in plain.items() if times > 0]
    return tuple(sorted(done, key=lambda each: (each.field, each.rule, each.name)))
