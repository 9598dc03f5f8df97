"""Turns what the host gives into attribute values: decimals, times and text, never a double and never invalid Unicode.

Each function takes ``misuse``, which raises in development and counts in production; after it returns, the function
gives the best value it can (so that the business step is not lost), or ``None`` when there is none.
"""

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Final
from uuid import UUID

Misuse = Callable[[str, str], None]

MAX_DIGITS: Final = 32  # before the point; the store keeps Decimal(38, 6)
MAX_PLACES: Final = 32  # the store rounds to 6; the bound keeps a tiny exponent from becoming a huge text
MAX_TEXT: Final = 4096  # of one value; a document body is not an attribute
MAX_KEY: Final = 512  # of one key value; a longer one is not a key, and cut off it would join the wrong documents
MAX_KEYS: Final = 1000  # of one type on one step; above it a batch with one record each reads and costs better
HARD_MAX_KEYS: Final = 100_000  # the rest is left out even in production, to protect memory
MAX_COUNT: Final = 2**53  # far below what OTLP's integer holds
MAX_TIME_NS: Final = 2**63 - 1
FREE_TEXT: Final = "free_text"  # stands for a reason that is no code
BACKSLASH: Final = "backslashreplace"

_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,12})?", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/*+-]{0,99}")
_CURRENCY = re.compile("[A-Z]{3}")
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def text(value: object, what: str, misuse: Misuse, limit: int = MAX_TEXT) -> str | None:
    """Return *value* as text that OTLP can carry; ``None`` for ``None`` and for what has no text."""
    if value is None:
        return None
    if type(value) is str and len(value) <= limit and value.isascii():  # nearly always; the rest costs a microsecond
        return value
    try:
        kept = str.__str__(value) if isinstance(value, str) else str(value)  # an enum of strings gives its value
    except Exception:  # noqa: BLE001 - whatever the host's own __str__ raises; counted
        misuse("unreadable_value", f"{what} has no text form; give a string")
        return None
    if not kept.isascii():
        # A lone surrogate cannot be encoded, and would take the whole batch of spans with it.
        kept = kept.encode("utf-8", BACKSLASH).decode("utf-8")
    if len(kept) > limit:
        misuse("long_value", f"{what} is longer than {limit} characters and is cut off")
        return kept[:limit]
    return kept


def plain(value: object, what: str, misuse: Misuse) -> str | bool | int | float | None:
    """Return a value of one of OpenTelemetry's own scalar types; anything else as text."""
    if isinstance(value, float) or (isinstance(value, int) and -MAX_TIME_NS <= value <= MAX_TIME_NS):
        return value
    return text(value, what, misuse)


def decimal_text(value: object, what: str, misuse: Misuse) -> str | None:
    """Return an amount or a quantity as a plain decimal string."""
    if type(value) is str and _PLAIN_DECIMAL.fullmatch(value):
        return value
    number = decimal_of(value, what, misuse)
    return None if number is None else format(number, "f")


def decimal_of(value: object, what: str, misuse: Misuse) -> Decimal | None:
    """Return an amount or a quantity as a finite decimal of a size that the store can hold."""
    if value is None:
        return None
    if isinstance(value, float):
        misuse("float_amount", f"{what} is a float, which cannot hold money exactly; give a str, an int or a Decimal")
        value = repr(float(value)) if math.isfinite(value) else "not finite"
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
            raise InvalidOperation
        number = Decimal(value.strip() if isinstance(value, str) else value)
        exponent = number.as_tuple().exponent
    except (InvalidOperation, ValueError):
        exponent = "n"
    if not isinstance(exponent, int) or exponent < -MAX_PLACES or number.adjusted() >= MAX_DIGITS:
        misuse("bad_amount", f"{what} is not a decimal number of at most {MAX_DIGITS} digits; it is left out")
        return None
    return number


