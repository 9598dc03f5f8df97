"""Tokens at the source: what leads to a patient leaves the process as a token, or not at all."""

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.collector.otlp import TRACES
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.tracer.configure import Options, resolve
from controltower.tracer.default import HostSystem, install
from controltower.tracer.key_types import KEY_TYPES, PATIENT_TYPES
from controltower.tracer.pseudonyms import NO_KEY
from controltower.tracer.testing import REDACTION_KEY, capture, lines_of
from controltower.tracer.tokens import Tokeniser, parse_keys

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "docs" / "token-vectors.json").read_text("utf-8"))
OTHER = f"2:{base64.b64encode(b'another key for tests, of 32 by.').decode()}"
BOTH = f"{OTHER},{REDACTION_KEY}"
RAW = "PCN-0001"


def tokens(type_: str, value: str, scope: str = "", key: str = REDACTION_KEY) -> Any:
    """Return what stands on a span for *value*."""
    made = Tokeniser(parse_keys(key)[""]).tokens(type_, scope.encode(), value.encode())
    return made[0].decode() if len(made) == 1 else tuple(token.decode() for token in made)


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Return a span's attributes without the prefix."""
    return {name.removeprefix("controltower."): value for name, value in (span.attributes or {}).items()}


def test_the_published_vectors_hold() -> None:
    """A step makes of each value the token that is published, whatever way the key is given."""
    with capture(redaction_key=VECTORS["key"]) as captured:
        for each in VECTORS["vectors"]:
            type_, scope = each["type"], each["scope"] or None
            with tracer.step("a.b.option", keys={type_: each["value"]}, scopes={type_: scope} if scope else {}):
                pass
            with tracer.step("a.b.method") as step:
                step.key(type_, each["value"], scope=scope)

    made = [
        attributes(span)[f"key.{each['type']}"]
        for each, span in zip([each for each in VECTORS["vectors"] for _ in range(2)], captured.steps, strict=True)
    ]
    assert made == [each["token"] for each in VECTORS["vectors"] for _ in range(2)]


def test_every_place_of_a_step_has_tokens() -> None:
    """Keys, context, lines, keys of a block and of a run, and the keys that spans below inherit: none is in clear."""
    with capture() as captured:
        library = captured.system.provider.get_tracer("library")
        with tracer.step(
            "c2c.claim.sent", keys={"claim_pcn": RAW, "invoice": "I-1"}, context={"patient": "MRN-7"}
        ) as step:
            step.line(line=1, keys={"usage": "U-1"}).context(visit="V-1")
            library.start_span("below").end()
        with tracer.keys(case="C-1"):
            library.start_span("in a block").end()
        with tracer.batch("load", keys={"account": "A-1"}, context={"mrn": "MRN-7"}) as run:
            run.context(patient="MRN-7")

    spans = {span.name: span for span in captured.spans}
    claim = tokens("claim_pcn", RAW)
    assert attributes(spans["c2c.claim.sent"]) == {
        "step": "c2c.claim.sent",
        "key.claim_pcn": claim,
        "key.invoice": "I-1",
        "context.patient": tokens("patient", "MRN-7"),
        "context.visit": tokens("visit", "V-1"),
    }
    assert lines_of(spans["c2c.claim.sent"])[0]["controltower.key.usage"] == tokens("usage", "U-1")
    assert attributes(spans["below"])["key.claim_pcn"] == claim
    assert attributes(spans["in a block"])["key.case"] == tokens("case", "C-1")
    assert attributes(spans["load"])["key.account"] == tokens("account", "A-1")
    assert attributes(spans["load started"])["context.mrn"] == tokens("mrn", "MRN-7")
    assert attributes(spans["load"])["context.patient"] == tokens("patient", "MRN-7")
    captured.assert_step("c2c.claim.sent", keys={"claim_pcn": RAW}, context={"patient": "MRN-7"})
    for raw in (RAW, "MRN-7", "U-1", "V-1", '"C-1', "A-1"):
        assert not any(raw in span.to_json() for span in captured.spans)


def test_what_is_put_on_a_span_by_hand_has_tokens_when_it_leaves() -> None:
    """Attributes of our names that a library, a hook of the host or plain OpenTelemetry wrote are looked at as well."""
    with capture() as captured:
        span = captured.system.provider.get_tracer("library").start_span("by hand")
        span.set_attributes({"controltower.key.case": ["C-1", "C-2"], "controltower.scope.case": "or1"})
        span.add_event("controltower.line", {"controltower.key.case": "C-1", "amount": "1"})
        span.add_event("other", {"controltower.key.account": 4711})
        span.end()
        with tracer.step("a.b.c", attributes={"controltower.key.visit": "V-1"}):
            pass
        broken = captured.system.provider.get_tracer("library").start_span("broken")
        broken.set_attribute("controltower.key.case", True)
        broken.end()

    by_hand, step, rest = captured.spans
    assert attributes(by_hand)["key.case"] == (tokens("case", "C-1", "or1"), tokens("case", "C-2", "or1"))
    assert [dict(event.attributes or {}) for event in by_hand.events] == [
        {"controltower.key.case": tokens("case", "C-1", "or1"), "amount": "1"},
        {"controltower.key.account": tokens("account", "4711")},
    ]
    assert attributes(step)["key.visit"] == tokens("visit", "V-1")
    assert attributes(rest) == {}
    assert captured.system.health().misuse == {"unreadable_patient_value": 1}


