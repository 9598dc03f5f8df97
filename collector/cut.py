"""Giant records are cut to limits: the first of many attributes, events and links, the beginning of long texts.

What was left out is counted where OTLP counts it, and the record says by an attribute of ours that it was cut.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from controltower.tracer import attributes as names

TRUNCATED: Final = names.TRUNCATED.encode()
_OURS: Final = names.PREFIX.encode()  # keys and context: what a transaction is found by is kept before the rest

_NAMES: Final = frozenset({"name", "key", "version", "unit", "event_name", "severity_text"})
_COUNTS: Final = {  # lists that are limited, and where the number of those left out is kept
    "attributes": "dropped_attributes_count",
    "filtered_attributes": "",
    "metadata": "",
    "exemplars": "",
    "events": "dropped_events_count",
    "links": "dropped_links_count",
}
LOOK_CLOSELY_BYTES: Final = 4 * 1024

_ANY_VALUE: Final = "opentelemetry.proto.common.v1.AnyValue"


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """How much of one record is kept."""

    attributes: int = 128  # and events, and links
    value_bytes: int = 32 * 1024
    name_bytes: int = 1_024

    @property
    def least_bytes(self) -> int:
        """What a record takes on the wire at least that can be beyond a limit: an attribute takes eight bytes."""
        return min(self.attributes * 8, self.value_bytes, self.name_bytes)


class Cutter:
    """Cuts records; create one for each request."""

    def __init__(self, limits: RecordLimits) -> None:
        self._limits = limits
        self._cut: set[str] = set()

    def is_beyond(self, record: Any, size: int) -> bool:
        """Whether *record*, of *size* bytes, may be beyond a limit.

        Below LOOK_CLOSELY_BYTES only its name and the number of its attributes are looked at: that takes a microsecond,
        cutting thirty.
        """
        if size >= LOOK_CLOSELY_BYTES or len(record.attributes) > self._limits.attributes:
            return True
        names = _names_of(record.DESCRIPTOR)
        return bool(names) and any(len(getattr(record, name)) > self._limits.name_bytes for name in names)

    def cut(self, record: Any) -> bool:
        """Cut *record* in place (a span, log record, data point, resource or scope); returns whether it was cut."""
        self._cut = set()
        self._message(record)
        return self._mark(record.attributes)

    def cut_metric(self, metric: Any) -> bool:
        """Cut the texts of *metric*, not its data points; returns whether it was cut."""
        self._cut = set()
        for name in ("name", "description", "unit"):
            self._text(metric, name, getattr(metric, name))
        self._shorten(metric, "metadata", metric.metadata)
        for pair in metric.metadata:
            self._message(pair)
        return self._mark(metric.metadata)

    def _mark(self, attributes: Any) -> bool:
        if self._cut:
            flag = attributes.add()
            flag.key = TRUNCATED
            flag.value.string_value = ",".join(sorted(self._cut)).encode()
        return bool(self._cut)

    def _message(self, message: Any) -> None:
        for field, value in message.ListFields():
            if field.name in _COUNTS and field.is_repeated:
                self._shorten(message, field.name, value)
            if field.message_type is None:
                if isinstance(value, bytes):
                    self._text(message, field.name, value)
            elif field.message_type.full_name == _ANY_VALUE:
                for item in value if field.is_repeated else (value,):
                    self._value(item)
            else:
                for item in value if field.is_repeated else (value,):
                    self._message(item)

    def _shorten(self, message: Any, name: str, items: Any) -> None:
        """Keep the first of *items*, ours before others."""
        beyond = len(items) - self._limits.attributes
        if beyond <= 0:
            return
        self._cut.add(name)
        if _COUNTS[name] in message.DESCRIPTOR.fields_by_name:  # data points have none
            dropped = getattr(message, _COUNTS[name]) + beyond
            setattr(message, _COUNTS[name], min(dropped, 2**32 - 1))
        keep = self._first(items) if name == "attributes" else range(self._limits.attributes)
        kept = [type(items[0]).FromString(items[number].SerializeToString()) for number in keep]
        del items[:]
        items.extend(kept)

    def _first(self, attributes: Any) -> Iterable[int]:
        keys = [attribute.key for attribute in attributes]
        ours = [number for number, key in enumerate(keys) if key.startswith(_OURS)]
        others = [number for number, key in enumerate(keys) if not key.startswith(_OURS)]
        return sorted([*ours, *others][: self._limits.attributes])

    def _text(self, message: Any, name: str, text: bytes) -> None:
        most = self._limits.name_bytes if name in _NAMES else self._limits.value_bytes
        if len(text) > most:
            self._cut.add("names" if name in _NAMES else "values")
            setattr(message, name, _cut_text(text, most))

    def _value(self, value: Any) -> None:
        if value.ByteSize() > self._limits.value_bytes:
            self._cut_value(value, self._limits.value_bytes)

    def _cut_value(self, value: Any, most: int) -> None:
        """Cut *value* to some *most* bytes: a text to its beginning, a list or map to its first members."""
        kind = value.WhichOneof("value")
        if kind in ("string_value", "bytes_value"):
            text = getattr(value, kind)
            if len(text) > most:
                self._cut.add("values")
                setattr(value, kind, _cut_text(text, most))
        elif kind in ("array_value", "kvlist_value"):
            members = getattr(value, kind).values
            left = most
            for number, member in enumerate(members):
                if left <= 0:
                    self._cut.add("values")
                    del members[number:]
                    break
                size = member.ByteSize()
                if size > left:
                    self._member(member, left)
                left -= size

    def _member(self, member: Any, most: int) -> None:
        if member.DESCRIPTOR.full_name == _ANY_VALUE:
            self._cut_value(member, most)
            return
        self._text(member, "key", member.key)
        self._cut_value(member.value, most)


@cache
def _names_of(descriptor: Any) -> tuple[str, ...]:
    return tuple(field.name for field in descriptor.fields if field.name in _NAMES)


def _cut_text(text: bytes, most: int) -> bytes:
    """Return the first *most* bytes of *text* without half a character at the end."""
    cut = most
    while cut > most - 4 and cut and text[cut] & 0xC0 == 0x80:
        cut -= 1
    return text[:cut]
