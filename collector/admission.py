"""What of a request is stored: counted on the wire, parsed, checked, and as it came unless something had to change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as defaults
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types

from controltower.collector.cut import RecordLimits
from controltower.collector.otlp import Checked, Signal
from controltower.collector.sources import remove_foreign
from controltower.collector.status import Refusal, bad_request, forbidden, too_large
from controltower.collector.texts import mend
from controltower.collector.trim import is_beyond, trim
from controltower.collector.wire import Bounds, Counts, TooManyError, WireError, count
from controltower.tracer.journal import RESERVED_FIELDS
from controltower.tracer.journal.records import fields

# Below this size what lies inside the items is not counted: the most it can cost the parser is 124 MiB (measured), for
# the moment of one parse. Counting it costs five times the parse.
COUNT_ALL_ABOVE_BYTES: Final = 4 * 1024 * 1024

# Around the items: a resource, a scope, a metric and their parts are ten fields, also when each item has its own; large
# resources come before the first item.
AROUND_FIRST: Final = 50_000
AROUND_PER_ITEM: Final = 10

# Fields in all: as many as 64 MiB of real attributes hold, at 8 bytes each. Walking them takes two seconds, so what a
# request of few items may hold is less: 128 attributes, events and links are 1,500 fields, one giant record a million.
MOST_FIELDS: Final = 8_000_000
INSIDE_FIRST: Final = 1_000_000
INSIDE_PER_ITEM: Final = 500

# Changes in a parsed request what may not be kept, and returns what that was: (name of the signal, request) ->
# (field, rule) -> times.
Redact: TypeAlias = Callable[[str, Any], Mapping[tuple[str, str], int]]

RedactFor: TypeAlias = Callable[[str, Any, str], Mapping[tuple[str, str], int]]
"""The same, for a tenant, whose name comes last: tokens of two tenants must not join."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may hold (more is refused), and one record (more is cut)."""

    items: int = 100_000
    record: RecordLimits = defaults(default_factory=RecordLimits)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that can be stored: its bytes as they are to be loaded, and what had to be left out of it."""

    body: bytes
    items: int
    rejected: int = 0
    words: str = ""  # for the sender: what was left out, why, and what to change
    redacted: Mapping[tuple[str, str], int] = defaults(default_factory=dict)
    trimmed: int = 0


def admit(
    signal: Signal,
    body: bytes,
    limits: Limits,
    *,
    sources: frozenset[str] = frozenset(),
    redact: Redact | None = None,
) -> Admitted | Refusal:
    """Check *body* (protobuf) and return what of it can be stored, or why nothing can.

    Of a sender that is bound to *sources*, nothing else is stored. *redact* changes what is stored.
    """
    try:
        counts = _count(signal, body, limits)
        own = _without_reserved(body)
        request, mended = _parse(signal, own)
    except TooManyError:
        return too_large(
            f"More than {limits.items} {signal.items} or {MOST_FIELDS} values in one request, "
            "or too many empty or unknown parts in it."
        )
    except (WireError, DecodeError):
        return bad_request(f"The body is not a valid OTLP {signal.name} request.")
    beyond = is_beyond(signal, request, counts, limits.record)
    if (beyond or redact or sources) and not mended:
        request = signal.request.FromString(own)  # these look into texts, and read them as bytes
    foreign = remove_foreign(signal, request, sources) if sources else 0
    if foreign and foreign == counts.items:
        return forbidden(f"This token may not send for the service.name of these {signal.items}.")
    checked = signal.check(request)
    redacted = redact(signal.name, request) if redact else {}
    # After redaction: of a value that was cut it might not know what it is.
    trimmed = trim(signal, request, counts, limits.record) if beyond else 0
    # What was redacted is written anew even where nothing was found: bytes can hold what the parser passes over.
    if not (foreign or redact or trimmed or mended or checked != _UNCHANGED):
        return Admitted(own, counts.items)
    rejected = foreign + checked.rejected
    words = _words(signal, foreign, checked, trimmed, mended)
    return Admitted(request.SerializeToString(), counts.items - rejected, rejected, words, redacted, trimmed)


_UNCHANGED: Final = Checked()


def _parse(signal: Signal, body: bytes) -> tuple[Any, int]:
    """Return the request, and how many of its texts were no UTF-8; of these it has the mended ones, and all as bytes."""
    try:
        return signal.generated.FromString(body), 0
    except DecodeError:
        request = signal.request.FromString(body)
        return request, mend(signal, request) or 1  # an invalid one that the parser passes over is left out


def _count(signal: Signal, body: bytes, limits: Limits) -> Counts:
    """Return what is in *body*, TooManyError when that is too much to parse."""
    around = Bounds(limits.items, MOST_FIELDS, AROUND_FIRST, AROUND_PER_ITEM)
    counts = count(body, signal.shallow, around, large_from=limits.record.least_bytes)
    if len(body) > COUNT_ALL_ABOVE_BYTES:
        count(body, signal.deep, Bounds(limits.items, MOST_FIELDS, INSIDE_FIRST, INSIDE_PER_ITEM))
    return counts


def _words(signal: Signal, foreign: int, checked: Checked, trimmed: int, mended: int) -> str:
    """Return what the sender is told about items that were left out or changed."""
    said = (
        (foreign, f"{foreign} {signal.items} were rejected: this token may not send for their service.name."),
        (checked.rejected, f"{checked.rejected} {signal.items} were rejected: {signal.reject_reason}."),
        (checked.repaired, f"{checked.repaired} {signal.items} were changed: {signal.repair_reason}."),
        (trimmed, f"{trimmed} records were cut to the limits of attributes, events, links and lengths."),
        (mended, f"{mended} texts were no UTF-8: what is invalid in them is the replacement character."),
    )
    return " ".join(words for number, words in said if number)


def _without_reserved(body: bytes) -> bytes:
    """Return *body* without top-level fields that only the journal may write: they carry the tenant."""
    if not any(number in RESERVED_FIELDS for number, *_ in fields(body, 0, len(body))):
        return body
    kept = (field for field in fields(body, 0, len(body)) if field[0] not in RESERVED_FIELDS)
    return b"".join(body[start:end] for _, start, _, end in kept)
