"""The engine: takes what is new, touches only the transactions concerned, and says what became of them.

One cycle reads new spans, classifies them, resolves every step whose place may have changed, and judges every
transaction that gained or lost a step or whose time has come. All rows carry the cycle's version and go to replacing
tables; the version is recorded as completed at the end. So a cycle that was cut off anywhere is simply run again.
"""

import gc
import hashlib
import logging
import threading
from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from controltower.store.flows.affected import Affected, affected_by
from controltower.store.flows.beside import StepId
from controltower.store.flows.classify import Classified, Classifier
from controltower.store.flows.corrections import waivers
from controltower.store.flows.counts import Counts, concerning
from controltower.store.flows.deadlines import Circumstances, Member
from controltower.store.flows.definition import Flow
from controltower.store.flows.graph import links_of
from controltower.store.flows.membership import differs, memberships, parking, past
from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.flows.news import News, NewsReader
from controltower.store.flows.outcome import Outcome
from controltower.store.flows.resolve import Resolution
from controltower.store.flows.silence import KIND as SILENT
from controltower.store.flows.silence import of_source, silences
from controltower.store.flows.transaction import judge
from controltower.store.missing import Missing
from controltower.store.rows import (
    UNKNOWN_SINCE,
    AwaitedDeadline,
    DocumentLine,
    ExceptionRow,
    Key,
    Step,
    TransactionStep,
)
from controltower.store.write import insert

logger = logging.getLogger(__name__)

