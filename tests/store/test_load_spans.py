"""Everything of a span besides its attributes: ids, enums, times, the journal's envelope."""

from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controltower.store.loader import load_segment
from controltower.store.otlp import PLAIN
from controltower.store.times import TimeBounds
from controltower.tracer.journal.records import envelope
from tests.store.otlp import DAY_NS, NOON_NS, SECOND_NS, Loading, record, request, span

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UINT64_MAX = 2**64 - 1
LAST_NS = 2**63 - 1
YEAR_2000_NS = 946_684_800 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS


def test_a_span_has_the_exporters_columns(loading: Loading) -> None:
    """All 22 columns hold what the Collector's exporter would write."""
    made = request(
        span(
            0xABC,
            parent_span_id=bytes(7) + b"\x01",
            trace_state="a=b",
            kind=Span.SPAN_KIND_SERVER,
            status=Status(code=Status.STATUS_CODE_ERROR, message="no stock"),
            events=[Span.Event(time_unix_nano=NOON_NS + 1, name="controltower.line")],
            links=[Span.Link(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, trace_state="c=d")],
        )
    )
    made.resource_spans[0].scope_spans[0].scope.CopyFrom(InstrumentationScope(name="sdk", version="1.2"))

    (row,) = loading.rows(loading.load(made), "* EXCEPT (LoadedAt, SegmentId)")

    assert list(row) == [
        NOON,
        f"{0xABC:032x}",
        f"{0xABC:016x}",
        "0000000000000001",
        "a=b",
        "span 2748",
        "Server",
        "erp",
        {"service.name": "erp"},
        "sdk",
        "1.2",
        {},
        SECOND_NS,
        "Error",
        "no stock",
        [NOON],  # the client shows microseconds
        ["controltower.line"],
        [{}],
        ["01" * 16],
        ["02" * 8],
        ["c=d"],
        [{}],
        "acme",
        NOON,
        "",
        0,
        0,
    ]


def test_computed_columns(loading: Loading) -> None:
    """Error, root, end and environment follow from the exporter's columns."""
    token = loading.load(
        request(
            span(1, status=Status(code=Status.STATUS_CODE_ERROR)),
            span(2, parent_span_id=b"\x01" * 8),
            resource={"deployment.environment.name": "production"},
        )
    )

    assert loading.rows(token, "IsError", "IsRoot", "EndTime", "Environment", "ResourceAttributeItems") == [
        (True, True, NOON + timedelta(seconds=1), "production", _ITEMS),
        (False, False, NOON + timedelta(seconds=1), "production", _ITEMS),
    ]


_ITEMS = ["deployment.environment.name=production", "service.name=erp"]


def test_enums_keep_numbers_that_have_no_name(loading: Loading) -> None:
    """The six kinds and three status codes have the exporter's names; any other number is kept as its text."""
    kinds = [0, 1, 2, 3, 4, 5, 9, -1, 2**31 - 1]
    codes = [0, 1, 2, 7, -3, 0, 0, 0, 0]
    spans = [span(n, kind=kind, status={"code": code}) for n, (kind, code) in enumerate(zip(kinds, codes, strict=True))]

    rows = loading.rows(loading.load(request(*spans)), "SpanKind", "StatusCode")

    assert [kind for kind, _ in rows] == [
        "Unspecified",
        "Internal",
        "Server",
        "Client",
        "Producer",
        "Consumer",
        "9",
        "-1",
        "2147483647",
    ]
    assert [code for _, code in rows[:5]] == ["Unset", "Ok", "Error", "7", "-3"]


def test_ids_of_any_length_are_kept(loading: Loading) -> None:
    """Missing, short and long ids are stored as they are, in hexadecimal; an absent parent is the empty text."""
    spans = [span(trace_id=b"", span_id=b""), span(trace_id=b"\xab", span_id=b"\xcd", parent_span_id=b"\x01" * 9)]

    rows = loading.rows(loading.load(request(*spans)), "TraceId", "SpanId", "ParentSpanId")

    assert rows == [("", "", ""), ("ab", "cd", "01" * 9)]


