"""What is left of a request of class phi, field by field, and what the audit says of it."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from controltower.collector.admission import Admitted, Limits, admit
from controltower.collector.otlp import LOGS, SIGNALS, TRACES
from controltower.collector.redaction.keys import Keys
from controltower.collector.redaction.patterns import Masker
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor, TenantRedactor
from controltower.tracer.tokens import Key, Tokeniser

KEY = Key(1, b"k" * 32)
REDACTOR = Redactor(default_policy(), (KEY,))


def kv(key: str, value: str | int | list[str]) -> KeyValue:
    """Return an attribute."""
    if isinstance(value, list):
        values = ArrayValue(values=[AnyValue(string_value=each) for each in value])
        return KeyValue(key=key, value=AnyValue(array_value=values))
    return KeyValue(
        key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    )


def request(*spans: Span) -> ExportTraceServiceRequest:
    """Return a request of spans of one service."""
    made = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    made.resource.attributes.append(kv("service.name", "billing"))
    return ExportTraceServiceRequest(resource_spans=[made])


def span(*attributes: KeyValue, **fields: Any) -> Span:
    """Return a span."""
    return Span(
        trace_id=bytes(range(1, 17)),
        span_id=bytes(range(1, 9)),
        **{"name": "GET /claims/{id}", **fields},
        attributes=attributes,
    )


def left(made: Span, redactor: Redactor = REDACTOR) -> Span:
    """Return what is left of a span."""
    parsed = TRACES.request.FromString(request(made).SerializeToString())
    redactor("traces", parsed)
    stored = ExportTraceServiceRequest.FromString(parsed.SerializeToString())
    only: Span = stored.resource_spans[0].scope_spans[0].spans[0]
    return only


def texts(made: Span | Span.Event) -> dict[str, Any]:
    """Return attributes by name."""
    found: dict[str, Any] = {}
    for pair in made.attributes:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = (
            [each.string_value for each in pair.value.array_value.values]
            if kind == "array_value"
            else getattr(pair.value, str(kind))
        )
    return found


def token(type_: str, value: str, scope: str = "") -> str:
    """Return the token of a value."""
    return Tokeniser((KEY,)).tokens(type_, scope.encode(), value.encode())[0].decode()


def test_a_business_step_stays_whole() -> None:
    """What a policy lists and has its form is stored as it came, and nothing is noted."""
    made = span(
        kv("controltower.step", "p2p.invoice.received"),
        kv("controltower.key.purchase_order", "PO-4711"),
        kv("controltower.key.invoice", ["INV-1", "INV-2"]),
        kv("controltower.scope.invoice", "VENDOR-7"),
        kv("controltower.amount", "1234.50"),
        kv("http.response.status_code", 200),
        name="p2p.invoice.received",
    )

    assert left(made) == made


def test_patients_keys_become_tokens() -> None:
    """Keys of the patient class become tokens of their type and issuer; arrays and integers, too; tokens stay."""
    known = token("case", "C-2")
    made = left(
        span(
            kv("controltower.key.claim_pcn", "pcn 1"),
            kv("controltower.scope.claim_pcn", "erp1"),
            kv("controltower.key.account", 8800417733),
            kv("controltower.key.case", ["C-1", known]),
        )
    )

    assert texts(made) == {
        "controltower.key.claim_pcn": token("claim_pcn", "PCN1", "erp1"),
        "controltower.scope.claim_pcn": "erp1",
        "controltower.key.account": token("account", "8800417733"),
        "controltower.key.case": [token("case", "C-1"), known],
        "controltower.redacted": "span.attributes:token=3",
    }


def test_a_business_key_that_looks_like_a_person_becomes_a_token() -> None:
    """A key that has not the form of a number, or in which a pattern finds something, still joins and tells nothing."""
    made = left(span(kv("controltower.key.invoice", "Zebulon"), kv("controltower.key.check", "078-05-1120")))

    assert texts(made)["controltower.key.invoice"] == token("invoice", "Zebulon")
    assert texts(made)["controltower.key.check"] == token("check", "078-05-1120")


def test_the_issuer_of_a_lines_key_is_its_own_or_the_spans() -> None:
    """A line's key has the issuer that stands on the line, else the one of the span."""
    line = Span.Event(name="controltower.line", attributes=[kv("line", "1"), kv("controltower.key.case", "C-1")])
    other = Span.Event(
        name="controltower.line", attributes=[kv("controltower.key.case", "C-1"), kv("controltower.scope.case", "or2")]
    )
    made = left(span(kv("controltower.scope.case", "or1"), events=[line, other]))

    assert texts(made.events[0]) == {"line": "1", "controltower.key.case": token("case", "C-1", "or1")}
    assert texts(made.events[1])["controltower.key.case"] == token("case", "C-1", "or2")


def test_without_a_key_patients_numbers_are_dropped() -> None:
    """Fail closed: what cannot become a token is not stored, and the audit says why."""
    made = left(span(kv("controltower.key.case", "C-1")), Redactor(default_policy(), ()))

    assert texts(made) == {"controltower.redacted": "span.attributes:no_key=1"}


def test_each_tenants_tokens_are_its_own() -> None:
    """The same number of two tenants becomes two tokens; of one without a key it is dropped."""
    keys = {"north": (KEY,), "south": (Key(1, b"s" * 32),)}
    redactor = TenantRedactor(default_policy(), Keys(keys))
    found = {}
    for tenant in ("north", "south", "nobody"):
        parsed = TRACES.request.FromString(request(span(kv("controltower.key.case", "C-1"))).SerializeToString())
        counted = redactor("traces", parsed, tenant)
        (stored,) = parsed.resource_spans[0].scope_spans[0].spans
        found[tenant] = stored.attributes[0].value.string_value
        assert counted == {("span.attributes", "token" if tenant in keys else "no_key"): 1}

    assert found == {
        **{tenant: Tokeniser(own).tokens("case", b"", b"C-1")[0] for tenant, own in keys.items()},
        "nobody": b"span.attributes:no_key=1",
    }


