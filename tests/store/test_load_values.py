"""Attribute values: exact for every kind, wherever they stand."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.store.errors import DeeperError, LoadError
from controltower.store.loader import load_segment
from controltower.store.otlp import DEPTH, PLAIN, SHALLOW
from tests.store.otlp import Loading, Value, array, attributes, pairs, record, request, span, value
from tests.store.otlp_text import by_key, double, text_of

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

SCALARS: list[tuple[Value, str]] = [
    (None, ""),
    ("", ""),
    ("text", "text"),
    ('a "quote" \\ / <b> & \n\t\x00\x1f', 'a "quote" \\ / <b> & \n\t\x00\x1f'),
    ("日本語 🏥", "日本語 🏥"),
    (False, "false"),
    (True, "true"),
    (0, "0"),
    (-1, "-1"),
    (2**62, "4611686018427387904"),
    (-(2**62), "-4611686018427387904"),
    (INT64_MIN, "-9223372036854775808"),
    (INT64_MAX, "9223372036854775807"),
    (0.0, "0"),
    (-0.0, "-0"),
    (0.1, "0.1"),
    (1.0, "1"),
    (-1250.75, "-1250.75"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (-1.5e300, "-1.5e+300"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9007199254740993.0, "9007199254740992"),
    (float("nan"), "json: unsupported value: NaN"),
    (-float("nan"), "json: unsupported value: NaN"),
    (float("inf"), "json: unsupported value: +Inf"),
    (float("-inf"), "json: unsupported value: -Inf"),
    (b"", ""),
    (b"\x00\xff\x10", "AP8Q"),
]

CONTAINERS: list[tuple[AnyValue, str]] = [
    (array(), "[]"),
    (pairs(), "{}"),
    (array("A", "B"), '["A","B"]'),
    (array(0, False, "", None, 0.0, b""), '[0,false,"",null,0,""]'),
    (array(1, True, "x", 1.5, -0.0, 1e21, 1e-7, b"\xff"), '[1,true,"x",1.5,-0,1e+21,1e-7,"/w=="]'),
    (array(float("nan"), float("inf"), float("-inf")), '["nan","inf","-inf"]'),
    (array(INT64_MIN, INT64_MAX), "[-9223372036854775808,9223372036854775807]"),
    (array('"\\/\b\f\n\r\t'), r'["\"\\/\b\f\n\r\t"]'),
    (pairs(("b", 1), ("a", "x"), ("", None)), '{"":null,"a":"x","b":1}'),
    (pairs(('k"', 1)), r'{"k\"":1}'),
    (array(array(1, array("x", array())), pairs(("k", array(2)))), '[[1,["x",{"otlp.array_value":""}]],{"k":[2]}]'),
    (pairs(("a", pairs(("b", pairs(("c", 0)))))), '{"a":{"b":{"c":0}}}'),
    (array(array(array(array("deep")))), '[[[{"otlp.array_value":"CgYKBGRlZXA="}]]]'),
    (array(array(array(pairs(("k", 1))))), '[[[{"otlp.kvlist_value":"CgcKAWsSAhgB"}]]]'),
]


WHERE = ("ResourceAttributes", "SpanAttributes", "Events.Attributes", "Links.Attributes")


def test_scalars_read_as_the_exporter_writes_them(loading: Loading) -> None:
    """Every scalar has one exact text; zero, false and the empty text are told from no value by the reader."""
    (stored,) = loading.texts(span(have={f"{n:03}": given for n, (given, _) in enumerate(SCALARS)}))

    assert [stored[f"{n:03}"] for n in range(len(SCALARS))] == [text for _, text in SCALARS]


def test_containers_read_as_json(loading: Loading) -> None:
    """Arrays and key-value lists are JSON with the right types; what is too deep is there as bytes."""
    (stored,) = loading.texts(span(have={f"{n:03}": given for n, (given, _) in enumerate(CONTAINERS)}))

    assert [stored[f"{n:03}"] for n in range(len(CONTAINERS))] == [text for _, text in CONTAINERS]


OF_SCALARS = [(given, text) for given, text in CONTAINERS if all(below not in text[1:-1] for below in ("[", "{"))]


LENGTHS = [1, 126, 127, 128, 129, 255, 256, 16_382, 16_383]
PLAIN_SCALARS: list[tuple[Value, str]] = [
    *((given, text) for given, text in SCALARS if not (given is None or isinstance(given, bytes) or "json" in text)),
    *(
        (number * sign, str(number * sign))
        for bits in range(0, 63, 7)
        for number in (2**bits, 2**bits - 1)
        for sign in (1, -1)
    ),
    *(("ü" * (length // 2) + "x" * (length % 2),) * 2 for length in LENGTHS),
]


@pytest.mark.parametrize(("depth", "values"), [(SHALLOW, [*SCALARS, *OF_SCALARS]), (PLAIN, PLAIN_SCALARS)])
def test_the_cheaper_inboxes_read_the_same(loading: Loading, depth: int, values: Sequence[tuple[Value, str]]) -> None:
    """Scalars, and by the shallow one containers of scalars, are printed as the deep one does, wherever they stand."""
    have = {f"{n:03}": given for n, (given, _) in enumerate(values)}
    event, link = Span.Event(attributes=attributes(have.items())), Span.Link(attributes=attributes(have.items()))
    made = request(span(have=have, events=[event], links=[link]), resource=have)
    cheap, deep = loading.load(made, depth=depth), loading.load(made)

    assert len(values) > 5
    assert loading.rows(cheap, *WHERE) == loading.rows(deep, *WHERE) != []


TOO_DEEP: list[tuple[int, AnyValue]] = [
    *(
        (SHALLOW, given)
        for given in (array(array()), array(pairs()), pairs(("k", array(1))), pairs(("k", pairs(("l", 1)))))
    ),
    *(
        (PLAIN, value(given))
        for given in (
            *(array(), array("x"), pairs(), pairs(("k", 1)), array(array())),
            *(None, b"", b"x", float("nan"), float("inf"), "x" * 16_384),
        )
    ),
]


@pytest.mark.parametrize(("depth", "deep"), TOO_DEEP)
@pytest.mark.parametrize("place", ["resource", "span", "event", "link"])
def test_the_cheaper_inboxes_refuse_what_lies_deeper(loading: Loading, depth: int, deep: AnyValue, place: str) -> None:
    """Nothing is stored of a message with a value that the inbox cannot print, wherever it stands."""
    have: dict[str, dict[str, Value]] = {place: {"flat": "x" if depth == PLAIN else array("x"), "deep": deep}}
    event, link = (attributes(have.get(name, {}).items()) for name in ("event", "link"))
    made = request(
        span(have=have.get("span"), events=[Span.Event(attributes=event)], links=[Span.Link(attributes=link)]),
        resource=have.get("resource"),
    )

    before = loading.count("otel_traces")

    with pytest.raises(DeeperError):
        loading.load(made, depth=depth)
    assert loading.count("otel_traces") == before


@pytest.mark.parametrize("levels", [4, 20, 47])
def test_deep_arrays_lose_nothing(loading: Loading, levels: int) -> None:
    """However deep an array is, its innermost value can be found again."""
    deep = value("innermost")
    for _ in range(levels):
        deep = array(deep)

    (stored,) = loading.texts(span(have={"deep": deep}))

    assert stored["deep"] == text_of(deep)
    assert len(stored["deep"]) > levels


def test_values_stand_the_same_in_every_place(loading: Loading) -> None:
    """Resource, span, event and link attributes print one value alike."""
    have: dict[str, Value] = {"z": array(1, pairs(("k", array("x")))), "a": 0, "m": b"\x01"}
    made = request(
        span(
            have=have,
            events=[Span.Event(name="one", attributes=attributes(have.items())), Span.Event(name="none")],
            links=[Span.Link(trace_id=bytes(16), attributes=attributes(have.items())), Span.Link()],
        ),
        resource=have,
    )

    ((resource, own, events, links),) = loading.rows(
        loading.load(made), "ResourceAttributes", "SpanAttributes", "Events.Attributes", "Links.Attributes"
    )

    assert own == {"a": "0", "m": "AQ==", "z": '[1,{"k":["x"]}]'}
    assert resource == {**own, "service.name": "erp"}
    assert events == [own, {}]
    assert links == [own, {}]


def test_keys_are_sorted_and_of_equal_keys_the_first_is_found(loading: Loading) -> None:
    """The order of keys is that of their text; attributes that repeat a key are kept, and a lookup gives the first."""
    repeated = [KeyValue(key=f"k{n % 7}", value=value(n)) for n in range(100)]
    token = loading.load(request(span(attributes=repeated)))

    ((keys, values, looked_up),) = loading.rows(
        token, "mapKeys(SpanAttributes)", "mapValues(SpanAttributes)", "SpanAttributes['k3']"
    )

    assert keys == sorted(item.key for item in repeated)
    assert values == [str(item.value.int_value) for item in by_key(repeated)]
    assert looked_up == "3"


def test_bad_text_is_kept_and_breaks_no_json(loading: Loading) -> None:
    """Bytes that are no UTF-8 are stored as they came; inside of JSON they are replaced, so that it stays JSON."""
    body = request(span(have={"plain": "x?y", "listed": array("x?y")})).SerializeToString().replace(b"x?y", b"x\xffy")
    token = _load_raw(loading, body)

    ((plain, listed),) = loading.rows(token, "hex(SpanAttributes['plain'])", "SpanAttributes['listed']")

    assert bytes.fromhex(plain) == b"x\xffy"
    assert json.loads(listed) == ["x\ufffdy"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(
    st.just(AnyValue()),
    st.builds(AnyValue, string_value=TEXTS),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(INT64_MIN, INT64_MAX)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=6)),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(LEAVES, min_size=1, max_size=3), st.sampled_from([b"", b"\x00", b"\x88\x06\x01", b"\x0a\x80\x00"]))
def test_bytes_that_are_not_one_plain_value_are_read_as_members(
    loading: Loading, values: list[AnyValue], more: bytes
) -> None:
    """A value of several fields, of none or of unknown ones: the inbox of plain values prints what the deep one does, or refuses it."""
    odd = b"".join(each.SerializeToString() for each in values) + more
    item = _field(1, b"k") + _field(2, odd)
    scope = _field(2, span(have={"after": 1}).SerializeToString() + _field(9, item))
    body = record(_field(1, _field(2, scope)))
    cheap, deep = loading.segment(body), loading.segment(body)
    told: list[object] = []
    for segment, depth in ((cheap, PLAIN), (deep, DEPTH)):
        try:
            load_segment(loading.client, segment, depth=depth)
            told.append(list(loading.rows(segment.id, "SpanAttributes")))
        except DeeperError:
            told.append("deeper")
        except LoadError as refused:
            told.append(str(refused.permanent))

    assert told[0] in (told[1], "deeper")


def _containers(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    listed = st.lists(inner, max_size=4).map(lambda values: AnyValue(array_value=ArrayValue(values=values)))
    keyed = st.lists(st.builds(KeyValue, key=TEXTS, value=inner), max_size=4)
    return listed | keyed.map(lambda items: AnyValue(kvlist_value=KeyValueList(values=items)))


VALUES = st.recursive(LEAVES, _containers, max_leaves=12)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=TEXTS, value=VALUES), max_size=6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.tuples(ATTRIBUTES, ATTRIBUTES, ATTRIBUTES), min_size=1, max_size=12), ATTRIBUTES)
def test_any_tree_of_values_reads_as_the_reference_says(
    loading: Loading,
    spans: list[tuple[list[KeyValue], list[KeyValue], list[KeyValue]]],
    resource: list[KeyValue],
) -> None:
    """Whatever values are nested in whatever place, all of them read as the reference renders them."""
    made = request(
        *(
            span(n, attributes=own, events=[Span.Event(attributes=event)], links=[Span.Link(attributes=link)])
            for n, (own, event, link) in enumerate(spans, start=1)
        )
    )
    del made.resource_spans[0].resource.attributes[:]
    made.resource_spans[0].resource.attributes.extend(resource)

    places = ("ResourceAttributes", "SpanAttributes", "Events.Attributes[1]", "Links.Attributes[1]")
    columns = [f"{part}({place})" for place in places for part in ("mapKeys", "mapValues")]
    rows = loading.rows(loading.load(made), *columns)

    for row, (own, event, link) in zip(rows, spans, strict=True):
        for at, items in enumerate((resource, own, event, link)):
            keys, values = row[2 * at : 2 * at + 2]
            expected = by_key(items)
            assert keys == [item.key for item in expected]
            assert [_comparable(text, item.value) for text, item in zip(values, expected, strict=True)] == [
                _comparable(text_of(item.value), item.value) for item in expected
            ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_reference_prints_doubles_that_read_back(number: float) -> None:
    """The reference's text of a double is that double."""
    assert float(double(number)) == number


def _load_raw(loading: Loading, body: bytes) -> str:
    segment = loading.segment(record(body))
    load_segment(loading.client, segment)
    return segment.id


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _varint(number // 128)


def _comparable(text: str, of: AnyValue) -> Any:
    """JSON is compared by what it says, with the text of its numbers: an escape can be written in two ways."""
    if of.WhichOneof("value") not in ("array_value", "kvlist_value"):
        return text
    return json.loads(text, parse_int=_number, parse_float=_number, object_pairs_hook=_pairs)


def _number(digits: str) -> tuple[str, str]:
    return ("number", digits)


def _pairs(items: list[tuple[str, Any]]) -> tuple[str, list[tuple[str, Any]]]:
    return ("object", items)
