"""The parts of a CONTRL, which acknowledges: what it says of each message that it names, and of the interchange as a whole."""

from collections.abc import Collection, Iterator
from typing import Final

INTERCHANGE: Final = b"UCI"
GROUP: Final = b"UCF"
MESSAGE: Final = b"UCM"
TYPE: Final = b"CONTRL"

Segments = list[list[bytes]]


def parts_of(message: Segments, component: bytes, envelopes: Collection[str]) -> Iterator[tuple[Segments, str]]:
    """Yield (segments, what begins them) of each part of a message; of most messages that is all of it, which nothing begins.

    A CONTRL is told of by each UCM, below the UCF it belongs to; one without any as a whole. Where *envelopes* asks for ``UCI``,
    all of it is told of once more, as what it says of the interchange.
    """
    answers = message[0][2].split(component)[0] == TYPE
    named = [at for at, segment in enumerate(message) if segment[0] == MESSAGE] if answers else []
    if not named:
        yield message, ""
    for at in named:
        end = next(n for n in range(at + 1, len(message)) if message[n][0] in (GROUP, MESSAGE, b"UNT"))
        group = next((n for n in range(at, 0, -1) if message[n][0] == GROUP), at)
        head = min(n for n, segment in enumerate(message) if segment[0] in (GROUP, MESSAGE))
        above = message[:head] + ([message[group]] if group < at else [])
        yield [*above, *message[at:end], message[-1]], MESSAGE.decode()
    if answers and INTERCHANGE.decode() in envelopes and any(segment[0] == INTERCHANGE for segment in message):
        yield message, INTERCHANGE.decode()
