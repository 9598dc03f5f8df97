"""Records of one source into steps: those of one record, and those that two make."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from controltower.collector.scrapers.definition import AnySource
from controltower.collector.scrapers.documents import ENVELOPES, FILE, TRAILER
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.kind import Reader, kind_of
from controltower.collector.scrapers.mapping import CompiledRule, Policies, compiled_rules
from controltower.collector.scrapers.observation import KEPT, PASSED, AttributeValue, Fields, Record, Step
from controltower.collector.scrapers.pairing import Pairs
from controltower.collector.scrapers.span_ids import SpanIds
from controltower.collector.scrapers.transforms import number
from controltower.store.ocel import kept
from controltower.tracer import attributes


@dataclass(slots=True)
class Tally:
    """What came of a file, as far as it was read, and what should."""

    records: int = 0
    rejected: int = 0
    total: Decimal = Decimal()
    expected: str = ""
    expected_total: str = ""

    def of(self, fields: Fields) -> Fields:
        """Return what is told of a file: counts, the sum of all amounts, and whether they are as announced."""
        expected = self.expected or str(fields.get("announced", ""))
        outcome, reason = fields.get("outcome", "ok"), fields.get("reason", "")
        if outcome == "ok" and expected and int(expected) != self.records:
            outcome, reason = "exception", "wrong_count"
        elif outcome == "ok" and self.expected_total and number(self.expected_total) != self.total:
            outcome, reason = "exception", "out_of_balance"
        elif outcome == "ok" and self.rejected:
            outcome, reason = "exception", "rejected_records"
        counts = {"records": str(self.records), "rejected": str(self.rejected), "total": format(self.total, "f")}
        return {**fields, **counts, "expected": expected, "outcome": outcome, "reason": reason}


NO_DOCUMENTS: Final = ENVELOPES | {FILE}
REJECTED: Final = "rejected "  # and a reason, in the totals


@dataclass(slots=True)
class Mapped:
    """What became of some records."""

    records: int = 0
    made: int = 0  # steps
    steps: list[Step] = field(default_factory=list)
    kept: list[Step] = field(default_factory=list)  # pieces of a log, which are no steps
    unmatched: int = 0
    rejected: list[tuple[Record, Rejection]] = field(default_factory=list)


class Mapper:
    """Maps the records of one source. For one thread."""

    def __init__(self, source: AnySource, name: str, policies: Policies, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._name = name
        self._ids = SpanIds(name)
        self._rules = compiled_rules(source, name, kind_of(source).times(source), policies, clock)
        self._tells_files = any(rule.rule.when.get("part") == FILE for rule in self._rules)
        self.pairs = Pairs(self._rules)
        self._tally = Tally()
        self.watermark_ns = 0
        """The latest time of a record."""
        self.totals: Counter[str] = Counter()
        """Records, steps, unmatched, and rejected by reason, since the source was first read."""

    def map(self, records: Iterable[Record], reader: Reader, into: Callable[[Step], object] | None = None) -> Mapped:
        """Return what becomes of *records*, which *reader* read.

        With *into* each step goes there as soon as it is made, and none is listed: ten thousand steps that wait cost the
        interpreter's search for cycles a third of all time.
        """
        mapped = Mapped()
        add = mapped.steps.append if into is None else into
        for record in records:
            part = record.part
            if part and self._is_aside(record, reader, mapped):
                continue
            mapped.records += 1
            self._tally.records += part not in NO_DOCUMENTS
            try:
                if record.flaw:
                    raise _flaw(record.flaw)
                fields = reader.parse(record)
                if part == FILE:
                    fields, self._tally = self._tally.of(fields), Tally()
                steps = self._map(record, fields) if fields else None
            except Rejection as rejection:
                self._tally.rejected += 1
                mapped.rejected.append((record, rejection))
                continue
            if steps is None and part in ENVELOPES:
                mapped.records -= 1  # it was offered, and no rule asks for it
            elif steps is None:
                mapped.unmatched += 1
            else:
                for step in steps:
                    add(step)
                mapped.made += len(steps)
                if self._tells_files:
                    self._sum(steps[part == FILE :])
        self.totals.update(records=mapped.records, steps=mapped.made, unmatched=mapped.unmatched)
        self.totals.update(f"{REJECTED}{rejection.reason}" for _, rejection in mapped.rejected)
        return mapped

    def _is_aside(self, record: Record, reader: Reader, mapped: Mapped) -> bool:
        """Note what is no event of its own: how many lines were passed over, what a trailer says, a piece of a log."""
        if record.part == PASSED:
            passed = int(record.content)
            mapped.records += passed
            mapped.unmatched += passed
        elif record.part == TRAILER:
            said = reader.parse(record)
            self._tally.expected, self._tally.expected_total = said["records"], said["total"]
        elif record.part == KEPT and not record.flaw:
            mapped.kept.append(self._kept(record))
        else:
            return False
        return True

    def _kept(self, record: Record) -> Step:
        now_ns, content = self._clock(), record.content
        taken: dict[str, AttributeValue] = {**kept.attributes(self._name, int(record.place), content.decode())}
        return Step("", kept.LOG, now_ns, now_ns, self._ids.ids(record.place, content), taken)

    def _sum(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if amount := step.attributes.get(attributes.AMOUNT):
                self._tally.total += Decimal(str(amount))

    def due(self, *, caught_up: bool) -> Iterator[Step]:
        """Yield the steps whose end is late, by the source's own times, and by the clock when all of it was read."""
        until_ns = max(self.watermark_ns, self._clock()) if caught_up else self.watermark_ns
        yield from self.pairs.due(until_ns)

    def state(self) -> dict[str, Any]:
        """Return what is to be saved with the position."""
        tally = self._tally
        counted = [tally.records, tally.rejected, str(tally.total), tally.expected, tally.expected_total]
        return {"pairs": self.pairs.state(), "watermark_ns": self.watermark_ns, "tally": counted, "totals": self.totals}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what was saved."""
        self.pairs.restore(saved["pairs"])
        self.watermark_ns = saved["watermark_ns"]
        self.totals = Counter(saved.get("totals", {}))
        if "tally" in saved:
            records, rejected, total, *expected = saved["tally"]
            self._tally = Tally(records, rejected, Decimal(total), *expected)

    def _map(self, record: Record, fields: Fields) -> Sequence[Step] | None:
        """Return the steps that a record makes; None when no rule fits it."""
        for at, rule in enumerate(self._rules):
            if (groups := rule.begin.fits(fields)) is not None:
                return self._begin(at, rule, record, fields, groups)
            if rule.end is not None and (groups := rule.end.fits(fields)) is not None:
                assert rule.by is not None
                by = rule.by(fields, groups)
                if rule.passes_alone and not self.pairs.is_open(at, by):
                    return None
                found = rule.end.take(fields, groups)
                self._note(found.at_ns)
                return (self.pairs.end(at, by, found, self._clock()),)
        return None

    def _begin(self, number: int, rule: CompiledRule, record: Record, fields: Fields, groups: Any) -> Sequence[Step]:
        found = rule.begin.take(fields, groups)
        ids, parent = rule.trace(fields, groups, self._ids.ids(record.place, record.content))
        self._note(found.at_ns)
        if rule.by is None:
            return (rule.step(found, ids, parent, self._clock()),)
        return (*self.pairs.begin(number, rule.by(fields, groups), found, ids, parent, self._clock()),)

    def _note(self, at_ns: int | None) -> None:
        if at_ns is not None and at_ns > self.watermark_ns:
            self.watermark_ns = min(at_ns, self._clock())  # a record dated ahead must not make others late


def _flaw(text: str) -> Rejection:
    reason, _, detail = text.partition(": ")
    return Rejection(reason, detail)
