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

BASE64_MASK: Final = b"[base64]"
# Sixteen characters hold twelve bytes; what a pattern finds is rarely shorter.
BASE64_RUN: Final = "[A-Za-z0-9+/_-]{16,}={0,2}"
LEAST_HIDDEN: Final = 16

_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

Masked = tuple[bytes, tuple[str, ...]]


class Masker:
    """Finds and masks the patterns of a policy in texts; a text is bytes, which need not be valid UTF-8.

    Of a few megabytes, so it is shared by all that redact by one policy. Safe to use from several threads.
    """

    def __init__(self, policy: Policy) -> None:
        self._expressions = [pattern.find for pattern in policy.patterns.values()]
        self._each = [(expression(pattern.find), pattern.mask.encode()) for pattern in policy.patterns.values()]
        self._labels = [(name, f"[{name}]".encode()) for name in policy.rules]
        self._run = expression(BASE64_RUN)
        self._all = Automaton(["", *self._expressions])
        self._known: dict[bytes, Masked] = {}
        self._fitting: dict[str, Callable[[bytes], bool]] = {}

    def mask(self, text: bytes) -> Masked:
        """Return *text* without what the patterns find, and the names of the masks that stand in it now."""
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
        if shape in self._fitting:
            return self._fitting[shape]
        matches = Automaton([f"^(?:{shape})$", *self._expressions]).found

        def fits(text: bytes) -> bool:
            # Both in one pass; an automaton that ran out of memory finds nothing, and then nothing fits.
            return (
                len(text) <= LONGEST_SHAPED
                and matches(text) == [0]
                and (len(text) < LEAST_HIDDEN or not self._conceals(text))
            )

        self._fitting[shape] = fits
        return fits

    def _finds(self, text: bytes) -> bool:
        """Whether a pattern finds something in *text* as it stands."""
        found = self._all.found(text)
        if not found:  # not even the empty text: no memory
            return any(pattern.search(text) for pattern, _ in self._each)
        return len(found) > 1

    def _mask(self, text: bytes) -> Masked:
        masked = text
        if self._finds(text):  # all of them in turn, as the load does: a mask can make room for what another finds
            for pattern, mask in self._each:
                masked, _ = pattern.subn(mask, masked)
        if len(masked) >= LEAST_HIDDEN and self._hidden(masked):
            masked, _ = self._run.subn(BASE64_MASK, masked)
        if masked == text:
            return text, ()
        return masked, tuple(name for name, label in self._labels if masked.count(label) > text.count(label))

    def _conceals(self, text: bytes) -> bool:
        """Whether a run of base64 in *text* is that of a plain text: of a name or a number it is by accident, one in 10^5."""
        return any(is_plain(decoded(run.group())) for run in self._run.finditer(text))

    def _hidden(self, text: bytes) -> bool:
        """Whether a run of base64 in *text* holds what is to be masked."""
        return any(self._finds(plain) for run in self._run.finditer(text) if (plain := decoded(run.group())))


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