def test_empty_parts_make_no_spans_and_no_trouble(loading: Loading) -> None:
    """Requests, resources and scopes without anything in them load, and the spans beside them too."""
    made = request(span())
    made.resource_spans.add()
    made.resource_spans.add().scope_spans.add()
    made.resource_spans.add().scope_spans.add().spans.add()

    token = loading.load(request(), made, request())

    assert loading.rows(token, "SpanName", "ServiceName", "TimeQuality") == [
        ("span 1", "erp", ""),
    ]
    assert loading.quarantined(token, "SpanName", "ServiceName", "TimeQuality") == [("", "", "start_missing")]


ODD = [
    (NOON_NS, NOON_NS, "", NOON, 0),
    (NOON_NS, NOON_NS + 1, "", NOON, 1),
    (NOON_NS, NOON_NS + 3 * DAY_NS // 4, "", NOON, 3 * DAY_NS // 4),
    (NOON_NS - 40 * DAY_NS, NOON_NS - 40 * DAY_NS, "", NOON - timedelta(days=40), 0),
    (NOON_NS - 3650 * DAY_NS, NOON_NS, "", NOON - timedelta(days=3650), 3650 * DAY_NS),
    (NOON_NS, NOON_NS - SECOND_NS, "end_before_start", NOON, 0),
    (NOON_NS, 0, "end_missing", NOON, 0),
    (NOON_NS + HOUR_NS, NOON_NS + HOUR_NS + 1, "ahead", NOON + timedelta(hours=1), 1),
    (NOON_NS + DAY_NS, NOON_NS + DAY_NS, "ahead", NOON + timedelta(days=1), 0),
    (NOON_NS - 3654 * DAY_NS, NOON_NS, "start_implausible", NOON, 0),
    (YEAR_2000_NS, NOON_NS, "start_implausible", NOON, 0),
]
IMPOSSIBLE = [
    (0, 0, "start_missing", NOON),
    (0, NOON_NS, "start_missing", NOON),
    (1, NOON_NS, "start_too_early", NOON),
    (YEAR_2000_NS - 1, NOON_NS, "start_too_early", NOON),
    (NOON_NS + DAY_NS + 1, NOON_NS + DAY_NS + 1, "start_too_late", NOON),
    (NOON_NS + 3653 * DAY_NS, 0, "start_too_late", NOON),
    (LAST_NS, LAST_NS, "start_too_late", NOON),
    (LAST_NS + 1, LAST_NS + 2, "start_too_late", NOON),
    (UINT64_MAX, 5, "start_too_late", NOON),
    (UINT64_MAX, UINT64_MAX, "start_too_late", NOON),
    (NOON_NS - 7, 1, "end_too_early", NOON - timedelta(microseconds=1)),
    (NOON_NS - 7, NOON_NS + DAY_NS + 1, "end_too_late", NOON - timedelta(microseconds=1)),
    (NOON_NS, LAST_NS + 1, "end_too_late", NOON),
    (NOON_NS, UINT64_MAX, "end_too_late", NOON),
]


def test_odd_times_are_marked(loading: Loading) -> None:
    """What is only odd is stored, marked, with what was sent beside it; no duration wraps."""
    spans = [
        span(n, start_time_unix_nano=start, end_time_unix_nano=end) for n, (start, end, *_) in enumerate(ODD, start=1)
    ]

    token = loading.load(request(*spans))

    assert loading.quarantined(token, "SpanName") == []
    assert loading.rows(token, "TimeQuality", "Timestamp", "Duration", "SentStartUnixNano", "SentEndUnixNano") == [
        (quality, at, duration, start if quality else 0, end if quality else 0)
        for start, end, quality, at, duration in ODD
    ]


def test_times_of_hosts_whose_clocks_differ_are_stored_as_sent(loading: Loading) -> None:
    """A child that begins before its parent, or lasts longer, keeps its times: which of two clocks is wrong is not known."""
    parent = span(1)
    offsets = {2: -5 * SECOND_NS, 3: 5 * SECOND_NS, 4: -1, 5: 0}
    children = [
        span(
            n,
            parent_span_id=parent.span_id,
            start_time_unix_nano=parent.start_time_unix_nano + offset,
            end_time_unix_nano=parent.end_time_unix_nano + offset + n * SECOND_NS,
        )
        for n, offset in offsets.items()
    ]

    rows = loading.rows(
        loading.load(request(parent, *children)), "toUnixTimestamp64Nano(Timestamp)", "Duration", "TimeQuality"
    )

    sent = [(s.start_time_unix_nano, s.end_time_unix_nano - s.start_time_unix_nano, "") for s in (parent, *children)]
    assert rows == sent


def test_what_is_believed_moves_with_the_clock(loading: Loading) -> None:
    """Of a store that has run for forty days fresh spans and those of an hour ago are taken, and tomorrow's are not."""
    loading.load(request(span(1)))
    later_ns = NOON_NS + 40 * DAY_NS
    sent = {2: later_ns, 3: later_ns - HOUR_NS, 4: later_ns + DAY_NS - HOUR_NS, 5: later_ns + DAY_NS + HOUR_NS}
    spans = [span(n, start_time_unix_nano=at, end_time_unix_nano=at) for n, at in sent.items()]

    token = loading.load(request(*spans), received_ns=later_ns)

    assert loading.rows(token, "SpanName", "TimeQuality") == [
        ("span 2", ""),
        ("span 3", ""),
        ("span 4", "ahead"),
    ]
    assert loading.quarantined(token, "SpanName", "TimeQuality") == [("span 5", "start_too_late")]


def test_impossible_times_go_to_quarantine(loading: Loading) -> None:
    """What a broken clock dated is kept with the reason and the times as sent, and the good spans are stored."""
    spans = [
        span(n, start_time_unix_nano=start, end_time_unix_nano=end)
        for n, (start, end, *_) in enumerate(IMPOSSIBLE, start=1)
    ]

    token = loading.load(request(*spans, span(1000)))

    assert loading.rows(token, "SpanName") == [("span 1000",)]
    assert loading.quarantined(
        token, "TimeQuality", "Timestamp", "Duration", "SentStartUnixNano", "SentEndUnixNano"
    ) == [(reason, at, 0, start, end) for start, end, reason, at in IMPOSSIBLE]


def test_the_bounds_are_settings(loading: Loading) -> None:
    """What is impossible is said by each load, and nothing remembers it."""
    spans = [
        span(1, start_time_unix_nano=YEAR_2000_NS - 5, end_time_unix_nano=YEAR_2000_NS),
        span(2, start_time_unix_nano=NOON_NS + 2 * DAY_NS, end_time_unix_nano=NOON_NS + 2 * DAY_NS),
        span(3, start_time_unix_nano=NOON_NS + HOUR_NS, end_time_unix_nano=NOON_NS + HOUR_NS),
    ]
    wide = TimeBounds(datetime(1990, 1, 1, tzinfo=UTC), timedelta(days=3))
    narrow = TimeBounds(datetime(2026, 1, 1, 13, tzinfo=UTC), timedelta(minutes=30))

    believed = loading.load(request(*spans), bounds=wide)
    doubted = loading.load(request(*spans), bounds=narrow)

    assert [row[0] for row in loading.rows(believed, "TimeQuality")] == ["start_implausible", "ahead", "ahead"]
    assert [row[0] for row in loading.quarantined(doubted, "TimeQuality")] == [
        "start_too_early",
        "start_too_late",
        "start_too_late",
    ]


@pytest.mark.parametrize(
    ("earliest", "ahead"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)),
        (datetime(2000, 1, 1, tzinfo=UTC), timedelta()),
        (datetime(2000, 1, 1, tzinfo=UTC), timedelta(days=367)),
    ],
)
def test_bounds_that_believe_anything_are_refused(earliest: datetime, ahead: timedelta) -> None:
    """A bound may not let a missing time or a year far ahead pass."""
    with pytest.raises(ValueError, match="believed"):
        TimeBounds(earliest, ahead)


