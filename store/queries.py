"""Statements of the read API: named ones from ``sql/``, and builders for what varies.

A builder returns ``Query(sql, parameters)``. A value never enters the text; an identifier only from a list in this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib import resources

from controltower.store.errors import LimitError
from controltower.store.reads.answers import SearchFilters, Sort
from controltower.store.rows import Key

PAGE_LIMIT = 1_000  # rows of one page: what a person can look at, and a download in pages
OFFSET_LIMIT = 1_000_000  # deeper pages sort as many rows again each time
ANCHORS_LIMIT = 10_000  # transactions behind one key: a payment run of thousands of invoices fits
KEY_STEPS_LIMIT = 100_000  # steps that carry one key, before they are resolved to transactions
MEMBERS_AT_ONCE = 500  # steps named in one statement: its values travel in the address of a request, which has an end

_ANCHOR = "(flow, anchor.type, anchor.scope, anchor.value)"

# The only columns that enter the text of an ORDER BY.
SORTS: Mapping[Sort, str] = {
    "last_step_at": "last_step_at",
    "started_at": "started_at",
    "at_stake": "at_stake",
    "amount": "ifNull(amount, 0)",
    "next_due_at": "next_due_at",
    "anchor": "anchor.value",
}


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the values it is run with."""

    sql: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    threads: int | None = None  # the engine decides when None
    rows_at_once: int | None = None  # of each block of the result; likewise


