"""What the parts of the simulation share: the world, chance, the tape, and who hands out numbers."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Final

from controltower.cli.demo.model import ORDER, Anchor, PlannedLine, SpanRef
from controltower.cli.demo.rates import FaultRates
from controltower.cli.demo.tape import Tape
from controltower.cli.demo.workdays import opening
from controltower.cli.demo.world import CENTS, Company, Facility, Item, Vendor, World
from controltower.tracer.key_types import PATIENT_TYPES
from controltower.tracer.tokens import Key, Tokeniser

# Each seed counts in a range of its own, so that two simulations can live in one store.
SEED_RANGES: Final = 900
RANGE_SIZE: Final = 100_000
# Group numbers are fenced to three days by the flow: a number that rested for a week names another file.
CONTROL_NUMBER_REST: Final = timedelta(days=7)
# Check numbers are fenced to 30 days, and a check may take ten to come back from the bank.
CHECK_REST: Final = timedelta(days=42)
# What the network's systems make tokens of patients' numbers with. Nobody is behind these numbers, so it is no secret.
TOKENS: Final = Tokeniser((Key(1, sha256(b"the simulated network").digest()),))


@dataclass(frozen=True, slots=True)
class Requisition:
    """A request to buy. Its number is "0000" when the requester left it out."""

    number: str
    created_at: datetime
    approved_at: datetime


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order."""

    number: int
    item: Item
    quantity: Decimal

    @property
    def price(self) -> Decimal:
        """The agreed unit price."""
        return self.item.price


@dataclass(frozen=True, slots=True)
class Order:
    """A purchase order."""

    number: str
    company: Company
    facility: Facility
    cost_centre: str
    vendor: Vendor
    lines: tuple[OrderLine, ...]
    requisitions: tuple[Requisition, ...]
    created_at: datetime
    shared_number: bool  # the other company has an order of the same number

    @property
    def anchor(self) -> Anchor:
        """The order's transaction."""
        return Anchor(ORDER, self.company.code, self.number)

    @property
    def amount(self) -> Decimal:
        """The order's total."""
        return cents(sum((line.quantity * line.price for line in self.lines), Decimal(0)))

    @property
    def context(self) -> dict[str, str]:
        """What describes every step about the order."""
        return {
            "company": self.company.code,
            "vendor": self.vendor.code,
            "facility": self.facility.code,
            "cost_centre": self.cost_centre,
        }


@dataclass(slots=True)
class Numbers:
    """Who hands out document numbers; some come round again."""

    base: int
    recycles: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    resting: dict[str, list[tuple[datetime, str]]] = field(default_factory=lambda: defaultdict(list))

    def next(self, kind: str) -> int:
        """Return the next number of its kind."""
        self.counts[kind] += 1
        return self.base + self.counts[kind]

    def block(self, kind: str, size: int) -> int:
        """Return the first of *size* numbers in a row."""
        self.counts[kind] += size
        return self.base + self.counts[kind] - size + 1

    def recycled(self, kind: str, at: datetime, rest: timedelta) -> str | None:
        """Return a number that was last used *rest* ago or longer, and take it into use again."""
        used = self.resting[kind]
        if used and at - used[0][0] >= rest:
            return used.pop(0)[1]
        return None

    def used(self, kind: str, at: datetime, number: str) -> None:
        """Remember when a number was used. Call it in order of time."""
        if self.recycles:
            self.resting[kind].append((at, number))


@dataclass(slots=True)
class Simulation:
    """One run of the simulated network. The parts draw chance from streams of their own, so each is stable alone."""

    seed: int
    start: datetime
    orders_until: datetime
    rates: FaultRates
    world: World
    tape: Tape
    numbers: Numbers

    def chance(self, topic: str) -> "Chance":
        """Return the stream of chance for one topic."""
        return Chance(Random(f"{self.seed}/{topic}"))  # noqa: S311 - a simulation must be repeatable

    def number(self, key_type: str, prefix: str) -> str:
        """Return a new number of that type, as it is sent."""
        return as_sent(key_type, f"{prefix}{self.numbers.next(prefix)}")

    def times(self, topic: str, wanted: int) -> list[datetime]:
        """Return as many times before needs end, in order: when people work, and a few at night and at weekends."""
        chance = self.chance(topic)
        span = self.orders_until - self.start
        found = []
        for _ in range(wanted):
            at = self.start + span * chance.random.random()
            if not chance.happens(0.05):
                at = opening(at) + chance.minutes(0, 45)
            found.append(at.replace(microsecond=0))
        return sorted(found)

    def late_arrival(self, chance: "Chance", at: datetime) -> timedelta:
        """Return how long the spans of a trace stay away from the collector: nothing, mostly."""
        if not chance.happens(self.rates.late_arrival):
            return timedelta(0)
        self.tape.fault("late_arrival", at)
        return chance.hours(2, 30)


@dataclass(frozen=True, slots=True)
class Chance:
    """A stream of chance, with the draws that the simulation needs."""

    random: Random

    def happens(self, rate: float) -> bool:
        """Return True with that chance."""
        return self.random.random() < rate

    def between(self, low: float, high: float) -> float:
        """Return a number in the range."""
        return self.random.uniform(low, high)

    def minutes(self, low: float, high: float) -> timedelta:
        """Return a time between so many minutes."""
        return _whole_ms(timedelta(minutes=self.random.uniform(low, high)))

    def hours(self, low: float, high: float) -> timedelta:
        """Return a time between so many hours."""
        return self.minutes(low * 60, high * 60)

    def days(self, low: float, high: float) -> timedelta:
        """Return a time between so many days."""
        return self.minutes(low * 1440, high * 1440)

    def usually(self, median_hours: float, most_hours: float) -> timedelta:
        """Return a time around the median with a long tail that ends at the most."""
        hours = median_hours * self.random.lognormvariate(0, 0.6)
        return _whole_ms(timedelta(hours=min(hours, most_hours)))


def _whole_ms(span: timedelta) -> timedelta:
    return timedelta(milliseconds=round(span.total_seconds() * 1000))


def cents(amount: Decimal) -> Decimal:
    """Return an amount in whole cents."""
    return amount.quantize(CENTS)


def plain(number: Decimal) -> Decimal:
    """Return the number without trailing zeros or exponent."""
    return Decimal(format(number.normalize(), "f"))


def document_line(order: Order, line: OrderLine, quantity: Decimal, price: Decimal, *, named: bool) -> PlannedLine:
    """Return the line of a document about an order line."""
    return PlannedLine(
        number=str(line.number),
        item=line.item.gtin,
        quantity=plain(quantity),
        uom=line.item.uom,
        unit_price=plain(price),
        amount=plain(quantity * price),
        order=order.anchor,
        named=named,
    )


def as_sent(key_type: str, number: str) -> str:
    """Return a number as the systems here send it: a patient's is a token."""
    return TOKENS.tokens(key_type, b"", number.encode())[0].decode() if key_type in PATIENT_TYPES else number


def dlq_reference(sent: SpanRef) -> str:
    """Return how a replay refers to the attempt that failed."""
    return f"{sent.trace_id}-{sent.span_id}"
