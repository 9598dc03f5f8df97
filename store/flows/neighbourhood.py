"""The engine's reads: what is stored around some keys, steps or transactions. Thin: SQL in, rows out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final, TypeVar

from clickhouse_connect.driver.client import Client

from controltower.store.flows.beside import StepId
from controltower.store.flows.classify import SpanRow
from controltower.store.flows.counts import BACK, RUNS_KEPT, Run
from controltower.store.flows.deadlines import Course
from controltower.store.flows.definition import Flow
from controltower.store.flows.graph import Value
from controltower.store.missing import Missing
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch, fetch_records, stream
from controltower.store.reads.heard import heard
from controltower.store.rows import (
    AwaitedDeadline,
    Correction,
    Deadline,
    DocumentLine,
    ExceptionRow,
    Key,
    KeyLink,
    ParkedStep,
    Reconciliation,
    SpanLink,
    Step,
    Transaction,
    TransactionStep,
)

T = TypeVar("T")
# What a forecast rests on: deadlines that were due in this time, at least so many, and so many of them late.
PAST: Final = timedelta(days=180)
ENOUGH_DECIDED: Final = 30
ENOUGH_LATE: Final = 5
COURSES_LIMIT: Final = 2_000  # rules and their counterparties, the most frequent first
SPANS_AT_ONCE: Final = 8_192  # spans with all that they say take more memory than the steps that are made of them
_LOOKUP_COLUMNS = ["batch", "type", "scope", "value"]


_LOOKUP_TYPES = ["UInt64", "String", "String", "String"]  # given, so that no insert asks for them first


@dataclass(frozen=True, slots=True)
class _Identity:
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class _Anchor:
    anchor: Key


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class LinkedTrace:
    """A trace with span links, and when the last of them entered the store, in microseconds since 1970."""

    name: str
    loaded_us: int


@dataclass(frozen=True, slots=True)
class _FlowAnchor:
    """A transaction of a flow."""

    flow: str
    anchor: Key


@dataclass(frozen=True, slots=True)
class ScopedKey:
    """A key as it is known with its scope, and since which version."""

    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of some transactions: the last verdicts on them."""

    transactions: tuple[Transaction, ...]
    deadlines: tuple[Deadline, ...]
    reconciliations: tuple[Reconciliation, ...]
    exceptions: tuple[ExceptionRow, ...]


