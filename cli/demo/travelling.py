"""Sends transactions along the legs of their journey, and writes down on the tape what their systems say."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import DEAD_LETTERS, file, http_server, message_of, process, publish
from controltower.cli.demo.journey import Fault, Journey, Leg, Traveller, next_time
from controltower.cli.demo.model import Anchor, BusinessStep, Outcome, PlannedLine, SpanRef
from controltower.cli.demo.published import anchor
from controltower.cli.demo.simulation import Chance, Simulation, cents, dlq_reference
from controltower.cli.demo.tape import Draft
from controltower.cli.demo.world import CURRENCY

EACH: Final = timedelta(milliseconds=35)  # one step of a document with several
BEFORE: Final = timedelta(milliseconds=15)  # the work around a step begins so long before it
READY: Final = timedelta(minutes=5)  # before a cut-off
SHIFTED: Final = frozenset({"late", "early"})
AGAIN: Final = frozenset({"rejected", "failed", "duplicate", "repeated"})


@dataclass(frozen=True, slots=True)
class Passing:
    """One transaction at one leg, for one of its numbers when the leg has a step for each."""

    traveller: Traveller
    number: str
    after: datetime  # when it passed the leg before
    at: datetime
    chance: Chance


@dataclass(frozen=True, slots=True)
class Group:
    """The transactions of one step, and what goes wrong with it."""

    passings: tuple[Passing, ...]
    fault: Fault | None

    @property
    def chance(self) -> Chance:
        """What decides about the step."""
        return self.passings[0].chance

    @property
    def travellers(self) -> tuple[Traveller, ...]:
        """The transactions."""
        return tuple(dict.fromkeys(each.traveller for each in self.passings))

    @property
    def effect(self) -> str:
        """What the fault does, or nothing."""
        return self.fault.effect if self.fault else ""


@dataclass(frozen=True, slots=True)
class Document:
    """What is said in one go."""

    at: datetime
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """How a step is said this time."""

    outcome: Outcome = "ok"
    reason: str | None = None
    error: str = ""
    replay_of: str | None = None


def travel(sim: Simulation, journey: Journey, travellers: Sequence[Traveller]) -> None:
    """Send every transaction along the whole journey, leg by leg."""
    for leg in journey.legs:
        passings = [each for traveller in travellers for each in _ready(sim, journey, leg, traveller)]
        documents = [issued for each in _gathered(sim, leg, passings) for issued in _as_it_goes(sim, leg, each)]
        for document in sorted(documents, key=_by_time):
            _issue(sim, journey, leg, document)


def _ready(sim: Simulation, journey: Journey, leg: Leg, traveller: Traveller) -> Iterator[Passing]:
    """Yield when a transaction comes to the leg, with each of its numbers that the leg has a step for."""
    if traveller.over or not leg.only(traveller):
        return
    traveller.shares.pop(leg.code, None)
    for number in traveller.keys[leg.each] if leg.each else ("",):
        chance = sim.chance(f"{journey.flow} {leg.code} {traveller.anchor} {number} {len(traveller.passed)}")
        after = _passed_before(leg, traveller, number)
        yield Passing(traveller, number, after, leg.when(chance, after), chance)


def _passed_before(leg: Leg, traveller: Traveller, number: str) -> datetime:
    """Return when the transaction passed the leg that this one follows."""
    passed = traveller.passed
    if not passed:
        return traveller.ready_at
    times = passed[leg.after if leg.after in passed else next(reversed(passed))]
    return times.get(number, max(times.values()))


# documents


def _gathered(sim: Simulation, leg: Leg, passings: Iterable[Passing]) -> Iterator[Document]:
    """Yield what shares a document, each with the faults of its steps."""
    cutoffs = leg.together.cutoffs if leg.together else ()
    alike: dict[Hashable, list[list[Passing]]] = defaultdict(list)
    for by, number, sharing in _sharing(leg, passings):
        ready = max(each.at for each in sharing)
        alike[by, next_time(ready + READY, *cutoffs) if cutoffs else number].append(sharing)
    for steps in alike.values():
        latest = max(each.at for sharing in steps for each in sharing)
        at = next_time(latest + READY, *cutoffs) if cutoffs else latest
        yield Document(at, tuple(Group(tuple(sharing), _fault(sim, leg, sharing[0])) for sharing in steps))


def _sharing(leg: Leg, passings: Iterable[Passing]) -> Iterator[tuple[Hashable, str, list[Passing]]]:
    """Yield what shares a step: what its document is about, the number it is for, and the transactions."""
    shared: dict[tuple[Hashable, Hashable, str], list[Passing]] = defaultdict(list)
    for each in passings:
        together, anchor = leg.together, each.traveller.anchor
        by, step = (together.by(each.traveller), together.step(each.traveller)) if together else (anchor, anchor)
        shared[by, step, each.number].append(each)
    for (by, _, number), sharing in shared.items():
        yield by, number, sharing


def _fault(sim: Simulation, leg: Leg, passing: Passing) -> Fault | None:
    """Return what goes wrong; most of the time nothing does."""
    for fault in leg.faults:
        if fault.applies(passing.traveller) and passing.chance.happens(fault.rate * sim.rates.journeys):
            return fault
    return None


def _as_it_goes(sim: Simulation, leg: Leg, document: Document) -> Iterator[Document]:
    """Yield the document without the steps that are lost, and those that come at another time by themselves."""
    in_time = []
    for group in document.groups:
        fault = group.fault
        if fault is None or fault.effect not in (*SHIFTED, "lost"):
            in_time.append(group)
            continue
        at = document.at
        if fault.then is not None:
            at = fault.then(group.chance, at if fault.effect == "late" else group.passings[0].after)
        _count(sim, group, at)
        if fault.effect == "lost":
            _pass(leg, group, at, over=fault.ends)
        else:
            yield Document(at, (group,))
    if in_time:
        yield Document(document.at, tuple(in_time))


def _by_time(document: Document) -> tuple[datetime, Anchor, str]:
    first = document.groups[0].passings[0]
    return document.at, first.traveller.anchor, first.number


def _count(sim: Simulation, group: Group, at: datetime) -> None:
    assert group.fault is not None
    sim.tape.fault(group.fault.name, at)
    for traveller in group.travellers:
        traveller.marks.add(group.fault.name)


def _pass(leg: Leg, group: Group, at: datetime, *, over: bool = False) -> None:
    """Note when the transactions passed the leg; the leg passed last is the last one noted."""
    for each in group.passings:
        times = each.traveller.passed.pop(leg.code, {})
        each.traveller.passed[leg.code] = {**times, each.number: at} if each.number else {"": at}
        if over and each.number:  # the others go on
            left = (number for number in each.traveller.keys[leg.each] if number != each.number)
            each.traveller.keys[leg.each] = tuple(left)
        else:
            each.traveller.over = each.traveller.over or over


# what happens


def _issue(sim: Simulation, journey: Journey, leg: Leg, document: Document) -> None:
    """Write a document down, and what comes again of it."""
    for key_type, prefix in leg.numbers.items():
        number = sim.number(key_type, prefix)
        for group in document.groups:
            for traveller in group.travellers:
                traveller.keys[key_type] = (number,)
    for group in document.groups:
        _number(sim, leg, group)
        if group.fault and group.effect not in SHIFTED:
            _count(sim, group, document.at)
        if group.fault and group.fault.share is not None:
            for traveller in group.travellers:
                traveller.shares[leg.code] = group.fault.share
    said = [_said(group) for group in document.groups]
    for group, (at, ref) in zip(document.groups, _write(sim, journey, leg, document, said), strict=True):
        again = _again(sim, journey, leg, group, at, ref) if group.effect in AGAIN else at
        ends = group.fault is not None and group.fault.ends and again is None
        _pass(leg, group, again or at, over=ends)


def _number(sim: Simulation, leg: Leg, group: Group) -> None:
    """Give a step the numbers of its own."""
    for key_type, prefix in leg.own.items():
        number = sim.number(key_type, prefix)
        for traveller in group.travellers:
            traveller.keys[key_type] = (number,)


def _said(group: Group) -> Said:
    """Return how the step is said at first."""
    fault = group.fault
    if fault is None:
        return Said()
    if fault.effect == "failed":
        return Said(reason=fault.reason or "mapping_error", error="MappingError")
    if fault.effect == "rejected":
        return Said("rejected", fault.reason)
    return Said(fault.outcome, fault.reason) if fault.effect == "changed" else Said()


def _again(sim: Simulation, journey: Journey, leg: Leg, group: Group, at: datetime, ref: SpanRef) -> datetime | None:
    """Write down that a step comes again; return when it is as it should be, None when it never is."""
    fault = group.fault
    assert fault is not None
    if fault.then is None or group.chance.happens(fault.never):
        for traveller in group.travellers:
            traveller.marks.add(f"{fault.name}_never_mended")
        return None
    later = fault.then(group.chance, at)
    said = {
        "rejected": Said(),
        "failed": Said(replay_of=dlq_reference(ref)),
        "duplicate": Said("duplicate", "duplicate"),
        "repeated": Said(),
    }[fault.effect]
    before = [(traveller, dict(traveller.keys)) for traveller in group.travellers]
    if fault.effect == "repeated":
        _number(sim, leg, group)
    _write(sim, journey, leg, Document(later, (group,)), [said])
    if fault.effect not in ("duplicate", "repeated"):
        return later
    for traveller, keys in before:
        traveller.keys = {
            name: tuple(dict.fromkeys((*keys.get(name, ()), *new))) for name, new in traveller.keys.items()
        }
    return at


def _write(
    sim: Simulation, journey: Journey, leg: Leg, document: Document, said: Sequence[Said]
) -> list[tuple[datetime, SpanRef]]:
    """Write down one document's trace; return when each step happened, and its span."""
    draft = sim.tape.trace(leg.system)
    root = _around(draft, leg, document, said)
    written = []
    for index, (group, how) in enumerate(zip(document.groups, said, strict=True)):
        at = document.at + EACH * index
        step = _step(journey, leg, group, how)
        written.append((at, draft.add(leg.title, at, 25, parent=root, step=step, error=how.error)))
    _tell(draft, leg, document, written[-1][0], root)
    draft.done(delay=sim.late_arrival(document.groups[0].chance, document.at))
    return written


