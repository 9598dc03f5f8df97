"""A collector that patients' systems send to: nothing of a patient is in its files, answers, pages or logs (F70)."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.auth import create_token
from controltower.collector.redaction.keys import Keys
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction, read_redaction
from controltower.tracer.tokens import Key, Tokeniser
from tests.collector import requests
from tests.collector.calls import calling
from tests.collector.otlp_json_writer import as_json
from tests.collector.redaction.canaries import CANARIES, REQUESTS, everywhere, hits
from tests.collector.requests import Answer, Tower, running

JSON = "application/json"


@pytest.fixture
def phi(tmp_path: Path) -> Iterator[Tower]:
    """A running collector whose only sender is of class phi."""
    with running(tmp_path, redact=read_redaction({}).redactor(), grpc=True, phi=True) as started:
        yield started


def bodies(signal: str) -> Iterator[tuple[bytes, str]]:
    """Yield requests of *signal* with every canary in every field, in both encodings."""
    for canary in CANARIES.values():
        request = everywhere(signal, canary)
        yield request.SerializeToString(), requests.PROTOBUF
        yield as_json(request), JSON


def broken(signal: str) -> Iterator[tuple[bytes, str]]:
    """Yield bodies that are refused, with canaries where an error might quote them."""
    canary = CANARIES["F e-mail"]
    whole = everywhere(signal, canary).SerializeToString()
    (top,) = [field.json_name for field in REQUESTS[signal].DESCRIPTOR.fields]
    yield whole[: len(whole) // 2], requests.PROTOBUF
    yield canary.encode() * 50, requests.PROTOBUF
    yield f'{{"{top}": "{canary}"}}'.encode(), JSON
    yield f'{{"{top}": [{{"{canary}": 1}}, {{"resource": {{"attributes": "{canary}"}}}}]}}'.encode(), JSON
    attribute = '{"key": "a", "value": {"intValue": "' + canary + '"}}'
    yield f'{{"{top}": [{{"resource": {{"attributes": [{attribute}]}}}}]}}'.encode(), JSON
    yield f'{{"{top}": [{canary}]}}'.encode(), JSON


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below *folder*, its name and its bytes."""
    for path in folder.rglob("*"):
        yield str(path), path.name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"")


@pytest.mark.parametrize("signal", sorted(REQUESTS))
def test_nothing_of_a_patient_is_left(
    phi: Tower, tmp_path: Path, signal: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every canary in every field, and bodies that are refused: no hit in files, answers, pages and log lines."""
    caplog.set_level(logging.DEBUG)
    path = f"/v1/{signal}"
    answers = [phi.send(body, path, content_type=kind) for body, kind in bodies(signal)]
    assert {answer.status for answer in answers} == {200}
    refused = [phi.send(body, path, content_type=kind) for body, kind in broken(signal)]
    assert {answer.status for answer in refused} == {400}
    with calling(phi) as caller:
        calls = [caller.call(body, signal) for body, kind in bodies(signal) if kind == requests.PROTOBUF]
        calls += [caller.call(body, signal) for body, kind in broken(signal) if kind == requests.PROTOBUF]
    pages = [phi.get(page) for page in ("/metrics", "/readyz", "/healthz")]
    for journal in phi.journals.values():
        journal.rotate()

    assert [name for name, content in files(tmp_path) if hits(content)] == []
    assert [found for answer in [*answers, *refused, *pages] if (found := hits(_said(answer)))] == []
    assert hits(repr(calls).encode()) == []
    assert hits(caplog.text.encode()) == []
    counted = [sample.labels for sample in phi.metrics.counters() if sample.metric == "values_redacted"]
    assert {"signal": signal, "field": "resource.attributes", "rule": "drop"} in counted


def _said(answer: Answer) -> bytes:
    return answer.body + repr(answer.headers).encode()


def test_a_request_that_cannot_be_redacted_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the redaction itself fails the sender is told to come back, and nothing of the request is kept or shown."""
    redactor = read_redaction({}).redactor()
    monkeypatch.setattr(redactor._others, "_walker", None)
    with running(tmp_path, redact=redactor, phi=True) as tower:
        answer = tower.send(everywhere("traces", CANARIES["A name"]).SerializeToString())

    assert answer.status == 503
    assert [name for name, content in files(tmp_path) if hits(content)] == []
    assert hits(answer.body + caplog.text.encode()) == []


def test_without_a_policy_patients_senders_are_refused(tmp_path: Path) -> None:
    """A collector that cannot redact takes nothing from a sender of class phi."""
    with running(tmp_path, phi=True) as tower:
        answer = tower.send(everywhere("traces", CANARIES["A name"]).SerializeToString())

    assert answer.status == 503


def test_each_tenants_senders_get_its_tokens(tmp_path: Path) -> None:
    """The same patient's number of two tenants lies in the journal as two tokens, each the one of the tenant's key."""
    keys = {tenant: (Key(1, tenant.encode() * 8),) for tenant in ("north", "south")}
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    span.attributes.add(key="controltower.key.case").value.string_value = "C-1"
    with running(tmp_path, redact=Redaction(default_policy(), Keys(keys)).redactor()) as tower:
        for tenant in keys:
            token = create_token(tmp_path / "tokens.json", tenant, tenant, phi=True)
            answer = tower.send(request.SerializeToString(), authorization=f"Bearer {token}")
            assert answer.status == 200
        tower.journal.rotate()
        stored = {
            tenant: sent.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value
            for sent, tenant in tower.stored_with_tenants()
        }

    assert stored == {tenant: Tokeniser(own).tokens("case", b"", b"C-1")[0].decode() for tenant, own in keys.items()}
    assert len(set(stored.values())) == 2
