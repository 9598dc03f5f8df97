"""A file of sources: what is read, what is found in it, and which step it is; every mistake with its line."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import jsonpath_rfc9535
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from controltower.collector.redaction.linear import ExpressionError, Groups, Lines
from controltower.collector.scrapers.documents import FILE_NAMES
from controltower.collector.scrapers.documents import FORMATS as DOCUMENTS
from controltower.collector.scrapers.edifact import DEFAULT as EDIFACT_SEPARATORS
from controltower.collector.scrapers.errors import AddressError, SourcesError
from controltower.collector.scrapers.files import FilesError, is_address, is_installed, scheme_of
from controltower.collector.scrapers.grok import expanded, own_expanded
from controltower.collector.scrapers.log_formats import FORMATS, LINE, MOST_FIELDS, LogFormat
from controltower.collector.scrapers.manifest import GROUPS as MANIFEST_GROUPS
from controltower.collector.scrapers.manifest import LINE as MANIFEST_LINE
from controltower.collector.scrapers.message import HEADER
from controltower.collector.scrapers.message import NAMES as MESSAGE_NAMES
from controltower.collector.scrapers.slots import check_cron
from controltower.collector.scrapers.syslog_listener import address_of
from controltower.collector.scrapers.tables import TRAILER_GROUPS
from controltower.collector.scrapers.transforms import (
    ExpressionField,
    FormField,
    Model,
    Transform,
    ZoneField,
    check_expression,
)
from controltower.collector.scrapers.xml_documents import is_path as is_xpath
from controltower.store.flows.calendar import Limit, parse_limit
from controltower.store.yaml_lines import MistakesError, Problem, read_model
from controltower.tracer.attributes import OUTCOMES, STYLES

_SECRET: Final = re.compile("(?i)passw|passphrase|secret|token")  # names of options that hold one

ROW_CHANGED: Final = "row.changed"  # field of a row: when it changed, where the column says so
ADDRESSES: Final = {  # variables that hold the address of a broker
    "rabbitmq": "RABBITMQ_URL",
    "rabbitmq_stream": "RABBITMQ_URL",
    "redis": "REDIS_URL",
    "redis_list": "REDIS_URL",
    "nats": "NATS_URL",
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "mqtt": "MQTT_URL",
}
BROKERS_OF: Final = {  # which brokers a field of a source is for
    "exchange": ("rabbitmq",),
    "routing_keys": ("rabbitmq",),
    "most": ("rabbitmq",),
    "body": ("redis",),
    "begin": ("redis", "nats", "kafka"),
    "topics": ("mqtt",),
    "options": ("redis", "redis_list", "nats", "kafka", "sqs"),
    "url": ("rabbitmq", "rabbitmq_stream", "redis", "redis_list", "nats", "kafka", "mqtt"),
    "queues": ("rabbitmq", "redis", "nats", "kafka", "sqs"),
    "groups": ("kafka",),
}
STREAMS: Final = ("rabbitmq_stream", "redis", "nats", "kafka")  # brokers that keep what was read
MOST_SOURCES: Final = 1_000
MERGED: Final = ("when", "match", "keys", "scopes", "context")  # of rules that are like another
MOST_LINE_SPECS: Final = 20  # of a rule: services, adjustments, charges
MOST_RULES: Final = 200  # each record is tried against them one after the other
MOST_PAIRS: Final = 10_000  # begun and not ended, of one source; they are saved with each position


def _path(text: str) -> str:
    if text.startswith("$"):
        try:
            jsonpath_rfc9535.compile(text)
        except jsonpath_rfc9535.JSONPathError as exc:
            raise ValueError(f"is no JSONPath: {exc}") from None
    return text


def _plain(value: object) -> object:
    """Let a field stand for the value taken from it."""
    return {"field": value} if isinstance(value, str) else value


def _manifest_line(text: str) -> str:
    groups = Groups(text).numbers.keys()
    if "name" not in groups or not groups <= MANIFEST_GROUPS:
        raise ValueError(f"needs the group name, and may have {', '.join(sorted(MANIFEST_GROUPS - {'name'}))}")
    return text


def _many(value: object) -> object:
    """Let one stand for a list of one."""
    return (value,) if isinstance(value, dict) else value


def _limit(value: object) -> object:
    limit = parse_limit(value) if isinstance(value, str) else value
    if isinstance(limit, Limit) and limit.business:
        raise ValueError("a time in business days needs a calendar; give hours or days")
    return limit


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
TypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
FieldName = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_path)]
StepCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=400)]
Transforms = Annotated[tuple[Transform, ...], Field(max_length=20)]


class ValueSpec(Model):
    """Where a value comes from: a field, or a text in which ``{field}`` stands for one; and how it is changed."""

    field: FieldName | None = None
    otherwise: Annotated[
        tuple[FieldName, ...], Field(alias="or", max_length=20)
    ] = ()  # fields for when it has no value
    text: Text | None = None
    do: Transforms = ()
    optional: bool = False


class TimeSpec(Model):
    """Where a time comes from, and how it is written."""

    field: FieldName
    format: FormField = "iso"
    zone: ZoneField | None = None  # of times without one; that of the source by default
    do: Transforms = ()


Value: TypeAlias = Annotated[ValueSpec, BeforeValidator(_plain)]
TimeValue: TypeAlias = Annotated[TimeSpec, BeforeValidator(_plain)]
Values = Annotated[dict[TypeName, Value], Field(default_factory=dict)]
Equal = Annotated[dict[FieldName, str], Field(default_factory=dict)]
Expressions = Annotated[dict[FieldName, ExpressionField], Field(default_factory=dict)]
Within = Annotated[Limit, BeforeValidator(_limit)]


class LineSpec(Model):
    """Lines of the document: what holds them, and what each one says. Fields are those of the line."""

    each: FieldName
    line: Value | None = None
    item: Value | None = None
    quantity: Value | None = None
    uom: Value | None = None
    unit_price: Value | None = None
    amount: Value | None = None
    outcome: Value | None = None
    reason: Value | None = None
    keys: Values


class Trace(Model):
    """The trace a record says that it was written in."""

    trace_id: FieldName
    span_id: FieldName | None = None


class Facts(Model):
    """What a record tells of its step."""

    time: TimeValue | None = None
    keys: Values
    scopes: Values
    context: Values
    amount: Value | None = None
    currency: Value | None = None
    quantity: Value | None = None
    uom: Value | None = None
    business_time: TimeValue | None = None
    outcome: Value | None = None
    reason: Value | None = None
    run: "RunSpec | None" = None
    lines: Annotated[tuple[LineSpec, ...], Field(max_length=MOST_LINE_SPECS), BeforeValidator(_many)] = ()


class RunSpec(Model):
    """A run: of a file, of a job."""

    id: Value
    records: Value | None = None
    rejected: Value | None = None
    expected_records: Value | None = None
    control_total: Value | None = None


Outcome = Annotated[str, Field(pattern=f"^({'|'.join(OUTCOMES)})$")]


class Missing(Model):
    """How a step ended whose end did not come."""

    outcome: Outcome = "exception"
    reason: Text = "no_end"


class End(Facts):
    """The record that ends a step which another one began."""

    when: Equal
    match: Expressions
    within: Within
    missing: Missing = Missing()
    alone: Literal["reject", "pass"] = "reject"  # an end whose beginning is not there; passed, it fits no rule


class Rule(Facts):
    """Which records are one kind of step. The first rule that fits a record makes its step."""

    id: Name | None = None  # by which others say that they are like it
    like: Name | None = None  # the rule whose fields are this one's where it does not say others
    name: Text | None = None  # of the span; the step's code by default
    when: Equal
    match: Expressions
    step: StepCode
    style: Annotated[str | None, Field(pattern=f"^({'|'.join(STYLES)})$")] = None
    actor: Literal["human", "system"] | None = None
    layer: Text | None = None
    failed: bool | tuple[Outcome, ...] = False  # always, or with these outcomes: status Error, and no stage is reached
    trace: Trace | None = None
    by: FieldName | None = None  # what a beginning and its end have in common
    end: End | None = None


def _filled(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rules with what those have that they are like: of `MERGED` what they do not name, of others what they leave out."""
    by_id = {rule["id"]: rule for rule in rules if isinstance(rule.get("id"), str)}

    def filled(rule: dict[str, Any], seen: tuple[str, ...] = ()) -> dict[str, Any]:
        like = rule.get("like")
        if not isinstance(like, str):
            return rule
        if like not in by_id or like in seen:
            raise ValueError(f"there is no rule with id: {like}" if like not in by_id else f"{like} is like itself")
        other = filled(by_id[like], (*seen, like))
        merged = {
            name: {**other[name], **rule[name]}
            for name in MERGED
            if isinstance(other.get(name), dict) and isinstance(rule.get(name), dict)
        }
        return {**{name: value for name, value in other.items() if name != "id"}, **rule, **merged}

    return [filled(rule) for rule in rules]