def test_in_a_rotation_both_tokens_are_stored() -> None:
    """With two keys, a value becomes an array of the present and the former token."""
    both = Redactor(default_policy(), (Key(2, b"n" * 32), KEY))
    made = texts(left(span(kv("controltower.key.case", "C-1")), both))

    new, old = made["controltower.key.case"]
    assert new.startswith("t2:")
    assert old == token("case", "C-1")


def test_the_audit_names_rules_and_fields() -> None:
    """What was removed is counted by field and rule on the span, and over all requests in the redactor."""
    redactor = Redactor(default_policy(), (KEY,))
    event = Span.Event(
        name="exception", attributes=[kv("exception.message", "Zebulon"), kv("exception.type", "KeyError")]
    )
    made = left(span(kv("note", "Zebulon"), kv("url.full", "x"), name="Zebulon Q", events=[event]), redactor)

    expected = {"event.attributes:drop": 1, "span.attributes:drop": 2, "span.name:shape": 1}
    assert texts(made)["controltower.redacted"] == " ".join(f"{what}={times}" for what, times in expected.items())
    assert made.name == "[redacted]"
    assert {f"{field}:{rule}": times for (field, rule), times in redactor.counts().items()} == expected


def test_a_senders_own_audit_is_not_believed() -> None:
    """The audit attribute of a sender could hold anything: it is dropped like whatever is not listed."""
    assert texts(left(span(kv("controltower.redacted", "Zebulon")))) == {
        "controltower.redacted": "span.attributes:drop=1"
    }


PLANTED = ["SSN 078051120", "078-05-1120", "zeb@canary.example", "MRN: 00927364", "call (555) 010-4477"]


@pytest.mark.parametrize("text", PLANTED)
def test_a_message_and_its_parameters_are_treated_alike(text: str) -> None:
    """What is masked in the text of a log is masked in its parameters, single, in arrays and in objects (F74)."""
    record = LogRecord(body=AnyValue(string_value=f"failed for {text}"))
    record.attributes.extend([kv("message", f"failed for {text}"), kv("param", text), kv("params", [text, "ok", text])])
    inner = KeyValue(key="args", value=AnyValue(kvlist_value=KeyValueList(values=[kv("who", text)])))
    record.attributes.append(inner)
    sent = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])
    parsed = LOGS.request.FromString(sent.SerializeToString())

    Redactor(default_policy(), (KEY,), "other")("logs", parsed)

    (stored,) = (
        ExportLogsServiceRequest.FromString(parsed.SerializeToString()).resource_logs[0].scope_logs[0].log_records
    )
    masked, _ = Masker(default_policy()).mask(text.encode())
    got = {pair.key: pair.value.string_value for pair in stored.attributes}
    assert masked != text.encode()
    assert stored.body.string_value == got["message"] == f"failed for {masked.decode()}"
    assert got["param"] == masked.decode()
    assert json.loads(got["params"]) == [masked.decode(), "ok", masked.decode()]
    assert json.loads(got["args"]) == {"who": masked.decode()}


def test_what_otlp_does_not_know_is_removed() -> None:
    """Fields of unknown numbers, and values that a later one replaced, are not written, even where nothing was redacted."""
    body = request(span()).SerializeToString()
    unknown = b"\xa2\x06\x07Zebulon"  # field 100, a text
    name_twice = b"\x2a\x07Zebulon" + span().SerializeToString()
    inner = ScopeSpans().SerializeToString() + b"\x12" + bytes([len(name_twice)]) + name_twice
    nested = b"\x12" + bytes([len(inner)]) + inner
    replaced = b"\x0a" + bytes([len(nested)]) + nested

    for sent in (body + unknown, replaced):
        assert b"Zebulon" in sent
        admitted = admit(TRACES, sent, Limits(), redact=REDACTOR)
        assert isinstance(admitted, Admitted)
        assert b"Zebulon" not in admitted.body


def test_every_field_of_texts_is_walked() -> None:
    """The walk knows each field of texts or bytes that OTLP's messages have: a new one must be decided on."""
    found: set[str] = set()
    for signal in SIGNALS.values():
        _collect(signal.request.DESCRIPTOR, found, set())

    assert found == {
        "AnyValue.bytes_value",
        "AnyValue.string_value",
        "EntityRef.description_keys",
        "EntityRef.id_keys",
        "EntityRef.schema_url",
        "EntityRef.type",
        "Event.name",
        "Exemplar.span_id",
        "Exemplar.trace_id",
        "InstrumentationScope.name",
        "InstrumentationScope.version",
        "KeyValue.key",
        "Link.span_id",
        "Link.trace_id",
        "Link.trace_state",
        "LogRecord.event_name",
        "LogRecord.severity_text",
        "LogRecord.span_id",
        "LogRecord.trace_id",
        "Metric.description",
        "Metric.name",
        "Metric.unit",
        "ResourceLogs.schema_url",
        "ResourceMetrics.schema_url",
        "ResourceSpans.schema_url",
        "ScopeLogs.schema_url",
        "ScopeMetrics.schema_url",
        "ScopeSpans.schema_url",
        "Span.name",
        "Span.parent_span_id",
        "Span.span_id",
        "Span.trace_id",
        "Span.trace_state",
        "Status.message",
    }


def _collect(message: Any, found: set[str], seen: set[str]) -> None:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.message_type is not None:
            _collect(field.message_type, found, seen)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            found.add(f"{message.name}.{field.name}")