@cache
def statement(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return resources.files("controltower.store").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def named(statement_name: str, /, **parameters: object) -> Query:
    """Return a named statement with its values."""
    return Query(statement(statement_name), parameters)


def lookup(query: Query) -> Query:
    """Return *query* as one that finds a few rows by their key: several threads share out work that is not there."""
    return replace(query, threads=1)


def of_anchor(statement_name: str, flow: str, anchor: Key, *, limit: int) -> Query:
    """Return a named statement about one transaction."""
    return lookup(
        named(
            statement_name,
            flow=flow,
            type=anchor.type,
            scope=anchor.scope,
            value=anchor.value,
            limit=checked(limit, ANCHORS_LIMIT),
        )
    )


def of_members(statement_name: str, flow: str, members: Sequence[tuple[str, str]], *, limit: int) -> Query:
    """Return a named statement about steps by their trace and span ids, ``MEMBERS_AT_ONCE`` at most."""
    checked(len(members), MEMBERS_AT_ONCE, name="number of steps")
    return lookup(named(statement_name, flow=flow, members=list(members), limit=checked(limit, ANCHORS_LIMIT)))


def key_values(text: str) -> list[str]:
    """Return the spellings under which a key may be stored: as typed, trimmed and in capitals. Nothing for no text."""
    trimmed = text.strip()
    return sorted({trimmed, trimmed.upper()}) if trimmed else []


def anchors_of(text: str, *, type: str | None, flow: str | None, limit: int) -> Query:
    """Return the transactions that a key leads to."""
    return named(
        "select_anchors",
        values=key_values(text),
        type=type or "",
        flow=flow or "",
        steps=KEY_STEPS_LIMIT,
        limit=checked(limit, ANCHORS_LIMIT),
    )


def transactions(filters: SearchFilters) -> Query:
    """Return one page of the transactions that pass *filters*; the anchor breaks ties, so that pages do not overlap."""
    where, parameters = _where(filters)
    direction = "DESC" if filters.descending else "ASC"
    page = {"limit": checked(filters.limit, PAGE_LIMIT), "offset": checked(filters.offset, OFFSET_LIMIT, name="offset")}
    return Query(
        f"{statement('select_transactions')}{where}"
        f"ORDER BY {SORTS[filters.sort]} {direction} NULLS LAST, flow, anchor.type, anchor.value, anchor.scope\n"
        "LIMIT {limit:UInt32} OFFSET {offset:UInt32}\n",
        parameters | page,
    )


def count_transactions(filters: SearchFilters) -> Query:
    """Return how many transactions pass *filters*, whatever the page."""
    where, parameters = _where(filters)
    return Query(f"SELECT count() AS total\nFROM transactions FINAL\n{where}", parameters)


def parked_steps(*, flow: str, state: str, limit: int, offset: int) -> Query:
    """Return one page of parked steps, the latest first."""
    where, parameters = _parked_where(flow, state)
    page = {"limit": checked(limit, PAGE_LIMIT), "offset": checked(offset, OFFSET_LIMIT, name="offset")}
    return Query(
        f"{statement('select_parked')}{where}"
        "ORDER BY version DESC, flow, trace_id, span_id\nLIMIT {limit:UInt32} OFFSET {offset:UInt32}\n",
        parameters | page,
    )


def count_parked_steps(*, flow: str, state: str) -> Query:
    """Return how many steps are parked."""
    where, parameters = _parked_where(flow, state)
    return Query(f"SELECT count() AS total\nFROM parked_steps FINAL\n{where}", parameters)


def checked(asked: int, allowed: int, *, name: str = "limit") -> int:
    """Return *asked*; raise ``LimitError`` when it is negative or more than *allowed*."""
    if not 0 <= asked <= allowed:
        raise LimitError(f"The {name} of a read must be between 0 and {allowed:,}; {asked:,} was asked for.")
    return asked


def _where(filters: SearchFilters) -> tuple[str, dict[str, object]]:
    conditions: list[str] = []
    parameters: dict[str, object] = {}
    if filters.text.strip():
        anchors = anchors_of(filters.text, type=filters.type, flow=filters.flow, limit=ANCHORS_LIMIT)
        # LIMIT of the page has the same name as the limit of the inner statement: the inner one is renamed.
        inner = anchors.sql.replace("{limit:UInt32}", "{anchors:UInt32}")
        conditions.append(f"{_ANCHOR} IN (\n{inner})")
        parameters |= {**anchors.parameters, "anchors": ANCHORS_LIMIT}
        del parameters["limit"]
    for condition, name, value in _simple(filters):
        conditions.append(condition)
        parameters[name] = value
    for number, (key, value) in enumerate(sorted(filters.context.items())):
        conditions.append(f"context[{{context_key_{number}:String}}] = {{context_value_{number}:String}}")
        parameters |= {f"context_key_{number}": key, f"context_value_{number}": value}
    if filters.rule or filters.reason:
        conditions.append(f"{_ANCHOR} IN (\n{statement('select_anchors_with_exception')})")
        parameters |= {"rule": filters.rule, "reason": filters.reason}
    if filters.cause:
        conditions.append(f"{_ANCHOR} IN (\n{statement('select_anchors_with_cause')})")
        parameters["cause"] = filters.cause
    if filters.late_only:
        conditions.append("breached_deadlines > 0")
    if filters.open_only:
        conditions.append("open_exceptions > 0")
    return _joined(conditions), parameters


def _simple(filters: SearchFilters) -> list[tuple[str, str, object]]:
    given: Sequence[tuple[bool, str, str, object]] = (
        (bool(filters.flow), "flow = {flow:String}", "flow", filters.flow),
        (bool(filters.states), "state IN {states:Array(String)}", "states", [str(state) for state in filters.states]),
        (bool(filters.stage), "stage = {stage:String}", "stage", filters.stage),
        (filters.since is not None, "last_step_at >= {since:DateTime64(6, 'UTC')}", "since", timestamp(filters.since)),
        (filters.until is not None, "last_step_at < {until:DateTime64(6, 'UTC')}", "until", timestamp(filters.until)),
        (filters.min_amount is not None, "amount >= {min_amount:Decimal(38, 6)}", "min_amount", filters.min_amount),
    )
    return [(condition, name, value) for used, condition, name, value in given if used]


def timestamp(moment: datetime | None) -> str | None:
    """Return *moment* as ClickHouse reads a ``DateTime64`` parameter with its microseconds, in UTC."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous: pass an aware datetime")
    return f"{moment.timestamp():.6f}"


def _parked_where(flow: str, state: str) -> tuple[str, dict[str, object]]:
    conditions: list[str] = []
    parameters: dict[str, object] = {}
    for column, value in (("flow", flow), ("state", state)):
        if value:
            conditions.append(f"{column} = {{{column}:String}}")
            parameters[column] = value
    return _joined(conditions), parameters


def _joined(conditions: Sequence[str]) -> str:
    return "WHERE " + "\n    AND ".join(conditions) + "\n" if conditions else ""