class Expected(Model):
    """A step that a test expects; what is not said is not compared."""

    step: StepCode
    time: str | None = None
    end_time: str | None = None
    outcome: str | None = None
    reason: str | None = None
    amount: str | None = None
    currency: str | None = None
    quantity: str | None = None
    keys: Annotated[dict[TypeName, str | tuple[str, ...]], Field(default_factory=dict)]
    context: Annotated[dict[TypeName, str], Field(default_factory=dict)]
    lines: int | None = None


class SourceTest(Model):
    """What is read in a test, and what must come of it."""

    name: Text
    given: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    now: str | None = None  # RFC 3339, for times without a year
    steps: tuple[Expected, ...] = ()
    rejected: tuple[str, ...] = ()
    unmatched: Annotated[int | None, Field(ge=0)] = None


def _own_patterns(patterns: dict[str, str]) -> dict[str, str]:
    for name, text in patterns.items():
        try:
            check_expression(expanded(text, patterns))
        except ValueError as exc:
            raise ValueError(f"{name} {exc}") from None
    return patterns


def _with_own_patterns(rule: Any, own: Mapping[str, str]) -> Any:
    """Return a rule, or its end, with the source's patterns written out in what it matches."""
    if not isinstance(rule, dict):
        return rule
    changed = dict(rule)
    if isinstance(match := rule.get("match"), dict):
        changed["match"] = {field: _with_own(text, own) for field, text in match.items()}
    if "end" in rule:
        changed["end"] = _with_own_patterns(rule["end"], own)
    return changed


