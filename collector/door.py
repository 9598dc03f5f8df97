"""Who is let in: a valid token at once, everything else ever slower, with a line in the log that tells no token.

A valid token always passes, also from an address from which somebody guesses: it is 256 random bits, so letting it pass
helps nobody to guess, and refusing it would let one guesser lock all senders behind the same address out.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from controltower.collector.auth import Denied, Sender, Tokens, sender_of
from controltower.collector.guesses import Brake, Guesses
from controltower.collector.peer import Peer
from controltower.collector.rates import Bucket
from controltower.collector.status import Refusal, forbidden, unauthenticated

logger = logging.getLogger(__name__)

LOG_EVERY_S: Final = 60.0  # about one address
LOG_PER_S: Final = 0.5  # in all, after a first burst of 20
LOG_BURST_S: Final = 40.0

# Answers that are held back at the same time; each holds a connection of some 50 kB. The others are given at once.
MOST_HELD: Final = 64


class Door:
    """Tells a valid token from all else, and holds back the answers to who guesses; for one event loop."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tokens = tokens
        self._monotonic = monotonic
        self._sleep = sleep
        self._guesses = Guesses()
        self._lines = Bucket(LOG_PER_S, LOG_BURST_S, monotonic())
        self._held = 0

    def sender(self, authorization: str | None, peer: Peer) -> Sender | Refusal:
        """Return who sends, or the refusal of who may not; does not block."""
        token = self._tokens.recognise(authorization)
        if isinstance(token, Denied):
            return self._refuse(token, peer)
        return forbidden("This token reads /metrics and sends nothing.") if token.scrape else sender_of(token)

    def scraper(self, authorization: str | None, peer: Peer) -> Refusal | None:
        """Return why *authorization* does not give leave to read the metrics; None when it does."""
        token = self._tokens.recognise(authorization)
        if isinstance(token, Denied):
            return self._refuse(token, peer)
        return None if token.scrape else forbidden("This token sends, and does not read /metrics.")

    async def hold(self, refusal: Refusal) -> None:
        """Wait for as long as the answer is to be held back; other requests go on meanwhile."""
        if not refusal.delay_s or self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await self._sleep(refusal.delay_s)
        finally:
            self._held -= 1

    def _refuse(self, denied: Denied, peer: Peer) -> Refusal:
        now = self._monotonic()
        address = f"address {peer.network}"
        keys = [address, *([f"token {denied.fingerprint}"] if denied.fingerprint else [])]
        brake = self._guesses.failed(keys, now)
        self._audit(denied, peer, brake, now, address)
        refusal = replace(unauthenticated(), delay_s=brake.delay_s)
        if brake.locked_s:
            # No more of this connection is read: a new one costs the client more than it costs us.
            return replace(refusal, reason="locked_out", headers={**refusal.headers, "Connection": "close"})
        return refusal

    def _audit(self, denied: Denied, peer: Peer, brake: Brake, now: float, address: str) -> None:
        if self._lines.wait_s(now) or not self._guesses.tells(address, now, LOG_EVERY_S):
            return
        self._lines.charge(1, now)
        whose = f" of {denied.name!r}" if denied.name else ""
        locked = f", locked out for {brake.locked_s:.0f} s" if brake.locked_s else ""
        logger.warning(
            "refused a request over %s from %s: its token%s is %s (%s refusals%s)",
            peer.transport,
            peer.network or "an unknown address",
            whose,
            denied.why,
            brake.failures,
            locked,
        )
