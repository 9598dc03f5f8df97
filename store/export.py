"""What the store holds of a flow as an object-centric log: steps are events, keys are objects. Memory is bounded.

Each document is an object of its key's type, once, however many steps carry it. An event has the objects that its step carries
(``carried``), those of its lines (``line``), and the transactions that it was joined to by other steps (``by key``, ``by trace``).
Objects are related as the flow's keys are (``belongs to``). Of two flows that carry the same key it is one object.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from controltower.store.ocel.staged import Related, Staged
from controltower.store.ocel.writing import DECIMAL
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch_records
from controltower.store.rows import Key

PAGE: Final = 10_000  # rows that are in memory
LINE: Final = "document_line"
EVENT_TYPES: Final = {"amount": DECIMAL, "quantity": DECIMAL, "duration_ns": "integer", "failed": "boolean"} | {
    "observed_at": "time"
}
LINE_TYPES: Final = {"quantity": DECIMAL, "unit_price": DECIMAL, "amount": DECIMAL}
TRANSACTION_TYPES: Final = {"amount": DECIMAL, "at_stake": DECIMAL, "flow_version": "integer"}
TEXTS: Final = (
    "stage",
    "system",
    "span_name",
    "outcome",
    "reason",
    "actor",
    "style",
    "interface",
    "currency",
    "uom",
    "replay_of",
    "run_id",
)
LINE_TEXTS: Final = ("line", "item", "uom", "currency")

Record = Mapping[str, Any]


def flows_with_steps(client: Client) -> list[str]:
    """Return the flows that steps are stored of. StoreError."""
    return [row["flow"] for row in fetch_records(client, named("export_flows"))]


def export_flow(client: Client, flow: str, staged: Staged) -> None:
    """Add all steps of *flow* to *staged*, with their keys, lines and transactions. StoreError."""
    for row in _pages(client, "export_steps", flow, trace_id="", span_id=""):
        _add_step(staged, row)
    for row in _pages(client, "export_lines", flow, trace_id="", span_id="", position=0):
        _add_line(staged, row)
    for row in _pages(client, "export_members", flow, type="", value="", scope="", trace_id="", span_id=""):
        staged.relate(_event_id(row), object_id(_key(row)), f"by {row['evidence']}")
    first = {name: "" for each in ("", "parent_") for name in (f"{each}type", f"{each}value", f"{each}scope")}
    for row in _pages(client, "export_links", flow, **first):
        parent = Key(row["parent_type"], row["parent_scope"], row["parent_value"])
        _add_key(staged, _key(row), [Related(object_id(parent), "belongs to")])
        _add_key(staged, parent)
    for row in _pages(client, "export_transactions", flow, type="", value="", scope=""):
        _add_transaction(staged, flow, row)


def _pages(client: Client, statement: str, flow: str, **position: str | int) -> Iterator[Record]:
    """Yield all rows of a statement that reads on behind a *position*, the columns of its order."""
    while True:
        rows = fetch_records(client, named(statement, flow=flow, limit=PAGE, **position))
        yield from rows
        if len(rows) < PAGE:
            return
        position = {name: rows[-1][name] for name in position}


def object_id(key: Key) -> str:
    """Return the id of a key's object: ``type:value``, with ``@scope`` when it has one; no two keys have the same."""
    scope = f"@{_escaped(key.scope)}" if key.scope else ""
    return f"{_escaped(key.type)}:{_escaped(key.value)}{scope}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("@", "%40").replace(":", "%3A")


def _event_id(row: Record) -> str:
    return f"{row['trace_id']}-{row['span_id']}"


def _plain(number: Decimal) -> str:
    """Return a number with the digits that say something."""
    return format(number.normalize(), "f")


def _key(row: Record) -> Key:
    return Key(row["type"], row["scope"], row["value"])


def _add_step(staged: Staged, row: Record) -> None:
    values = {name: row[name] for name in TEXTS if row[name]}
    values |= {name: _plain(row[name]) for name in ("amount", "quantity") if row[name] is not None}
    values |= {f"context.{name}": value for name, value in row["context"].items()}
    values |= {"duration_ns": str(row["duration_ns"]), "failed": "true" if row["failed"] else "false"}
    values["observed_at"] = row["observed_at"].isoformat(timespec="microseconds")
    if row["ignored_keys"]:
        values["ignored_keys"] = " ".join(object_id(Key(*key)) for key in row["ignored_keys"])
    keys = [Key(*key) for key in row["keys"]]
    for key in keys:
        _add_key(staged, key)
    related = [Related(object_id(key), "carried") for key in keys]
    staged.declare("event", row["step"], {name: EVENT_TYPES.get(name, "string") for name in values})
    staged.event(_event_id(row), row["step"], row["at"].isoformat(timespec="microseconds"), values, related)


def _add_key(staged: Staged, key: Key, related: list[Related] | None = None) -> None:
    given = [("value", "", key.value), *([("scope", "", key.scope)] if key.scope else [])]
    staged.object(object_id(key), key.type, [] if staged.holds(object_id(key)) else given, related or [])


def _add_line(staged: Staged, row: Record) -> None:
    id_ = f"{LINE}:{_event_id(row)}#{row['position']}"
    values = {name: row[name] for name in LINE_TEXTS if row[name]}
    values |= {name: _plain(row[name]) for name in LINE_TYPES if row[name] is not None}
    keys = [Key(*key) for key in row["keys"]]
    for key in keys:
        _add_key(staged, key)
    staged.declare("object", LINE, {name: LINE_TYPES.get(name, "string") for name in values})
    staged.object(
        id_,
        LINE,
        [(name, "", value) for name, value in values.items()],
        [Related(object_id(key), "names") for key in keys],
    )
    staged.relate(_event_id(row), id_, "line")


def _add_transaction(staged: Staged, flow: str, row: Record) -> None:
    values = {name: row[name] for name in ("state", "stage", "currency") if row[name]}
    values |= {name: _plain(row[name]) for name in ("amount", "at_stake") if row[name] is not None}
    values |= {"flow_version": str(row["flow_version"])}
    key = _key(row)
    _add_key(staged, key)
    staged.declare("object", key.type, {f"{flow}.{name}": TRANSACTION_TYPES.get(name, "string") for name in values})
    given = [(f"{flow}.{name}", "", value) for name, value in values.items()]
    staged.object(object_id(key), key.type, given, [])
