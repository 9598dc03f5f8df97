"""One insert of messages that are in a file already, the same for both engines.

The client of the embedded engine would copy the messages into a file of the system's temporary folder, in clear, and a
process that is killed would leave it there. So they go by a file in memory, which nobody else sees and nothing outlives.
"""

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, Final

from controltower.store.client import Client
from controltower.store.piecewise import Piecewise

_SENT_BYTES: Final = 128 * 1024  # at once


def insert_messages(client: Client, table: str, messages: BinaryIO, settings: Mapping[str, Any]) -> None:
    """Insert protobuf *messages* into *table*. Raises the engine's errors."""
    if not (_is_embedded(client) and _has_memory_files()):
        client.raw_insert(table, insert_block=messages, fmt="Protobuf", settings=dict(settings))
        return
    with _in_memory(messages) as path:
        client.command(f"INSERT INTO {table} FROM INFILE {_literal(path)} {_changed(settings)} FORMAT Protobuf")


def insert_piecewise(client: Client, way: Piecewise, messages: BinaryIO, settings: Mapping[str, Any]) -> None:
    """Insert protobuf *messages* in the *way* that reads them piece by piece, where the client ``takes_pieces``. Raises the
    engine's errors."""
    columns = _literal(way.messages)
    if not _is_embedded(client):
        head = f"{way.insert_from(f'input({columns})')} FORMAT Protobuf\n"
        client.raw_insert("", insert_block=_after(head, messages), settings=dict(settings))
        return
    with _in_memory(messages) as path:
        whole = way.insert_from(f"file({_literal(path)}, 'Protobuf', {columns})")
        client.command(f"{whole} {_changed(settings)}")


def takes_pieces(client: Client) -> bool:
    """Whether ``insert_piecewise`` is possible: the embedded engine needs a file in memory for it, which Linux has."""
    return not _is_embedded(client) or _has_memory_files()


def _is_embedded(client: Client) -> bool:
    return str(client.uri).startswith("chdb:")


def _has_memory_files() -> bool:
    return hasattr(os, "memfd_create")


def _after(head: str, messages: BinaryIO) -> Generator[bytes, None, None]:
    yield head.encode()
    yield from iter(partial(messages.read, _SENT_BYTES), b"")


def _changed(settings: Mapping[str, Any]) -> str:
    return "SETTINGS " + ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())


@contextmanager
def _in_memory(messages: BinaryIO) -> Iterator[str]:
    """Give a path within this process under which *messages* can be read until the block ends."""
    descriptor = os.memfd_create("messages")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            shutil.copyfileobj(messages, file, 1024 * 1024)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
