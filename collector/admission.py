"""What of a request is stored: counted on the wire, parsed, checked, and as it came unless something had to change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types

from controltower.collector.otlp import Checked, Signal
from controltower.collector.sources import remove_foreign
from controltower.collector.status import Refusal, bad_request, forbidden, too_large
from controltower.collector.wire import TooManyError, WireError, count
from controltower.tracer.journal import RESERVED_FIELDS
from controltower.tracer.journal.records import fields

# Below this size what lies inside the items is not counted: the most it can cost the parser is 124 MiB (measured), for
# the moment of one parse. Counting it costs five times the parse.
COUNT_ALL_ABOVE_BYTES: Final = 4 * 1024 * 1024

# Fields around each item: a resource, a scope and their parts of its own are seven.
FIELDS_PER_ITEM: Final = 10

# Fields in all: as many as 64 MiB of real attributes hold, at 8 bytes each. Walking them takes two seconds.
MOST_FIELDS: Final = 8_000_000

UNCHANGED: Final = Checked()

# Takes out of a parsed request what may not be kept, and returns how much that was: (name of the signal, request).
Redact: TypeAlias = Callable[[str, Any], int]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that can be stored: its bytes as they are to be loaded, and what had to be left out of it."""

    body: bytes
    items: int
    rejected: int
    words: str  # for the sender: what was left out, why, and what to change; empty when nothing was
    redacted: int = 0


def admit(
    signal: Signal,
    body: bytes,
    most_items: int,
    *,
    sources: frozenset[str] = frozenset(),
    redact: Redact | None = None,
) -> Admitted | Refusal:
    """Check *body* (protobuf) and return what of it can be stored, or why nothing can.

    Of a sender that is bound to *sources*, nothing else is stored. *redact* changes what is stored.
    """
    try:
        counts = count(body, signal.shallow, most_items=most_items, most_fields=most_items * FIELDS_PER_ITEM)
        if len(body) > COUNT_ALL_ABOVE_BYTES:
            count(body, signal.deep, most_items=most_items, most_fields=MOST_FIELDS)
        own = _without_reserved(body)
        request = signal.request.FromString(own)
    except TooManyError:
        return too_large(
            f"More than {most_items} {signal.items} or {MOST_FIELDS} values in one request, or too many empty groups of them."
        )
    except (WireError, DecodeError):
        return bad_request(f"The body is not a valid OTLP {signal.name} request.")
    foreign = remove_foreign(signal, request, sources) if sources else 0
    if foreign and foreign == counts.items:
        return forbidden(f"This token may not send for the service.name of these {signal.items}.")
    checked = signal.check(request)
    redacted = redact(signal.name, request) if redact else 0
    # What was redacted is written anew even where nothing was found: bytes can hold what the parser passes over.
    changed = foreign or redact or checked != UNCHANGED
    rejected = foreign + checked.rejected
    return Admitted(
        request.SerializeToString() if changed else own,
        counts.items - rejected,
        rejected,
        _words(signal, foreign, checked),
        redacted,
    )


def _words(signal: Signal, foreign: int, checked: Checked) -> str:
    """Return what the sender is told about items that were left out or changed."""
    said = (
        (foreign, f"{foreign} {signal.items} were rejected: this token may not send for their service.name."),
        (checked.rejected, f"{checked.rejected} {signal.items} were rejected: {signal.reject_reason}."),
        (checked.repaired, f"{checked.repaired} {signal.items} were changed: {signal.repair_reason}."),
    )
    return " ".join(words for number, words in said if number)


def _without_reserved(body: bytes) -> bytes:
    """Return *body* without top-level fields that only the journal may write: they carry the tenant."""
    if not any(number in RESERVED_FIELDS for number, *_ in fields(body, 0, len(body))):
        return body
    kept = (field for field in fields(body, 0, len(body)) if field[0] not in RESERVED_FIELDS)
    return b"".join(body[start:end] for _, start, _, end in kept)