class Neighbourhood:
    """Reads around what a cycle touches. Lists go in through ``engine_lookup``; ``forget`` empties it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._batches = count(1)

    def state(self) -> dict[str, str]:
        """Return the engine's named positions."""
        return {row["name"]: row["value"] for row in fetch_records(self._client, named("engine_state"))}

    def newest_version(self) -> int:
        """Return the highest version ever written, by a cycle that was cut off, too."""
        return int(fetch_records(self._client, named("engine_newest_version"))[0]["newest"])

    def newest_span_us(self) -> int:
        """Return when the last span entered the store, in microseconds since 1970; 0 in an empty store."""
        return int(fetch_records(self._client, named("engine_newest_span"))[0]["newest"])

    def parts(self, table: str) -> frozenset[str]:
        """Return the parts that *table* is stored in at the moment. Parts never change; a merged one has a new name."""
        return frozenset(row["name"] for row in fetch_records(self._client, named("engine_span_parts", table=table)))

    def newly_linked(self, since_us: int, read: Iterable[str], limit: int) -> tuple[LinkedTrace, ...]:
        """Return traces whose links entered the store since then, outside of the parts *read*, oldest first."""
        query = named("engine_newly_linked", since=since_us, batch=self._look_up(_names(read)), limit=limit)
        return fetch(self._client, query, LinkedTrace)

    def has_links(self) -> bool:
        """Return whether there is any link from a span of one trace to one of another."""
        return bool(fetch_records(self._client, named("engine_has_links")))

    def span_links(self, trace_ids: Iterable[str]) -> tuple[SpanLink, ...]:
        """Return the links from spans of these traces to those of others."""
        return self._of_traces("engine_span_links", trace_ids, SpanLink)

    def linking_traces(self, trace_ids: Iterable[str]) -> set[str]:
        """Return the traces that link to one of these."""
        return {row.name for row in self._of_traces("engine_linking_traces", trace_ids, _Name)}

    def new_spans(
        self,
        flows: Sequence[Flow],
        *,
        since_us: int,
        generation: int,
        completed: int,
        read: Iterable[str],
        limit: int,
    ) -> Iterable[SpanRow]:
        """Yield spans that are steps of *flows* and that no cycle from *generation* to *completed* took, oldest first.

        All steps in the parts *read* were taken. Nothing else can be read until the last one is taken.
        """
        query = named(
            "engine_new_spans",
            batch=self._look_up(_names(read)),
            since=since_us,
            generation=generation,
            completed=completed,
            prefixes=[flow.prefix + "." for flow in flows],
            matches=sorted({f"{service}\n{span}" for flow in flows for service, span in flow.matches}),
            limit=limit,
        )
        return stream(self._client, query, SpanRow, rows_at_once=SPANS_AT_ONCE)

    def upward(self, flow: Flow, values: Iterable[Value]) -> tuple[tuple[ScopedKey, ...], tuple[KeyLink, ...]]:
        """Return the scoped keys that these values are known as, and the links from keys of these values to their
        parents."""
        rows = _values(values)
        if not rows:
            return (), ()
        batch = self._look_up(rows)
        scopes = fetch(self._client, named("engine_scopes", flow=flow.flow, batch=batch), ScopedKey)
        return scopes, fetch(self._client, named("engine_links_up", flow=flow.flow, batch=batch), KeyLink)

    def links_down(self, flow: Flow, values: Iterable[Value]) -> tuple[KeyLink, ...]:
        """Return the links from keys of these values to their children."""
        return self._around("engine_links_down", flow, _values(values), KeyLink)

    def steps_of_keys(self, flow: Flow, values: Iterable[Value]) -> set[StepId]:
        """Return the steps that carry a key of these values."""
        return {
            (row.trace_id, row.span_id)
            for row in self._around("engine_steps_of_keys", flow, _values(values), _Identity)
        }

    def steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[Step, ...]:
        """Return these steps, as far as they are stored."""
        return self._around("engine_steps", flow, _values(ids), Step)

    def steps_of_traces(self, flow: Flow, trace_ids: Iterable[str]) -> tuple[Step, ...]:
        """Return the steps of these traces."""
        return self._around("engine_steps_of_traces", flow, _names(trace_ids), Step)

    def steps_beside(self, flow: Flow, trace_ids: Iterable[str]) -> set[StepId]:
        """Return which steps these traces have in the store."""
        rows = self._around("engine_steps_beside", flow, _names(trace_ids), _Identity)
        return {(row.trace_id, row.span_id) for row in rows}

    def trace_dependents(self, flow: Flow, ids: Iterable[StepId]) -> set[StepId]:
        """Return which of these steps were joined by their trace or are parked."""
        rows = self._around("engine_trace_dependents", flow, _values(ids), _Identity)
        return {(row.trace_id, row.span_id) for row in rows}

    def memberships_of_steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[TransactionStep, ...]:
        """Return where these steps belong so far."""
        return self._around("engine_memberships_of_steps", flow, _values(ids), TransactionStep)

    def memberships_of_anchors(self, flow: Flow, anchors: Iterable[Key]) -> tuple[TransactionStep, ...]:
        """Return what belongs to these transactions."""
        return self._around("engine_memberships_of_anchors", flow, anchors, TransactionStep)

    def parked_of_steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[ParkedStep, ...]:
        """Return which of these steps are parked."""
        return self._around("engine_parked_of_steps", flow, _values(ids), ParkedStep)

    def lines(self, flow: Flow, ids: Iterable[StepId]) -> tuple[DocumentLine, ...]:
        """Return the document lines of these steps, in order."""
        return self._around("engine_lines", flow, _values(ids), DocumentLine)

    def known(self, flow: Flow, anchors: Iterable[Key]) -> Known:
        """Return the stored verdicts on these transactions."""
        rows = list(anchors)
        if not rows:
            return Known((), (), (), ())
        of = {"flow": flow.flow, "batch": self._look_up(rows)}
        return Known(
            transactions=fetch(self._client, named("engine_transactions", **of), Transaction),
            deadlines=fetch(self._client, named("engine_deadlines", **of), Deadline),
            reconciliations=fetch(self._client, named("engine_reconciliations", **of), Reconciliation),
            exceptions=fetch(self._client, named("engine_exceptions", **of), ExceptionRow),
        )

    def due(self, flows: Sequence[Flow], now_us: int, limit: int) -> Mapping[str, list[Key]]:
        """Return flow -> the transactions whose verdict may have changed by time alone, longest waiting first; *limit* of
        each flow."""
        query = named("engine_due", flows=[flow.flow for flow in flows], now=now_us, limit=limit)
        found: dict[str, list[Key]] = {flow.flow: [] for flow in flows}
        for row in fetch(self._client, query, _FlowAnchor):
            found[row.flow].append(row.anchor)
        return found

    def heard(self, systems: Iterable[str]) -> dict[str, datetime]:
        """Return system -> when it was last heard of; one that never was is left out."""
        return heard(self._client, systems)

    def awaited(self, flows: Sequence[Flow], since: Mapping[str, datetime], limit: int) -> tuple[AwaitedDeadline, ...]:
        """Return the deadlines that wait for a source and need not any more, now that each was heard of *since*; *limit* of each flow."""
        systems = sorted(since)
        query = named(
            "engine_awaited",
            flows=[flow.flow for flow in flows],
            sources=systems,
            heard=[_micros(since[system]) for system in systems],
            limit=limit,
        )
        return fetch(self._client, query, AwaitedDeadline)

    def runs(self, flow: Flow, now: datetime) -> tuple[Run, ...]:
        """Return the numbers that were seen of the counts that sources tell, the latest ones."""
        since, types = _micros(now - BACK), list(flow.counted)
        query = named("engine_runs", flow=flow.flow, types=types, since=since, limit=RUNS_KEPT // 2)
        return fetch(self._client, query, Run)

    def doubtful(self, flow: Flow, source: str, missing: Iterable[Missing], limit: int) -> list[Key]:
        """Return the transactions with a broken deadline that may have been met by what is *missing* of a source; *limit* at
        most, those that were due first."""
        asked = list(missing)
        query = named(
            "engine_doubtful",
            flow=flow.flow,
            stages=flow.stages_told_by(source),
            since=min(_micros(gap.since) for gap in asked),
            batch=self._look_up(
                [Key(gap.counterparty, str(_micros(gap.since)), str(_micros(gap.until))) for gap in asked]
            ),
            limit=limit,
        )
        return [row.anchor for row in fetch(self._client, query, _Anchor)]

    def cleared(self, flow: Flow, missing: Iterable[Missing], limit: int) -> tuple[AwaitedDeadline, ...]:
        """Return the deadlines that are unknown because of a number that is not *missing* any more; *limit* at most, those that were
        due first."""
        batch = self._look_up([Key("", "", gap.name) for gap in missing])
        return fetch(self._client, named("engine_cleared", flow=flow.flow, batch=batch, limit=limit), AwaitedDeadline)

    def at_risk_from(self, flows: Sequence[Flow], now: datetime) -> dict[Course, float]:
        """Return the part of the allowed time from which on at least half of what was still open was late, as far as enough
        is known of the last ``PAST``."""
        query = named(
            "engine_paces",
            flows=[flow.flow for flow in flows if flow.sla],
            since=_micros(now - PAST),
            until=_micros(now),
            decided=ENOUGH_DECIDED,
            late=ENOUGH_LATE,
            limit=COURSES_LIMIT,
        )
        rows = fetch_records(self._client, query)
        return {Course(row["flow"], row["rule"], row["counterparty"]): row["hundredth_at_risk"] / 100 for row in rows}

    def at_risk(self, at_risk_from: Mapping[Course, float], now: datetime, limit: int) -> list[tuple[str, Key]]:
        """Return flow and anchor of transactions with a deadline that runs, and is at risk by that; *limit* at most."""
        query = named(
            "engine_at_risk",
            now=_micros(now),
            courses=["\n".join(course) for course in at_risk_from],
            hundredths=[round(part * 100) for part in at_risk_from.values()],
            limit=limit,
        )
        return [(row.flow, row.anchor) for row in fetch(self._client, query, _FlowAnchor)] if at_risk_from else []

    def unfinished(self, flow: Flow, completed: int) -> list[Key]:
        """Return the transactions that a cycle after *completed* touched before it was cut off."""
        return [
            row.anchor
            for row in fetch(self._client, named("engine_unfinished", flow=flow.flow, completed=completed), _Anchor)
        ]

    def forget(self) -> None:
        """Empty the lookup table."""
        self._client.command("TRUNCATE TABLE engine_lookup")

    def corrections_count(self) -> int:
        """Return how many corrections there are; they only become more."""
        return int(fetch_records(self._client, named("engine_corrections_count"))[0]["corrections"])

    def corrections(self) -> tuple[Correction, ...]:
        """Return all corrections, in order of time."""
        return fetch(self._client, named("select_corrections"), Correction)

    def _around(self, statement: str, flow: Flow, keys: Iterable[Key], kind: type[T]) -> tuple[T, ...]:
        rows = list(keys)
        if not rows:
            return ()
        return fetch(self._client, named(statement, flow=flow.flow, batch=self._look_up(rows)), kind)

    def _of_traces(self, statement: str, trace_ids: Iterable[str], kind: type[T]) -> tuple[T, ...]:
        rows = _names(trace_ids)
        return fetch(self._client, named(statement, batch=self._look_up(rows)), kind) if rows else ()

    def _look_up(self, rows: Sequence[Key]) -> int:
        """Put *rows* into the lookup table and return their batch."""
        batch = next(self._batches)
        if rows:
            columns = [[batch] * len(rows), *zip(*rows, strict=True)]
            self._client.insert(
                "engine_lookup",
                columns,
                column_names=_LOOKUP_COLUMNS,
                column_type_names=_LOOKUP_TYPES,
                column_oriented=True,
                settings={"async_insert": 0},
            )
            columns.clear()  # the client's own record of the insert refers to itself, and would keep them
        return batch


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _values(pairs: Iterable[tuple[str, str]]) -> list[Key]:
    return [Key(first, "", second) for first, second in set(pairs)]


def _names(names: Iterable[str]) -> list[Key]:
    return [Key(name, "", "") for name in set(names)]
