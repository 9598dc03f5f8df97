"""Redaction in the load: the engine does to a row what the collector does to a request, and counts it."""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Gauge, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.collector.otlp import TRACES
from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.policy import default_policy, parse_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.store.redacting import apply_redaction
from controltower.store.redaction import Audited, Place
from controltower.store.redaction_view import redacting
from controltower.tracer.tokens import Key, Tokeniser
from tests.collector.redaction.canaries import CANARIES, hits
from tests.store.logs import log, logs
from tests.store.otlp import NOON_NS, Loading, Value, array, attributes, pairs, request, span
from tests.store.otlp_text import text_of

POLICY = default_policy()
KEYS = (Key(2, b"n" * 32), Key(1, b"k" * 32))
COLUMNS: Final = ("SpanName", "TraceState", "StatusMessage", "ResourceAttributes", "SpanAttributes", "`Events.Name`")
AUDIT = "controltower.redacted"


@pytest.fixture(scope="module", autouse=True)
def _in_force(loading: Loading) -> None:
    """The shipped policy is in force in the module's store."""
    apply_redaction(loading.client, load_rules(POLICY))


def test_the_engine_redacts_as_the_collector_does(loading: Loading) -> None:
    """Dropped, masked and kept are the same attributes, texts and events, whichever of the two does it."""
    have: dict[str, Value] = {
        "note": "patient: Zebulon Quackenbush, SSN 078-05-1120, call (555) 010-4477",
        "zeb@canary.example": "a name that tells",
        "amount": 1234,
        "card": 4111111111111111,
        "list": array("a", "zeb@canary.example", 1),
        "object": pairs(("ssn", "078-05-1120"), ("x", 1)),
        "bytes": b"SSN 078-05-1120 of somebody",
        "url.full": "https://x.example/?q=1",
        "PATIENT.name": "Zebulon",
        "controltower.key.invoice": "INV-1",
        "controltower.key.purchase_order": "PO-4711",
        "controltower.step": "p2p.invoice.received",
        "k8s.pod.ip": "10.0.0.1",
        "message": "IP 10.0.0.1 answered",
        "empty": "",
        "none": None,
        "quote": 'it\'s \\ "quoted"\n\tand long',
    }
    events = [
        Span.Event(name="mail to zeb@canary.example", attributes=attributes([("exception.message", "Z"), ("a", "b")])),
        Span.Event(name="controltower.line", attributes=attributes([("line", "1"), ("amount", "4.50")])),
    ]
    made = span(1, have, name="for zeb@canary.example", trace_state="a=078-05-1120", events=events)
    made.status.message = "MRN: 00927364 not found"
    sent = request(made, resource={"host.ip": "10.0.0.1", "owner": "zeb@canary.example"})

    (row,) = loading.rows(loading.load(sent), *COLUMNS)
    assert without_audit(row) == without_audit(by_the_collector(sent)[: len(row)])
    assert row[4][AUDIT] == (
        "event.attributes:drop=1 event.name:email=1 resource.attributes:email=1 span.attributes:base64=1 "
        "span.attributes:card=1 span.attributes:drop=2 span.attributes:email=1 span.attributes:ip=1 "
        "span.attributes:name=2 span.attributes:phone=1 span.attributes:ssn=2 span.name:email=1 "
        "span.status.message:record=1 span.trace_state:ssn=1"
    )


