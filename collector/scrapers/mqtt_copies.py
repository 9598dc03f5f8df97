"""Copies of what topics of MQTT get: a session of our own, which the broker keeps while we are away.

The queue of the source is the name of the session, the client id. Brokers keep a bounded number of messages for it, and
hand a bounded number out before the first is acknowledged; what was sent with QoS 0 is not kept at all.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controltower.collector.scrapers.definition import TapSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.message import Message
from controltower.collector.scrapers.mqtt_client import connected, turn
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.tap import Delivered

QOS: Final = 1  # at least once: what comes again is known
WAIT_S: Final = 0.5  # for messages: a broker does not say whether there are any


class MqttCopies:
    """One session."""

    def __init__(self, source: TapSource) -> None:
        self._source = source
        self._client: Any = None
        self.waiting: deque[Delivered] = deque()
        self._held = 0  # messages that were handed out and not given up

    def begin(self, most: int) -> None:
        """Take the session up again, or begin it; what was kept for it comes."""
        topics = [(topic, QOS) for topic in self._source.topics]
        self._client = connected(self._source, self._take, topics, self._source.queue, most)

    def receive(self, most: int) -> int:
        """Take what comes; where nothing does, return how many are to be given up before more can."""
        before = len(self.waiting)
        while len(self.waiting) < most:
            if code := turn(self._client, 0.0 if self.waiting else WAIT_S):
                raise QueueError(f"The connection to the MQTT broker broke: {code.name}.")
            if len(self.waiting) == before:
                break
            before = len(self.waiting)
        return 0 if self.waiting else self._held

    def give_up(self, tags: Sequence[int]) -> None:
        """Acknowledge messages."""
        for tag in tags:
            self._client.ack(tag, QOS)
        self._held -= len(tags)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return nothing: a broker of MQTT does not tell."""
        return ()

    @property
    def problems(self) -> Mapping[str, str]:
        """Return nothing: a broker of MQTT does not tell whose messages it dropped."""
        return {}

    def close(self) -> None:
        """Leave, and let the broker keep the session."""
        client, self._client = self._client, None
        self.waiting.clear()
        self._held = 0
        if client is not None:
            client.disconnect()

    def _take(self, client: Any, data: Any, message: Any) -> None:
        headers = dict(getattr(message.properties, "UserProperty", ()))
        told = Message(routing_key=message.topic, headers=headers)
        kept = message.qos > 0
        self._held += kept
        self.waiting.append(Delivered(message.mid if kept else None, message.dup, told, message.payload))
