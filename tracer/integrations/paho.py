"""paho-mqtt: what is published and what comes to a callback.

MQTT 5 carries headers as user properties. MQTT 3.1.1 has none: both ends have their spans, and nothing joins them.
"""

import copy
from typing import Any, Final

from controltower.tracer.integrations.arrival import ARRIVAL, Arrival, read_headers, read_with
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.messaging import Handling, Sending, Used
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place, place_at

SYSTEM: Final = "mqtt"
NO_HEADERS: Final = "mqtt_without_headers"
FILTERS: Final = "_controltower_filters"  # of a client: what it subscribed to
MAX_FILTERS: Final = 1_000


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods of clients."""
    from paho.mqtt import client, packettypes, properties

    def new_properties() -> Any:
        return properties.Properties(packettypes.PacketTypes.PUBLISH)

    hooks = _Hooks(used, new_properties, client.topic_matches_sub, client.MQTTv5, client.MQTT_ERR_NO_CONN)
    patches.later(read_with(client.MQTTMessage, _noted))
    patches.method(client.Client, "publish", hooks.publish)
    patches.method(client.Client, "subscribe", hooks.subscribe)
    patches.method(client.Client, "_handle_on_message", hooks.deliver)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the user properties of what is sent."""

    def __init__(self, used: Used, new_properties: Any, matches: Any, version_5: Any, no_connection: Any) -> None:
        self._used = used
        self._new_properties = new_properties
        self._matches = matches
        self._version_5 = version_5
        self._no_connection = no_connection

    def publish(self, original: Function) -> Function:
        def publish(
            client: Any,
            topic: str,
            payload: Any = None,
            qos: int = 0,
            retain: bool = False,
            properties: Any = None,
        ) -> Any:
            given = getattr(properties, "UserProperty", [])
            with Sending(self._used(), _place(client, str(topic)), "publish", given=given, body=payload) as sending:
                if client.protocol == self._version_5:
                    properties = self._marked(sending, properties)
                else:
                    self._used().guard.count(NO_HEADERS)
                info = original(client, topic, payload, qos, retain, properties)
                waits = info.rc == self._no_connection and qos > 0  # sent when there is a connection again
                if info.rc and not waits:
                    sending.end(info.rc.name)
                return info

        return publish

    def _marked(self, sending: Sending, properties: Any) -> Any:
        """Return a copy of *properties*, which the host may use for the next message as well, with our headers."""
        headers = sending.headers(getattr(properties, "UserProperty", []))
        if not headers:
            return properties
        marked = self._new_properties() if properties is None else copy.copy(properties)
        vars(marked).pop("UserProperty", None)  # setting it adds to what is there
        marked.UserProperty = headers
        return marked

    def subscribe(self, original: Function) -> Function:
        def subscribe(client: Any, topic: Any, *rest: Any, **named: Any) -> Any:
            with self._used().guard.around("MQTT hook"):
                filters: dict[str, None] = vars(client).setdefault(FILTERS, {})
                for each in topic if isinstance(topic, list) else [topic]:
                    name = each[0] if isinstance(each, tuple) else each
                    if isinstance(name, str) and len(filters) < MAX_FILTERS:
                        filters[name] = None
            return original(client, topic, *rest, **named)

        return subscribe

    def deliver(self, original: Function) -> Function:
        def deliver(client: Any, message: Any) -> Any:
            with Handling(self._used, message, self._arrived(client, message), detached=True):
                return original(client, message)

        return deliver

    def _arrived(self, client: Any, message: Any) -> Arrival | None:
        system = self._used()
        with system.guard.around("MQTT hook"):
            topic = message.topic
            headers = getattr(message.properties, "UserProperty", [])
            matching = (each for each in vars(client).get(FILTERS, ()) if each != topic and self._matches(each, topic))
            arrival = Arrival(
                _place(client, topic, next(matching, "")),
                read_headers(headers),
                redelivered=bool(message.dup) if message.qos else None,
                keys=keys_in(system, topic, headers, message.payload),
            )
            if message.properties is not None:
                object.__setattr__(message.properties, ARRIVAL, arrival)
            return arrival
        return None


def _noted(message: Any) -> Arrival:
    """Return how *message* arrived, for a worker that got it from the callback."""
    found = getattr(message.properties, ARRIVAL, None)
    return found if isinstance(found, Arrival) else Arrival(Place(SYSTEM, message.topic), {})


def _place(client: Any, topic: str, template: str = "") -> Place:
    return place_at(SYSTEM, topic, client._host or "", client._port or None, (), template)