def _around(draft: Draft, leg: Leg, document: Document, said: Sequence[Said]) -> SpanRef:
    """Write down the work that the steps are a part of: a request, a message, a file or a run."""
    at, lasts_ms = document.at - BEFORE, 60 + 40 * len(document.groups)
    error = said[0].error
    if leg.style == "batch" and not leg.reports_runs:
        return draft.run(leg.interface, f"{leg.interface.upper()}-{draft.trace_id[:12]}", at, CURRENCY)
    if leg.style == "file":
        name = f"{leg.interface}-{at:%Y%m%d}-{draft.trace_id[:6]}.dat"
        size = 200 + 512 * len(document.groups)
        return draft.add(f"read {leg.interface}", at, lasts_ms, error=error, attributes=file(name, size))
    if leg.style in ("event", "queue"):
        links = list(dict.fromkeys(ref for group in document.groups for ref in _heard(leg, group)))
        message = message_of(links[0]) if links else f"msg-{draft.trace_id[:16]}"
        return draft.add(
            f"process {leg.interface}", at, lasts_ms, kind="consumer", links=links, error=error,
            attributes=process(leg.interface, message),
        )  # fmt: skip
    route = "/as2" if leg.style == "edi" else f"/{leg.interface}"
    name = leg.interface if leg.style == "edi" else f"POST {route}"
    return draft.add(name, at, lasts_ms, kind="server", error=error, attributes=http_server("POST", route))


