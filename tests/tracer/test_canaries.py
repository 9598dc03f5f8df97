"""The canary kit finds what it promises to find, wherever it is and however it is written."""

import base64
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import Link, SpanContext, TraceState

from controltower import tracer
from controltower.tracer.canaries import Canaries, Patient, no_canaries
from controltower.tracer.default import install

PATIENT = Patient()


@pytest.mark.parametrize(
    "text",
    [
        "MRN00927364",
        "mrn00927364",
        "x?name=Z+Quackenbush",
        "Quackenbush%2C Z",
        quote_plus("4711 Canarywharf Road"),
        "078051120",
        "born 07/19/1931",
        "19310719",
        "19.07.1931",
        "5550104477",
        hashlib.md5(b"MRN00927364").hexdigest(),
        hashlib.sha256(b"8800417733").hexdigest().upper(),
    ],
)
def test_every_form_is_found(text: str) -> None:
    """Plain, in capitals, in addresses, dates in other orders, digits alone, and hashes without a key."""
    assert len(PATIENT.found_in(f"before {text} after")) == 1
    assert PATIENT.found_in(f"before {text} after".encode()) == PATIENT.found_in(f"before {text} after")


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_base64_is_found_at_every_offset(before: bytes, after: bytes) -> None:
    """A body that is stored in base64 hides nothing, wherever in it the value stands."""
    assert "mrn" in PATIENT.found_in(base64.b64encode(before + b"MRN00927364" + after))


@given(st.binary(max_size=200))
def test_other_bytes_are_no_patient(data: bytes) -> None:
    """What is not the patient's is not found."""
    assert PATIENT.found_in(data) == []


def test_a_canary_must_be_told_from_other_text() -> None:
    """A short value would be found by accident, or never: it is refused."""
    with pytest.raises(ValueError, match="6 characters or more: family_name, mrn"):
        Patient(family_name="Doe", mrn="4711")


def _named(canaries: Canaries) -> None:
    _library(canaries, name=f"GET /{PATIENT.mrn}")


def _described(canaries: Canaries) -> None:
    _library(canaries, attributes={"app.note": PATIENT.sentence()})


def _in_an_array(canaries: Canaries) -> None:
    _library(canaries, attributes={"app.notes": ["x", PATIENT.email]})


def _in_a_name(canaries: Canaries) -> None:
    _library(canaries, attributes={f"app.{PATIENT.mrn}": 1})


def _in_an_event(canaries: Canaries) -> None:
    span = canaries.captured.system.provider.get_tracer("library").start_span("x")
    span.add_event("note", {"text": PATIENT.name})
    span.end()


def _in_a_link(canaries: Canaries) -> None:
    context = SpanContext(1, 1, False, trace_state=TraceState([("ot", PATIENT.account)]))
    _library(canaries, links=[Link(context, {"note": PATIENT.phone})])


def _as_a_key(canaries: Canaries) -> None:
    with tracer.step("a.b.c", keys={"invoice": PATIENT.account}):
        pass


def _in_a_log(canaries: Canaries) -> None:
    _library(canaries)
    try:
        raise ValueError(PATIENT.sentence())
    except ValueError:
        logging.getLogger("opentelemetry.sdk").debug("it failed", exc_info=True)


def _library(canaries: Canaries, name: str = "x", **options: object) -> None:
    canaries.captured.system.provider.get_tracer("library").start_span(name, **options).end()  # type: ignore[arg-type]  # those of a span


LEAKS: list[tuple[Callable[[Canaries], None], str]] = [
    (_named, "span of library, its name: mrn"),
    (_described, "span of library, app.note: given_name, family_name, date_of_birth, mrn, account, phone"),
    (_in_an_array, "span of library, app.notes: email"),
    (_in_a_name, "span of library, name of an attribute: mrn"),
    (_in_an_event, "span of library, event, text: given_name, family_name"),
    (_in_a_link, "span of library, link, note: phone"),
    (_in_a_link, "span of library, trace state of a link: account"),
    (_as_a_key, "span of controltower.tracer, controltower.key.invoice: account"),
    (_in_a_log, "log of the tracer: given_name"),
]


@pytest.mark.parametrize(
    ("leak", "place"), LEAKS, ids=[f"{leak.__name__[1:]} {n}" for n, (leak, _) in enumerate(LEAKS)]
)
def test_a_leak_is_named_by_its_place_and_not_shown(leak: Callable[[Canaries], None], place: str) -> None:
    """Whatever part of a span or line of a log has it, the test fails and says where; the data are not in the message."""
    with pytest.raises(AssertionError) as failed, no_canaries() as canaries:
        leak(canaries)

    assert place in str(failed.value)
    assert PATIENT.found_in(str(failed.value)) == []


def test_files_are_searched(tmp_path: Path) -> None:
    """Files and folders that are named are searched, too."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "segment").write_bytes(b"\x00" + PATIENT.mrn.encode())
    with pytest.raises(AssertionError, match=r"file .*segment: mrn"), no_canaries(tmp_path), tracer.step("a.b.c"):
        pass


def test_a_test_that_records_nothing_fails() -> None:
    """Without a span there is no proof: the code was not called, or is not instrumented."""
    with pytest.raises(AssertionError, match="no span was captured"), no_canaries():
        pass


def test_the_journal_has_tokens_only(tmp_path: Path) -> None:
    """What durable export writes to the disk while the collector is away has nothing of a patient, and has the tokens."""
    with no_canaries() as canaries:
        system = tracer.System(
            service="x",
            endpoint="http://127.0.0.1:9",
            durable=tmp_path / "spool",
            redaction_key=f"1:{base64.b64encode(b'k' * 32).decode()}",
            mode="production",
        )
        former = install(system, stop_former=False)
        try:
            library = system.provider.get_tracer("library")
            with tracer.step("a.b.c", keys={"mrn": PATIENT.mrn}), library.start_as_current_span("GET") as span:
                span.set_attribute("url.full", f"https://portal.example/?{PATIENT.query()}")
                span.record_exception(ValueError(PATIENT.sentence()))
            assert system.flush(20, to_disk=True)
            written = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
        finally:
            install(former, stop_former=False)
            system.shutdown(0.1)
        with tracer.step("a.b.c"):
            pass

    assert PATIENT.found_in(written) == []
    assert b"controltower.key.mrn" in written
    assert b"t1:" in written
    assert canaries.leaks() == []
