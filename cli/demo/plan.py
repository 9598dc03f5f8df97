"""Puts the parts of the simulation together: same seed and same times, same plan. Nothing here sends anything."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from controltower.cli.demo.model import Plan
from controltower.cli.demo.rates import FaultRates
from controltower.cli.demo.scenarios import NETWORK, Scenario
from controltower.cli.demo.simulation import RANGE_SIZE, SEED_RANGES, Numbers, Simulation
from controltower.cli.demo.tape import Tape
from controltower.cli.demo.world import make_world

FIRST_NUMBER: Final = 10_000_000
DEFAULT_RATES: Final = FaultRates()


def make_plan(
    seed: int,
    transactions: int,
    start: datetime,
    end: datetime,
    *,
    orders_until: datetime | None = None,
    rates: FaultRates = DEFAULT_RATES,
    numbers: Numbers | None = None,
    scenario: Scenario = NETWORK,
) -> Plan:
    """Return what happens in the *scenario* between *start* and *end* (aware) to so many transactions.

    Needs arise until *orders_until*, which is *end* by default; a life that is not over by then is cut off. A
    transaction is a purchase order, or an invoice without one; some of the latest may not show before the end.
    *numbers* hands out document numbers, those of the seed by default.
    """
    sim = Simulation(
        seed=seed,
        start=start.astimezone(UTC),
        orders_until=(orders_until or end).astimezone(UTC),
        rates=rates,
        world=make_world(Random("world")),  # noqa: S311 - the same network for everybody
        tape=Tape(Random(f"{seed}/{transactions}/{start}/{end}/ids"), end.astimezone(UTC)),  # noqa: S311
        numbers=numbers or numbers_for(seed),
    )
    scenario.plan(sim, transactions)
    return sim.tape.plan(seed, scenario.flows)


def numbers_for(seed: int, offset: int = 0, *, recycles: bool = True) -> Numbers:
    """Return who hands out the numbers of a seed, from *offset* in its range on."""
    return Numbers(FIRST_NUMBER + seed % SEED_RANGES * RANGE_SIZE + offset, recycles=recycles)


def history(
    seed: int,
    transactions: int,
    days: int,
    end: datetime,
    rates: FaultRates = DEFAULT_RATES,
    scenario: Scenario = NETWORK,
) -> Plan:
    """Return the plan of the last *days* before *end*."""
    return make_plan(seed, transactions, end - timedelta(days=days), end, rates=rates, scenario=scenario)
