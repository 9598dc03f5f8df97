"""The engine's store in memory: replacing tables of rows, and the reads of ``Neighbourhood`` over them.

It holds what the statements in ``store/sql`` say of the tables and nothing else, so that a property can run the engine
thousands of times. That the two agree is tested in ``test_engine``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from itertools import count
from operator import attrgetter
from typing import Any

from controltower.store import rows as kinds
from controltower.store.flows.beside import StepId
from controltower.store.flows.classify import SpanRow
from controltower.store.flows.counts import BACK, Count, Run
from controltower.store.flows.deadlines import Circumstances, Course
from controltower.store.flows.definition import Flow
from controltower.store.flows.engine import Engine
from controltower.store.flows.graph import Value
from controltower.store.flows.neighbourhood import Known, LinkedTrace, Neighbourhood, ScopedKey
from controltower.store.missing import Missing
from controltower.store.rows import Correction, Key, KeyLink, ParkedStep, SpanLink, Step, TransactionStep
from controltower.tracer import attributes as names

_IDENTITY = ("flow", "trace_id", "span_id")
_ANCHOR = ("flow", "anchor")
NAMES: Mapping[str, tuple[str, ...]] = {  # table -> what tells two rows apart, as its ORDER BY
    "steps": _IDENTITY,
    "document_lines": (*_IDENTITY, "position"),
    "key_links": ("flow", "child", "parent", "trace_id", "span_id"),
    "transaction_steps": (*_ANCHOR, "trace_id", "span_id"),
    "past_memberships": (*_ANCHOR, "trace_id", "span_id", "known_at"),
    "parked_steps": _IDENTITY,
    "transactions": _ANCHOR,
    "transaction_history": (*_ANCHOR, "known_at"),
    "deadlines": (*_ANCHOR, "rule", "subject"),
    "awaited_deadlines": ("flow", "source", "due_at", "anchor", "rule", "subject"),
    "reconciliations": (*_ANCHOR, "rule", "line"),
    "exceptions": (*_ANCHOR, "kind", "rule", "subject"),
}
_KINDS = {kind.TABLE: kind for kind in vars(kinds).values() if hasattr(kind, "TABLE")}


class CutOffError(Exception):
    """The process ended at an insert."""


class Memory:
    """What is stored. Stands in for the client: the engine only inserts with it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.tables: dict[str, dict[tuple[Any, ...], Any]] = {table: {} for table in NAMES}
        self.spans: list[tuple[str, SpanRow]] = []  # with the part each is in
        self.links: list[tuple[str, SpanLink, datetime]] = []
        self.scoped: dict[tuple[str, Key], int] = {}  # each key of each step that ever was -> its first version
        self.carriers: dict[tuple[str, str, str], set[StepId]] = {}
        self.touched: list[tuple[str, Key, int]] = []
        self.said: list[Correction] = []
        self.state: dict[str, str] = {}
        self.newest = 0
        self.at_risk_from: dict[Course, float] = {}  # what the past says, which is not worked out here
        self.inserts_left: int | None = None  # until the process is cut off
        self._parts = count(1)

    def arrive(self, spans: Iterable[SpanRow] = (), links: Iterable[SpanLink] = ()) -> None:
        """Load spans and span links, each lot into a part of its own."""
        at, part = self._now(), f"part_{next(self._parts)}"
        self.spans.extend((part, replace(span, loaded_at=at)) for span in spans)
        self.links.extend((part, link, at) for link in links)

    def say(self, corrections: Iterable[Correction]) -> None:
        """Append corrections."""
        self.said.extend(corrections)

    def insert(self, table: str, data: Sequence[Sequence[Any]], *, column_names: Sequence[str], **_: object) -> None:
        """Insert as a client does: rows of ``engine_state`` by row, others by column."""
        if self.inserts_left is not None:
            self.inserts_left -= 1
            if self.inserts_left < 0:
                raise CutOffError
        if table == "engine_state":
            self.state |= {name: value for name, value, _ in data}
            return
        for values in zip(*data, strict=True):
            self._put(table, _KINDS[table](**dict(zip(column_names, values, strict=True))))

    def rows(self, table: str) -> list[Any]:
        """Return the rows of a table, each as it was written last, without those that were taken away."""
        return [row for row in self.tables[table].values() if not getattr(row, "is_deleted", False)]

    def _put(self, table: str, row: Any) -> None:
        name = attrgetter(*NAMES[table])(row)
        before = self.tables[table].get(name)
        if before is None or row.version >= before.version:
            self.tables[table][name] = row
        self.newest = max(self.newest, row.version)
        if table == "steps":
            for key in row.keys:
                named = row.flow, key
                self.scoped[named] = min(self.scoped.get(named, row.version), row.version)
                self.carriers.setdefault((row.flow, key.type, key.value), set()).add((row.trace_id, row.span_id))
        if table in ("transaction_steps", "deadlines"):
            self.touched.append((row.flow, row.anchor, row.version))