BASE64 = base64.b64encode(b"mail to zeb@canary.example at once").decode()
ODD_NAMES: Final = (
    "x\x1fy",
    "\x1eurl.path",
    "url.path\x1f\x1eb",
    "\x1dquantity",
    "patient.\x1f",
    "",
    "\n",
    "a\nssn",
    "É.ssn",
)
NAMES = st.sampled_from(
    [
        *("url.path", "URL.Path", "patient.id", "user.id", "mrn", "x.ssn", "note", "service.version", "http.route"),
        *("controltower.key.invoice", "controltower.key.case", "controltower.scope.case", "controltower.key.other"),
        *("quantity", "line", "item", "zeb@canary.example", "pid 078-05-1120", "network.peer", "k8s.pod.ip"),
        *ODD_NAMES,
    ]
)
TEXTS = st.sampled_from(
    [
        *(
            "",
            "plain",
            "two\nlines",
            "t1:ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "PID|1||123^^^Q",
            "\rPID|1||4",
            BASE64,
            f"x {BASE64}",
        ),
        *("078-05-", "05-1120", "password:", "hunter2x", "a" * 40, "7", "/a/b?c=d", "é", "[1]", '["x"]'),
        *(CANARIES[name] for name in CANARIES if name[0] not in "APQR"),
    ]
)
PAIRS = st.dictionaries(NAMES, TEXTS, max_size=5)
INNER = st.lists(
    st.tuples(st.sampled_from(["controltower.line", "exception", "zeb@canary.example"]), PAIRS), max_size=2
)
SPANS = st.lists(st.tuples(PAIRS, TEXTS, TEXTS, INNER), min_size=30, max_size=30)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # one span of many differs: it is named
)
@given(SPANS, PAIRS)
def test_any_row_is_redacted_as_by_the_collector(loading: Loading, drawn: list[Any], resource: dict[str, str]) -> None:
    """Whatever the names, their order and what stands beside them, the engine leaves what the collector leaves."""
    made = []
    for number, (have, name, state, inner) in enumerate(drawn, start=1):
        events = [Span.Event(name=event, attributes=attributes(pairs.items())) for event, pairs in inner]
        links = (
            [Span.Link(trace_id=bytes(16), span_id=bytes(8), attributes=attributes(inner[0][1].items()))]
            if inner
            else []
        )
        made.append(span(number, have, name=name, trace_state=state, events=events, links=links))
    sent = request(*made, resource=resource)

    rows = loading.rows(loading.load(sent), *COLUMNS, "`Events.Attributes`", "`Links.Attributes`", "SpanId")
    found = {row[-1]: without_audit(row) for row in rows}
    for number, each in enumerate(made, start=1):
        wanted = by_the_collector(request(each, resource=resource))
        assert once(found[f"{number:016x}"][:-1]) == once(without_audit(wanted)), each


def once(row: list[Any]) -> list[Any]:
    """Return columns in which of names that were replaced only one is told: a dict holds no more of them."""
    return [
        once(column) if isinstance(column, list) else column | {"[redacted]": ""} if "[redacted]" in column else column
        for column in row
    ]


@cache
def redactor(keys: tuple[Key, ...]) -> Redactor:
    """Return what redacts by the shipped policy in the collector."""
    return Redactor(POLICY, keys, "other")


def by_the_collector(sent: Any, keys: tuple[Key, ...] = ()) -> Sequence[Any]:
    """Return the same columns of the first span as the collector's own redaction leaves it."""
    parsed = TRACES.request.FromString(sent.SerializeToString())
    redactor(keys)("traces", parsed)
    left = type(sent).FromString(parsed.SerializeToString()).resource_spans[0]
    made = left.scope_spans[0].spans[0]
    return (
        made.name,
        made.trace_state,
        made.status.message,
        {pair.key: text_of(pair.value) for pair in left.resource.attributes},
        {pair.key: text_of(pair.value) for pair in made.attributes},
        [event.name for event in made.events],
        [{pair.key: text_of(pair.value) for pair in event.attributes} for event in made.events],
        [{pair.key: text_of(pair.value) for pair in link.attributes} for link in made.links],
    )


def without_audit(row: Sequence[Any]) -> list[Any]:
    """Return columns without the audit, which the collector notes at each level and the engine with the span."""
    return [_without_audit(column) for column in row]


def _without_audit(column: Any) -> Any:
    if isinstance(column, list):
        return [_without_audit(each) for each in column]
    return {key: value for key, value in column.items() if key != AUDIT} if isinstance(column, dict) else column


def test_a_clean_row_is_not_touched(loading: Loading) -> None:
    """What holds nothing to be removed is stored as it came, without an audit."""
    made = span(1, {"controltower.key.purchase_order": "PO-4711", "note": "all is well", "n": 1})

    (row,) = loading.rows(loading.load(request(made)), "SpanAttributes")
    assert row[0] == {"controltower.key.purchase_order": "PO-4711", "n": "1", "note": "all is well"}