def _with_own(text: Any, own: Mapping[str, str]) -> Any:
    return own_expanded(text, own) if isinstance(text, str) else text


class Source(Model):
    """One source of any kind."""

    patterns: Annotated[
        dict[Annotated[str, Field(pattern=r"^\w{1,100}$")], Annotated[str, Field(min_length=1, max_length=4_000)]],
        Field(default_factory=dict, max_length=200),
        AfterValidator(_own_patterns),
    ]  # of its own, for `%{NAME}` in `match`, `only` and `start`
    service: Text | None = None  # the system whose steps these are; the source's name by default
    data: Annotated[Literal["phi", "other"], Field(alias="class")] = "other"
    tenant: Annotated[str, Field(max_length=100)] = (
        ""  # whose key makes the tokens, where tenants have keys of their own
    )
    interface: Text | None = None
    time_zone: ZoneField = "UTC"
    time: TimeValue | None = None
    keep_rejected_text: bool = False  # in the file of rejects, which only its owner may read
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MOST_RULES)]
    tests: tuple[SourceTest, ...] = ()

    @field_validator("rules", mode="before")
    @classmethod
    def _alike(cls, rules: Any, info: ValidationInfo) -> Any:
        if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
            return rules
        own = info.data.get("patterns")
        return [_with_own_patterns(rule, own) for rule in _filled(rules)] if own else _filled(rules)


OBJECTS: Final = "objects:"  # and a type: the objects of an event, each with its values, as lines
JSON: Final = "json"
ROWS: Final = "rows"
CSV: Final = "csv"


def _line_expression(text: str) -> str:
    try:
        Lines((text,))
    except ExpressionError as exc:
        raise ValueError(f"is too large: {exc}") from None
    return text


LineField = Annotated[ExpressionField, AfterValidator(_line_expression)]


class FileSource(Source):
    """A source of files."""

    files: Annotated[tuple[Text, ...], Field(min_length=1, max_length=100)]
    exclude: tuple[Text, ...] = ()
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    begin: Literal["beginning", "end"] = "beginning"  # of files that are there at the first start


class LineSource(FileSource):
    """Lines of a log."""

    format: LogFormat = "text"
    columns: Annotated[tuple[Text, ...], Field(max_length=MOST_FIELDS)] = ()  # of csv, by name
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    only: LineField | None = None  # lines in which it is not found are not looked into, whatever their form
    start: ExpressionField | None = None  # a line that begins a record; those that do not belong to the one before

    @field_validator("only", "start", mode="before")
    @classmethod
    def _own(cls, text: Any, info: ValidationInfo) -> Any:
        return _with_own(text, info.data.get("patterns") or {})


class LogSource(LineSource):
    """Files of a log, as they are written, rotated, cut off and compressed."""

    kind: Literal["log"]


def _listening(text: str) -> str:
    address_of(text)
    return text


class SyslogSource(LineSource):
    """Messages of syslog that are received, and kept in files until they are acknowledged."""

    kind: Literal["syslog"]
    format: LogFormat = "syslog"
    listen: Annotated[tuple[Annotated[str, AfterValidator(_listening)], ...], Field(min_length=1, max_length=20)]
    folder: Text
    files: tuple[Text, ...] = ()  # those of a test; otherwise what is in the folder
    most_bytes: Annotated[int, Field(ge=1024 * 1024)] = (
        256 * 1024 * 1024
    )  # in the folder; then TCP waits and UDP is lost
    certificate: Text | None = None
    key: Text | None = None
    client_ca: Text | None = None  # senders must show a certificate that it signed


class JournalSource(Source):
    """Entries of the journal of systemd."""

    kind: Literal["journal"]
    format: ClassVar[str] = JSON
    columns: ClassVar[tuple[str, ...]] = ()
    directory: Text | None = None  # of another machine's journal, or of many; that of this machine by default
    units: Annotated[tuple[Text, ...], Field(max_length=100)] = ()  # only what they, or systemd about them, said
    matches: Annotated[tuple[Annotated[str, Field(pattern=r"^([A-Z0-9_]+=.*|\+)$")], ...], Field(max_length=100)] = ()
    begin: Literal["beginning", "end"] = "beginning"


class ManifestSpec(Model):
    """Files that say which others are whole."""

    files: Annotated[tuple[Text, ...], Field(min_length=1, max_length=100)]
    line: Annotated[ExpressionField, AfterValidator(_manifest_line)] = MANIFEST_LINE


class Archive(Model):
    """Where files are moved that were read, sent and acknowledged; those with anything that is rejected elsewhere."""

    to: Text
    rejected: Text | None = None


class Secret(Model):
    """A value that does not stand in the file of sources: of the environment, or of a file."""

    env: Text | None = None
    file: Text | None = None