class MemoryNeighbourhood(Neighbourhood):
    """The reads of the engine over a ``Memory``."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def state(self) -> dict[str, str]:
        return dict(self._memory.state)

    def newest_version(self) -> int:
        return self._memory.newest

    def newest_span_us(self) -> int:
        return max((_micros(span.loaded_at) for _, span in self._memory.spans), default=0)

    def parts(self, table: str) -> frozenset[str]:
        stored = self._memory.spans if table == "otel_traces" else self._memory.links
        return frozenset(row[0] for row in stored)

    def newly_linked(self, since_us: int, read: Iterable[str], limit: int) -> tuple[LinkedTrace, ...]:
        known, found = set(read), dict[str, int]()
        for part, link, loaded_at in self._memory.links:
            if part not in known and _micros(loaded_at) >= since_us:
                found[link.trace_id] = max(found.get(link.trace_id, 0), _micros(loaded_at))
        return tuple(
            sorted((LinkedTrace(*pair) for pair in found.items()), key=attrgetter("loaded_us", "name"))[:limit]
        )

    def has_links(self) -> bool:
        return bool(self._memory.links)

    def span_links(self, trace_ids: Iterable[str]) -> tuple[SpanLink, ...]:
        wanted = set(trace_ids)
        return tuple(link for _, link, _ in self._memory.links if link.trace_id in wanted)

    def linking_traces(self, trace_ids: Iterable[str]) -> set[str]:
        wanted = set(trace_ids)
        return {link.trace_id for _, link, _ in self._memory.links if link.linked_trace_id in wanted}

    def new_spans(
        self, flows: Sequence[Flow], *, since_us: int, generation: int, completed: int, read: Iterable[str], limit: int
    ) -> tuple[SpanRow, ...]:
        known = set(read)
        taken = {
            (step.trace_id, step.span_id)
            for step in self._memory.rows("steps")
            if _micros(step.loaded_at) >= since_us and generation <= step.version <= completed
        }
        found = [
            span
            for part, span in self._memory.spans
            if part not in known and _micros(span.loaded_at) >= since_us and (span.trace_id, span.span_id) not in taken
            if any(span.attributes.get(names.STEP, "").startswith(f"{flow.prefix}.") for flow in flows)
        ]
        return tuple(sorted(found, key=attrgetter("loaded_at", "trace_id", "span_id"))[:limit])

    def links_down(self, flow: Flow, values: Iterable[Value]) -> tuple[KeyLink, ...]:
        wanted = set(values)
        return tuple(link for link in self._of(flow, "key_links") if link.parent[::2] in wanted)

    def upward(self, flow: Flow, values: Iterable[Value]) -> tuple[tuple[ScopedKey, ...], tuple[KeyLink, ...]]:
        wanted = set(values)
        scopes = tuple(
            ScopedKey(key, version)
            for (name, key), version in self._memory.scoped.items()
            if name == flow.flow and key.scope and key[::2] in wanted
        )
        return scopes, tuple(link for link in self._of(flow, "key_links") if link.child[::2] in wanted)

    def steps_of_keys(self, flow: Flow, values: Iterable[Value]) -> set[StepId]:
        carriers = self._memory.carriers
        return {step for kind, value in values for step in carriers.get((flow.flow, kind, value), ())}

    def steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[Step, ...]:
        return self._of_steps(flow, "steps", ids)

    def steps_of_traces(self, flow: Flow, trace_ids: Iterable[str]) -> tuple[Step, ...]:
        wanted = set(trace_ids)
        return tuple(step for step in self._of(flow, "steps") if step.trace_id in wanted)

    def steps_beside(self, flow: Flow, trace_ids: Iterable[str]) -> set[StepId]:
        return {(step.trace_id, step.span_id) for step in self.steps_of_traces(flow, trace_ids)}

    def trace_dependents(self, flow: Flow, ids: Iterable[StepId]) -> set[StepId]:
        asked = set(ids)
        parked = {(row.trace_id, row.span_id) for row in self.parked_of_steps(flow, asked)}
        joined = (row for row in self.memberships_of_steps(flow, asked) if row.evidence in ("trace", "link"))
        return parked | {(row.trace_id, row.span_id) for row in joined}

    def memberships_of_steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[TransactionStep, ...]:
        return self._of_steps(flow, "transaction_steps", ids)

    def memberships_of_anchors(self, flow: Flow, anchors: Iterable[Key]) -> tuple[TransactionStep, ...]:
        return self._of_anchors(flow, "transaction_steps", anchors)

    def parked_of_steps(self, flow: Flow, ids: Iterable[StepId]) -> tuple[ParkedStep, ...]:
        return self._of_steps(flow, "parked_steps", ids)

    def lines(self, flow: Flow, ids: Iterable[StepId]) -> tuple[kinds.DocumentLine, ...]:
        return tuple(
            sorted(self._of_steps(flow, "document_lines", ids), key=attrgetter("trace_id", "span_id", "position"))
        )

    def known(self, flow: Flow, anchors: Iterable[Key]) -> Known:
        asked = list(anchors)
        return Known(**{field.name: self._of_anchors(flow, field.name, asked) for field in fields(Known)})

    def due(self, flows: Sequence[Flow], now_us: int, limit: int) -> Mapping[str, list[Key]]:
        return {
            flow.flow: [
                row.anchor
                for row in self._of(flow, "transactions")
                if row.evaluate_at is not None and _micros(row.evaluate_at) <= now_us
            ][:limit]
            for flow in flows
        }

    def heard(self, systems: Iterable[str]) -> dict[str, datetime]:
        asked, found = set(systems), dict[str, datetime]()
        for _, span in self._memory.spans:
            if span.service in asked:
                at = min(span.started_at, span.loaded_at)
                found[span.service] = max(found.get(span.service, at), at)
        return found

    def awaited(
        self, flows: Sequence[Flow], since: Mapping[str, datetime], limit: int
    ) -> tuple[kinds.AwaitedDeadline, ...]:
        return tuple(
            row
            for flow in flows
            for row in [
                row
                for row in self._of(flow, "awaited_deadlines")
                if row.source in since and row.due_at <= since[row.source]
            ][:limit]
        )

    def runs(self, flow: Flow, now: datetime) -> tuple[Run, ...]:
        """Every number as a run of its own, joined by plain counting."""
        seen: dict[Count, dict[int, datetime]] = {}
        for step in self._of(flow, "steps"):
            for key in step.keys:
                found = re.fullmatch(r"(.*?)(\d+)", key.value)
                if found and key.type in flow.counted and step.at >= now - BACK:
                    numbers = seen.setdefault(Count(key.type, key.scope, found[1], len(found[2])), {})
                    numbers[int(found[2])] = min(step.at, numbers.get(int(found[2]), step.at))
        runs = []
        for count_, numbers in seen.items():
            ends = [number for number in sorted(numbers) if number + 1 not in numbers]
            begins = [number for number in sorted(numbers) if number - 1 not in numbers]
            runs += [Run(*count_, a, b, numbers[a], numbers[b]) for a, b in zip(begins, ends, strict=True)]
        return tuple(runs)

    def doubtful(self, flow: Flow, source: str, missing: Iterable[Missing], limit: int) -> list[Key]:
        asked, stages = list(missing), flow.stages_told_by(source)
        return [
            row.anchor
            for row in self._of(flow, "deadlines")
            if row.state == "breached" and row.to_stage in stages
            if any(
                gap.since <= row.due_at
                and row.from_at <= gap.until
                and (gap.counterparty in ("", row.counterparty) or not row.counterparty)
                for gap in asked
            )
        ][:limit]

    def cleared(self, flow: Flow, missing: Iterable[Missing], limit: int) -> tuple[kinds.AwaitedDeadline, ...]:
        names = {gap.name for gap in missing}
        waiting = (row for row in self._of(flow, "awaited_deadlines") if row.source.startswith('["'))
        return tuple(row for row in waiting if row.source not in names)[:limit]

    def at_risk_from(self, flows: Sequence[Flow], now: datetime) -> dict[Course, float]:
        return dict(self._memory.at_risk_from)

    def at_risk(self, at_risk_from: Mapping[Course, float], now: datetime, limit: int) -> list[tuple[str, Key]]:
        past = Circumstances(at_risk_from=at_risk_from)
        return [
            (row.flow, row.anchor)
            for row in self._memory.rows("deadlines")
            if row.state == "running"
            and now < row.due_at
            and row.from_at + past.part_at_risk(row.flow, row.rule, row.counterparty) * (row.due_at - row.from_at)
            <= now
        ][:limit]

    def unfinished(self, flow: Flow, completed: int) -> list[Key]:
        return [
            *{anchor for name, anchor, version in self._memory.touched if name == flow.flow and version > completed}
        ]

    def forget(self) -> None:
        """Nothing is looked up by rows of a table."""

    def corrections_count(self) -> int:
        return len(self._memory.said)

    def corrections(self) -> tuple[Correction, ...]:
        return tuple(sorted(self._memory.said, key=attrgetter("at", "id")))

    def _of(self, flow: Flow, table: str) -> list[Any]:
        return [row for row in self._memory.rows(table) if row.flow == flow.flow]

    def _of_steps(self, flow: Flow, table: str, ids: Iterable[StepId]) -> tuple[Any, ...]:
        wanted = set(ids)
        return tuple(row for row in self._of(flow, table) if (row.trace_id, row.span_id) in wanted)

    def _of_anchors(self, flow: Flow, table: str, anchors: Iterable[Key]) -> tuple[Any, ...]:
        wanted = set(anchors)
        return tuple(row for row in self._of(flow, table) if row.anchor in wanted)


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def engine_over(memory: Memory, flow: Flow, now: Callable[[], datetime], steps_per_cycle: int, *others: Flow) -> Engine:
    """Return an engine that reads and writes there."""
    client: Any = memory  # it stands in for one
    return Engine(client, [flow, *others], now, steps_per_cycle=steps_per_cycle, around=MemoryNeighbourhood(memory))