@pytest.mark.parametrize("canary", [CANARIES[name] for name in CANARIES if name[0] not in "APQR"])
def test_numbers_and_addresses_are_masked_wherever_they_stand(loading: Loading, canary: str) -> None:
    """Of a source of another class, too, what patterns know does not get into the store; of names they know nothing."""
    made = span(1, {"note": canary, canary: "x", "list": array(canary), "object": pairs(("a", canary))}, name=canary)
    made.status.message = canary
    made.events.add(name=canary, attributes=attributes([("note", canary)]))
    made.links.add(trace_id=bytes(16), span_id=bytes(8), trace_state=canary, attributes=attributes([("note", canary)]))

    (row,) = loading.rows(loading.load(request(made, resource={"note": canary})), "*")
    assert hits(repr(row).encode()) == []


def test_what_was_removed_is_counted(loading: Loading) -> None:
    """Rows and times are counted by field and rule, once for a segment that is loaded twice."""
    tenant = "counted"
    made = [span(number, {"a": "078-05-1120", "b": "078-05-1121", "url.full": "x"}) for number in (1, 2, 3)]
    sent = request(*made, resource={"service.name": tenant})
    loading.load(sent)

    counted = loading.client.query(
        "SELECT Signal, Field, Rule, sum(Rows), sum(Times) FROM redactions "
        "WHERE ServiceName = {service:String} GROUP BY ALL ORDER BY ALL",
        parameters={"service": tenant},
    ).result_rows
    assert counted == [
        ("traces", "span.attributes", "drop", 3, 3),
        ("traces", "span.attributes", "ssn", 3, 6),
    ]


@pytest.mark.parametrize(
    "canary", [CANARIES["F e-mail"], CANARIES["G social security number"], CANARIES["H medical record number"]]
)
def test_logs_and_metrics_are_redacted_too(loading: Loading, canary: str) -> None:
    """Nothing of a person is left in any text of a log record, a metric or an exemplar, also in quarantine."""
    have: dict[str, Value] = {"note": canary, canary: 1, "list": array(canary)}
    records = [log(pairs(("said", array(canary))), have, severity_text=canary, event_name=canary), log(canary)]
    sent_logs = logs(*records, log(canary, have, time_unix_nano=1))
    sent_logs.resource_logs[0].resource.attributes.extend(attributes([("owner", canary)]))
    sent_logs.resource_logs[0].scope_logs[0].scope.attributes.extend(attributes([("owner", canary)]))
    exemplar = Exemplar(time_unix_nano=NOON_NS, as_int=1, filtered_attributes=attributes(have.items()))
    points = [
        NumberDataPoint(time_unix_nano=at, as_int=1, attributes=attributes(have.items()), exemplars=[exemplar])
        for at in (NOON_NS, 1)
    ]
    sent_metrics = ExportMetricsServiceRequest()
    scope = sent_metrics.resource_metrics.add().scope_metrics.add(schema_url=canary)
    scope.metrics.add(name="m", description=canary, gauge=Gauge(data_points=points))

    kept = [(table, loading.load_signal("logs", sent_logs)) for table in ("otel_logs", "otel_logs_quarantine")]
    token = loading.load_signal("metrics", sent_metrics)
    kept += [(table, token) for table in ("otel_metrics_gauge", "otel_metrics_quarantine")]

    for table, segment in kept:
        rows = loading.read(table, segment, "*")
        assert rows, table
        assert hits(repr(rows).encode()) == [], table


def test_another_policy_is_noted_once(loading: Loading) -> None:
    """What is in force since when can be read from the store; the same policy again is no news."""
    rules = load_rules(POLICY, KEYS)

    assert apply_redaction(loading.client, rules) is True
    assert apply_redaction(loading.client, rules) is False
    noted = loading.client.query(
        "SELECT Policy, Version, Digest, KeyVersions FROM redaction_policies ORDER BY AppliedAt"
    ).result_rows
    assert noted[-1] == ("default", 1, POLICY.digest, [2, 1])
    apply_redaction(loading.client, load_rules(POLICY))