def test_impossible_times_make_no_partitions(loading: Loading) -> None:
    """A broken clock's spans all lie in the month of their receipt."""
    wild = [0, 1, LAST_NS, LAST_NS + 1, UINT64_MAX, NOON_NS + 400 * DAY_NS, NOON_NS - 9999 * DAY_NS]
    token = loading.load(*(request(span(n, start_time_unix_nano=at)) for n, at in enumerate(wild)))

    assert {row[0] for row in loading.quarantined(token, "_partition_id")} == {"20260101"}


def test_events_with_impossible_times_saturate(loading: Loading) -> None:
    """An event's time does not wrap: beyond the last time there is, it stands at that time."""
    events = [Span.Event(time_unix_nano=at) for at in (0, NOON_NS, LAST_NS + 1, UINT64_MAX)]
    token = loading.load(request(span(events=events)))

    ((times,),) = loading.rows(token, "arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp)")

    assert times == [0, NOON_NS, LAST_NS, LAST_NS]


def test_nanoseconds_survive(loading: Loading) -> None:
    """A time keeps all its nine digits."""
    token = loading.load(
        request(span(start_time_unix_nano=NOON_NS + 123_456_789, end_time_unix_nano=NOON_NS + 123_456_790))
    )

    assert loading.rows(token, "toUnixTimestamp64Nano(Timestamp)", "Duration") == [(NOON_NS + 123_456_789, 1)]