def count_of(value: object, what: str, misuse: Misuse) -> int:
    """Return a count of records; 0 for what is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return value
    misuse("bad_count", f"{what} is a whole number, 0 or more")
    return 0


def time_text(value: object, what: str, misuse: Misuse) -> str | None:
    """Return a business time as RFC 3339 with its offset."""
    moment = moment_of(value, what, misuse)
    return None if moment is None else moment.isoformat()


def time_ns(value: object, what: str, misuse: Misuse) -> int | None:
    """Return a span time in nanoseconds since 1970 from an int of that unit or an aware datetime."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        nanoseconds = value
    else:
        moment = moment_of(value, what, misuse)
        if moment is None:
            return None
        elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
        nanoseconds = (elapsed.days * 86_400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1000
    if not 0 <= nanoseconds <= MAX_TIME_NS:
        misuse("bad_time", f"{what} lies outside 1970 to 2262; it is left out")
        return None
    return nanoseconds


def moment_of(value: object, what: str, misuse: Misuse) -> datetime | None:
    """Return an aware datetime; a naive one is a misuse and is taken as UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(ValueError):  # reported below
            value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive on purpose: reported below
    if not isinstance(value, datetime):
        misuse("bad_time", f"{what} is not a time; give a datetime with a time zone")
        return None
    if value.utcoffset() is None:
        misuse("naive_time", f"{what} has no time zone; give an aware datetime (it is taken as UTC)")
        return value.replace(tzinfo=UTC)
    return value


def step_code(value: object, misuse: Misuse) -> str:
    """Return a step code such as ``p2p.invoice.posted``; anything else is kept as text and reported."""
    if isinstance(value, str) and _CODE.fullmatch(value):
        return value
    misuse("bad_step_code", "a step code is <flow>.<object>.<event> in lower case, such as p2p.invoice.posted")
    return text(value, "the step code", misuse) or "unnamed"


def reason_code(value: object, misuse: Misuse) -> str | None:
    """Return a reason such as ``price_variance``; free text, which may name a patient, is left out."""
    kept = text(value, "reason", misuse)
    if not kept or _REASON.fullmatch(kept):
        return kept
    misuse("free_text_reason", "a reason is a code without spaces, such as price_variance; its text is left out")
    return FREE_TEXT


def currency_code(value: object, misuse: Misuse) -> str | None:
    """Return a currency; what is no code of three letters is kept and reported."""
    kept = text(value, "currency", misuse)
    if kept and not _CURRENCY.fullmatch(kept):
        misuse("bad_currency", "currency is a code of ISO 4217, such as USD")
    return kept


def type_name(value: object, what: str, misuse: Misuse) -> str | None:
    """Return the name of a key or context type; ``None`` when it could not be part of an attribute name."""
    if isinstance(value, str) and _TYPE.fullmatch(value):
        return value
    misuse("bad_type_name", f"the name of a {what} is one snake_case word, such as purchase_order")
    return None


def choice(value: object, allowed: tuple[str, ...], what: str, misuse: Misuse) -> str | None:
    """Return one of *allowed*; another text is kept and reported."""
    chosen = text(value, what, misuse)
    if chosen is not None and chosen not in allowed:
        misuse(f"unknown_{what}", f"{what} is one of {', '.join(allowed)}")
    return chosen


def key_values(type_: str, given: object, misuse: Misuse) -> tuple[str, ...]:
    """Return the values of one key type: one or many, without empty ones and repetitions, in the order given."""
    if type(given) is str and given.isascii() and len(given) <= MAX_KEY:
        return (given.strip(),) if given.strip() else ()
    found: dict[str, None] = {}
    for value in listed(given, f"key {type_}", misuse, HARD_MAX_KEYS):
        if kept := _key_value(type_, value, misuse):
            found[kept] = None
    if len(found) > MAX_KEYS:
        misuse("too_many_keys", f"key {type_} has more than {MAX_KEYS} values; use tracer.batch with a record for each")
    return tuple(found)


def keys_of(given: object, misuse: Misuse) -> dict[str, tuple[str, ...]]:
    """Return key types with their values, without those that have none."""
    found: dict[str, tuple[str, ...]] = {}
    for type_, value in items(given, "keys", misuse):
        name = type_name(type_, "key", misuse)
        if name and (kept := key_values(name, value, misuse)):
            found[name] = kept
    return found


def texts_of(given: object, what: str, misuse: Misuse) -> dict[str, str]:
    """Return types with one text each: scopes, context."""
    found: dict[str, str] = {}
    for type_, value in items(given, what, misuse):
        name = type_name(type_, what, misuse)
        if name and (kept := text(value, what, misuse)) is not None:
            found[name] = kept
    return found


def items(given: object, what: str, misuse: Misuse) -> Iterable[tuple[object, object]]:
    """Return the pairs of a mapping; nothing for ``None`` and, as a misuse, for what is no mapping."""
    if type(given) is dict:
        return given.items()
    if given is None:
        return ()
    pairs: list[tuple[object, object]] = []
    try:
        if not isinstance(given, Mapping):
            raise TypeError
        pairs.extend(given.items())
    except Exception:  # noqa: BLE001 - whatever the host's own mapping raises; counted
        misuse("bad_mapping", f"{what} is a mapping of types to values")
    return pairs


def listed(given: object, what: str, misuse: Misuse, limit: int) -> list[object]:
    """Return one value as a list of one, and the first *limit* of many, up to where the host's iterator fails."""
    if isinstance(given, (str, bytes, bytearray)) or not isinstance(given, Iterable):
        return [given]
    found: list[object] = []
    try:
        found.extend(islice(given, limit))
    except Exception:  # noqa: BLE001 - whatever the host's own iterator raises; counted
        misuse("unreadable_value", f"{what} cannot be read; give a string or a list of strings")
    return found


def _key_value(type_: str, value: object, misuse: Misuse) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        misuse("bad_key", f"key {type_} is a {type(value).__name__}; give it as a string")
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", BACKSLASH)
    kept = (text(value, f"key {type_}", misuse, limit=sys.maxsize) or "").strip()
    if len(kept) > MAX_KEY:
        misuse("bad_key", f"key {type_} is longer than {MAX_KEY} characters, so it is left out")
        return None
    return kept
