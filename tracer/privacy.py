"""Takes off a span what commonly carries patient data and was not put there as a business value.

Libraries record exception messages, addresses with their query and SQL text. Of an exception the type stays, of an
address the route, of SQL its summary.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, Status
from opentelemetry.util.types import AnyValue

from controltower.tracer import attributes

DENIED: Final = frozenset(
    {
        "celery.retry.reason",
        "cloudevents.event_subject",
        "db.query.text",
        "db.statement",
        "enduser.id",
        "exception.message",
        "exception.stacktrace",
        "http.target",
        "http.url",
        "messaging.kafka.message.key",
        "messaging.message.conversation_id",
        "messaging.rocketmq.message.keys",
        "url.full",
        "url.path",
        "url.query",
    }
)
DENIED_BEGINNINGS: Final = ("db.query.parameter.", "http.request.header.", "http.response.header.", "user.")
KEPT: Final = frozenset({"user.hash"})
MAX_REMEMBERED: Final = 4096  # names; a service has tens, and a library that makes names up must not fill memory

_allowed_names: set[str] = set()

Item = TypeVar("Item", Event, Link)


def attributes_of(span: ReadableSpan) -> dict[str, AnyValue]:
    """Return a copy of a span's attributes: each look-up in the original goes through two classes in Python."""
    given = span.attributes
    return given.copy() if isinstance(given, MappingProxyType) else dict(given or {})


def without_free_text(span: ReadableSpan, given: Mapping[str, AnyValue] | None = None) -> ReadableSpan:
    """Return *span*, or a copy of it without free text when it has some; *given* are its attributes, read before."""
    if given is None:
        given = attributes_of(span)
    events = span.events
    clean = _are_allowed(given) and not (events and any(event.name != attributes.LINE_EVENT for event in events))
    if clean and not span.status.description:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(given, span.dropped_attributes),
        events=_list([_event(event) for event in events], span.dropped_events),
        links=_list(span.links, span.dropped_links),
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _are_allowed(names: Iterable[str]) -> bool:
    """Return whether none of *names* is denied; those seen before, nearly all, cost one look-up each."""
    if _allowed_names.issuperset(names):
        return True
    if any(map(_is_denied, names)):
        return False
    if len(_allowed_names) < MAX_REMEMBERED:
        _allowed_names.update(names)
    return True


def _is_denied(name: str) -> bool:
    return name in DENIED or (name.startswith(DENIED_BEGINNINGS) and name not in KEPT)


def _event(event: Event) -> Event:
    if event.name == attributes.LINE_EVENT:
        return event
    return Event(event.name, _attributes(event.attributes or {}, event.dropped_attributes), event.timestamp)


def _attributes(given: Mapping[str, AnyValue], dropped: int) -> BoundedAttributes:
    kept = BoundedAttributes(attributes={name: value for name, value in given.items() if not _is_denied(name)})
    kept.dropped = dropped
    return kept


def _list(items: Iterable[Item], dropped: int) -> BoundedList[Item]:
    kept = BoundedList.from_seq(None, items)
    kept.dropped = dropped
    return kept
