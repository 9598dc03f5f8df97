"""An insert of many messages that are decoded piece by piece.

What goes into an inbox is one block for the view behind it, however large: each of its steps touches memory for all rows,
which the kernel has to find anew. The same view as a statement works on a piece at a time, in memory that is there
already; the rows that it makes become one block before they are redacted and stored.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from controltower.store.client import Client
from controltower.store.errors import LoadError
from controltower.store.queries import statement

SETTINGS: Final[dict[str, Any]] = {
    # A piece, in memory: some two thousand spans.
    "input_format_max_block_size_bytes": 1024 * 1024,
    # The rows of a whole segment are one block behind it; a million rows are one in any case.
    "min_insert_block_size_bytes": 1024**3,
    # The same rows in the same order whenever they are read, so that their blocks are known again.
    "max_threads": 1,
    "max_insert_threads": 1,
}


@dataclass(frozen=True, slots=True)
class Piecewise:
    """How messages are decoded into rows: what is read of each, and what is made of it."""

    messages: str
    """The columns that are read, with their types."""

    target: str
    columns: str
    _select: tuple[str, str]

    def insert_from(self, source: str) -> str:
        """Return the INSERT that reads from *source*, a table function over the messages."""
        before, behind = self._select
        return f"INSERT INTO {self.target} ({self.columns}) SELECT {self.columns} FROM ({before}{source}{behind})"  # noqa: S608 - our own names


def piecewise(client: Client, signal: str, stem: str) -> Piecewise:
    """Return how the messages that belong into the inbox of *stem* are decoded, as the store defines it.

    Raises LoadError when the store's view is not one that this version knows, and the engine's errors.
    """
    inbox, decode, decoded = f"{stem}_inbox", f"{stem}_decode", f"otlp_{signal}_decoded"
    names = {"inbox": inbox, "decode": decode, "decoded": decoded}
    ((messages, select, columns),) = client.query(statement("load_definitions"), parameters=names).result_rows
    parts = re.split(rf"(?<=FROM )(?:\w+|`[^`]+`)\.{inbox}\b", select or "")
    if len(parts) != 2:
        raise LoadError(
            f"The store has no view {decode} that reads from {inbox} alone: run `controltower migrate`.",
            permanent=False,
        )
    return Piecewise(messages, decoded, columns, (parts[0], parts[1]))
