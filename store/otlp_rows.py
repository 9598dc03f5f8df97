"""The way of decoded rows into the tables: redaction, then the quarantine of rows whose times cannot be, or the table.

    inbox -> decode -> <signal>_decoded -> redact -> <signal>_redacted -> otel_<signal>
                                                                       -> otel_<signal>_quarantine

Tables without a table below keep nothing (``Null``): each is a place where a view takes up rows of plain columns. The
redaction here changes nothing; a policy puts its own expressions into that one view, and so reaches what is stored and
what is in quarantine alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from controltower.store.otlp import lines
from controltower.store.times import IMPOSSIBLE

TEXT: Final = "String"
NAME: Final = "LowCardinality(String)"
MAP: Final = "Map(LowCardinality(String), String)"
TIME: Final = "DateTime64(9, 'UTC')"

_KEPT_DAYS: Final = 400


class Target(NamedTuple):
    """A table of the exporter: which rows it takes (all when empty), and which of their columns."""

    table: str
    condition: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The decoded rows of a signal: their columns, and the tables that they go into."""

    signal: str
    columns: tuple[tuple[str, str], ...]
    targets: tuple[Target, ...]

    @property
    def quarantine(self) -> str:
        """Return the table of rows whose times cannot be."""
        return f"otel_{self.signal}_quarantine"


KEYS_COLUMN: Final = "RedactionKeys"
"""Of decoded rows: the keys for the tokens of redaction, which come with the load and are stored nowhere."""

OURS: Final = (
    ("TenantId", NAME),
    ("IngestedAt", "DateTime64(3, 'UTC')"),
    ("SegmentId", NAME),
    ("TimeQuality", NAME),
)
"""What every row has beside the exporter's columns."""

OURS_OF: Final = (
    ("TenantId", "tenant"),
    ("IngestedAt", "fromUnixTimestamp64Nano(toInt64(received), 'UTC')"),
    ("SegmentId", "substringIndex(getSetting('insert_deduplication_token'), '#', 1)"),
    ("TimeQuality", "TimeQuality"),
)
"""Their expressions in the view behind the inbox."""


def quoted(names: Iterable[str]) -> list[str]:
    """Return names of columns, quoted where they need to be."""
    return [f"`{name}`" if "." in name else name for name in names]


def steps(rows: Rows) -> list[str]:
    """Return the statements that make the way of *rows* from decoded to stored, without the tables they end in."""
    decoded, redacted = f"otlp_{rows.signal}_decoded", f"otlp_{rows.signal}_redacted"
    every = [name for name, _ in rows.columns]
    return [
        _null(decoded, rows, f",\n    {KEYS_COLUMN} Array(String)"),
        _null(redacted, rows),
        _quarantine(rows),
        _view(f"otlp_{rows.signal}_redact", redacted, decoded, every),
        _view(f"otlp_{rows.signal}_to_quarantine", rows.quarantine, redacted, every, _impossible()),
        *(
            _view(
                f"otlp_{rows.signal}_to_{target.table}",
                target.table,
                redacted,
                target.columns,
                _impossible("NOT IN"),
                target.condition,
            )
            for target in rows.targets
        ),
    ]


def _null(name: str, rows: Rows, more: str = "") -> str:
    return f"CREATE TABLE {name} (\n{_typed(rows)}{more}\n) ENGINE = Null"


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
    names = quoted(name for name, _ in rows.columns)
    return lines((f"{name} {type_}" for name, (_, type_) in zip(names, rows.columns, strict=True)), 4)


def _view(name: str, target: str, source: str, columns: Iterable[str], *conditions: str) -> str:
    where = " AND ".join(filter(None, conditions))
    return f"CREATE MATERIALIZED VIEW {name} TO {target} AS\nSELECT\n{lines(quoted(columns), 4)}\nFROM {source}" + (
        f"\nWHERE {where}" if where else ""
    )


def _impossible(operator: str = "IN") -> str:
    return f"TimeQuality {operator} ({_listed(IMPOSSIBLE)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
