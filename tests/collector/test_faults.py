"""Hostile and odd telemetry, fault by fault of the catalogue (parts C and D), over HTTP and into the store.

Memory and time under bombs (F25 to F27, F33) are in ``test_memory``, slow and idle clients (F29) in ``test_connections``.
"""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.collector.settings import Settings
from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.tracer.attributes import TRUNCATED
from controltower.tracer.journal.records import varint
from tests.collector.conforming import (
    NUMBERS,
    WAYS,
    json_request,
    new_request,
    new_span,
    send_json,
    sent,
    spans_of,
    stored_by,
    stored_span,
)
from tests.collector.requests import PATIENCE_S, Tower, request_of, running
from tests.collector.test_store import Loader, drain_into

SETTINGS = Settings(port=0)
NOW_NS = 1_760_000_000_000_000_000


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector with default limits, for all tests here."""
    with running(tmp_path_factory.mktemp("tower")) as started:
        yield started


@pytest.mark.parametrize("twice", [False, True])
def test_f25_broken_gzip(tower: Tower, twice: bool) -> None:
    """A wrong checksum, a cut, trailing garbage and gzip in gzip are 400, and no part of them is stored."""
    whole = gzip.compress(new_request(10))
    bodies = [gzip.compress(whole)] if twice else [whole[:-1], whole[:-8] + bytes(8), whole + b"garbage", whole[:30]]

    for body in bodies:
        answer, stored = sent(tower, lambda body=body: tower.send(body, content_encoding="gzip"))  # type: ignore[misc]  # bound at once
        assert (answer.status, stored) == (400, [])


def test_f28_one_byte_too_many(tmp_path: Path) -> None:
    """413 with a true length, with none, and compressed; the next request is served."""
    body = new_request(50)
    with running(tmp_path, replace(SETTINGS, body_bytes=len(body) - 1)) as small:
        statuses = [
            small.send(body).status,
            small.send(iter([body])).status,
            small.send(iter([body[:-1], body[-1:]])).status,
            small.send_gzip(body).status,
        ]

        assert statuses == [413] * 4
        assert small.send(new_request()).status == 200


def giants() -> dict[str, Span]:
    """Return one span of each kind of giant."""
    found = {name: new_span(name=name) for name in ("attributes", "value", "name", "events")}
    found["attributes"].attributes.extend(KeyValue(key=f"some.attribute.{number}") for number in range(100_000))
    found["value"].attributes.append(KeyValue(key="value", value=AnyValue(string_value="v" * 10_000_000)))
    found["name"].name = "name" + "n" * 1_000_000
    found["events"].events.extend(Span.Event(name=f"event {number}") for number in range(100_000))
    return found


def test_f31_requests_at_the_same_time_do_not_mix(tower: Tower) -> None:
    """No span arrives under another request's id; hundreds in parallel are O56."""
    bodies = [request_of(*[new_span(name=f"request {number}") for _ in range(3)]) for number in range(20)]
    stored = [stored_by(tower, lambda body=body: tower.send_gzip(body))[0] for body in bodies]  # type: ignore[misc]  # bound at once

    assert stored == bodies


def test_f35_a_length_that_lies(tower: Tower) -> None:
    """A field that declares two gigabytes is refused, whatever its depth, and nothing is allocated for it."""
    lie = varint(2 << 30)
    for body in (
        b"\x0a" + lie,
        b"\x0a\x0a\x12" + lie + b"x" * 5,
        b"\x0a" + b"\xff" * 9 + b"\x01",
        b"\x0a" + b"\xff" * 20,
    ):
        assert tower.send(body + new_request()).status == 400