class FolderSource(FileSource):
    """Files of documents, each read when it is whole."""

    kind: Literal["folder"]
    format: Literal["x12", "edifact", "hl7", "csv", "fixed", "xlsx", "xml"]
    columns: Annotated[
        tuple[Text, ...], Field(max_length=MOST_FIELDS)
    ] = ()  # of csv and xlsx; the first row by default
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    widths: Annotated[
        dict[Text, tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]]],
        Field(default_factory=dict, max_length=MOST_FIELDS),
    ]  # of fixed
    trailer: ExpressionField | None = None  # the last line of csv and fixed: how many rows there are, and their sum
    sheet: Text | None = None  # of xlsx; the first by default
    each: Text | None = None  # of xml: XPath of the elements that are documents
    exact: bool = False  # an ISA that is not as wide as X12 says is refused
    una: Annotated[str, Field(min_length=6, max_length=6)] = EDIFACT_SEPARATORS  # of interchanges without a UNA
    trigger: Annotated[str, Field(max_length=40)] = ""  # ending of the file whose presence says that another is whole
    manifest: ManifestSpec | None = None
    archive: Archive | None = None
    duplicates: Literal["reject", "read"] = "reject"  # a file whose content was read before, under any name
    storage: Annotated[
        dict[str, str | int | bool | Secret], Field(default_factory=dict, max_length=40)
    ]  # of files behind an address

    @property
    def beside(self) -> tuple[str, ...]:
        """Return patterns of files that stand beside documents and are none."""
        triggers = (f"*{self.trigger}",) if self.trigger else ()
        return (*triggers, *(self.manifest.files if self.manifest else ()))

    def options(self) -> dict[str, Any]:
        """Return what opens the files behind an address, secrets included. FilesError when one is not there."""
        return {name: _secret(value) if isinstance(value, Secret) else value for name, value in self.storage.items()}


class BrokerSource(Source):
    """What a broker holds."""

    broker: str
    url: Secret | None = None  # it has a password in it
    options: Annotated[
        dict[str, str | int | bool | Secret], Field(default_factory=dict, max_length=40)
    ]  # of the broker's library

    def address(self) -> str:
        """Return the address of the broker. AddressError when it is not there."""
        return _address(self.url or Secret(env=ADDRESSES[self.broker]))

    def settings(self) -> dict[str, Any]:
        """Return the options, secrets included. AddressError when one is not there."""
        return {name: _address(value) if isinstance(value, Secret) else value for name, value in self.options.items()}


class MessageSource(BrokerSource):
    """Messages of a broker."""

    queue: Annotated[str, Field(min_length=1, max_length=255)]  # stream of Redis and NATS, topic of Kafka
    format: Literal["json", "text"] = "json"
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    body: Text | None = None  # of Redis: the field of an entry that is it; all fields by default
    begin: Literal["beginning", "end"] = "beginning"  # of streams and topics, at the first start


class DeadLetterSource(MessageSource):
    """A queue of dead letters, which stay in it."""

    kind: Literal["dead_letters"]
    broker: Literal["rabbitmq", "rabbitmq_stream", "redis", "redis_list", "nats", "kafka", "sqs"] = "rabbitmq"
    every: Within = Limit(1, "minute")


class TapSource(MessageSource):
    """Copies of messages: of a stream or topic, or of what an exchange gets, in a queue of the source's own."""

    kind: Literal["tap"]
    broker: Literal["rabbitmq", "rabbitmq_stream", "redis", "nats", "kafka", "mqtt"] = "rabbitmq"
    exchange: Annotated[str | None, Field(min_length=1, max_length=255)] = None  # the default one copies nothing
    routing_keys: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = ("#",)
    most: Annotated[int, Field(ge=1)] = 1_000_000  # messages in the queue; then the broker drops the oldest
    topics: Annotated[tuple[Text, ...], Field(max_length=100)] = ()  # of MQTT; the queue is the name of our session


class Limits(Model):
    """Beyond what a level of a queue is a problem: above it, and below it of consumers."""

    depth: Annotated[int | None, Field(ge=0)] = None
    lag: Annotated[int | None, Field(ge=0)] = None
    held: Annotated[int | None, Field(ge=0)] = None
    redelivered: Annotated[int | None, Field(ge=0)] = None
    oldest: Within | None = None
    consumers: Annotated[int | None, Field(ge=0)] = None

    def of(self, level: str) -> int | None:
        """Return the limit of a level, by its name; times in seconds."""
        limit = getattr(self, level, None)
        return int(limit.span.total_seconds()) if isinstance(limit, Limit) else limit


