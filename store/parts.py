"""How crowded the engine's tables are: each insert makes a part, and merging them takes time."""

from dataclasses import dataclass

from controltower.store.client import Client
from controltower.store.queries import statement


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the partition that has the most, against what the engine bears."""

    most: int
    delayed_at: int  # from here on the engine slows inserts down; at three times as many it refuses them


def parts_of(client: Client) -> Parts:
    """Return how many parts there are now; it reads the engine's memory only. Raises the engine's errors."""
    delayed_at, most = client.query(statement("select_parts")).result_rows[0]
    return Parts(int(most), int(delayed_at))
