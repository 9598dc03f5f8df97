"""What is looked for in free text, and what stands there instead. Every search is linear in the text (RE2)."""

import base64
import binascii
from collections.abc import Callable
from typing import Final

from controltower.collector.redaction.linear import Automaton, expression
from controltower.collector.redaction.policy import Policy

REMEMBERED: Final = 4_096  # texts and what became of them
LONGEST_REMEMBERED: Final = 512  # bytes; longer texts repeat too seldom
LONGEST_SHAPED: Final = 256  # bytes; a name or a number is not longer

BASE64: Final = "base64"
BASE64_MASK: Final = "[base64]"
# Sixteen characters hold twelve bytes; what a pattern finds is rarely shorter.
BASE64_RUN: Final = "[A-Za-z0-9+/_-]{16,}={0,2}"
LEAST_HIDDEN: Final = 16

_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

Masked = tuple[bytes, tuple[str, ...]]


class Masker:
    """Finds and masks the patterns of a policy in texts; a text is bytes, which need not be valid UTF-8."""

    def __init__(self, policy: Policy) -> None:
        self._finds = [pattern.find for pattern in policy.patterns.values()]
        self._each = [
            (name, expression(pattern.find), pattern.mask.encode()) for name, pattern in policy.patterns.items()
        ]
        self._run = expression(BASE64_RUN)
        self._all = Automaton(["", *self._finds])
        self._known: dict[bytes, Masked] = {}

    def mask(self, text: bytes) -> Masked:
        """Return *text* without what the patterns find, and the names of those that find something in it."""
        known = self._known.get(text)
        if known is None:
            known = self._mask(text)
            if len(text) <= LONGEST_REMEMBERED:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[text] = known
        return known

    def shaped(self, shape: str) -> Callable[[bytes], bool]:
        """Return what tells whether a text has the shape *shape* and holds nothing to be masked."""
        matches = Automaton([f"^(?:{shape})$", *self._finds]).found

        def fits(text: bytes) -> bool:
            # Both in one pass; an automaton that ran out of memory finds nothing, and then nothing fits.
            return (
                len(text) <= LONGEST_SHAPED
                and matches(text) == [0]
                and (len(text) < LEAST_HIDDEN or not self._conceals(text))
            )

        return fits

    def _found(self, text: bytes) -> list[int]:
        """Return the positions of the patterns that find something in *text*, in order."""
        found = self._all.found(text)
        if not found:  # not even the empty text: no memory
            return [at for at, (_, pattern, _) in enumerate(self._each) if pattern.search(text)]
        return sorted(at - 1 for at in found if at)

    def _mask(self, text: bytes) -> Masked:
        rules = tuple(self._each[at][0] for at in self._found(text))
        masked = text
        if rules:  # all of them in turn, as the load does: a mask can make room for what another finds
            for _, pattern, mask in self._each:
                masked, _ = pattern.subn(mask, masked)
        if len(masked) >= LEAST_HIDDEN and self._hidden(masked):
            masked, _ = self._run.subn(BASE64_MASK.encode(), masked)
            rules = (*rules, BASE64)
        return masked, rules

    def _conceals(self, text: bytes) -> bool:
        """Whether a run of base64 in *text* is that of a plain text: of a name or a number it is by accident, one in 10^5."""
        return any(is_plain(decoded(run.group())) for run in self._run.finditer(text))

    def _hidden(self, text: bytes) -> bool:
        """Whether a run of base64 in *text* holds what is to be masked."""
        return any(self._found(plain) for run in self._run.finditer(text) if (plain := decoded(run.group())))


def decoded(run: bytes) -> bytes:
    """Return what a run of base64 holds; nothing when it is none."""
    plain = run.rstrip(b"=").translate(_STANDARD)
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def is_plain(text: bytes) -> bool:
    """Whether *text* is printable ASCII."""
    return bool(text) and text.isascii() and text.decode().isprintable()
