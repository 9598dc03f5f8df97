"""Redis: a connection, and what an entry of a stream says."""

import json
from collections.abc import Mapping
from typing import Any, Final

from controltower.collector.scrapers.definition import BrokerSource, MessageSource
from controltower.collector.scrapers.errors import AddressError
from controltower.collector.scrapers.message import Message, plain

TIMEOUT_S: Final = 10.0


def connected(source: BrokerSource) -> Any:
    """Return a client; AddressError."""
    try:
        import redis
    except ImportError:
        raise AddressError("Redis needs redis-py: pip install 'controltower[queues]'.") from None
    try:
        return redis.Redis.from_url(
            source.address(), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **source.settings()
        )
    except ValueError:
        raise AddressError("The address of Redis is none such as rediss://user:password@host:6379/0.") from None


def milliseconds_of(id_: bytes) -> int:
    """Return when an entry was added, in milliseconds since 1970, which its id begins with."""
    return int(id_.partition(b"-")[0])


def entry_message(id_: bytes, fields: Mapping[bytes, bytes], source: MessageSource) -> tuple[Message, bytes]:
    """Return an entry as a message and its body: the field that the source names, else all of them as an object."""
    milliseconds = str(milliseconds_of(id_))
    headers = {plain(name): plain(value) for name, value in fields.items()}
    if source.body is None:
        body = json.dumps(headers, ensure_ascii=False).encode()
    else:
        body = fields.get(source.body.encode(), b"")
        headers.pop(source.body, None)
    time = f"{milliseconds[:-3]}.{milliseconds[-3:]}"
    return Message(id=id_.decode(), time=time, headers=headers), body
