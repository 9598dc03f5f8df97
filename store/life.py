"""Whether the engine was restarted: then nothing of before is still running, and its memory of tokens may be lost."""

from collections.abc import Callable
from threading import Lock
from typing import Final
from uuid import uuid4

from controltower.store.client import Client

_one_at_a_time = Lock()

NAME: Final = "SELECT min(name) FROM engine_life"
GIVE: Final = "INSERT INTO engine_life SELECT {name:String} WHERE (SELECT count() FROM engine_life) = 0"


def engine_life(client: Client, new_name: Callable[[], str] = lambda: uuid4().hex) -> str:
    """Return the name of the engine's present run, after giving it one. Raises the engine's errors."""
    found = client.command(NAME)
    if not found:
        with _one_at_a_time:  # two names would stand there, and the one that was read first need not win
            client.command(GIVE, parameters={"name": new_name()})
            found = client.command(NAME)
    return str(found)
