"""Redaction in the load: a policy as the engine needs it, and where in the rows of a signal patients' data can stand.

The policy belongs to the collector; ``redaction_view`` makes the one view between decoded and stored rows of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Action = Literal["keep", "drop", "mask", "token", "shape"]

AUDIT: Final = "controltower.redacted"
KEY_PREFIXES: Final = ("controltower.key.", "controltower.context.", "controltower.scope.")
SCOPE: Final = "controltower.scope."
LINE_EVENT: Final = "controltower.line"
REDACTED: Final = "[redacted]"
PLAIN: Final = "abcdefghijklmnopqrstuvwxyz._"
"""Of these characters most names of attributes are made, so that they need not be looked at when no pattern is."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to a value; ``shape`` is the expression of its form, ``type`` the key type of its token."""

    action: Action
    shape: str = ""
    type: str = ""
    or_token: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """Treatments of attributes by name, in lower case; an exact name comes before an expression, those in order."""

    exact: Mapping[str, Treatment]
    expressions: Sequence[tuple[str, Treatment]] = ()


@dataclass(frozen=True, slots=True)
class Redaction:
    """A policy as the load applies it."""

    name: str
    version: int
    digest: str
    patterns: Sequence[tuple[str, str]]  # what is found, what stands there instead
    rules: Sequence[str]  # the words in brackets of these
    attributes: Names
    line: Names  # of the events that are lines of a document; what is not here is as in ``attributes``
    unlisted: Treatment
    texts: Mapping[str, Treatment]
    key_versions: Sequence[int] = ()
    plain_names: bool = False  # no pattern can be found in a name of plain characters only


@dataclass(frozen=True, slots=True)
class Place:
    """A column that can hold patients' data: a text, an array of texts, the map of a list of attributes, or several."""

    column: str
    field: str  # what the audit calls it, and the policy where it is a text
    kind: Literal["text", "texts", "map", "maps"]
    events: str = ""  # of maps: the column with the names of the events they belong to


@dataclass(frozen=True, slots=True)
class Audited:
    """The rows of a signal: their places, the map that takes the audit, and the one where issuers may stand, too."""

    places: tuple[Place, ...]
    audit: str
    issuers: str


TRACES: Final = Audited(
    (
        Place("SpanName", "span.name", "text"),
        Place("TraceState", "span.trace_state", "text"),
        Place("StatusMessage", "span.status.message", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("SpanAttributes", "span.attributes", "map"),
        Place("Events.Name", "event.name", "texts"),
        Place("Events.Attributes", "event.attributes", "maps", "Events.Name"),
        Place("Links.TraceState", "link.trace_state", "texts"),
        Place("Links.Attributes", "link.attributes", "maps"),
    ),
    audit="SpanAttributes",
    issuers="SpanAttributes",
)
LOGS: Final = Audited(
    (
        Place("Body", "log.body", "text"),
        Place("SeverityText", "log.severity_text", "text"),
        Place("EventName", "log.event_name", "text"),
        Place("ResourceSchemaUrl", "schema_url", "text"),
        Place("ScopeSchemaUrl", "schema_url", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("ScopeAttributes", "scope.attributes", "map"),
        Place("LogAttributes", "log.attributes", "map"),
    ),
    audit="LogAttributes",
    issuers="LogAttributes",
)
METRICS: Final = Audited(
    (
        Place("MetricName", "metric.name", "text"),
        Place("MetricUnit", "metric.unit", "text"),
        Place("MetricDescription", "metric.description", "text"),
        Place("ResourceSchemaUrl", "schema_url", "text"),
        Place("ScopeSchemaUrl", "schema_url", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("ScopeAttributes", "scope.attributes", "map"),
        Place("Attributes", "metric.attributes", "map"),
        Place("Exemplars.FilteredAttributes", "exemplar.attributes", "maps"),
    ),
    audit="Attributes",
    issuers="Attributes",
)


def literal(text: str) -> str:
    """Return *text* as a literal of SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\0", "\\0")
    return f"'{escaped}'"


def literals(of: Iterable[str]) -> str:
    """Return texts as literals with commas between."""
    return ", ".join(literal(each) for each in of)


def quoted(name: str) -> str:
    """Return the name of a column, quoted where it needs to be."""
    return f"`{name}`" if "." in name else name


def whole(expression: str) -> str:
    """Return the literal of a regular expression that must match the whole text."""
    return literal(f"^(?:{expression})$")
