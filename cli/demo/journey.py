"""How a flow is described: the legs that each of its transactions goes through, and what goes wrong on them.

A leg is one business step of every transaction: which system says it, over what kind of hop, when it follows the leg before
it, and which of the transaction's numbers its document carries. Documents are shared where a leg says so: a file of claims,
one remittance for many, one order for all implants of a case. Faults are of a leg, each with its chance. Nothing here
happens yet: ``travelling`` sends transactions along.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from math import prod
from typing import Literal

from controltower.cli.demo.model import Actor, Anchor, Outcome, SpanRef, Style
from controltower.cli.demo.simulation import Chance, cents
from controltower.cli.demo.workdays import DAY, business_days_after, day_of, local, working_time_after

Delay = Callable[[Chance, datetime], datetime]  # from when something is possible to when it happens
Effect = Literal["lost", "late", "early", "duplicate", "repeated", "rejected", "failed", "changed"]


def moments(low_s: float, high_s: float) -> Delay:
    """So many seconds later."""
    return lambda chance, at: at + chance.minutes(low_s / 60, high_s / 60)


def minutes(low: float, high: float) -> Delay:
    """So many minutes later, at any time of the day."""
    return lambda chance, at: at + chance.minutes(low, high)


def hours(low: float, high: float) -> Delay:
    """So many hours later, at any time of the day."""
    return lambda chance, at: at + chance.hours(low, high)


def days(low: float, high: float) -> Delay:
    """So many days later, at any time of the day."""
    return lambda chance, at: at + chance.days(low, high)


def worked(low_h: float, high_h: float) -> Delay:
    """When people who work office hours have put so many hours into it."""
    return lambda chance, at: working_time_after(at, chance.hours(low_h, high_h))


def after_business_days(count: int, then: Delay) -> Delay:
    """*then*, counted from so many business days later."""
    return lambda chance, at: then(chance, business_days_after(at, count))


def next_time(at: datetime, *clocks: time) -> datetime:
    """Return the next moment after *at* at which local clocks say one of *clocks*."""
    day = day_of(at)
    return min(moment for clock in clocks for each in (day, day + DAY) if (moment := local(each, clock)) > at)


@dataclass(slots=True, eq=False)
class Traveller:
    """One transaction on its way: its numbers so far, what describes it, and when it passed which leg."""

    flow: str
    anchor: Anchor
    ready_at: datetime
    keys: dict[str, tuple[str, ...]]
    context: dict[str, str]
    amount: Decimal = Decimal(0)
    passed: dict[str, dict[str, datetime]] = field(
        default_factory=dict
    )  # by step code, and number where it has several
    shares: dict[str, Decimal] = field(default_factory=dict)  # of the amount, by the step that changed it
    marks: set[str] = field(default_factory=set)  # the faults that it met
    heard: dict[str, dict[str, SpanRef]] = field(default_factory=dict)  # by queue and number: the message about it
    over: bool = False

    @property
    def money(self) -> Decimal:
        """The amount, as the steps so far have changed it."""
        return cents(prod(self.shares.values(), start=self.amount))

    def met(self, fault: str) -> bool:
        """Whether it met that fault."""
        return fault in self.marks

    def key(self, key_type: str) -> str:
        """Return its only number of that type."""
        (found,) = self.keys[key_type]
        return found


@dataclass(frozen=True, slots=True)
class Fault:
    """What may go wrong on a leg: the name it is counted by, its chance, and what it does.

    ``lost`` the step never comes; ``late`` it comes *then*, counted from when it would have; ``early`` likewise, and before
    what it follows; ``duplicate`` it comes again *then* and is recognised; ``repeated`` again as if it were new, under new
    *numbers*; ``rejected`` it is refused, and comes again *then* if ever; ``failed`` likewise, dead-lettered and replayed;
    ``changed`` it says something else: an outcome, or an amount.
    """

    name: str
    rate: float
    effect: Effect
    then: Delay | None = None
    reason: str | None = None
    ends: bool = False  # nothing follows when it is lost or never comes again: for the transaction, or for its number
    never: float = 0.0  # chance that it does not come again, of those with a *then*
    share: Decimal | None = None  # of the amount, that it and what follows says
    outcome: Outcome = "ok"  # of what changed
    applies: Callable[[Traveller], bool] = lambda traveller: True


@dataclass(frozen=True, slots=True)
class Together:
    """Transactions that share a document: those that are alike, ready before the same cut-off.

    Those whose *step* is the same have a single step; by default each has its own, in one trace.
    """

    by: Callable[[Traveller], Hashable]
    cutoffs: tuple[time, ...] = ()  # local; without any the document waits for the last of those that are alike
    step: Callable[[Traveller], Hashable] = lambda traveller: traveller.anchor


def as_one(by: Callable[[Traveller], Hashable]) -> Together:
    """Return how transactions share a single step."""
    return Together(by, step=lambda traveller: "")


def daily(by: Callable[[Traveller], Hashable], *cutoffs: time) -> Together:
    """Return how transactions share a document that is made at these times of the day, with a step for each."""
    return Together(by, cutoffs)


def same(*key_types: str) -> Callable[[Traveller], Hashable]:
    """Return what is alike in transactions with the same numbers of these types."""
    return lambda traveller: tuple(traveller.keys[each] for each in key_types)


def alike(*contexts: str) -> Callable[[Traveller], Hashable]:
    """Return what is alike in transactions of which the same is said."""
    return lambda traveller: tuple(traveller.context[each] for each in contexts)


@dataclass(frozen=True, slots=True)
class Leg:
    """One step of every transaction of a flow."""

    code: str
    system: str
    style: Style
    keys: tuple[str, ...]
    when: Delay
    after: str = ""  # the code of the leg that it follows; the one before it by default
    each: str = ""  # a step for each number of this type
    together: Together | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)  # key type -> prefix of the document's new number
    own: Mapping[str, str] = field(default_factory=dict)  # likewise, of each step in the document
    interface: str = ""  # of events and queues: where the messages are read
    context: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)  # more context: as it is
    money: bool = True  # its document says the amount
    lines: str = ""  # the key type that its document's lines name: one line for each transaction on it
    actor: Actor = "system"
    publishes: str = ""  # the queue on which it tells what comes next
    only: Callable[[Traveller], bool] = lambda traveller: True
    faults: tuple[Fault, ...] = ()

    @property
    def title(self) -> str:
        """The name of its spans: ``claim submitted``."""
        return self.code.partition(".")[2].replace(".", " ").replace("_", " ")

    @property
    def reports_runs(self) -> bool:
        """Whether its step is about a run or its files, and so no record of another one."""
        return self.code.startswith("batch.")


@dataclass(frozen=True, slots=True)
class Journey:
    """A flow as the simulation knows it."""

    flow: str
    legs: tuple[Leg, ...]
    fallback: str = ""  # the key type that steps stand on as long as nobody names the transaction
    about: tuple[str, ...] = ()  # key types that the flow has deadlines for, one by one
