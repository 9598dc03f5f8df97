"""The walk over a request: every field that can hold a text, for each signal.

Messages are the lenient ones of ``collector/otlp.py``, in which every text is bytes. A test holds the walk to OTLP's
descriptors: no field of texts or bytes may be left out.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from controltower.collector.redaction.patterns import is_plain
from controltower.collector.redaction.policy import TextField
from controltower.collector.redaction.printed import printed
from controltower.collector.redaction.rules import Rules
from controltower.collector.redaction.values import DROPPED, LONGEST_TOKENISED, Change, Treat
from controltower.tracer import attributes as names
from controltower.tracer.tokens import Tokeniser

AUDIT: Final = names.REDACTED.encode()
REMEMBERED: Final = 2_048  # texts of the audit attribute; spans of one kind have the same

_LINE_EVENT: Final = names.LINE_EVENT.encode()
_SCOPE: Final = names.SCOPE.encode()
_TRACE_ID, _SPAN_ID = (0, 16), (0, 8)  # bytes: none, or an id
_POINTS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")

Hits = list[tuple[str, str]]
"""(field, rule), once for each thing that was changed."""


class Walker:
    """Redacts requests in place by the rules of one class."""

    def __init__(self, rules: Rules, body: Treat, body_dropped: bool, tokeniser: Tokeniser) -> None:
        self._rules = rules
        self._body = body
        self._body_dropped = body_dropped
        self._tokeniser = tokeniser
        self.names: Counter[tuple[str, str, str]] | None = None
        """(field, rule, attribute), for who tries a policy out; nothing is noted unless it is given."""
        self._audits: dict[tuple[tuple[str, str], ...], bytes] = {}
        self._signals: dict[str, Callable[[Any, Hits], None]] = {
            "traces": self._traces,
            "logs": self._logs,
            "metrics": self._metrics,
        }

    def redact(self, signal: str, request: Any) -> Hits:
        """Redact *request* in place and return what was changed. What OTLP does not know is removed."""
        every: Hits = []
        request.DiscardUnknownFields()
        self._signals[signal](request, every)
        return every

    # What is common to the signals

    def _around(
        self, resources: Iterable[Any], scopes: str, items: str, item: Callable[[Any, Hits], None], every: Hits
    ) -> None:
        """Redact resources, scopes and the *items* in them; what metrics changed is noted with their scope."""
        for resource in resources:
            hits: Hits = []
            self._text(resource, "schema_url", "schema_url", hits)
            self._resource(resource.resource, hits)
            every += hits
            for scope in getattr(resource, scopes):
                hits = []
                self._text(scope, "schema_url", "schema_url", hits)
                self._text(scope.scope, "name", "scope.name", hits)
                self._text(scope.scope, "version", "scope.version", hits)
                self._attributes(scope.scope.attributes, "scope.attributes", hits)
                for each in getattr(scope, items):
                    item(each, every if items != "metrics" else hits)
                if hits:
                    self._audit(scope.scope.attributes, hits)
                    every += hits

    def _resource(self, resource: Any, hits: Hits) -> None:
        if len(resource.entity_refs):
            del resource.entity_refs[:]  # names of attributes, once more
            hits.append(("resource.entity_refs", "drop"))
        self._attributes(resource.attributes, "resource.attributes", hits)
        if hits:
            self._audit(resource.attributes, hits)

    def _attributes(self, attributes: Any, field: str, hits: Hits, outer: Any = None, *, line: bool = False) -> None:
        """Redact a list of attributes; *outer* is the span's, where the issuer of an event's key may stand."""
        known = self._rules.known(line=line)
        issuers: dict[str, bytes] = {}
        scope = partial(_issuer, issuers, attributes, outer)
        gone: list[int] = []
        for at, pair in enumerate(attributes):
            rule = known.get(pair.key) or self._rules.rule(pair.key, line=line)
            if rule.drops:  # half of them, and reading a value is what costs
                change: Change | None = DROPPED
            else:
                value = pair.value
                if rule.scope_of:
                    issuers[rule.scope_of] = value.string_value
                change = rule.treat(value, scope)
            if change is not None:
                hits += [(field, each) for each in change.rules]
                if self.names is not None:
                    self.names.update((field, each, pair.key.decode("utf-8", "replace")) for each in change.rules)
                if change.gone:
                    gone.append(at)
            if rule.name is not None:
                pair.key = rule.name
                hits.append((field, "name"))
        for at in reversed(gone):
            del attributes[at]

    def _text(self, message: Any, name: str, field: TextField, hits: Hits) -> None:
        text = getattr(message, name)
        if text:
            redacted, rules = self._rules.text(field)(text)
            if rules:
                setattr(message, name, redacted)
                hits += [(field, rule) for rule in rules]

    def _audit(self, attributes: Any, hits: Hits) -> None:
        """Add the attribute that names the rules, never the value."""
        known = tuple(hits)
        text = self._audits.get(known)
        if text is None:
            counted = Counter(f"{field}:{rule}" for field, rule in hits)
            text = " ".join(f"{what}={times}" for what, times in sorted(counted.items())).encode()
            if len(self._audits) >= REMEMBERED:
                self._audits.clear()
            self._audits[known] = text
        pair = attributes.add()
        pair.key = AUDIT
        pair.value.string_value = text

    # Traces

    def _traces(self, request: Any, every: Hits) -> None:
        self._around(request.resource_spans, "scope_spans", "spans", self._span, every)

    def _span(self, span: Any, every: Hits) -> None:
        hits: Hits = []
        self._text(span, "name", "span.name", hits)
        self._text(span, "trace_state", "span.trace_state", hits)
        if span.HasField("status"):
            self._text(span.status, "message", "span.status.message", hits)
        if len(span.parent_span_id) not in _SPAN_ID:
            span.parent_span_id = b""
            hits.append(("span.parent_span_id", "id"))
        for event in span.events:  # before the span's attributes, which name the issuers of their keys
            line = event.name == _LINE_EVENT
            if not line:
                self._text(event, "name", "event.name", hits)
            self._attributes(event.attributes, "event.attributes", hits, span.attributes, line=line)
        for link in span.links:
            self._ids(link, "link", hits)
            self._text(link, "trace_state", "link.trace_state", hits)
            self._attributes(link.attributes, "link.attributes", hits, span.attributes)
        self._attributes(span.attributes, "span.attributes", hits)
        if hits:
            self._audit(span.attributes, hits)
            every += hits

    def _ids(self, message: Any, field: str, hits: Hits) -> None:
        """Empty what is no id: it could hold anything. A trace id of letters alone is none, either."""
        trace_id, span_id = message.trace_id, message.span_id
        if len(trace_id) not in _TRACE_ID or is_plain(trace_id):
            message.trace_id = b""
            hits.append((f"{field}.trace_id", "id"))
        if len(span_id) not in _SPAN_ID:
            message.span_id = b""
            hits.append((f"{field}.span_id", "id"))

    # Logs

    def _logs(self, request: Any, every: Hits) -> None:
        self._around(request.resource_logs, "scope_logs", "log_records", self._log, every)

    def _log(self, log: Any, every: Hits) -> None:
        hits: Hits = []
        self._ids(log, "log", hits)
        self._text(log, "severity_text", "log.severity_text", hits)
        line = log.event_name == _LINE_EVENT
        if not line:
            self._text(log, "event_name", "log.event_name", hits)
        if log.HasField("body"):
            self._log_body(log, hits)
        self._attributes(log.attributes, "log.attributes", hits, line=line)
        if hits:
            self._audit(log.attributes, hits)
            every += hits

    def _log_body(self, log: Any, hits: Hits) -> None:
        """Redact a body; of one that is dropped its size stays, and what tells it from others."""
        if not self._body_dropped:
            change = self._body(log.body, partial(_issuer, {}, log.attributes, None))
            if change is not None:
                hits += [("log.body", rule) for rule in change.rules]
            return
        text = printed(log.body)
        if text:
            mark = self._tokeniser.tokens("body", b"", text)[:1] if len(text) <= LONGEST_TOKENISED else ()
            log.body.string_value = b" ".join((b"[removed", str(len(text)).encode(), b"bytes", *mark)) + b"]"
            hits += [("log.body", rule) for rule in DROPPED.rules]

    # Metrics

    def _metrics(self, request: Any, every: Hits) -> None:
        self._around(request.resource_metrics, "scope_metrics", "metrics", self._metric, every)

    def _metric(self, metric: Any, hits: Hits) -> None:
        self._text(metric, "name", "metric.name", hits)
        self._text(metric, "unit", "metric.unit", hits)
        self._text(metric, "description", "metric.description", hits)
        self._attributes(metric.metadata, "metric.metadata", hits)
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind).data_points if kind in _POINTS else ():
            self._attributes(point.attributes, "metric.attributes", hits)
            if kind != "summary":
                for exemplar in point.exemplars:
                    self._ids(exemplar, "exemplar", hits)
                    self._attributes(exemplar.filtered_attributes, "exemplar.attributes", hits, point.attributes)


def _issuer(known: dict[str, bytes], attributes: Any, outer: Any, type_: str) -> bytes:
    """Return who issued the keys of *type_*: by the attributes themselves, else by those around them."""
    found = known.get(type_)
    if found is None:
        key = _SCOPE + type_.encode()
        found = next((bytes(pair.value.string_value) for pair in attributes if pair.key == key), None)
        if found is None and outer is not None:
            found = next((bytes(pair.value.string_value) for pair in outer if pair.key == key), None)
        known[type_] = found = found or b""
    return found
