"""W3C trace context: what names a span and what does not, alone and as requests to a real HTTP server."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from controltower import tracer
from controltower.tracer.propagation import NO_KEYS, extract, span_in, write
from controltower.tracer.testing import capture
from tests.tracer.hooked import needs
from tests.tracer.serving import asgi

needs("fastapi", instrumentations=("fastapi",))

VECTORS = (
    Path(__file__).resolve().parents[3]
    / "shared"
    / "data"
    / "w3c-traceparent-vectors"
    / "traceparent_parse_vectors.json"
)
TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{SPAN}-01"
Headers = list[tuple[str, str]]


@pytest.mark.skipif(not VECTORS.is_file(), reason="needs ../shared/data/w3c-traceparent-vectors")
def test_the_vectors_of_the_recommendation() -> None:
    """A later version is read as far as version 00 goes; ids of zeros and version ff are never taken."""
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) == 31
    for vector in vectors:
        text = vector["traceparent"]
        version, trace_id, span_id = text.split("-")[:3]
        syntax = any(other["valid"] for other in vectors if other["traceparent"] == text)
        expected = syntax and version != "ff" and trace_id.strip("0") != "" and span_id.strip("0") != ""
        sender, _ = extract({"traceparent": text}, frozenset())
        assert sender.is_valid is expected, text
        assert (span_in(text) is not None) is expected, text


PIECES = st.sampled_from([
    "00", "01", "cc", "ff", "0" * 32, TRACE, TRACE.upper(), "a" * 31, "0" * 16, SPAN, "g" * 16, "-", "-01", "-00", "-ff",
    "-1", " ", "\t", "\n", "٣", "-x",
])  # fmt: skip


@given(
    st.one_of(
        st.lists(PIECES, max_size=9).map("".join),
        st.tuples(
            *(
                st.sampled_from(each)
                for each in (("00", "01", "ff"), (TRACE, "0" * 32), (SPAN, "0" * 16), ("00", "01", "03", "f"))
            )
        ).map("-".join),
    ),
    st.sampled_from([None, "", "a=1", "a=1,b=2", "no state"]),
)
def test_what_names_a_span_is_what_opentelemetry_says(text: str, state: str | None) -> None:
    """The short way for what most senders write gives what OpenTelemetry's propagator gives."""
    headers = {"traceparent": text} if state is None else {"traceparent": text, "tracestate": state}
    theirs = trace.get_current_span(TraceContextTextMapPropagator().extract(headers, Context())).get_span_context()
    ours, _ = extract(headers, frozenset())
    written: dict[str, str] = {}
    write(written, ours, NO_KEYS, frozenset())
    their_own: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(
        their_own, trace.set_span_in_context(trace.NonRecordingSpan(theirs), Context())
    )

    assert (ours, ours.is_remote, ours.trace_state) == (theirs, theirs.is_remote, theirs.trace_state)
    assert written == their_own


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A service that answers with what it would send on from a step in its request."""
    app = fastapi.FastAPI()

    @app.get("/")
    def answer() -> dict[str, str]:
        with tracer.step("p2p.purchase_order.acknowledged"):
            return tracer.environment()

    with capture():
        tracer.instrument_fastapi(app)
        with asgi(app) as found:
            host, _, port = found.removeprefix("http://").partition(":")
            yield host, int(port)


def sent_on(address: tuple[str, int], headers: Headers) -> dict[str, Any]:
    """Return what the service would send on after a request with *headers*, as they are."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.putrequest("GET", "/")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", GOOD)],
        [("TraceParent", GOOD)],
        [("traceparent", f" \t{GOOD}\t ")],
        [("traceparent", f"cc-{TRACE}-{SPAN}-01")],
        [("traceparent", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings")],
        [("traceparent", GOOD), ("tracestate", "not a state")],
        [("traceparent", GOOD), ("tracestate", "")],
    ],
)
def test_a_request_that_continues_a_trace(address: tuple[str, int], headers: Headers) -> None:
    """The trace is the caller's, the span below it is not."""
    version, trace_id, span_id, _ = sent_on(address, headers)["TRACEPARENT"].split("-")

    assert (version, trace_id) == ("00", TRACE)
    assert span_id != SPAN


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", "")],
        [("traceparent", GOOD.upper().replace("1234567890123456-", "ABCDEF7890123456-"))],
        [("traceparent", f"{GOOD}-more")],
        [("traceparent", f"{GOOD}.")],
        [("traceparent", f"cc-{TRACE}-{SPAN}-01.what")],
        [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
        [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"00-{TRACE}-{SPAN}")],
        [("tracestate", "a=1")],
    ],
)
def test_a_request_that_starts_a_trace(address: tuple[str, int], headers: Headers) -> None:
    """A header that is not valid is as none, and takes the state along."""
    found = sent_on(address, headers)

    assert found["TRACEPARENT"].split("-")[1] not in (TRACE, "0" * 32)
    assert "TRACESTATE" not in found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["a=1,b=2"], "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1 , b=2"], "a=1,b=2"),
        ([",".join(f"k{number}=1" for number in range(32))], ",".join(f"k{number}=1" for number in range(32))),
        ([",".join(f"k{number}=1" for number in range(33))], None),
        (["A=1"], None),
    ],
)
def test_the_state_of_other_vendors(address: tuple[str, int], states: list[str], expected: str | None) -> None:
    """It is passed on, from several headers, too; one that is too long or not valid is left out."""
    found = sent_on(address, [("traceparent", GOOD), *(("tracestate", state) for state in states)])

    assert found.get("TRACESTATE") == expected
    assert found["TRACEPARENT"].split("-")[1] == TRACE


@pytest.mark.parametrize("text", ["0" + GOOD, f"ff{GOOD[2:]}", f"{GOOD}-x", GOOD.replace("1234", "1_34"), ""])
def test_a_link_to_what_is_no_traceparent(text: str) -> None:
    """A step refuses it as a link, as a header would be."""
    with capture(), tracer.step("a.b.c") as step, pytest.raises(tracer.MisuseError, match="a link is a step"):
        step.link(text)
