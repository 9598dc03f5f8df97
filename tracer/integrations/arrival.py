"""How a message arrived: what its headers and its broker say of it, noted on the library's message for whoever works on it.

Nothing of a message's body is looked at.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.trace import SpanContext

from controltower.tracer import attributes, propagation
from controltower.tracer.integrations.place import MAX_ID, Place, Plain
from controltower.tracer.propagation import KeyRing
from controltower.tracer.system import System

Pairs = Iterable[tuple[Any, Any]]
Sender = tuple[SpanContext | None, KeyRing]

SENT_AT: Final = "controltower-sent-at"  # header: milliseconds since 1970 by the sender's clock
TRAVELLING: Final = frozenset({propagation.TRACE_HEADER, propagation.STATE_HEADER, propagation.BAGGAGE_HEADER, SENT_AT})
IDEMPOTENCY_HEADERS: Final = ("idempotency-key", "nats-msg-id")
READ: Final = TRAVELLING.union(IDEMPOTENCY_HEADERS)
IDEMPOTENCY: Final = "idempotency"  # key type: an identity for one hop
MAX_HEADER: Final = 8192  # characters of a header that are looked at; a longer one is not ours
ARRIVAL: Final = "_controltower_arrival"  # attribute of a library's message


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a message is in a queue of dead letters."""

    queue: str  # that gave it up
    reason: str  # rejected, expired, maxlen, delivery_limit
    count: int  # times it was given up


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it arrived."""

    place: Place
    headers: Mapping[str, str]  # those of ``READ``, in lower case
    message_id: str | None = None
    sent_ns: int | None = None  # when the broker took it, where the broker says so
    redelivered: bool | None = None  # ``None`` where the broker does not say
    delivery_count: int | None = None  # 1 for the first delivery
    dead: DeadLetter | None = None
    others: Mapping[str, Plain] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # that rules found in it
    senders: dict[frozenset[str], Sender] = field(default_factory=dict, init=False, repr=False, compare=False)

    def facts(self, now_ns: int) -> dict[str, Plain]:
        """Return what is true of this message alone, as attributes of a span or of a link."""
        found: dict[str, Plain] = dict(self.others)
        if self.message_id:
            found["messaging.message.id"] = self.message_id[:MAX_ID]
        if (wait := self._wait_ms(now_ns)) is not None:
            found[attributes.MESSAGE_WAIT] = wait
        if self.redelivered is not None:
            found[attributes.MESSAGE_REDELIVERED] = self.redelivered
        if self.delivery_count is not None:
            found[attributes.MESSAGE_DELIVERY_COUNT] = self.delivery_count
        if self.dead is not None:
            found[attributes.CONTEXT + "dlq"] = self.place.name[:MAX_ID]
            found[attributes.CONTEXT + "dlq_from"] = self.dead.queue[:MAX_ID]
            found[attributes.REASON] = self.dead.reason[:MAX_ID]
            found[attributes.MESSAGE_DEAD_COUNT] = self.dead.count
        return found

    def _wait_ms(self, now_ns: int) -> int | None:
        """Return how long it waited; ``None`` when unknown, or when the clocks of the two sides contradict each other."""
        told = self.headers.get(SENT_AT, "")
        sent_ns = int(told) * 1_000_000 if told.isascii() and told.isdigit() and len(told) <= 13 else self.sent_ns
        return None if sent_ns is None or sent_ns > now_ns else (now_ns - sent_ns) // 1_000_000


def read_headers(given: Pairs) -> dict[str, str]:
    """Return the headers that the tracer reads, as text; of one that comes twice the last, of ``baggage`` both."""
    found: dict[str, str] = {}
    for name, value in given:
        lower = name if type(name) is str and name in READ else _name(name)
        if lower not in READ:
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value
        if isinstance(text, str) and len(text) <= MAX_HEADER:
            both = lower == propagation.BAGGAGE_HEADER and lower in found
            found[lower] = f"{found[lower]},{text}" if both else text
    return found


def is_travelling(name: object) -> bool:
    """Return whether a header is one that the tracer writes."""
    return _name(name) in TRAVELLING


def sender_of(arrival: Arrival, system: System) -> Sender:
    """Return the sender's span, if its headers name one, and the keys that came along; both are not to be changed.

    Read once: a message that is fetched and then worked on, or given back, is asked again.
    """
    allowed = system.settings.propagate_keys
    if (known := arrival.senders.get(allowed)) is None:
        sender, ring = propagation.read(arrival.headers, allowed)
        ring.keys.update(arrival.keys)
        if key := idempotency_of(arrival.headers):
            ring.keys[IDEMPOTENCY] = (key,)
        known = arrival.senders[allowed] = (sender if sender.is_valid else None), ring
    return known


def idempotency_of(headers: Mapping[str, str]) -> str | None:
    """Return the idempotency key among *headers*."""
    found = next((headers[name].strip() for name in IDEMPOTENCY_HEADERS if headers.get(name)), "")
    return found if 0 < len(found) <= MAX_ID else None


class Noted(dict[Any, Any]):
    """A mapping inside a message that takes no attribute; it is as the library made it, and knows how it arrived."""

    __slots__ = (ARRIVAL,)


def remember(message: Any, arrival: Arrival) -> None:
    """Note on a library's message how it arrived, for ``processing``."""
    object.__setattr__(message, ARRIVAL, arrival)


def noted(given: Mapping[Any, Any], arrival: Arrival) -> Noted:
    """Return a copy of *given* with how its message arrived."""
    found = Noted(given)
    remember(found, arrival)
    return found


def arrival_of(message: Any) -> Arrival | None:
    """Return how a message arrived; *message* is what the library gave, also a tuple with it."""
    for each in (message, *message) if isinstance(message, tuple) else (message,):
        if isinstance(found := getattr(each, ARRIVAL, None), Arrival):
            return found
        for kind, read in _readers.items():
            if isinstance(each, kind):
                return read(each)
    return None


_readers: dict[type, Callable[[Any], Arrival | None]] = {}  # for messages that nothing can be noted on


def read_with(kind: type, read: Callable[[Any], Arrival | None]) -> Callable[[], None]:
    """Read how messages of type *kind* arrived from themselves; return what undoes it."""
    _readers[kind] = read
    return lambda: void(_readers.pop(kind, None))


def void(_: object) -> None:
    """Return nothing."""


def _name(given: object) -> str:
    """Return the name of a header in lower case; names of Redis' fields and of Kafka's headers can be bytes."""
    if isinstance(given, bytes):
        return given.decode("utf-8", "replace").lower()
    return given.lower() if isinstance(given, str) else ""
