"""W3C trace context: what names a span and what does not, alone and as requests to a real HTTP server."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi
import pytest

from controltower import tracer
from controltower.tracer.propagation import extract, span_in
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