class QueueSource(BrokerSource):
    """How full queues are: levels, and no steps."""

    kind: Literal["queues"]
    format: ClassVar[str] = "queues"
    broker: Literal["rabbitmq", "redis", "nats", "kafka", "mqtt", "sqs"] = "rabbitmq"
    queues: Annotated[tuple[Text, ...], Field(max_length=1_000)] = ()  # names, and patterns of them
    groups: Annotated[tuple[Text, ...], Field(max_length=100)] = ()  # of Kafka
    every: Within = Limit(1, "minute")
    limits: Limits = Limits()
    rules: Annotated[tuple[Rule, ...], Field(max_length=0)] = ()
    tests: Annotated[tuple[SourceTest, ...], Field(max_length=0)] = ()

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Return the names that stand for many queues."""
        return tuple(name for name in self.queues if any(mark in name for mark in "*?["))

    @property
    def exact(self) -> tuple[str, ...]:
        """Return the names that stand for one."""
        return tuple(name for name in self.queues if name not in self.wildcards)

    def fits(self, name: str) -> bool:
        """Return whether a queue is one of this source."""
        return any(fnmatchcase(name, pattern) for pattern in self.queues)


class RowSource(Source):
    """Rows of a table, as they are inserted and changed."""

    kind: Literal["rows"]
    format: ClassVar[str] = ROWS
    url: Secret = Secret(env="DATABASE_URL")
    table: Text  # or SCHEMA.TABLE
    key: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20)]  # columns that tell a row from all others
    changed: Text  # column that grows with each insert and change: a time, or a whole number
    columns: Annotated[tuple[Text, ...], Field(max_length=MOST_FIELDS)] = ()  # that are read; all by default
    json_columns: Annotated[tuple[Text, ...], Field(max_length=MOST_FIELDS)] = ()  # of text that is JSON
    overlap: Within = Limit(15, "minute")  # how long a transaction may take
    gap: Annotated[int, Field(ge=0)] = 1_000  # the same where numbers grow: how many may be open at once
    every: Within = Limit(1, "minute")
    begin: Literal["beginning", "end"] = "beginning"

    def address(self) -> str:
        """Return the address of the database. AddressError when it is not there."""
        return _address(self.url)


SCHEDULE_FIELDS: Final = ("slot", "day", "hour", "grace_s")


class ScheduleSource(Source):
    """Times at which something is expected."""

    kind: Literal["schedule"]
    format: ClassVar = "schedule"
    cron: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_cron)]
    holidays: Annotated[tuple[date, ...], Field(max_length=1_000)] = ()  # on which nothing is expected
    grace: Within = Limit(30, "minute")  # how late it may be


class EventLogSource(Source):
    """A file of events that was written elsewhere and is imported once: columns, or types of events and objects."""

    name: Name  # of which ids are made: a file imported again under another name makes other steps
    kind: Literal["event_log"] = "event_log"
    format: Literal["csv", "parquet", "xes", "ocel"] | None = None  # told by the name of the file by default
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    id: FieldName | None = None  # what tells an event from all others; its row by default, and in OCEL its id
    lists: Annotated[tuple[Text, ...], Field(max_length=MOST_FIELDS)] = ()  # columns of csv that hold ['a', 'b']
    keep_log: bool = False  # of ocel: all that it holds is kept beside the steps, so that an export gives it back
    file: Path | None = None  # the one that the command names
    earliest: date = date(2000, 1, 1)  # an event before it is rejected: its year is a mistake
    latest: date | None = None  # and one behind it; a day from now by default


ListedSource: TypeAlias = (
    LogSource
    | SyslogSource
    | JournalSource
    | ScheduleSource
    | FolderSource
    | DeadLetterSource
    | TapSource
    | QueueSource
    | RowSource
)
AnySource: TypeAlias = ListedSource | EventLogSource


class Sources(Model):
    """All of a file."""

    sources: Annotated[
        dict[Name, Annotated[ListedSource, Field(discriminator="kind")]], Field(min_length=1, max_length=MOST_SOURCES)
    ]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of sources that was read and is correct."""

    path: Path
    sources: Mapping[str, ListedSource]