def test_many_days_load_in_one_segment(loading: Loading) -> None:
    """History of many days comes in one segment: there is no limit of a hundred days per insert."""
    days = 400
    spans = [
        span(n, start_time_unix_nano=NOON_NS - n * DAY_NS, end_time_unix_nano=NOON_NS - n * DAY_NS + 1)
        for n in range(days)
    ]

    rows = loading.rows(loading.load(request(*spans)), "toDate(Timestamp)")

    assert len({day for (day,) in rows}) == days


def test_the_envelope_gives_tenant_and_time_of_receipt(loading: Loading) -> None:
    """Each message brings its own; what a sender put into the body itself is overruled by what was appended."""
    forged = request(span(1)).SerializeToString() + envelope(NOON_NS - DAY_NS, "somebody else")
    segment = loading.segment(
        record(forged, NOON_NS, "acme") + record(request(span(2)).SerializeToString(), NOON_NS + SECOND_NS, "other")
    )
    load_segment(loading.client, segment)

    assert loading.rows(segment.id, "TenantId", "IngestedAt") == [
        ("acme", NOON),
        ("other", NOON + timedelta(seconds=1)),
    ]


def test_without_an_envelope_the_receipt_is_now(loading: Loading) -> None:
    """A message without envelope counts as received when it is loaded."""
    body = request(span(start_time_unix_nano=0)).SerializeToString()
    segment = loading.segment(bytes([len(body)]) + body)
    load_segment(loading.client, segment)

    ((tenant, ingested, at, loaded),) = loading.quarantined(
        segment.id, "TenantId", "IngestedAt", "Timestamp", "LoadedAt"
    )

    assert tenant == ""
    assert abs(loaded - ingested) < timedelta(minutes=1)
    assert abs(at - ingested) < timedelta(seconds=1)


def test_filters_of_attributes_are_made_by_merges(loading: Loading) -> None:
    """Until its part is merged, a search over attributes reads a span; it finds it either way."""
    day = NOON_NS - 3000 * DAY_NS  # no other test's
    own = {"start_time_unix_nano": day, "end_time_unix_nano": day}
    for number in (1, 2):
        loading.load(request(span(number, {"colour": f"blue {number}"}, **own)), depth=PLAIN)

    def reads(value: str) -> tuple[str, int]:
        """Return how many granules of how many are read for a value, and what is found."""
        where = f"WHERE has(mapValues(SpanAttributes), '{value}') AND toDate(Timestamp) = '2017-10-15'"
        plan = loading.client.query(f"EXPLAIN indexes = 1 SELECT count() FROM otel_traces {where}").result_rows
        granules = [line.split()[-1] for (line,) in plan if "Granules:" in line][-1]
        found = loading.client.query(f"SELECT count() FROM otel_traces {where}").result_rows[0][0]
        return granules, int(found)

    loaded = reads("red"), reads("blue 2")
    loading.client.command("OPTIMIZE TABLE otel_traces PARTITION '2017-10-15' FINAL")

    assert loaded == (("2/2", 0), ("2/2", 1))
    assert (reads("red"), reads("blue 2")) == (("0/1", 0), ("1/1", 1))
