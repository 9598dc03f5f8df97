"""Turns: few at a time, the last first, and none is lost whatever ends the waiting."""

import asyncio
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.turns import Turns

NEVER_S: Final = 60.0


def test_the_last_to_ask_is_the_next_to_go() -> None:
    """A crowd that waits delays nobody who comes later."""

    async def order() -> list[str]:
        turns, gone = Turns(1), []

        async def go(name: str) -> None:
            await turns.take(NEVER_S)
            gone.append(name)
            turns.give_back()

        await turns.take(NEVER_S)
        waiting = [asyncio.create_task(go(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        turns.give_back()
        await asyncio.gather(*waiting)
        return gone

    assert asyncio.run(order()) == ["third", "second", "first"]


def test_waiting_ends_in_time() -> None:
    """Who has no turn within the time is told so, and does not get one later."""

    async def taken() -> list[bool]:
        turns = Turns(1)
        found = [await turns.take(NEVER_S), await turns.take(0.0)]
        turns.give_back()
        return [*found, await turns.take(0.0)]

    assert asyncio.run(taken()) == [True, False, True]


@given(st.lists(st.sampled_from(["ask", "cancel", "give back"]), max_size=40), st.integers(1, 3))
def test_no_turn_is_lost_and_none_is_made(steps: list[str], most: int) -> None:
    """Whoever asks, gives up or gives back in whatever order: in the end there are as many turns as at the start."""

    async def play() -> int:
        turns = Turns(most)
        asked: list[asyncio.Task[bool]] = []
        for step in steps:
            if step == "ask":
                asked.append(asyncio.create_task(turns.take(NEVER_S)))
                await asyncio.sleep(0)
            elif step == "cancel" and asked:
                asked[-1].cancel()  # also one that was given its turn in this very moment
            elif step == "give back" and any(had(one) for one in asked):
                asked.remove(next(one for one in asked if had(one)))
                turns.give_back()
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        for one in asked:
            if had(one):
                turns.give_back()
        return sum([await turns.take(0.0) for _ in range(most + 1)])

    assert asyncio.run(play()) == most


def had(one: "asyncio.Task[bool]") -> bool:
    """Whether a task has its turn."""
    return one.done() and not one.cancelled() and one.result()