def test_the_issuer_is_inside_and_may_come_later() -> None:
    """Tokens are by the issuer; when one is told later, those made before are made anew."""
    with capture() as captured:
        with tracer.step("a.b.first", keys={"case": "C-1"}, scopes={"case": "or1"}):
            pass
        with tracer.step("a.b.later") as step:
            step.key("case", "C-1").key("case", "C-2", scope="or1")
            step.line(line=1, keys={"case": "C-1"})
            step.line(line=2, keys={"case": "C-1"}, scopes={"case": "or2"})

    one, two = tokens("case", "C-1", "or1"), tokens("case", "C-2", "or1")
    first, later = captured.steps
    assert attributes(first)["key.case"] == one
    assert attributes(later)["key.case"] == (one, two)
    assert [line["controltower.key.case"] for line in lines_of(later)] == [one, tokens("case", "C-1", "or2")]
    captured.assert_step("a.b.first", keys={"case": "C-1"}, scopes={"case": "or1"})


def test_in_a_rotation_there_are_both() -> None:
    """With the key before it each value has both tokens, the present one first; what is a token stays as it is."""
    with capture(redaction_key=BOTH) as captured:
        with tracer.step("a.b.c", keys={"case": ["C-1", "C-2"]}, context={"patient": "P-1"}):
            pass
        with tracer.step("a.b.given", keys={"case": tokens("case", "C-1")}):
            pass

    both = [*tokens("case", "C-1", key=BOTH), *tokens("case", "C-2", key=BOTH)]
    assert [token[:3] for token in both] == ["t2:", "t1:"] * 2
    found, given = captured.steps
    assert attributes(found)["key.case"] == tuple(both)
    assert attributes(found)["context.patient"] == tokens("patient", "P-1", key=BOTH)
    assert attributes(given)["key.case"] == tokens("case", "C-1")


def test_without_a_key_nothing_leaves() -> None:
    """In production the value is left out and counted, in development the call says what to give; tokens pass."""
    token = tokens("case", "C-1")
    exporter = InMemorySpanExporter()
    system = tracer.System(service="x", mode="production", exporter=exporter)
    with system.step("a.b.c", keys={"case": ["C-1", token], "invoice": "I-1"}, context={"patient": "P-1"}) as step:
        step.key("account", "A-1").line(line=1, keys={"usage": "U-1"})
        step.span.set_attribute("controltower.key.visit", "V-1")
    system.shutdown()

    [span] = exporter.get_finished_spans()
    assert attributes(span) == {"step": "a.b.c", "key.case": token, "key.invoice": "I-1"}
    assert lines_of(span) == [{"line": "1"}]
    assert system.health().misuse == {NO_KEY: 5}
    development = tracer.System(service="x", mode="development", exporter=exporter)
    with pytest.raises(tracer.MisuseError, match=r"case leads to a patient.*redaction_key"):
        development.step("a.b.c", keys={"case": "C-1"})
    development.shutdown()


@pytest.mark.parametrize("type_", sorted(PATIENT_TYPES))
@pytest.mark.parametrize("key", [REDACTION_KEY, BOTH], ids=["one key", "rotation"])
def test_the_collector_makes_the_same_of_what_comes_in_clear(type_: str, key: str) -> None:
    """The collector's redaction of a plain OpenTelemetry span, and the SDK at the source: the same attributes."""
    value = " ab-00４2 x"
    plain = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(plain))
    issuer = {f"controltower.scope.{type_}": "OR1"}
    for given in ({}, issuer):
        span = provider.get_tracer("plain").start_span("plain")
        span.set_attributes({"controltower.step": "a.b.c", f"controltower.key.{type_}": value, **given})
        span.end()
    request = TRACES.request.FromString(encode_spans(plain.get_finished_spans()).SerializeToString())
    Redactor(default_policy(), parse_keys(key)[""])("traces", request)
    redacted = ExportTraceServiceRequest.FromString(request.SerializeToString())
    with capture(redaction_key=key) as captured:
        for scopes in ({}, {type_: "OR1"}):
            with tracer.step("a.b.c", keys={type_: value}, scopes=scopes):
                pass

    ours = ExportTraceServiceRequest.FromString(encode_spans(captured.steps).SerializeToString())
    assert keys_in(ours) == keys_in(redacted)
    assert len(keys_in(ours)) == 2


def keys_in(request: ExportTraceServiceRequest) -> list[dict[str, str]]:
    """Return the keys of each span of a request, as text."""
    spans = request.resource_spans[0].scope_spans[0].spans
    return [
        {pair.key: str(pair.value) for pair in span.attributes if pair.key.startswith("controltower.key.")}
        for span in spans
    ]


