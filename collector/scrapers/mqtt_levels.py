"""Levels of an MQTT broker, as Mosquitto tells them in $SYS: MQTT has no queues that could be asked one by one."""

import time
from collections.abc import Callable
from typing import Any, Final

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.mqtt_client import TIMEOUT_S, connected, turn
from controltower.collector.scrapers.observation import Level

BROKER: Final = "$SYS/broker"
UP: Final = "uptime"
STORED: Final = "store/messages/count"  # those that wait for a session, and retained ones
RETAINED: Final = "retained messages/count"
TOPICS: Final = {
    "consumers": "clients/connected",
    "published": "publish/messages/received",
    "delivered": "publish/messages/sent",
    "dropped": "publish/messages/dropped",
}
QUIET_S: Final = 0.5  # without a message: the broker has told all


class MqttLevels:
    """Asks one broker."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._told: dict[str, bytes] = {}

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of the broker: its last account of itself is sent to whoever subscribes."""
        wanted = [f"{BROKER}/{topic}" for topic in (UP, STORED, RETAINED, *TOPICS.values())]
        self._told.clear()
        client = connected(self._source, self._take, [(topic, 0) for topic in wanted])
        try:
            self._listen(client)
        finally:
            client.disconnect()
        if UP not in self._told:
            raise QueueError(f"The MQTT broker tells nothing in {BROKER}, or not to this user.")
        values = {name: self._number(topic) for name, topic in TOPICS.items()}
        values["depth"] = max(0, self._number(STORED) - self._number(RETAINED))
        return {BROKER: [Level(name, value, BROKER) for name, value in values.items()]}

    def close(self) -> None:
        """Nothing stays open."""

    def _listen(self, client: Any) -> None:
        until_s = time.monotonic() + TIMEOUT_S
        quiet_s = time.monotonic() + QUIET_S
        while time.monotonic() < (quiet_s if UP in self._told else until_s):
            before = len(self._told)
            if code := turn(client, 0.1):
                raise QueueError(f"The connection to the MQTT broker broke: {code.name}.")
            if len(self._told) > before:
                quiet_s = time.monotonic() + QUIET_S

    def _take(self, client: Any, data: Any, message: Any) -> None:
        self._told[message.topic.removeprefix(f"{BROKER}/")] = message.payload

    def _number(self, topic: str) -> int:
        told = self._told.get(topic, b"0")  # Mosquitto says nothing of what was never anything but 0
        return int(told) if told.isdigit() else 0