def test_every_form_of_policy_is_understood(loading: Loading) -> None:
    """Shapes, tokens instead of shapes, dropped texts and nothing listed at all make a view that the engine takes."""
    text = """\
policy: strict
version: 1
shapes: {code: '[a-z]+'}
patterns: {}
keys: {keep: [invoice]}
contexts: {}
classes:
  phi: {unlisted: drop, keys: code, contexts: code, scopes: code}
  other:
    unlisted: drop
    keys: code or token
    contexts: code
    scopes: keep
    attributes: {a: code, 'b*': keep}
    texts: {span.name: code, event.name: drop}
"""
    apply_redaction(loading.client, load_rules(parse_policy(text, "strict.yaml")))
    try:
        made = span(
            1, {"a": "1", "b2": "x", "c": "y", "controltower.key.invoice": "I1"}, name="Not so", trace_state="t=1"
        )
        (row,) = loading.rows(loading.load(request(made)), "SpanName", "TraceState", "SpanAttributes", "ServiceName")
    finally:
        apply_redaction(loading.client, load_rules(POLICY))

    audit = "resource.attributes:drop=1 span.attributes:drop=1 span.attributes:no_key=1 span.attributes:shape=1 span.name:shape=1 span.trace_state:drop=1"
    assert row == ("[redacted]", "", {"a": "[redacted]", "b2": "x", AUDIT: audit}, "")


def test_a_policy_that_masks_nothing_is_understood(loading: Loading) -> None:
    """Where patterns look into names alone there is no text to search, and the engine takes the view all the same."""
    text = """\
policy: dropping
version: 1
shapes: {}
patterns: {email: {find: '[a-z]+@[a-z.]+', mask: '[email]'}}
keys: {keep: []}
contexts: {}
classes:
  phi: {unlisted: drop, keys: drop, contexts: drop, scopes: drop}
  other: {unlisted: drop, keys: drop, contexts: drop, scopes: drop, attributes: {'b*': keep}}
"""
    apply_redaction(loading.client, load_rules(parse_policy(text, "dropping.yaml")))
    try:
        made = span(1, {"a": "1", "b2": "x", "b@c.d": "y"})
        (row,) = loading.rows(loading.load(request(made)), "SpanName", "mapKeys(SpanAttributes)")
    finally:
        apply_redaction(loading.client, load_rules(POLICY))

    assert row == ("", ["b2", "[redacted]", AUDIT])


@pytest.fixture(scope="module")
def tokens_table(loading: Loading) -> str:
    """A table of decoded rows that brings its keys, and the statement that redacts them."""
    loading.client.command(
        "CREATE TABLE keyed (Number UInt32, M Map(LowCardinality(String), String), RedactionKeys Array(String)) "
        "ENGINE = MergeTree ORDER BY Number"
    )
    places = Audited((Place("M", "span.attributes", "map"),), "M", "M")
    rules = load_rules(POLICY, KEYS)
    return f"{redacting(rules, places, ['Number', 'M'], 'keyed')} ORDER BY Number"


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cn", "Cc"]), min_size=1, max_size=30).filter(
    lambda text: not text.startswith("[")
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(VALUES, VALUES), min_size=50, max_size=50))
def test_tokens_are_those_of_the_collector(loading: Loading, tokens_table: str, pairs: list[tuple[str, str]]) -> None:
    """The engine's tokens are the ones that the collector and every SDK make, for any text and issuer."""
    loading.client.command("TRUNCATE TABLE keyed")
    rows = [
        [at, {"controltower.key.case": value, "controltower.scope.case": issuer}, [key.secret.decode() for key in KEYS]]
        for at, (value, issuer) in enumerate(pairs)
    ]
    loading.client.insert("keyed", rows, ["Number", "M", "RedactionKeys"])

    tokeniser = Tokeniser(KEYS)
    for at, found in loading.client.query(tokens_table).result_rows:
        value, issuer = pairs[at]
        new, old = (token.decode() for token in tokeniser.tokens("case", issuer.encode(), value.encode()))
        assert found["controltower.key.case"] == f'["{new}","{old}"]', (value, issuer)
