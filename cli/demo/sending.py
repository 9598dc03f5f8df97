"""Sends a plan: in the order things leave, or shuffled; at once, or spread over some time."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from controltower.cli.demo.model import Plan, PlannedSpan, PlannedTrace
from controltower.cli.demo.network import Network

LOOK_EVERY: Final = 200  # spans between two looks at the clock

Item = tuple[PlannedTrace, PlannedSpan]


def in_order(plan: Plan) -> Iterator[Item]:
    """Yield every span in the order of sending."""
    for trace in plan.traces:
        for span in trace.spans:
            yield trace, span


def shuffled(plan: Plan) -> Iterator[Item]:
    """Yield every span in a random order that follows from the plan's seed."""
    items = list(in_order(plan))
    Random(f"{plan.seed}/shuffle").shuffle(items)  # noqa: S311 - repeatable on purpose
    return iter(items)


def send_all(
    network: Network,
    plan: Plan,
    *,
    shuffle: bool,
    over_s: float,
    wait: Callable[[float], bool],
    elapsed_s: Callable[[], float],
    say: Callable[[int, int], None],
) -> int:
    """Send everything, evenly spread over *over_s*; return the number of spans on the wire.

    *wait* sleeps and returns True when it is time to stop; *say* hears how many of how many are sent.
    """
    total = sum(len(trace.spans) for trace in plan.traces)
    items = shuffled(plan) if shuffle else in_order(plan)
    for number, (trace, span) in enumerate(items):
        if number % LOOK_EVERY == 0 or (over_s and number % max(1, total // 1000) == 0):
            say(number, total)
            ahead = over_s * number / total - elapsed_s()
            if wait(max(ahead, 0.0)):
                raise KeyboardInterrupt
        network.send(trace, span)
    say(total, total)
    return plan.span_count