def _tell(draft: Draft, leg: Leg, document: Document, last: datetime, root: SpanRef) -> None:
    """Write down the message that says what was done, for the system that goes on."""
    if not leg.publishes:
        return
    message = f"msg-{draft.trace_id[:16]}"
    at = last + timedelta(milliseconds=30)
    attributes = publish(leg.publishes, message)
    sent = draft.add(f"publish {leg.publishes}", at, 8, parent=root, kind="producer", attributes=attributes)
    for group in document.groups:
        for each in group.passings:
            each.traveller.heard.setdefault(leg.publishes, {})[each.number] = sent


def _heard(leg: Leg, group: Group) -> Iterator[SpanRef]:
    """Yield the messages that led to the step: those about the same number, where each had its own."""
    for each in group.passings:
        messages = each.traveller.heard.get(leg.interface, {})
        if each.number in messages:
            yield messages[each.number]
        elif not each.number or set(messages) == {""}:
            yield from messages.values()


def _step(journey: Journey, leg: Leg, group: Group, said: Said) -> BusinessStep:
    """Return what the step says."""
    travellers = group.travellers
    keys = _keys(leg, group)
    first = travellers[0].context
    context = {
        name: first[name] for name in leg.context if all(each.context[name] == first[name] for each in travellers)
    }
    stands_on = keys.get(journey.fallback, ()) if journey.fallback else ()
    return BusinessStep(
        code=leg.code,
        keys={name: values[0] if len(values) == 1 else values for name, values in keys.items()},
        context={**context, **leg.states, **({"dlq": DEAD_LETTERS} if said.error else {})},
        amount=cents(sum((each.money for each in travellers), Decimal(0))) if leg.money else None,
        currency=CURRENCY if leg.money or leg.lines else None,
        outcome=said.outcome,
        reason=said.reason,
        actor=leg.actor,
        style=leg.style,
        interface=leg.interface,
        replay_of=said.replay_of,
        lines=tuple(_lines(leg, travellers)) if not said.error else (),
        anchors=tuple(each.anchor for each in travellers),
        otherwise=tuple(anchor(journey.flow, journey.fallback, value, first) for value in stands_on),
        about={name: keys[name][0] for name in journey.about if len(keys.get(name, ())) == 1},
    )


def _keys(leg: Leg, group: Group) -> dict[str, tuple[str, ...]]:
    """Return the numbers on the document, by type."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for each in group.passings:
        for name in leg.keys:
            values = (each.number,) if name == leg.each else each.traveller.keys.get(name, ())
            found[name].update(dict.fromkeys(values))
    return {name: tuple(values) for name, values in found.items() if values}


def _lines(leg: Leg, travellers: Iterable[Traveller]) -> Iterator[PlannedLine]:
    """Yield a line for each transaction on the document, which names it."""
    for number, each in enumerate(travellers if leg.lines else (), start=1):
        yield PlannedLine(
            number=str(number),
            item=each.context["item"],
            quantity=Decimal(1),
            uom="EA",
            unit_price=each.money,
            amount=each.money,
            order=Anchor(leg.lines, "", each.key(leg.lines)),
            named=True,
        )
