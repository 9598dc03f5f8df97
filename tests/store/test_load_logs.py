"""Log records are loaded exactly, into the exporter's table."""

from datetime import UTC, datetime, timedelta

from controltower.store.loader import Segment, load_segment
from tests.store.logs import log, logs
from tests.store.otlp import DAY_NS, NOON_NS, SECOND_NS, Loading, Value, array, attributes, pairs
from tests.store.otlp_text import text_of
from tests.store.test_load_values import CONTAINERS, SCALARS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UINT64_MAX = 2**64 - 1
EXPORTERS = (
    "Timestamp",
    "TraceId",
    "SpanId",
    "TraceFlags",
    "SeverityText",
    "SeverityNumber",
    "ServiceName",
    "Body",
    "ResourceSchemaUrl",
    "ResourceAttributes",
    "ScopeSchemaUrl",
    "ScopeName",
    "ScopeVersion",
    "ScopeAttributes",
    "LogAttributes",
    "EventName",
)


def test_a_record_has_the_exporters_columns(loading: Loading) -> None:
    """All 16 columns hold what the Collector's exporter would write."""
    made = logs(
        log(
            pairs(("b", 1), ("a", array("x"))),
            {"k": 1.5},
            trace_id=b"\x01" * 16,
            span_id=b"\x02" * 8,
            flags=0x101,
            severity_number=17,
            severity_text="ERROR",
            event_name="order.refused",
        )
    )
    made.resource_logs[0].schema_url = "urn:resource"
    scope = made.resource_logs[0].scope_logs[0]
    scope.schema_url, scope.scope.name, scope.scope.version = "urn:scope", "sdk", "1.2"
    scope.scope.attributes.extend(attributes([("s", array(1, True))]))

    (row,) = loading.read("otel_logs", loading.load_signal("logs", made), *EXPORTERS)

    assert list(row) == [
        NOON,
        "01" * 16,
        "02" * 8,
        1,
        "ERROR",
        17,
        "erp",
        '{"a":["x"],"b":1}',
        "urn:resource",
        {"service.name": "erp"},
        "urn:scope",
        "sdk",
        "1.2",
        {"s": "[1,true]"},
        {"k": "1.5"},
        "order.refused",
    ]


def test_bodies_and_attributes_are_exact_for_every_value(loading: Loading) -> None:
    """A body may be any value, and prints as an attribute does."""
    values = [*SCALARS, *CONTAINERS]
    records = [log(given, {"v": given}, time_unix_nano=NOON_NS + n) for n, (given, _) in enumerate(values)]

    rows = loading.read("otel_logs", loading.load_signal("logs", logs(*records)), "Body", "LogAttributes['v']")

    assert rows == [(text, text) for _, text in values]


def test_deep_bodies_lose_nothing(loading: Loading) -> None:
    """However deep a body is, its innermost value can be found again."""
    deep = array("innermost")
    for _ in range(20):
        deep = array(deep)

    rows = loading.read("otel_logs", loading.load_signal("logs", logs(log(deep))), "Body")

    assert rows == [(text_of(deep),)]


def test_a_record_stands_at_the_first_time_it_has(loading: Loading) -> None:
    """Its own time, else that of its observation, else its receipt, and then it is marked."""
    hour = 3600 * SECOND_NS
    token = loading.load_signal(
        "logs",
        logs(
            log("both", time_unix_nano=NOON_NS, observed_time_unix_nano=NOON_NS - hour),
            log("observed", time_unix_nano=0, observed_time_unix_nano=NOON_NS - hour),
            log("none", time_unix_nano=0),
            log("ahead", time_unix_nano=NOON_NS + hour),
            log("old", time_unix_nano=NOON_NS - 3660 * DAY_NS),
        ),
    )

    assert loading.read("otel_logs", token, "Body", "Timestamp", "TimeQuality", "ObservedUnixNano", order="Body") == [
        ("ahead", NOON + timedelta(hours=1), "ahead", 0),
        ("both", NOON, "", NOON_NS - hour),
        ("none", NOON, "time_missing", 0),
        ("observed", NOON - timedelta(hours=1), "", NOON_NS - hour),
        ("old", NOON, "time_implausible", 0),
    ]


def test_impossible_times_go_to_quarantine(loading: Loading) -> None:
    """What a broken clock dated is kept with the reason and the time as sent, and the good records are stored."""
    wild = [1, NOON_NS + DAY_NS + 1, 2**63, UINT64_MAX]
    token = loading.load_signal("logs", logs(log("good"), *(log(time_unix_nano=at) for at in wild)))

    assert loading.read("otel_logs", token, "Body") == [("good",)]
    assert loading.read("otel_logs_quarantine", token, "TimeQuality", "SentUnixNano", "Timestamp") == [
        ("time_too_early", 1, NOON),
        *(("time_too_late", at, NOON) for at in wild[1:]),
    ]