# An insert becomes visible up to this long after the time it stamped on its rows; the engine looks back that far.
# Longer than the loader lets one insert run.
OVERLAP = timedelta(minutes=10)
# Steps of one cycle: so many that a transaction is not judged again for each few of its steps when much is waiting, few
# enough to hold in memory with their neighbourhood: 100,000 took 1.3 GiB over a store of 300,000.
STEPS_PER_CYCLE = 50_000
# Transactions judged at once, and those whose time has come that one cycle takes.
ANCHORS_AT_ONCE = 2_000
DUE_PER_CYCLE = 5_000
# After a start senders deliver what they kept meanwhile; before that nobody is called silent.
SETTLING = timedelta(minutes=5)
# What is at risk is a matter of months: that the past is asked this often is enough.
LOOK_BACK_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one cycle did."""

    steps: int
    transactions: int
    more: bool  # there was more than one cycle takes: run again at once


class Engine:
    """Resolves the steps of *flows* into transactions. One engine per store; a client of its own, which reads *around* what
    a cycle touches."""

    def __init__(
        self,
        client: Client,
        flows: Sequence[Flow],
        now: Callable[[], datetime],
        *,
        steps_per_cycle: int = STEPS_PER_CYCLE,
        around: Neighbourhood | None = None,
    ) -> None:
        self._client = client
        self._around = around or Neighbourhood(client)
        self._flows = tuple(flows)
        self._classifier = Classifier(self._flows)
        self._now = now
        self._limit = steps_per_cycle
        self._version = 0
        self._position_us: int | None = None
        self._generation = 0
        self._completed = 0
        self._unfinished: dict[str, list[Key]] = {}
        self._whole = False  # no cycle was cut off: what has a place in the store is stored itself
        self._read_parts: frozenset[str] = frozenset()  # whose steps were all taken
        self._news: NewsReader | None = None
        self._sources = sorted({name for flow in flows for name in flow.sources})
        self._circumstances = Circumstances()
        self._started_at = now()
        self._looked_back_at: datetime | None = None
        self._silences: dict[str, dict[Key, ExceptionRow]] = {}  # flow -> what is known of its sources
        self._counts: dict[str, Counts] = {}  # flow -> the numbers that its sources tell
        self._weighed: dict[str, frozenset[Missing]] = {}  # flow -> by what of them deadlines were judged

    def run(self, stop: threading.Event, every_s: float = 1.0) -> None:
        """Run cycles until *stop* is set; a pause only when nothing is left to do. Errors end it: the caller decides."""
        while not stop.is_set():
            if not self.run_cycle().more:
                stop.wait(every_s)

    def catch_up(self) -> int:
        """Run cycles until nothing new is left; return how many steps were new."""
        steps = 0
        while True:
            report = self.run_cycle()
            steps += report.steps
            if not report.more:
                return steps

    def run_cycle(self) -> CycleReport:
        """Take what is new, once. Raises StoreError when the store does not answer; running again is harmless."""
        with _garbage_left():
            try:
                return self._cycle()
            except BaseException:
                self._position_us = None  # what it wrote is looked up again
                raise

    def _cycle(self) -> CycleReport:
        position = self._start_position()
        now, version = self._now(), self._next_version()
        whole, self._whole = self._whole, False
        newest = self._around.newest_span_us()
        heard = self._around.heard(self._sources) if self._sources else {}  # of spans that are read now, or were before
        parts = self._around.parts("otel_traces")
        reader = self._news_reader(position)
        news = reader.take()
        if news.fresh:
            self._circumstances = replace(self._circumstances, waivers=waivers(news.said))
        spans = self._around.new_spans(
            self._flows,
            since_us=position - int(OVERLAP / timedelta(microseconds=1)),
            generation=self._generation,
            completed=self._completed,
            read=self._read_parts,
            limit=self._limit,
        )
        classified: list[Classified] = []
        taken, last = 0, None  # spans, and the one that entered the store last
        for last in spans:
            taken += 1
            classified.extend(self._classifier.classify(last, version))
        more = taken >= self._limit
        self._hear(heard, more=more)
        self._count(classified, now)
        all_due = self._around.due(self._flows, _micros(now), DUE_PER_CYCLE)
        at_risk = [] if more else self._look_back(now)
        arrived = self._arrived()
        if not more:  # what waits to be read may be what is missing
            for flow in self._flows:
                self._weigh(flow, all_due[flow.flow], arrived[flow.flow])
        waiting = max(*map(len, all_due.values()), *map(len, arrived.values()), 0) >= DUE_PER_CYCLE
        judged = 0
        for flow in self._flows:
            own = [found for found in classified if found.step.flow == flow.flow]
            due = [*all_due[flow.flow], *self._unfinished.get(flow.flow, [])]
            due.extend(anchor for name, anchor in at_risk if name == flow.flow)
            if own or due or arrived[flow.flow] or news.concern(flow.flow):
                judged += self._advance(flow, own, due, arrived[flow.flow], news, now, version, whole=whole)
            if flow.sources and not more:  # while spans wait to be read nobody is known to be silent
                self._note_silences(flow, now, version)
        reached_us = _micros(last.loaded_at) if more and last else max(newest, position)
        self._finish(reached_us, version, bool(taken or judged))
        self._read_parts = frozenset() if more else parts  # of a part that was cut, what is left is not known
        self._whole = whole or not more
        reader.dealt_with()
        return CycleReport(len(classified), judged, more or waiting or news.more)

    @property
    def circumstances(self) -> Circumstances:
        """By what the last cycle judged, besides steps and the time."""
        return self._circumstances

    @property
    def version(self) -> int:
        """The version of the last cycle's rows: those of earlier ones have a lower one."""
        return self._version

    @property
    def in_force_at(self) -> datetime:
        """Since when the store is read by these flows; known once a cycle was run."""
        return _instant(self._generation)

    # positions

    def _next_version(self) -> int:
        self._version = max(self._version + 1, int(self._now().timestamp() * 1_000_000_000))
        return self._version

    def _start_position(self) -> int:
        """Return where to read on; a store last read under other flows is read from its beginning."""
        if self._position_us is None:
            state = self._around.state()
            self._version = self._around.newest_version()  # a clock that was set back must not hide new rows
            self._completed = int(state.get("completed", 0))
            self._whole = self._version <= self._completed
            self._unfinished = {flow.flow: self._around.unfinished(flow, self._completed) for flow in self._flows}
            self._silences = {flow.flow: self._known_silences(flow) for flow in self._flows if flow.sources}
            counted = [flow for flow in self._flows if flow.counted]
            self._counts = {flow.flow: Counts(flow, self._around.runs(flow, self._now())) for flow in counted}
            self._weighed = {}
            fingerprint = _fingerprint(self._flows)
            if state.get("flows") == fingerprint:
                self._generation = int(state.get("generation", 0))
                self._position_us = int(state.get("position_us", 0))
            else:
                version = self._next_version()
                self._generation, self._position_us = version, 0
                self._save_state({"flows": fingerprint, "generation": str(version), "position_us": "0"}, version)
        return self._position_us

    def _news_reader(self, position_us: int) -> NewsReader:
        """Return what reads links and corrections; links before the engine's position are seen where they are asked for."""
        if self._news is None:
            since_us = position_us or self._around.newest_span_us()
            self._news = NewsReader(self._around, since_us=since_us, overlap=OVERLAP)
        return self._news

    def _finish(self, position_us: int, version: int, wrote: bool) -> None:
        """Record that everything up to this version is whole, and where to read on."""
        self._around.forget()
        if wrote or position_us != self._position_us:
            self._save_state({"position_us": str(position_us), "completed": str(version)}, version)
            self._completed, self._position_us = version, position_us
        self._unfinished = {}

    def _save_state(self, values: dict[str, str], version: int) -> None:
        rows = [[name, value, version] for name, value in values.items()]
        self._client.insert(
            "engine_state", rows, column_names=["name", "value", "version"], settings={"async_insert": 0}
        )

    # sources

    def _hear(self, heard: Mapping[str, datetime], *, more: bool) -> None:
        """Note when sources were *heard* of, once all that they said is taken: what waits to be read is no silence."""
        before = self._circumstances.heard
        if not more:
            latest = {name: max(at, before.get(name, at)) for name, at in heard.items()}
            self._circumstances = replace(self._circumstances, heard=latest)

    def _look_back(self, now: datetime) -> list[tuple[str, Key]]:
        """Ask the past once an hour, and return what runs and is at risk by it; later, each is judged when its time comes."""
        if self._looked_back_at is not None and now - self._looked_back_at < LOOK_BACK_EVERY:
            return []
        self._looked_back_at = now
        at_risk_from = self._around.at_risk_from(self._flows, now)
        self._circumstances = replace(self._circumstances, at_risk_from=at_risk_from)
        return self._around.at_risk(at_risk_from, now, DUE_PER_CYCLE)

    def _arrived(self) -> Mapping[str, list[AwaitedDeadline]]:
        """Return flow -> the deadlines that waited for a source, which was heard of since."""
        found: dict[str, list[AwaitedDeadline]] = {flow.flow: [] for flow in self._flows}
        if heard := self._circumstances.heard:
            for row in self._around.awaited(self._flows, heard, DUE_PER_CYCLE):
                found[row.flow].append(row)
        return found

    def _count(self, classified: Sequence[Classified], now: datetime) -> None:
        """Note which numbers are missing, with those of the steps that this cycle took."""
        for name, counts in self._counts.items():
            counts.see(found.step for found in classified if found.step.flow == name)
        counting = [flow for flow in self._flows if flow.counted]
        found = [(flow, self._counts[flow.flow].missing(now)) for flow in counting]
        sources = {sequence.source for flow in counting for sequence in flow.counted.values()}
        missing = {flow.flow: concerning(flow, found) for flow in self._flows if flow.told_by & sources}
        self._circumstances = replace(self._circumstances, missing=missing)

    def _weigh(self, flow: Flow, due: list[Key], arrived: list[AwaitedDeadline]) -> None:
        """Add the transactions that are to be judged anew because other numbers are missing than before, to those that are
        *due*, and to what waited and *arrived*. After a start it is not known what was missing before."""
        if flow.flow not in self._circumstances.missing:
            return
        missing, before = frozenset(self._circumstances.missing[flow.flow]), self._weighed.get(flow.flow)
        fresh, doubtful = missing - (before or frozenset()), list[Key]()
        for source in sorted({gap.source for gap in fresh}):
            of_source = [gap for gap in fresh if gap.source == source]
            doubtful += self._around.doubtful(flow, source, of_source, DUE_PER_CYCLE - len(doubtful))
        cleared = self._around.cleared(flow, missing, DUE_PER_CYCLE) if before is None or before - missing else ()
        due.extend(doubtful)
        arrived.extend(cleared)
        if max(len(doubtful), len(cleared)) < DUE_PER_CYCLE:  # else there may be more
            self._weighed[flow.flow] = missing

    def _known_silences(self, flow: Flow) -> dict[Key, ExceptionRow]:
        rows = self._around.known(flow, map(of_source, flow.sources)).exceptions
        return {row.anchor: row for row in rows if row.kind == SILENT}

    def _note_silences(self, flow: Flow, now: datetime, version: int) -> None:
        """Write who is silent, and who is heard again."""
        known = self._silences[flow.flow]
        rows = silences(flow, self._circumstances.heard, known, now, version, in_force_at=self.in_force_at)
        if now - self._started_at < SETTLING:
            rows = [row for row in rows if row.is_deleted or row.resolved_at is not None]
        insert(self._client, rows)
        known |= {row.anchor: row for row in rows}

    # one flow

    def _advance(
        self,
        flow: Flow,
        new: list[Classified],
        due: list[Key],
        arrived: Sequence[AwaitedDeadline],
        news: News,
        now: datetime,
        version: int,
        *,
        whole: bool,
    ) -> int:
        """Place the new steps and what the *news* move, judge what they touch and what is due, and write it; nothing written
        is read back."""
        steps = {(found.step.trace_id, found.step.span_id): found.step for found in new}
        lines = {(found.step.trace_id, found.step.span_id): found.lines for found in new}
        outcome = Outcome(
            links=[link for step in steps.values() for link in links_of(flow, step, version)],
            lines=[line for own in lines.values() for line in own],
            steps=list(steps.values()),
        )
        affected = affected_by(self._around, flow, steps, outcome.links, news, completed=self._completed)
        placed_before = affected.stored if whole else affected.steps.keys()
        self._place(flow, affected, placed_before, steps.keys(), outcome, now, version)
        del affected  # why each step is where it is takes as much memory as the steps
        placed = _by_anchor((*outcome.memberships, *outcome.left))
        waived = {one.key for one in news.fresh if one.of_deadline and one.flow == flow.flow}
        anchors = placed.keys() | set(due) | {row.anchor for row in arrived} | waived
        for chunk in _chunks(sorted(anchors), ANCHORS_AT_ONCE):
            self._judge(flow, chunk, placed, steps, lines, outcome, now, version, whole=whole)
        outcome.no_more(arrived, version)
        outcome.write(self._client)
        return len(anchors)

    def _place(
        self,
        flow: Flow,
        affected: Affected,
        placed: AbstractSet[StepId],
        new: AbstractSet[StepId],
        outcome: Outcome,
        now: datetime,
        version: int,
    ) -> None:
        """Gather where the affected steps belong now, as far as it differs; new steps in any case. Only those *placed* may
        have a place in the store."""
        before = _by_step(self._around.memberships_of_steps(flow, placed))
        parked = {(row.trace_id, row.span_id): row for row in self._around.parked_of_steps(flow, placed)}
        for step_id, step in affected.steps.items():
            resolution = affected.resolutions[step_id]
            known = before.get(step_id)
            if known is None:
                outcome.memberships.extend(memberships(step, resolution, now, version))
            else:
                self._replace(step, resolution, known, outcome, now, version, is_new=step_id in new)
            if resolution.parked is not None or step_id in parked:
                for waiting in parking(step, resolution, parked.get(step_id), version):
                    (outcome.unparked if waiting.is_deleted else outcome.parked).append(waiting)

    def _replace(
        self,
        step: Step,
        resolution: Resolution,
        known: Mapping[Key, TransactionStep],
        outcome: Outcome,
        now: datetime,
        version: int,
        *,
        is_new: bool,
    ) -> None:
        """Gather where a step belongs now that is *known* to belong somewhere."""
        after = {row.anchor: row for row in memberships(step, resolution, now, version)}
        for anchor, row in after.items():
            was = known.get(anchor)
            if was is not None and not differs(row, was):
                after[anchor] = replace(row, known_at=was.known_at)
        changed = [row for anchor, row in known.items() if anchor not in after or differs(after[anchor], row)]
        outcome.past.extend(past(row, now, version) for row in changed)
        outcome.memberships.extend(row for anchor, row in after.items() if is_new or differs(row, known.get(anchor)))
        outcome.left.extend(
            replace(row, is_deleted=True, version=version) for row in changed if row.anchor not in after
        )

    def _judge(
        self,
        flow: Flow,
        anchors: Sequence[Key],
        placed: Mapping[Key, Mapping[StepId, TransactionStep]],
        new: dict[StepId, Step],
        new_lines: dict[StepId, tuple[DocumentLine, ...]],
        outcome: Outcome,
        now: datetime,
        version: int,
        *,
        whole: bool,
    ) -> None:
        """Gather the verdicts on these transactions, and what of the stored ones no longer holds. Verdicts are stored after
        memberships, so there is none on what has no members as long as no cycle was cut off."""
        own = _by_anchor(self._around.memberships_of_anchors(flow, anchors))
        known = self._around.known(flow, own.keys() if whole else anchors)
        for anchor in anchors:
            own[anchor].update(placed.get(anchor, {}))
        stored = {step_id for rows in own.values() for step_id in rows} - new.keys()
        steps = {(step.trace_id, step.span_id): step for step in self._around.steps(flow, stored)}
        lines = ChainMap(new_lines, _lines_by_step(self._around.lines(flow, stored)))
        verdicts = [
            judge(flow, anchor, members, lines, now, version, self._circumstances)
            for anchor in anchors
            if (members := _members(own[anchor], new, steps))
        ]
        outcome.add(verdicts, known, now, version)


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Let the collector of reference cycles rest: a cycle of the engine makes millions of values and none of them refers
    to itself, and looking at all of them again and again takes a third of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _members(
    memberships: Mapping[StepId, TransactionStep], new: Mapping[StepId, Step], stored: Mapping[StepId, Step]
) -> list[Member]:
    """Return the steps of one transaction that are not taken away from it, as far as they are new or stored."""
    return [
        Member(step, row)
        for step_id, row in memberships.items()
        if not row.is_deleted and (step := new.get(step_id) or stored.get(step_id)) is not None
    ]