def test_the_types_are_those_of_the_policy_that_ships() -> None:
    """What one side made a token of and the other kept would never join again."""
    policy = default_policy()

    assert set(policy.keys.token) == PATIENT_TYPES
    assert {*policy.keys.keep, *policy.keys.token} == KEY_TYPES  # add it to tracer/key_types.py as well
    assert set(policy.contexts.token) <= PATIENT_TYPES


def test_more_types_can_be_named() -> None:
    """A hospital whose statements bear the account's number makes tokens of them; they travel in no header."""
    options: Options = {"token_types": ["statement", "voucher", "bed"], "key_types": ["ward"]}
    with capture(**options) as captured, tracer.step("a.b.c", keys={"statement": "S-1", "ward": "7", "bed": "3"}):
        pass

    captured.assert_step("a.b.c", keys={"statement": "S-1", "ward": "7", "bed": "3"})
    assert attributes(captured.steps[0])["key.statement"] == tokens("statement", "S-1")
    assert "voucher" not in captured.system.settings.propagate_keys
    with pytest.raises(tracer.SettingError, match="propagate_keys: voucher leads to a patient"):
        resolve({}, service="x", token_types=["voucher"], propagate_keys=["voucher"])


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    """Argument before variable before file; of one tenant, named or not."""
    file = tmp_path / "key"
    file.write_text(f"north={OTHER}\n")
    file.chmod(0o600)
    variable, named = {"CONTROLTOWER_REDACTION_KEY": REDACTION_KEY}, {"CONTROLTOWER_REDACTION_KEY_FILE": str(file)}

    assert resolve({}, service="x").redaction_key == ()
    assert [key.version for key in resolve(named, service="x").redaction_key] == [2]
    assert [key.version for key in resolve({**named, **variable}, service="x").redaction_key] == [1]
    assert [key.version for key in resolve(variable, service="x", redaction_key=BOTH).redaction_key] == [2, 1]


@pytest.mark.parametrize(
    ("setting", "options", "environment"),
    [
        ("redaction_key", {"redaction_key": "hunter2"}, {}),
        ("redaction_key", {"redaction_key": f"north={REDACTION_KEY},south={OTHER}"}, {}),
        ("redaction_key", {"redaction_key": f"{REDACTION_KEY},{REDACTION_KEY}"}, {}),
        ("CONTROLTOWER_REDACTION_KEY", {}, {"CONTROLTOWER_REDACTION_KEY": "1:c2hvcnQ="}),
        ("CONTROLTOWER_REDACTION_KEY_FILE", {}, {"CONTROLTOWER_REDACTION_KEY_FILE": "/nowhere"}),
    ],
)
def test_a_bad_key_refuses_to_start_and_is_not_shown(
    setting: str, options: Options, environment: dict[str, str]
) -> None:
    """The refusal names where the key came from, and nothing of it."""
    with pytest.raises(tracer.SettingError) as refused:
        resolve({"CONTROLTOWER_SERVICE": "x", **environment}, **options)

    assert refused.value.setting == setting
    for secret in ("hunter2", REDACTION_KEY[2:20], "c2hvcnQ"):
        assert secret not in str(refused.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A key is its owner's alone."""
    file = tmp_path / "key"
    file.write_text(REDACTION_KEY)
    file.chmod(0o644)

    with pytest.raises(tracer.SettingError, match=r"CONTROLTOWER_REDACTION_KEY_FILE: .*chmod 600"):
        resolve({"CONTROLTOWER_REDACTION_KEY_FILE": str(file)}, service="x")


def test_nothing_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """No repr of settings and no log line holds it."""
    caplog.set_level(logging.DEBUG)
    with capture(mode="production") as captured, tracer.step("a.b.c", keys={"case": "C-1"}, amount=1.5):  # type: ignore[arg-type]  # logged
        pass

    shown = f"{captured.system.settings!r} {vars(captured.system)!r} {caplog.text}"
    assert "float" in caplog.text
    assert REDACTION_KEY[2:30] not in shown
    assert "for tests alone" not in shown


def test_the_hosts_own_provider_gets_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before ``configure`` steps go to the host's own exporter: with a key by the variables as tokens, else not at all."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for given in (REDACTION_KEY, "bad", None):
        if given is None:
            monkeypatch.delenv("CONTROLTOWER_REDACTION_KEY")
        else:
            monkeypatch.setenv("CONTROLTOWER_REDACTION_KEY", given)
        host = HostSystem()
        host.guard.development = False
        host.otel_tracer = provider.get_tracer("host")
        former = install(host, stop_former=False)
        try:
            with tracer.step("a.b.c", keys={"case": "C-1"}):
                pass
        finally:
            install(former, stop_former=False)

    found = [attributes(span).get("key.case") for span in exporter.get_finished_spans()]
    assert found == [tokens("case", "C-1"), None, None]
