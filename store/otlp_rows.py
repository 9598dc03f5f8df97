"""The way of decoded rows into the tables: redaction, then the quarantine of rows whose times cannot be, or the table.

    inbox -> decode -> <signal>_decoded -> redact -> <signal>_redacted -> otel_<signal>
                                                                       -> otel_<signal>_quarantine

Tables without a table below keep nothing (``Null``): each is a place where a view takes up rows of plain columns. The
redaction here changes nothing; a policy puts its own expressions into that one view, and so reaches what is stored and
what is in quarantine alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controltower.store.otlp import lines
from controltower.store.times import IMPOSSIBLE

_KEPT_DAYS: Final = 400
_TEXT: Final = "String"
_NAME: Final = "LowCardinality(String)"
_MAP: Final = "Map(LowCardinality(String), String)"
_TIME: Final = "DateTime64(9, 'UTC')"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a signal: their columns, and the table that takes each kind of them, with its condition."""

    signal: str
    columns: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]

    @property
    def quarantine(self) -> str:
        """Return the table of rows whose times cannot be."""
        return f"otel_{self.signal}_quarantine"

    def names(self) -> list[str]:
        """Return the names of the columns, quoted where they need to be."""
        return [f"`{name}`" if "." in name else name for name, _ in self.columns]


OURS: Final = (
    ("TenantId", _NAME),
    ("IngestedAt", "DateTime64(3, 'UTC')"),
    ("SegmentId", _NAME),
    ("TimeQuality", _NAME),
)
"""What every row has beside the exporter's columns."""

TRACES: Final = Rows(
    "traces",
    (
        ("Timestamp", _TIME),
        ("TraceId", _TEXT),
        ("SpanId", _TEXT),
        ("ParentSpanId", _TEXT),
        ("TraceState", _TEXT),
        ("SpanName", _NAME),
        ("SpanKind", _NAME),
        ("ServiceName", _NAME),
        ("ResourceAttributes", _MAP),
        ("ScopeName", _TEXT),
        ("ScopeVersion", _TEXT),
        ("SpanAttributes", _MAP),
        ("Duration", "UInt64"),
        ("StatusCode", _NAME),
        ("StatusMessage", _TEXT),
        ("Events.Timestamp", f"Array({_TIME})"),
        ("Events.Name", f"Array({_NAME})"),
        ("Events.Attributes", f"Array({_MAP})"),
        ("Links.TraceId", "Array(String)"),
        ("Links.SpanId", "Array(String)"),
        ("Links.TraceState", "Array(String)"),
        ("Links.Attributes", f"Array({_MAP})"),
        *OURS,
        ("SentStartUnixNano", "UInt64"),
        ("SentEndUnixNano", "UInt64"),
    ),
    (("otel_traces", ""),),
)


def steps(rows: Rows) -> list[str]:
    """Return the statements that make the way of *rows* from decoded to stored, without the tables they end in."""
    decoded, redacted = f"otlp_{rows.signal}_decoded", f"otlp_{rows.signal}_redacted"
    return [
        _null(decoded, rows),
        _null(redacted, rows),
        _quarantine(rows),
        _view(f"otlp_{rows.signal}_redact", redacted, decoded, rows),
        _view(f"otlp_{rows.signal}_to_quarantine", rows.quarantine, redacted, rows, _impossible()),
        *(
            _view(f"otlp_{rows.signal}_to_{table}", table, redacted, rows, _impossible("NOT IN"), kind)
            for table, kind in rows.tables
        ),
    ]


def _null(name: str, rows: Rows) -> str:
    return f"CREATE TABLE {name} (\n{_typed(rows)}\n) ENGINE = Null"


def _quarantine(rows: Rows) -> str:
    """Return the table of rows that wait for a decision: they are as they would be stored, at their receipt."""
    stamp = "    LoadedAt DateTime64(6, 'UTC') DEFAULT nowInBlock64(6)"
    return (
        f"CREATE TABLE {rows.quarantine} (\n{_typed(rows)},\n{stamp}\n) ENGINE = MergeTree\n"
        "PARTITION BY toStartOfMonth(IngestedAt)\n"
        "ORDER BY (TimeQuality, SegmentId)\n"
        f"TTL toDateTime(IngestedAt) + INTERVAL {_KEPT_DAYS} DAY\n"
        "SETTINGS\n"
        "    ttl_only_drop_parts = 1,\n"
        "    non_replicated_deduplication_window = 10000"
    )


def _typed(rows: Rows) -> str:
    return lines((f"{name} {type_}" for name, (_, type_) in zip(rows.names(), rows.columns, strict=True)), 4)


def _view(name: str, target: str, source: str, rows: Rows, *conditions: str) -> str:
    where = " AND ".join(filter(None, conditions))
    return f"CREATE MATERIALIZED VIEW {name} TO {target} AS\nSELECT\n{lines(rows.names(), 4)}\nFROM {source}" + (
        f"\nWHERE {where}" if where else ""
    )


def _impossible(operator: str = "IN") -> str:
    return f"TimeQuality {operator} ({_listed(IMPOSSIBLE)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
