"""Streams of NATS JetStream, read by sequence: by a consumer that acknowledges nothing, and that the server forgets.

Only streams that keep messages by limits can be read so. Of a work queue each message goes to one reader, and what a
stream of interest keeps depends on who reads: a copy would change what others get.

A consumer that gives a message up leaves it where it is and publishes an advisory. A stream of those advisories is a
queue of dead letters: each is read as the message that it tells of.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.definition import DeadLetterSource, MessageSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.message import Message
from controltower.collector.scrapers.nats_client import Nats
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.stream import Entry, Json, gone

WAIT_S: Final = 0.2  # for messages
FORGET_S: Final = 300.0  # after which the server forgets a consumer that nobody asks
LIMITS: Final = "limits"
ADVISORY: Final = "$JS.EVENT.ADVISORY.CONSUMER."
DEATHS: Final = {"MAX_DELIVERIES": "max_deliveries", "MSG_TERMINATED": "terminated"}


class Death(NamedTuple):
    """Which message a consumer gave up, and what is told of that."""

    stream: str
    sequence: int
    told: dict[str, str]


class NatsStream:
    """One stream."""

    def __init__(self, source: MessageSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._nats: Nats | None = None
        self._subscription: Any = None
        self._made = ""  # when the stream was
        self._after = 0
        self._given = 0  # messages that the consumer gave
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    @property
    def position(self) -> Json:
        """Return the sequence behind which is read, and of which stream of that name."""
        return {"after": self._after, "made": self._made}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how many messages there are."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was removed before it was read."""
        return self._problems

    def begin(self, position: Json | None) -> None:
        """Connect, and go on behind *position*."""
        self._nats = Nats(self._source)
        info = self._info()
        self._made = str(info.created)
        first, last = info.state.first_seq, info.state.last_seq
        if position is None:
            self._after = last if self._source.begin == "end" else max(0, first - 1)
        elif position["made"] != self._made or position["after"] > last:
            self._after = 0
            self._problems[self._source.queue] = "was made anew: it is read from its first message"
        else:
            self._after = position["after"]
        self._subscribe()

    def read(self, most: int) -> tuple[list[Entry], bool]:
        """Return the messages behind the last one."""
        assert self._nats is not None  # begun
        try:
            messages = self._nats.run(self._subscription.fetch(most, timeout=WAIT_S))
        except TimeoutError:  # the library raises that of asyncio as well as its own, which is one
            return [], True
        return [self._entry(message) for message in messages], messages[-1].metadata.num_pending == 0

    def look(self) -> None:
        """Ask how many messages there are; raises when the server forgot our consumer, or the stream is another one."""
        assert self._nats is not None  # begun
        info = self._info()
        if str(info.created) != self._made:
            raise QueueError(f"The stream {self._source.queue} was made anew.")
        self._nats.run(self._subscription.consumer_info())
        self._levels = (Level("depth", info.state.messages, self._source.queue),)

    def close(self) -> None:
        """Close the connection; the server forgets the consumer."""
        nats, self._nats = self._nats, None
        if nats is not None:
            nats.close()

    def _info(self) -> Any:
        assert self._nats is not None
        info = self._nats.run(self._nats.streams.stream_info(self._source.queue))
        if info.config.retention != LIMITS:
            raise QueueError(
                f"The stream {self._source.queue} keeps messages by {info.config.retention}: to read a copy would "
                "change what others get. Let a stream of its own with retention by limits take the same subjects."
            )
        return info

    def _subscribe(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        assert self._nats is not None
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=FORGET_S,
            mem_storage=True,
            num_replicas=1,
        )
        self._given = 0
        self._subscription = self._nats.run(
            self._nats.streams.pull_subscribe("", stream=self._source.queue, config=config)
        )

    def _entry(self, message: Any) -> Entry:
        told = message.metadata
        self._given += 1
        if told.sequence.consumer != self._given:  # nothing comes twice: what is not here was lost on its way
            raise QueueError("A message was lost on its way; the stream is read on from what is saved.")
        missed, self._after = told.sequence.stream - self._after - 1, told.sequence.stream
        if missed:
            self._problems[self._source.queue] = gone(missed)
        if isinstance(self._source, DeadLetterSource) and (death := _death(message)):
            return self._dead(death)
        return Entry(str(self._after), _message(message, told.timestamp), message.data)

    def _dead(self, death: Death) -> Entry:
        """Return the message that an advisory tells of."""
        from nats.js.errors import NotFoundError

        assert self._nats is not None
        try:
            found = self._nats.run(self._nats.streams.get_msg(death.stream, death.sequence))
        except NotFoundError:
            flaw = f"gone: message {death.sequence} of {death.stream}"
            return Entry(str(self._after), Message(dead=death.told), b"", flaw)
        return Entry(str(self._after), _message(found, found.time, death.told), found.data or b"")


def _death(message: Any) -> Death | None:
    """Return what an advisory tells of the end of a message; None for all other messages."""
    kind = message.subject.removeprefix(ADVISORY).partition(".")[0]
    if not message.subject.startswith(ADVISORY) or kind not in DEATHS:
        return None
    try:
        told = json.loads(message.data)
        stream, sequence, consumer = str(told["stream"]), int(told["stream_seq"]), str(told["consumer"])
    except (ValueError, KeyError, TypeError):
        return None  # anybody may publish to such a subject
    dead = {"queue": stream, "exchange": consumer, "reason": DEATHS[kind], "count": str(told.get("deliveries", ""))}
    return Death(stream, sequence, {**dead, "time": _seconds(message.metadata.timestamp)})


def _message(message: Any, at: datetime, dead: Mapping[str, str] | None = None) -> Message:
    headers = dict(message.headers or {})
    return Message(
        id=headers.get("Nats-Msg-Id", ""),
        routing_key=message.subject,
        time=_seconds(at),
        headers=headers,
        dead=dead or {},
    )


def _seconds(at: datetime) -> str:
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return f"{since.days * 86_400 + since.seconds}.{since.microseconds:06d}"
