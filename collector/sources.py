"""Whose telemetry a request holds: a token that is bound to sources speaks for no other."""

from typing import Any, Final

from controltower.collector.otlp import Signal
from controltower.collector.wire import Bounds, count

SERVICE_NAME: Final = b"service.name"
_UNBOUNDED: Final = Bounds(1 << 62, 1 << 62, 1 << 62, 0)  # the request was within its limits


def remove_foreign(signal: Signal, request: Any, sources: frozenset[str]) -> int:
    """Take out what is of none of *sources* (values of ``service.name``) and return how many items that were."""
    (field,) = request.DESCRIPTOR.fields
    groups = getattr(request, field.name)
    ((shape, _),) = signal.shallow.values()
    removed = 0
    for number in reversed(range(len(groups))):
        if not speaks_for(sources, source_of(groups[number])):
            body = groups[number].SerializeToString()
            removed += count(body, shape, _UNBOUNDED).items
            del groups[number]
    return removed


def speaks_for(sources: frozenset[str], name: str) -> bool:
    """Whether *name* is one of *sources*, or begins as one of those that end in ``*``."""
    return name in sources or any(source.endswith("*") and name.startswith(source[:-1]) for source in sources)


def source_of(group: Any) -> str:
    """Return the ``service.name`` of a group of items with one resource, empty when it has none; the first counts."""
    for attribute in group.resource.attributes:
        if attribute.key == SERVICE_NAME:
            name: bytes = attribute.value.string_value
            return name.decode(errors="replace")
    return ""
