"""Turns: a few may read at a time, and who asked last is next, so that a crowd of slow ones delays nobody else."""

import asyncio


class Turns:
    """A number of turns, on one event loop. Those who wait are served last in, first out: old ones are given up soon."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, timeout_s: float) -> bool:
        """Take a turn, and say whether there was one within *timeout_s*."""
        if self._free:
            self._free -= 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except TimeoutError:
            return self._was_given(turn)
        except asyncio.CancelledError:
            if self._was_given(turn):
                self.give_back()
            raise
        return True

    def give_back(self) -> None:
        """Let the next one go on."""
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _was_given(self, turn: "asyncio.Future[None]") -> bool:
        """Whether *turn* came in the moment in which waiting for it ended."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        return turn.done() and not turn.cancelled()