def load_sources(path: Path) -> SourceFile:
    """Read a file of sources; SourcesError lists every problem with its line and field.

    Patterns that are no absolute paths are below the folder of the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SourcesError(path, [(1, "file", f"cannot be read: {exc}")]) from exc
    sources = parse_sources(text, path).sources
    return SourceFile(path, {name: _below(path.absolute().parent, source) for name, source in sources.items()})


def _below(folder: Path, source: ListedSource) -> ListedSource:
    if isinstance(source, JournalSource) and source.directory:
        return source.model_copy(update={"directory": str(folder / source.directory)})
    if not isinstance(source, FileSource):
        return source

    def below(pattern: str) -> str:
        return pattern if is_address(pattern) else str(folder / pattern)

    changes: dict[str, Any] = {"files": tuple(map(below, source.files))}
    if isinstance(source, SyslogSource):
        for name in ("folder", "certificate", "key", "client_ca"):
            changes[name] = (path := getattr(source, name)) and below(path)
    if isinstance(source, FolderSource):
        if source.manifest:
            files = tuple(map(below, source.manifest.files))
            changes["manifest"] = source.manifest.model_copy(update={"files": files})
        if source.archive:
            places = {
                "to": below(source.archive.to),
                "rejected": source.archive.rejected and below(source.archive.rejected),
            }
            changes["archive"] = source.archive.model_copy(update=places)
    return source.model_copy(update=changes)


def _address(secret: Secret) -> str:
    try:
        return _secret(secret).strip()
    except FilesError as exc:
        raise AddressError(f"The address of a source cannot be had: {exc}.") from exc


def _secret(secret: Secret) -> str:
    if secret.env is not None:
        if secret.env not in os.environ:
            raise FilesError(f"the environment has no {secret.env}")
        return os.environ[secret.env]
    try:
        return Path(secret.file or "").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise FilesError(f"{secret.file} cannot be read") from exc


def parse_sources(text: str, file: Path | str) -> Sources:
    """Read sources from YAML *text*; *file* names it in errors. SourcesError lists every problem with line and field."""
    try:
        return read_model(Sources, text, "sources", _contradictions)
    except MistakesError as exc:
        raise SourcesError(file, exc.problems) from exc


def load_map(path: Path) -> EventLogSource:
    """Read how an event log is imported; SourcesError lists every problem with its line and field."""
    try:
        return read_model(EventLogSource, path.read_text(encoding="utf-8"), "name", _map_contradictions)
    except (OSError, UnicodeDecodeError) as exc:
        raise SourcesError(path, [(1, "file", f"cannot be read: {exc}")]) from exc
    except MistakesError as exc:
        raise SourcesError(path, exc.problems) from exc


def fields_of(source: EventLogSource) -> Iterator[str]:
    """Yield the fields that the rules of a map take from an event, those found by an expression left out."""
    for rule in source.rules:
        groups = {group for text in rule.match.values() for group in Groups(text).numbers}
        yield from (field for _, field in _fields(rule) if field not in groups)


def _map_contradictions(source: EventLogSource) -> Iterator[Problem]:
    for position, rule in enumerate(source.rules):
        yield from _rule_problems(source, rule, ("rules", position))
        if rule.end is not None:
            yield ("rules", position, "end"), "is for logs that are written; an imported event is a step"
    if source.keep_log and source.data == "phi":
        yield ("keep_log",), "keeps what no policy knows, so it is not for class: phi"
    if source.tests:
        yield ("tests",), "are for sources that are read for ever; try a map on a file with --check"


def _contradictions(sources: Sources) -> Iterator[Problem]:
    """Yield (place, problem) for everything that is well formed but cannot be meant."""
    for name, source in sources.sources.items():
        if isinstance(source, LineSource) and (source.format == CSV) != bool(source.columns):
            yield ("sources", name, "columns"), "format: csv needs columns, and no other format has them"
        if isinstance(source, LineSource) and source.only and source.start:
            yield ("sources", name, "only"), "is about lines, and with start a record can have several"
        if isinstance(source, ScheduleSource):
            yield from _schedule_problems(source, ("sources", name))
        if isinstance(source, SyslogSource):
            yield from _syslog_problems(source, ("sources", name))
        if isinstance(source, FolderSource):
            yield from _folder_problems(source, ("sources", name))
        elif isinstance(source, FileSource) and any(map(is_address, source.files)):
            yield ("sources", name, "files"), "logs are read where they are written; an address is for kind: folder"
        if isinstance(source, BrokerSource):
            yield from _broker_problems(source, ("sources", name))
        for position, rule in enumerate(source.rules):
            yield from _rule_problems(source, rule, ("sources", name, "rules", position))


def _broker_problems(source: BrokerSource, place: tuple[Any, ...]) -> Iterator[Problem]:
    for name in sorted(source.model_fields_set & BROKERS_OF.keys()):
        if source.broker not in BROKERS_OF[name]:
            yield (*place, name), f"is for broker: {' and '.join(BROKERS_OF[name])}"
    if isinstance(source, TapSource) and source.broker == "rabbitmq" and source.exchange is None:
        yield (*place, "exchange"), "is needed: whose messages are copied into the queue"
    if isinstance(source, TapSource) and source.broker == "mqtt" and not source.topics:
        yield (*place, "topics"), "is needed: what the session subscribes to"
    if isinstance(source, QueueSource) and not source.queues and source.broker in BROKERS_OF["queues"]:
        yield (*place, "queues"), "is needed: names of queues, or patterns of names"
    if isinstance(source, DeadLetterSource) and "every" in source.model_fields_set and source.broker in STREAMS:
        yield (*place, "every"), "is for queues that are looked through; streams and topics are followed"
    yield from _secret_problems(source.options, (*place, "options"))


def _secret_problems(options: Mapping[str, str | int | bool | Secret], place: tuple[Any, ...]) -> Iterator[Problem]:
    for name, value in options.items():
        if isinstance(value, Secret) and (value.env is None) == (value.file is None):
            yield (*place, name), "give either env or file"
        if isinstance(value, str) and _SECRET.search(name):
            yield (*place, name), "is a secret: write {env: NAME} or {file: PATH}"


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _schedule_problems(source: ScheduleSource, place: tuple[Any, ...]) -> Iterator[Problem]:
    for position, test in enumerate(source.tests):
        times = test.given.split()
        if len(times) != 2 or not all(map(_is_moment, times)):
            yield (
                (*place, "tests", position, "given"),
                "two times with their offsets: after the first, up to the second",
            )


def _syslog_problems(source: SyslogSource, place: tuple[Any, ...]) -> Iterator[Problem]:
    has_tls = any(address_of(each)[0] == "tls" for each in source.listen)
    if has_tls != (source.certificate is not None and source.key is not None):
        yield (*place, "certificate"), "certificate and key are for tls:// addresses, which need them"
    if source.client_ca is not None and not has_tls:
        yield (*place, "client_ca"), "is for tls:// addresses"
    if source.files:
        yield (*place, "files"), "are those in folder"


def _folder_problems(source: FolderSource, place: tuple[Any, ...]) -> Iterator[Problem]:
    patterns = [*source.files, *(source.manifest.files if source.manifest else ())]
    patterns += [each for each in (source.archive.to, source.archive.rejected) if each] if source.archive else []
    try:
        scheme = scheme_of(patterns)
    except ValueError as exc:
        yield (*place, "files"), str(exc)
        return
    if source.storage and not scheme:
        yield (*place, "storage"), "is for files behind an address, such as sftp:// or s3://"
    yield from _table_problems(source, place)
    if source.trigger and source.manifest:
        yield (*place, "manifest"), "a file is announced by a trigger or by a manifest, not by both"
    yield from _secret_problems(source.storage, (*place, "storage"))
    if source.archive and any(
        fnmatch(f"{target.rstrip('/')}/x", pattern) or fnmatch(f"{target.rstrip('/')}/x.edi", pattern)
        for target in (source.archive.to, source.archive.rejected)
        if target
        for pattern in source.files
    ):
        yield (
            (*place, "archive"),
            "what is put there would be found again; choose a folder that no pattern of files finds",
        )


def _table_problems(source: FolderSource, place: tuple[Any, ...]) -> Iterator[Problem]:
    for name, formats, needed in (
        ("columns", ("csv", "xlsx"), False),
        ("widths", ("fixed",), True),
        ("trailer", ("csv", "fixed"), False),
        ("sheet", ("xlsx",), False),
        ("each", ("xml",), True),
    ):
        if getattr(source, name) and source.format not in formats:
            yield (*place, name), f"is for format: {' and '.join(formats)}"
        if needed and source.format in formats and not getattr(source, name):
            yield (*place, name), f"is needed for format: {source.format}"
    for column, (begin, end) in source.widths.items():
        if begin >= end:
            yield (*place, "widths", column), "ends before it begins; characters are counted from 0"
    needed_module = {"xml": "lxml", "xlsx": "openpyxl"}.get(source.format, "")
    if needed_module and not is_installed(needed_module):
        yield (*place, "format"), f"{source.format} needs the extra `files`: pip install 'controltower[files]'"
    if source.each is not None and not is_xpath(source.each):
        yield (*place, "each"), "is no XPath"
    if source.trailer is not None:
        groups = Groups(source.trailer).numbers.keys()
        if not groups or not groups <= TRAILER_GROUPS:
            yield (*place, "trailer"), f"needs one of the groups {', '.join(sorted(TRAILER_GROUPS))}, and has no others"
        if "total" in groups and not any(rule.when.get("part") == "file" for rule in source.rules):
            yield (*place, "trailer"), "a total is compared by a rule with when: {part: file}, and there is none"


def _rule_problems(source: AnySource, rule: Rule, place: tuple[Any, ...]) -> Iterator[Problem]:
    yield from _facts_problems(source, rule, place)
    if (rule.by is None) != (rule.end is None):
        yield (*place, "by" if rule.by else "end"), "by and end belong together: by is what a step and its end share"
    if not (rule.keys or (rule.end and rule.end.keys) or rule.trace):
        yield (*place, "keys"), "without a key or a trace the step would belong to no transaction"
    if rule.end is not None:
        yield from _facts_problems(source, rule.end, (*place, "end"))
        if not (rule.end.when or rule.end.match):
            yield (*place, "end", "match"), "is needed, or when: every record would be the end"


def _facts_problems(source: AnySource, facts: Rule | End, place: tuple[Any, ...]) -> Iterator[Problem]:
    is_json = source.format in (JSON, ROWS)
    groups: dict[str, str] = {}
    for field, text in facts.match.items():
        for group in Groups(text).numbers:
            if groups.setdefault(group, field) != field:
                yield (*place, "match", field), f"the group {group} is in {groups[group]}, too"
    for where, value in _values(facts):
        if (value.field is None) == (value.text is None):
            yield (*place, *where), "give either field or text"
        if value.field is None and value.otherwise:
            yield (*place, *where), "or belongs to field"
        if value.field is not None and value.field.startswith("$") and not is_json:
            yield (*place, *where), "JSONPath is for format: json, and for tables"
        if value.field is not None and _is_only_lines(source, value.field) and value.field not in groups:
            yield (
                (*place, *where),
                f"{value.field} is lines; a value is such as {DOCUMENTS[source.format or CSV].value}",
            )
    yield from _unknown_fields(source, facts, groups.keys(), place)
    for type_ in facts.scopes:
        if type_ not in facts.keys:
            yield (*place, "scopes", type_), f"there is no key {type_}"
    for at, lines in enumerate(facts.lines):
        yield from _lines_problems(source, lines, (*place, "lines", at) if len(facts.lines) > 1 else (*place, "lines"))


def _is_lines(source: AnySource, field: str) -> bool:
    if isinstance(source, EventLogSource):
        return False
    return source.format in DOCUMENTS and DOCUMENTS[source.format].is_loop(field)


def _is_only_lines(source: AnySource, field: str) -> bool:
    if isinstance(source, EventLogSource):
        return False
    return _is_lines(source, field) and DOCUMENTS[source.format].apart


def _lines_problems(source: AnySource, lines: LineSpec, place: tuple[Any, ...]) -> Iterator[Problem]:
    if isinstance(source, EventLogSource):
        if not lines.each.startswith(OBJECTS):
            yield (*place, "each"), f"is {OBJECTS} and a type of objects: lines are for OCEL"
    elif source.format not in {JSON, ROWS, *DOCUMENTS}:
        yield place, "lines are for format: json, for tables and for documents"
    elif source.format in (JSON, ROWS) and not lines.each.startswith("$"):
        yield (*place, "each"), "is no JSONPath"
    elif source.format not in (JSON, ROWS) and not _is_lines(source, lines.each):
        yield (*place, "each"), f"is no path of segments such as {DOCUMENTS[source.format].lines}"


def _values(facts: Facts) -> Iterator[tuple[tuple[Any, ...], ValueSpec]]:
    for section in ("keys", "scopes", "context"):
        for type_, value in getattr(facts, section).items():
            yield (section, type_), value
    for name in ("amount", "currency", "quantity", "uom", "outcome", "reason"):
        if (value := getattr(facts, name)) is not None:
            yield (name,), value
    if facts.run is not None:
        for name in RunSpec.model_fields:
            if (value := getattr(facts.run, name)) is not None:
                yield ("run", name), value
    for at, lines in enumerate(facts.lines):
        inside: tuple[Any, ...] = ("lines", at) if len(facts.lines) > 1 else ("lines",)
        for name in ("line", "item", "quantity", "uom", "unit_price", "amount", "outcome", "reason"):
            if (value := getattr(lines, name)) is not None:
                yield (*inside, name), value
        for type_, value in lines.keys.items():
            yield (*inside, "keys", type_), value


def _unknown_fields(
    source: AnySource, facts: Rule | End, groups: Collection[str], place: tuple[Any, ...]
) -> Iterator[Problem]:
    """Yield what names a field that no record can have; logfmt and JSON have whatever is written."""
    if isinstance(source, FolderSource):
        yield from _unknown_paths(source, facts, groups, place)
        return
    if isinstance(source, RowSource):
        yield from _unknown_columns(source, facts, groups, place)
        return
    if isinstance(source, MessageSource):
        yield from _unknown_of_messages(source, facts, groups, place)
        return
    if isinstance(source, EventLogSource | QueueSource):
        return  # its columns are known when it is opened
    known = SCHEDULE_FIELDS if isinstance(source, ScheduleSource) else source.columns or FORMATS[source.format].fields
    used = [(where, field) for where, field in _fields(facts) if field not in groups]
    for where, field in used:
        if known and field not in known and field != LINE:
            have = ", ".join([*known, *groups])
            yield (*place, *where), f"{field} is no field here ({have}); for the word itself write {{text: {field}}}"
        elif where == ("outcome",) and field in OUTCOMES:
            yield (*place, *where), f"for the word itself write {{text: {field}}}"


_COLUMN_OF_PATH: Final = re.compile(r"\$(?:\.|\[['\"])([^.\['\"]+)")


def _unknown_columns(
    source: RowSource, facts: Rule | End, groups: Collection[str], place: tuple[Any, ...]
) -> Iterator[Problem]:
    known = {*source.columns, *source.key, ROW_CHANGED, *groups}
    for where, field in _fields(facts):
        path = _COLUMN_OF_PATH.match(field)
        if source.columns and (path[1] if path else field) not in known:
            have = ", ".join(sorted(known))
            yield (*place, *where), f"{field} is no column here ({have}); for the word itself write {{text: {field}}}"


def _unknown_of_messages(
    source: MessageSource, facts: Rule | End, groups: Collection[str], place: tuple[Any, ...]
) -> Iterator[Problem]:
    for where, field in _fields(facts):
        known = field in groups or field in MESSAGE_NAMES or field.startswith(HEADER)
        if not known and (source.format == "text" or field.startswith(("message.", "dead.", "trace."))):
            have = ", ".join([*sorted(MESSAGE_NAMES), f"{HEADER}NAME", *groups])
            yield (*place, *where), f"{field} is no field here ({have}); for the word itself write {{text: {field}}}"


def _unknown_paths(
    source: FolderSource, facts: Rule | End, groups: Collection[str], place: tuple[Any, ...]
) -> Iterator[Problem]:
    known = DOCUMENTS[source.format]
    columns = {*source.columns, *source.widths}
    for where, field in _fields(facts):
        if (
            field not in groups
            and field not in known.names | FILE_NAMES | {"part"}
            and not (field in columns if columns else known.is_path(field))
        ):
            yield (
                (*place, *where),
                f"{field} is no path such as {known.value}; for the word itself write {{text: {field}}}",
            )


def _fields(facts: Rule | End) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield (place, field) of all that is read of the record itself, not of its lines."""
    for section in ("when", "match"):
        for field in getattr(facts, section):
            yield (section, field), field
    for where, value in _values(facts):
        if where[0] != "lines":
            fields = (
                [value.field, *value.otherwise]
                if value.field
                else [found for _, found, _, _ in Formatter().parse(value.text or "")]
            )
            yield from ((where, field) for field in fields if field)
    for name in ("time", "business_time"):
        if (spec := getattr(facts, name)) is not None:
            yield (name,), spec.field
    if isinstance(facts, Rule):
        for name, found in (("by", facts.by), ("trace", facts.trace and facts.trace.trace_id)):
            if found:
                yield (name,), found
