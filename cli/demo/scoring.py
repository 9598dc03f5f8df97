"""How well the product found out what really happened: paths, states, deadlines and match outcomes. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, astuple, dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any, Final

from controltower.cli.demo.facts import DeadlineFact
from controltower.cli.demo.model import Anchor, SpanRef
from controltower.cli.demo.truth import TrueTransaction, Truth
from controltower.cli.demo.verdicts import deadline_state, state
from controltower.store.rows import DeadlineState
from controltower.store.truth_reads import FoundDeadline, FoundMatch, FoundMembership, FoundTransaction

WORST: Final = 20
# A verdict that time alone changes may be this old: the engine looks once a second, and comparing takes a moment.
GRACE: Final = timedelta(seconds=5)

Place = tuple[Anchor, str, str]  # of a step in a transaction: its trace and its span


@dataclass(frozen=True, slots=True)
class Found:
    """What the store says of one flow."""

    memberships: Sequence[FoundMembership]
    transactions: Sequence[FoundTransaction]
    deadlines: Sequence[FoundDeadline]
    matches: Sequence[FoundMatch]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many are exactly right; what is missing and what is too much count as wrong."""

    exact: int
    of: int
    missing: int
    extra: int

    @property
    def share(self) -> float:
        """The part that is right; 1 when there was nothing to get right."""
        return self.exact / self.of if self.of else 1.0

    def __add__(self, other: "Share") -> "Share":
        return Share(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Membership:
    """The steps' places in paths.

    A place is *apart* when its transaction holds nothing but steps of one true transaction, in which one of them is missing: a
    piece that is not joined yet. That costs recall; precision is about what was joined.
    """

    expected: int
    found: int
    right: int
    apart: int = 0
    wrongly_joined: int = 0  # transactions that hold a step which does not belong with the others

    @property
    def precision(self) -> float:
        """Part of the places found that are right, without those apart."""
        joined = self.found - self.apart
        return self.right / joined if joined else 1.0

    @property
    def recall(self) -> float:
        """Part of the places expected that were found."""
        return self.right / self.expected if self.expected else 1.0

    def __add__(self, other: "Membership") -> "Membership":
        return Membership(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it really was."""

    flow: str
    anchor: Anchor
    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Score:
    """The comparison."""

    membership: Membership
    state: Share
    deadlines: Share
    matches: Share
    differences: tuple[Difference, ...]
    flows: Mapping[str, "Score"] = field(default_factory=dict)  # the same of each flow, when there are several

    def as_json(self) -> dict[str, Any]:
        """Return it as an object for JSON."""
        return {
            **self._figures(),
            "detail": {
                **{name: asdict(share) for name, share in self.shares.items()},
                "differences": len(self.differences),
            },
            "flows": {flow: each._figures() for flow, each in self.flows.items()},
            "worst": [{**asdict(each), "anchor": each.anchor._asdict()} for each in self.differences[:WORST]],
        }

    @property
    def shares(self) -> dict[str, Share]:
        """What is compared beside places, by name."""
        return {"state": self.state, "deadlines": self.deadlines, "matches": self.matches}

    def _figures(self) -> dict[str, Any]:
        member = self.membership
        return {
            "membership": {
                "precision": member.precision,
                "recall": member.recall,
                "expected": member.expected,
                "found": member.found,
                "apart": member.apart,
                "wrongly_joined": member.wrongly_joined,
            },
            **{name: share.share for name, share in self.shares.items()},
        }


def score(truth: Truth, found: Mapping[str, Found], now: datetime) -> Score:
    """Compare what is *found* of each flow with *truth* as of *now*. Other transactions of the store are left alone."""
    each = {flow: _of_flow(flow, truth.of_flow(flow), found[flow], now) for flow in truth.flows}
    return Score(
        membership=reduce(add, (one.membership for one in each.values())),
        state=reduce(add, (one.state for one in each.values())),
        deadlines=reduce(add, (one.deadlines for one in each.values())),
        matches=reduce(add, (one.matches for one in each.values())),
        differences=tuple(_mixed(*(one.differences for one in each.values()))),
        flows=each,
    )


def _of_flow(flow: str, truth: Truth, found: Found, now: datetime) -> Score:
    ours = {each.anchor: each for each in truth.transactions}
    steps = {(member.trace_id, member.span_id) for each in truth.transactions for member in each.facts.members}
    steps |= {(member.trace_id, member.span_id) for member in truth.loose}
    membership, wrong_places = _membership(flow, ours, steps, found.memberships)
    moments = (now, now - GRACE)
    states, wrong_states = _compare(
        {anchor: {state(each.facts, each.matches, at) for at in moments} for anchor, each in ours.items()},
        {Anchor(*row.anchor): str(row.state.value) for row in found.transactions if Anchor(*row.anchor) in ours},
        flow,
        "state",
    )
    deadlines, wrong_deadlines = _compare(
        {(each.anchor, key): value for each in ours.values() for key, value in _true_deadlines(each, moments)},
        {
            (Anchor(*row.anchor), (row.rule, row.subject)): _found_deadline(row)
            for row in found.deadlines
            if Anchor(*row.anchor) in ours
        },
        flow,
        "deadline",
    )
    matches, wrong_matches = _compare(
        {
            (each.anchor, (fact.line,)): {_outcome(*fact.at(at)) for at in moments}
            for each in ours.values()
            for fact in each.matches
        },
        {
            (Anchor(*row.anchor), (row.line,)): _outcome(row.status.value, row.reason)
            for row in found.matches
            if Anchor(*row.anchor) in ours
        },
        flow,
        "line",
    )
    return Score(membership, states, deadlines, matches, tuple(_mixed(wrong_places, wrong_states, wrong_deadlines, wrong_matches)))  # fmt: skip


def _membership(
    flow: str, ours: dict[Anchor, TrueTransaction], steps: set[tuple[str, str]], rows: Iterable[FoundMembership]
) -> tuple[Membership, list[Difference]]:
    """Compare places; a place counts when its step or its transaction is one of ours.

    The record of a step may have been read in its place, by a scraper: what was read stands for the step, once.
    """
    codes = {
        (each.anchor, member.trace_id, member.span_id): member.step
        for each in ours.values()
        for member in each.facts.members
    }
    found: set[Place] = set()
    for row in rows:
        place = Anchor(*row.anchor), row.trace_id, row.span_id
        written = place[0], row.trace_id, row.written_in
        if written[1:] in steps:
            found.add(place if written in found else written)
        elif place[1:] in steps or place[0] in ours:
            found.add(place)
    missing, extra = sorted(codes.keys() - found), sorted(found - codes.keys())
    wrong = [
        Difference(flow, anchor, f"step {codes[anchor, trace, span]}", f"{trace}-{span}", "")
        for anchor, trace, span in missing
    ]
    wrong += [Difference(flow, anchor, "step", "", f"{trace}-{span}") for anchor, trace, span in extra]
    apart, joined = _apart(codes.keys(), found)
    return Membership(len(codes), len(found), len(codes.keys() & found), apart, joined), wrong


def _apart(expected: AbstractSet[Place], found: AbstractSet[Place]) -> tuple[int, int]:
    """Return how many places are apart, and how many transactions are wrongly joined."""
    true: dict[SpanRef, set[Anchor]] = defaultdict(set)
    for anchor, *ref in expected:
        true[SpanRef(*ref)].add(anchor)
    held: dict[Anchor, set[SpanRef]] = defaultdict(set)
    for anchor, *ref in found:
        held[anchor].add(SpanRef(*ref))
    ours = {anchor for anchor, *_ in expected}
    apart = joined = 0
    for anchor, steps in held.items():
        if anchor in ours:
            joined += any(anchor not in true[step] for step in steps)
        elif whole := set.intersection(*(true[step] for step in steps)):
            missing = any((of, *step) not in found for of in whole for step in steps)
            apart += len(steps) if missing else 0
        else:
            joined += 1
    return apart, joined


def _compare(
    expected: dict[Any, set[str]], found: dict[Any, str], flow: str, what: str
) -> tuple[Share, list[Difference]]:
    """Compare by key: what is found must be one of what is expected at the moments in question."""
    wrong = []
    exact = 0
    for key in sorted(expected.keys() | found.keys()):
        if key in expected and found.get(key) in expected[key]:
            exact += 1
            continue
        anchor, name = (key, ()) if isinstance(key, Anchor) else key
        label = " ".join([what, *filter(None, name)])
        wrong.append(Difference(flow, anchor, label, " or ".join(sorted(expected.get(key, ()))), found.get(key, "")))
    share = Share(
        exact=exact,
        of=len(expected.keys() | found.keys()),
        missing=len(expected.keys() - found.keys()),
        extra=len(found.keys() - expected.keys()),
    )
    return share, wrong


def _true_deadlines(each: TrueTransaction, moments: Iterable[datetime]) -> Iterator[tuple[tuple[str, str], set[str]]]:
    for fact in each.facts.deadlines:
        yield (fact.rule, fact.subject), {_deadline(fact, deadline_state(fact, each.facts.cancelled_at, at)) for at in moments}  # fmt: skip


def _found_deadline(row: FoundDeadline) -> str:
    """Return what the store says of a deadline; a forecast is neither true nor false, and what is at risk still runs."""
    verdict = DeadlineState.RUNNING if row.state is DeadlineState.AT_RISK else row.state
    return _deadline(DeadlineFact(row.rule, row.subject, row.from_at, row.due_at, row.met_at), str(verdict.value))


def _deadline(fact: DeadlineFact, verdict: str) -> str:
    met = f", met {fact.met_at.isoformat()}" if fact.met_at else ""
    return f"{verdict}: from {fact.from_at.isoformat()}, due {fact.due_at.isoformat()}{met}"


def _outcome(status: str, reason: str) -> str:
    return f"{status} ({reason})" if reason else status


def _mixed(*kinds: Sequence[Difference]) -> Iterator[Difference]:
    """Yield differences of every kind in turn, so that one that is frequent does not hide the others."""
    for index in range(max(map(len, kinds), default=0)):
        for kind in kinds:
            if index < len(kind):
                yield kind[index]
