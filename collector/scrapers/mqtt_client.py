"""MQTT: a client that works in the thread of its source, a step at a time."""

import time
from collections.abc import Callable, Sequence
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from controltower.collector.scrapers.definition import BrokerSource
from controltower.collector.scrapers.errors import AddressError, QueueError

TIMEOUT_S: Final = 10.0
KEEP_ALIVE_S: Final = 60
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
FOR_EVER: Final = 0xFFFFFFFF  # how long a broker keeps a session, in seconds


def connected(
    source: BrokerSource,
    take: Callable[[Any, Any, Any], None],
    topics: Sequence[tuple[str, int]],
    session: str = "",
    most: int = 0,
) -> Any:
    """Return a client of MQTT 5 that has subscribed; *take* gets what comes, and acknowledges it when it is safe.

    With a *session* the broker keeps for it what comes while nobody is there, and hands at most *most* messages out
    before the first is acknowledged. AddressError, QueueError, or OSError.
    """
    try:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise AddressError("MQTT needs paho-mqtt: pip install 'controltower[queues]'.") from None
    address = urlsplit(source.address())
    if address.scheme not in PORTS or not address.hostname:
        raise AddressError("The address of the broker is none such as mqtts://user:password@host.")
    client = Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTv5, manual_ack=True)
    if address.username:
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    if address.scheme == "mqtts":
        client.tls_set()
    answers: list[Any] = []
    client.on_message = take
    client.on_connect = lambda _, __, ___, code, ____: answers.append([code])
    client.on_subscribe = lambda _, __, ___, codes, ____: answers.append(codes)
    client.connect_timeout = TIMEOUT_S
    client.connect(
        address.hostname,
        address.port or PORTS[address.scheme],
        KEEP_ALIVE_S,
        clean_start=not session,
        properties=_properties(most) if session else None,
    )
    _wait(client, answers, 1)
    client.subscribe([(topic, _options(qos)) for topic, qos in topics])
    _wait(client, answers, 2)
    return client


def turn(client: Any, wait_s: float) -> Any:
    """Take and send what can be, after *wait_s* at most; returns paho's code, which is true when the connection broke.

    As the client's own ``loop``, which waits by ``select`` and breaks in a process with more than 1,024 files open.
    """
    from paho.mqtt.enums import MQTTErrorCode

    if (connection := client.socket()) is None:
        return MQTTErrorCode.MQTT_ERR_NO_CONN
    decrypted = getattr(connection, "pending", int)() > 0  # by TLS already, so that the socket has nothing to tell
    with DefaultSelector() as selector:
        selector.register(connection, EVENT_READ | (EVENT_WRITE if client.want_write() else 0))
        ready = next((mask for _, mask in selector.select(0 if decrypted else wait_s)), 0)
    if (ready & EVENT_READ or decrypted) and (code := client.loop_read()):
        return code
    if ready & EVENT_WRITE and (code := client.loop_write()):
        return code
    return client.loop_misc()


def _properties(most: int) -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    made = Properties(PacketTypes.CONNECT)
    made.SessionExpiryInterval = FOR_EVER
    made.ReceiveMaximum = most
    return made


def _options(qos: int) -> Any:
    from paho.mqtt.subscribeoptions import SubscribeOptions

    return SubscribeOptions(qos=qos, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)


def _wait(client: Any, answers: list[Any], wanted: int) -> None:
    """Wait for an answer of the broker; QueueError when none comes, or it is a refusal."""
    until_s = time.monotonic() + TIMEOUT_S
    while len(answers) < wanted:
        code = turn(client, 0.1)
        if code or time.monotonic() > until_s:
            raise QueueError(f"The MQTT broker did not answer: {code.name if code else 'it said nothing'}.")
    if refusals := [code for code in answers[wanted - 1] if code.is_failure]:
        raise QueueError(f"The MQTT broker refuses: {refusals[0]}.")
