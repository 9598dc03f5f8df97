"""One insert of messages that are in a file already, the same for both engines.

The client of the embedded engine would copy the messages into a file of the system's temporary folder, in clear, and a
process that is killed would leave it there. So they go by a file in memory, which nobody else sees and nothing outlives.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from controltower.store.client import Client


def insert_messages(client: Client, table: str, messages: BinaryIO, settings: Mapping[str, Any]) -> None:
    """Insert protobuf *messages* into *table*. Raises the engine's errors."""
    if not str(client.uri).startswith("chdb:") or not hasattr(os, "memfd_create"):
        client.raw_insert(table, insert_block=messages, fmt="Protobuf", settings=dict(settings))
        return
    changes = ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())
    with _in_memory(messages) as path:
        client.command(f"INSERT INTO {table} FROM INFILE {_literal(path)} SETTINGS {changes} FORMAT Protobuf")


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