def _by_anchor(rows: Iterable[TransactionStep]) -> dict[Key, dict[StepId, TransactionStep]]:
    found: dict[Key, dict[StepId, TransactionStep]] = defaultdict(dict)
    for row in rows:
        found[row.anchor][row.trace_id, row.span_id] = row
    return found


def _by_step(rows: Iterable[TransactionStep]) -> dict[StepId, dict[Key, TransactionStep]]:
    found: dict[StepId, dict[Key, TransactionStep]] = defaultdict(dict)
    for row in rows:
        found[row.trace_id, row.span_id][row.anchor] = row
    return found


def _lines_by_step(lines: Iterable[DocumentLine]) -> dict[StepId, tuple[DocumentLine, ...]]:
    found: dict[StepId, list[DocumentLine]] = defaultdict(list)
    for line in lines:
        found[line.trace_id, line.span_id].append(line)
    return {step_id: tuple(own) for step_id, own in found.items()}


def _fingerprint(flows: Iterable[Flow]) -> str:
    text = "\n".join(sorted(flow.rules for flow in flows))
    return hashlib.sha256(text.encode()).hexdigest()


def _instant(version: int) -> datetime:
    return UNKNOWN_SINCE + timedelta(microseconds=version // 1_000)


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def _chunks(keys: Sequence[Key], size: int) -> Iterable[Sequence[Key]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
