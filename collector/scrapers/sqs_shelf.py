"""Dead letters of SQS, which can only be looked at by receiving them: they are hidden for the length of a look.

A standard queue has no order that could change. Each look counts as a delivery; so a queue of dead letters that gives
messages up itself is left alone. Of a FIFO queue the first messages of each group are seen: the others wait for them.
"""

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from controltower.collector.scrapers.dead_letters import Json, Seen
from controltower.collector.scrapers.definition import DeadLetterSource
from controltower.collector.scrapers.message import Message
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.sqs_client import address_of, connected

logger = logging.getLogger(__name__)

MOST_SEEN: Final = 10_000  # messages that are looked at; SQS lets 20,000 of a FIFO queue be handed out
HIDDEN_S: Final = 300  # after which those come back that a killed process had
AT_ONCE: Final = 10  # as many as SQS gives and takes
WAIT_S: Final = 1  # for messages: all of SQS's hosts are asked
GIVES_UP: Final = "gives messages up itself: each look would count as a delivery"
DEPTH: Final = "ApproximateNumberOfMessages"
POLICY: Final = "RedrivePolicy"


class SqsShelf:
    """One queue."""

    def __init__(self, source: DeadLetterSource) -> None:
        self._source = source
        self._client: Any = None
        self._address = ""
        self._waiting: deque[Seen] = deque()
        self._receipts: list[str] = []
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    def begin(self) -> int:
        """Begin to look, and return how many messages there are about."""
        if self._client is None:
            self._client = connected(self._source)
            self._address = address_of(self._client, self._source.queue)
        asked = self._client.get_queue_attributes(QueueUrl=self._address, AttributeNames=[DEPTH, POLICY])
        told = asked.get("Attributes", {})
        depth = int(told[DEPTH])
        self._levels = (Level("depth", depth, self._source.queue),)
        self._problems = {self._source.queue: GIVES_UP} if POLICY in told else {}
        if depth > MOST_SEEN:
            self._problems[self._source.queue] = f"holds about {depth} messages; {MOST_SEEN} of them are read"
        return 0 if POLICY in told else min(depth, MOST_SEEN)

    def next(self) -> Seen | None:
        """Return the next message; None when no more is handed out."""
        if not self._waiting:
            self._receive()
        return self._waiting.popleft() if self._waiting else None

    def end(self, left: int) -> None:
        """Show all of them again."""
        if left:
            words = (
                f"{left} messages were not handed out: others have them, or messages of their group stand before them"
            )
            self._problems[self._source.queue] = words
        self._show()

    def restore(self, saved: Json) -> None:
        """Nothing else is saved than what was read."""

    def state(self) -> Json:
        """Return nothing else than what was read."""
        return {}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return about how many messages there are."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return why the queue, or a part of it, cannot be read."""
        return self._problems

    def close(self) -> None:
        """Show what is hidden again, where that goes: else it comes back by itself."""
        self._waiting.clear()
        if self._client is None:
            return
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._show()
        except (BotoCoreError, ClientError) as exc:
            logger.info("messages of %s come back in %d s: %r", self._source.queue, HIDDEN_S, exc)
        self._client.close()
        self._client = None

    def _receive(self) -> None:
        answer = self._client.receive_message(
            QueueUrl=self._address,
            MaxNumberOfMessages=AT_ONCE,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=WAIT_S,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        for told in answer.get("Messages", ()):
            self._receipts.append(told["ReceiptHandle"])
            self._waiting.append(seen_of(told))

    def _show(self) -> None:
        receipts, self._receipts = self._receipts, []
        for begin in range(0, len(receipts), AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[begin : begin + AT_ONCE])
            ]
            self._client.change_message_visibility_batch(QueueUrl=self._address, Entries=entries)


def seen_of(told: Any) -> Seen:
    """Return a message as SQS hands it out."""
    facts = told.get("Attributes", {})
    values = {name: each.get("StringValue") for name, each in told.get("MessageAttributes", {}).items()}
    source = facts.get("DeadLetterQueueSourceArn", "").rpartition(":")[2]
    sent_ms = facts.get("SentTimestamp", "")
    message = Message(
        id=told["MessageId"],
        routing_key=facts.get("MessageGroupId", ""),
        time=f"{sent_ms[:-3]}.{sent_ms[-3:]}" if sent_ms else "",
        headers={name: value for name, value in values.items() if value is not None},
        dead={"queue": source, "reason": "delivery_limit"} if source else {},
    )
    return Seen(message, told["Body"].encode(), told["MessageId"])
