"""Takes off a span what commonly carries patient data and was not put there as a business value.

Libraries record exception messages, addresses with their query and SQL text. Of an exception the type stays, of an
address the route, of SQL its summary. What leads to a patient becomes a token, whoever wrote it on the span.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, TraceState
from opentelemetry.util.types import AnyValue

from controltower.tracer import attributes
from controltower.tracer.pseudonyms import Pseudonyms, are_tokens

DENIED: Final = frozenset(
    {
        "aws.s3.key",
        "celery.retry.reason",
        "client.address",
        "cloudevents.event_subject",
        "db.query.text",
        "db.statement",
        "error.message",
        "exception.message",
        "exception.stacktrace",
        "file.name",
        "file.path",
        "graphql.document",
        "http.client_ip",
        "http.request.body.content",
        "http.response.body.content",
        "http.target",
        "http.url",
        "http.user_agent",
        "log.file.name",
        "log.file.path",
        "log.record.original",
        "messaging.kafka.message.key",
        "messaging.message.conversation_id",
        "messaging.rocketmq.message.keys",
        "net.peer.ip",
        "net.sock.peer.addr",
        "network.peer.address",
        "process.command",
        "process.command_args",
        "process.command_line",
        "process.owner",
        "url.full",
        "url.path",
        "url.query",
        "user_agent.original",
    }
)
DENIED_BEGINNINGS: Final = (
    "db.operation.parameter.",
    "db.query.parameter.",
    "enduser.",
    "http.request.header.",
    "http.response.header.",
    "rpc.grpc.request.metadata.",
    "rpc.grpc.response.metadata.",
    "rpc.request.metadata.",
    "rpc.response.metadata.",
    "user.",
)
KEPT: Final = frozenset({"user.hash"})
METHODS: Final = ("http.request.method", "http.method")
OPERATIONS: Final = frozenset({"db.operation.name", "db.operation"})  # the first word of a statement, whatever it is
OTHER: Final = "other"  # instead of a first word that is no name of an operation
TRACE_STATE: Final = "ot"  # OpenTelemetry's own member, of sampling; what others write there is theirs
MAX_REMEMBERED: Final = 4096  # names; a service has tens, and a library that makes names up must not fill memory

_OPERATION: Final = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63};?")

Item = TypeVar("Item", Event, Link)
Given = Mapping[str, AnyValue]


def attributes_of(span: ReadableSpan) -> dict[str, AnyValue]:
    """Return a copy of a span's attributes: each look-up in the original goes through two classes in Python."""
    given = span.attributes
    return given.copy() if isinstance(given, MappingProxyType) else dict(given or {})


class Privacy:
    """Cleans what one system exports."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._allowed: set[str] = set()

    def clean(self, span: ReadableSpan, given: Given) -> ReadableSpan:
        """Return *span*, or a copy of it without free text and with tokens, when it is not clean.

        *given* are its attributes, read before.
        """
        name, events, links = _name(span, given), span.events, span.links
        if (
            name == span.name
            and self._are_clean(given)
            and not (events and not all(map(self._is_clean_line, events)))
            and not (links and not all(map(self._is_clean, links)))
            and not span.status.description
            and _has_no_state(span.context)
        ):
            return span
        return ReadableSpan(
            name=name,
            context=span.context if span.context is None else _stateless(span.context),
            parent=span.parent,
            resource=span.resource,
            attributes=self._cleaned(given, span.dropped_attributes, given),
            events=_list([self._event(event, given) for event in events], span.dropped_events),
            links=_list([self._link(link, given) for link in links], span.dropped_links),
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _are_clean(self, given: Given | None) -> bool:
        """Return whether nothing in *given* has to go; names seen before, nearly all, cost one look-up each."""
        if not given or self._allowed.issuperset(given):
            return True
        for name in given.keys() - self._allowed:
            value = given[name]
            if _is_denied(name):
                return False
            if name in OPERATIONS:
                if not _is_operation(value):
                    return False
            elif self._pseudonyms.type_of(name) is None:
                if len(self._allowed) < MAX_REMEMBERED:
                    self._allowed.add(name)
            elif not are_tokens(value):
                return False
        return True

    def _is_clean_line(self, event: Event) -> bool:
        given = event.attributes
        if type(given) is BoundedAttributes:
            given = given.copy()  # a plain dictionary: a document may have thousands of lines
        return event.name == attributes.LINE_EVENT and self._are_clean(given)

    def _is_clean(self, link: Link) -> bool:
        return self._are_clean(link.attributes) and _has_no_state(link.context)

    def _event(self, event: Event, around: Given) -> Event:
        kept = self._cleaned(event.attributes or {}, event.dropped_attributes, around)
        return Event(event.name, kept, event.timestamp)

    def _link(self, link: Link, around: Given) -> Link:
        if self._is_clean(link):
            return link
        kept = self._cleaned(link.attributes or {}, link.dropped_attributes, around)
        return Link(_stateless(link.context), kept)

    def _cleaned(self, given: Given, dropped: int, around: Given) -> BoundedAttributes:
        """Return *given* without what is denied; *around* are the span's, which may name the issuer of a key."""
        kept: dict[str, AnyValue] = {}
        for name, value in given.items():
            if _is_denied(name) or (name in OPERATIONS and not _is_operation(value)):
                continue
            if (type_ := self._pseudonyms.type_of(name)) is None or are_tokens(value):
                kept[name] = value
                continue
            issuer = attributes.SCOPE + type_
            if (tokens := self._pseudonyms.hidden(type_, value, given.get(issuer, around.get(issuer)))) is not None:
                kept[name] = tokens
        bounded = BoundedAttributes(attributes=kept)
        bounded.dropped = dropped
        return bounded


def without_command(resource: Resource) -> Resource:
    """Return *resource* without what its process was started with and other free text."""
    given = resource.attributes
    if not any(map(_is_denied, given)):
        return resource
    return Resource({name: value for name, value in given.items() if not _is_denied(name)}, resource.schema_url)


def _is_denied(name: str) -> bool:
    return name in DENIED or (name.startswith(DENIED_BEGINNINGS) and name not in KEPT)


def _name(span: ReadableSpan, given: Given) -> str:
    """Return the name of *span* without what its library took from a path or from the text of a statement."""
    name = span.name
    if span.kind is SpanKind.SERVER:
        method = next((given[each] for each in METHODS if each in given), None)
        return str(method) if method is not None and "/" in name and "http.route" not in given else name
    if "db.system" in given or "db.system.name" in given:
        operation, _, rest = name.partition(" ")
        return name if _is_operation(operation) else f"{OTHER} {rest}".strip() if _is_operation(rest) else OTHER
    return name


def _is_operation(value: AnyValue) -> bool:
    """Return whether *value* is a word; a comment, a literal or a number at the start of a statement is none."""
    return isinstance(value, str) and _OPERATION.fullmatch(value) is not None


def _has_no_state(context: SpanContext | None) -> bool:
    return context is None or not context.trace_state or context.trace_state.keys() <= {TRACE_STATE}


def _stateless(context: SpanContext) -> SpanContext:
    """Return *context* without what others wrote into its trace state."""
    own = [(name, value) for name, value in context.trace_state.items() if name == TRACE_STATE]
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags, TraceState(own))


def _list(items: Iterable[Item], dropped: int) -> BoundedList[Item]:
    kept = BoundedList.from_seq(None, items)
    kept.dropped = dropped
    return kept
