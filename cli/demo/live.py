"""Live traffic: the network goes on, with the life of an order compressed so that something moves.

Orders come in waves. A wave is a plan of its own over eight simulated days of orders and forty more in which they are
delivered, invoiced and paid; one simulated day takes fifteen seconds, so an order lives about ten minutes. Limits are not
compressed: a supplier that stays silent is late after one real business day. Numbers do not come round again, because
the fences of the flow are real time, too.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from controltower.cli.demo.model import PlannedTrace
from controltower.cli.demo.network import Network
from controltower.cli.demo.plan import make_plan, numbers_for
from controltower.cli.demo.rates import FaultRates
from controltower.cli.demo.scenarios import NETWORK, Scenario

DAY_S: Final = 15.0  # real seconds that one simulated day takes
ORDERING_DAYS: Final = 8
LIFE_DAYS: Final = 48
WAVE_S: Final = ORDERING_DAYS * DAY_S
HIGHEST_RATE: Final = 120.0  # new orders a minute: six waves at a time, about 70,000 planned spans in memory
LIVE_NUMBERS: Final = 50_000  # away from the numbers of the same seed's history
LOOK_S: Final = 0.25

RATES: Final = replace(FaultRates(), recycled_control_numbers=0.0, late_arrival=0.01)


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Maps the simulated time of one wave to real time. A span keeps at least a millisecond."""

    simulated: datetime
    real: datetime

    def __call__(self, at: datetime) -> datetime:
        """Return the real time of a simulated one."""
        return self.real + (at - self.simulated) * (DAY_S / 86_400)


@dataclass(frozen=True, slots=True)
class Departure:
    """A trace that leaves at a real time."""

    at: datetime
    trace: PlannedTrace
    times: Squeeze


def waves(seed: int, per_minute: float, begin: datetime, scenario: Scenario = NETWORK) -> Iterator[list[Departure]]:
    """Yield the departures of one wave after the other; the n-th begins n times ``WAVE_S`` after *begin*."""
    numbers = numbers_for(seed, LIVE_NUMBERS, recycles=False)
    owed = 0.0
    for wave in count():
        owed += per_minute * WAVE_S / 60
        orders, owed = int(owed), owed - int(owed)
        at = begin + wave * timedelta(seconds=WAVE_S)
        plan = make_plan(
            seed * 100_003 + wave,
            orders,
            at,
            at + timedelta(days=LIFE_DAYS),
            orders_until=at + timedelta(days=ORDERING_DAYS),
            rates=RATES,
            numbers=numbers,
            scenario=scenario,
        )
        times = Squeeze(at, at)
        yield [Departure(times(trace.send_at), trace, times) for trace in plan.traces]


def run_live(
    network: Network,
    seed: int,
    per_minute: float,
    scenario: Scenario = NETWORK,
    *,
    now: Callable[[], datetime],
    wait: Callable[[float], bool],
    say: Callable[[int, int], None],
) -> int:
    """Send live traffic until *wait* returns True; return the number of spans sent. Plans two waves ahead at most."""
    begin = now()
    coming = waves(seed, per_minute, begin, scenario)
    waiting: list[tuple[datetime, int, Departure]] = []
    ticket, started, sent, traces = count(), 0, 0, 0
    while True:
        while begin + timedelta(seconds=started * WAVE_S) <= now():
            for departure in next(coming):
                heapq.heappush(waiting, (departure.at, next(ticket), departure))
            started += 1
        while waiting and waiting[0][0] <= now():
            departure = heapq.heappop(waiting)[2]
            for span in departure.trace.spans:
                network.send(departure.trace, span, departure.times)
            sent += departure.trace.size
            traces += 1
        say(traces, sent)
        if wait(LOOK_S):
            return sent