@pytest.mark.parametrize("way", WAYS)
def test_f36_what_is_not_otlp(tower: Tower, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Random bytes, text, half a request, one encoding for the other: 400 with a Status, and no trace of a stack."""
    media_type, coding = WAYS[way].media_type, WAYS[way].coding
    bodies = [random.Random(seed).randbytes(seed * 37) for seed in range(1, 20)] + [
        b"hello",
        b"<a/>",
        new_request()[:-1],
    ]
    for body in bodies:
        packed = gzip.compress(body) if coding == "gzip" else body
        answer = tower.send(packed, content_type=media_type, content_encoding=coding)
        assert answer.status == 400
        assert WAYS[way].status(answer)[0] == "INVALID_ARGUMENT"

    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("levels", "status"), [(47, 200), (48, 400), (60, 400), (5_000, 400)])
def test_f37_nested_values(tower: Tower, levels: int, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """200 as deep as the parser goes, 400 below, in both encodings."""
    value = b"\x0a\x04deep"
    text = '{"stringValue":"deep"}'
    for _ in range(levels):
        inner = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(inner)) + inner
        text = f'{{"arrayValue":{{"values":[{text}]}}}}'
    pair = b"\x0a\x01k\x12" + varint(len(value)) + value
    body = new_span().SerializeToString() + b"\x4a" + varint(len(pair)) + pair
    for tag in (b"\x12", b"\x12", b"\x0a"):
        body = tag + varint(len(body)) + body
    written = json_request([{"attributes": [{"key": "k", "value": "@"}]}]).replace(b'"@"', text.encode())

    assert tower.send(body).status == status
    assert send_json(tower, written).status == status
    assert "Recursion" not in caplog.text


def test_f37_long_numbers(tower: Tower) -> None:
    """Five thousand digits are no number of 64 bits."""
    body = json_request([{"startTimeUnixNano": "@"}])

    assert send_json(tower, body.replace(b"@", b"9" * 5_000)).status == 400
    assert send_json(tower, body.replace(b'"@"', b"9" * 5_000)).status == 400


def test_f39_ids_and_shapes(tower: Tower) -> None:
    """Spans without ids are counted and named; duplicates, and parents that are the span itself or its child, are taken."""
    bad = [new_span(trace_id=b""), new_span(trace_id=bytes(16)), new_span(trace_id=b"\1" * 15), new_span(span_id=b"")]
    own, one, two = new_span(), new_span(), new_span()
    own.parent_span_id = own.span_id
    one.parent_span_id, two.parent_span_id = two.span_id, one.span_id
    good = [own, one, two, two]
    answer, stored = sent(tower, lambda: tower.send(request_of(*bad, *good)))
    partial = answer.response.partial_success

    assert (answer.status, partial.rejected_spans) == (200, 4)
    assert "a trace id must be 16 bytes" in partial.error_message
    assert spans_of(stored) == good


def test_f40_variants_of_json(tower: Tower) -> None:
    """One span with all that is allowed; each rule has its test under its number, O57 to O64."""
    trace_id = next(NUMBERS)
    variants = [
        {"key": "t", "value": {"intValue": "9007199254740993"}},
        {"key": "n", "value": {"intValue": 9007199254740993}},
    ]
    found = stored_span(
        tower,
        {
            "traceId": f"{trace_id:032X}",
            "kind": 3,
            "attributes": [*variants, {"key": "b", "value": {"bytesValue": "_-8"}}],
            "dropped_attributes_count": 1,
            "unknown": {"deep": []},
        },
    )

    assert int.from_bytes(found.trace_id, "big") == trace_id
    assert [pair.value.int_value for pair in found.attributes[:2]] == [2**53 + 1] * 2
    assert found.attributes[2].value.bytes_value == b"\xff\xef"
    assert found.dropped_attributes_count == 0
    assert send_json(tower, json_request([{"kind": "SPAN_KIND_CLIENT"}])).status == 400


# Into the store


def loaded(folder: Path, address: StoreAddress, bodies: list[bytes], settings: Settings = SETTINGS) -> int:
    """Send *bodies*, which are all taken, and load them; return what is in quarantine."""
    loader = Loader(address)
    with running(folder, settings) as own:
        assert [own.send(body).status for body in bodies] == [200] * len(bodies)
        left = drain_into(own.journal, loader).stop(PATIENCE_S)
        quarantined = own.journal.stats().quarantined_files
    loader.close()
    assert left.segments == 0
    return quarantined


def test_f30_giants_are_cut_and_stored(tmp_path: Path, store_client: Client, store_address: StoreAddress) -> None:
    """100,000 attributes or events, a value of ten megabytes, a name of one: a row each, marked by what was cut."""
    bodies = [request_of(giant) for giant in giants().values()]
    quarantined = loaded(tmp_path, store_address, bodies)
    rows = store_client.query(
        "SELECT left(SpanName, 4), length(SpanName), length(SpanAttributes), "
        "length(SpanAttributes['value']), length(Events.Name), "
        "SpanAttributes[{mark:String}] FROM otel_traces ORDER BY SpanName",
        parameters={"mark": TRUNCATED},
    ).result_rows
    found = {row[0]: tuple(row[1:]) for row in rows}

    assert quarantined == 0
    assert found == {
        "attr": (10, 129, 0, 0, "attributes"),
        "even": (6, 2, 0, 128, "events"),
        "name": (1_024, 2, 0, 0, "names"),
        "valu": (5, 3, 32 * 1024, 0, "values"),
    }


def test_f34_one_item_larger_than_a_segment(tmp_path: Path, store_client: Client, store_address: StoreAddress) -> None:
    """It is stored, nothing turns round in circles, and what comes after it passes."""
    giant = new_span(name="giant")
    giant.attributes.append(KeyValue(key="value", value=AnyValue(string_value="v" * 3_000_000)))
    settings = replace(SETTINGS, segment_bytes=1_000_000, record_value_bytes=4_000_000)
    quarantined = loaded(tmp_path, store_address, [new_request(), request_of(giant), new_request()], settings)
    rows = store_client.query("SELECT max(length(SpanAttributes['value'])), count() FROM otel_traces").result_rows

    assert quarantined == 0
    assert [tuple(row) for row in rows] == [(3_000_000, 3)]


def test_f38_bad_text(tmp_path: Path, store_client: Client, store_address: StoreAddress) -> None:
    """Of a hundred spans with one that is no UTF-8 and one with NUL, a hundred are stored; of JSON with half a character, too."""
    spans = [*(new_span(name="good") for _ in range(98)), new_span(name="in@valid"), new_span(name="n\0l")]
    loader = Loader(store_address)
    with running(tmp_path) as own:
        assert own.send(request_of(*spans).replace(b"in@valid", b"in\xffvalid")).status == 200
        assert (
            send_json(
                own, json_request([{"name": "@", "startTimeUnixNano": NOW_NS}]).replace(b"@", b"half \\ud83c")
            ).status
            == 200
        )
        drain_into(own.journal, loader).stop(PATIENCE_S)
    loader.close()
    rows = store_client.query(
        "SELECT SpanName, count() FROM otel_traces GROUP BY SpanName ORDER BY SpanName"
    ).result_rows

    assert [tuple(row) for row in rows] == [("good", 98), ("half \ufffd", 1), ("in\ufffdvalid", 1), ("n\0l", 1)]


def test_f41_legal_but_rare(tmp_path: Path, store_client: Client, store_address: StoreAddress) -> None:
    """Each is taken and can be read back, and nothing else in its request is affected."""
    rare = new_span(name="rare", flags=0xFFFFFFFF)
    nested = AnyValue(array_value=ArrayValue(values=[AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)]))]))
    values: dict[str, Any] = {"nested": nested, "bytes": AnyValue(bytes_value=b"\x00\xff"), "empty": AnyValue()}
    rare.attributes.extend(KeyValue(key=key, value=value) for key, value in values.items())
    rare.attributes.extend(KeyValue(key="twice", value=AnyValue(string_value=text)) for text in ("first", "second"))
    rare.attributes.append(KeyValue(key_strindex=3))
    kind_9 = b"\x30\x09"
    body = b"".join(
        [request_of(rare, new_span(name="good")), request_of(), b"\x0a\x00", request_of(new_span(name="unknown"))]
    )
    odd = new_span(name="odd").SerializeToString() + kind_9 + b"\xfa\xf0\x04\x03abc"
    for tag in (b"\x12", b"\x12", b"\x0a"):
        odd = tag + varint(len(odd)) + odd
    quarantined = loaded(tmp_path, store_address, [body, odd, b""])
    attributes, twice = store_client.query(
        "SELECT SpanAttributes, SpanAttributes['twice'] FROM otel_traces WHERE SpanName = 'rare'"
    ).result_rows[0]
    names = store_client.query("SELECT SpanName, SpanKind FROM otel_traces ORDER BY SpanName").result_rows

    assert quarantined == 0
    assert [name for name, _ in names] == ["good", "odd", "rare", "unknown"]
    assert dict(map(tuple, names))["odd"] != ""
    assert json.loads(attributes["nested"]) == [[1]]
    assert twice == "first"
    assert attributes["empty"] == ""
    assert attributes["bytes"] != ""