def test_an_id_that_is_none_counts_as_absent(loading: Loading) -> None:
    """OTLP: a record with an invalid id is kept as one without (O73)."""
    ids = [(b"", b""), (bytes(16), bytes(8)), (b"\x01" * 15, b"\x01" * 9), (b"\x01" * 16, b"\x02" * 8)]
    records = [log(trace_id=trace, span_id=own, time_unix_nano=NOON_NS + n) for n, (trace, own) in enumerate(ids)]

    rows = loading.read("otel_logs", loading.load_signal("logs", logs(*records)), "TraceId", "SpanId")

    assert rows == [("", "")] * 3 + [("01" * 16, "02" * 8)]


def test_numbers_that_the_exporters_columns_cannot_hold_are_kept(loading: Loading) -> None:
    """Unknown severities and the upper flags stand whole in columns of ours."""
    given = [(24, 1), (255, 0xFFFFFFFF), (256, 0x300), (-1, 0), (2**31 - 1, 0)]
    records = [
        log(severity_number=number, flags=flags, time_unix_nano=NOON_NS + n) for n, (number, flags) in enumerate(given)
    ]

    token = loading.load_signal("logs", logs(*records))

    assert loading.read("otel_logs", token, "SentSeverityNumber", "Flags") == given
    assert loading.read("otel_logs", token, "SeverityNumber", "TraceFlags") == [
        (24, 1),
        (255, 255),
        (0, 0),
        (0, 0),
        (0, 0),
    ]


def test_empty_parts_make_no_records_and_no_trouble(loading: Loading) -> None:
    """Requests, resources and scopes without anything in them load, and the records beside them too."""
    made = logs(log("good"))
    made.resource_logs.add().scope_logs.add()
    made.resource_logs.add().scope_logs.add().log_records.add()

    token = loading.load_signal("logs", logs(), made)

    assert loading.read("otel_logs", token, "Body", "ServiceName", "TimeQuality") == [
        ("", "", "time_missing"),
        ("good", "erp", ""),
    ]


def test_records_load_once_with_their_keys(loading: Loading) -> None:
    """The token loads once: the records, those in quarantine, and what finds them by key."""
    records = [log(f"{n}", {"controltower.key.invoice": f"LOG-{n}"}) for n in range(5)]
    token = loading.load_signal("logs", logs(*records, log(time_unix_nano=1)))

    again = load_segment(loading.client, Segment(token, "logs", loading.folder / token))

    assert again == 0
    assert len(loading.read("otel_logs", token, "Body")) == 5
    assert len(loading.read("otel_logs_quarantine", token, "Body")) == 1
    found = loading.client.query("SELECT count() FROM log_keys WHERE Value LIKE 'LOG-%'")
    assert found.result_rows == [(5,)]


def test_keys_of_a_record_are_found_as_those_of_a_span(loading: Loading) -> None:
    """A key is text or an array of texts, with the scope that stands beside it."""
    have: dict[str, Value] = {
        "controltower.key.receipt": array("R-1", "R-2"),
        "controltower.key.check": "C-1",
        "controltower.scope.check": "bank",
        "controltower.key.empty": "",
    }
    loading.load_signal("logs", logs(log(have=have)))

    rows = loading.client.query(
        "SELECT Type, Scope, Value FROM log_keys WHERE Type IN ('receipt', 'check', 'empty') ORDER BY Value"
    ).result_rows

    assert rows == [("check", "bank", "C-1"), ("receipt", "", "R-1"), ("receipt", "", "R-2")]


def test_the_exporters_insert_fits(loading: Loading) -> None:
    """A stock Collector writes by column name; our columns get their defaults."""
    values = [NOON, "ab", "cd", 1, "INFO", 9, "stock", "text", "", {}, "", "", "", {}, {"a": "b"}, "event"]
    loading.client.insert("otel_logs", [values], column_names=EXPORTERS, settings={"async_insert": 0})

    ours = (
        "Flags, SentSeverityNumber, SentUnixNano, TenantId, SegmentId, IngestedAt > now() - 60, LoadedAt > now() - 60"
    )
    rows = loading.client.query(f"SELECT {ours} FROM otel_logs WHERE ServiceName = 'stock'").result_rows

    assert rows == [(1, 9, NOON_NS, "", "", 1, 1)]
