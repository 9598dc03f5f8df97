"""Opening the store, and refusing one that is older than the program."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from controltower.cli.errors import CommandError
from controltower.cli.settings import Settings
from controltower.store.client import Client
from controltower.store.read import Aside, beside
from controltower.store.runtime import open_store
from controltower.store.schema import pending


@contextmanager
def reading(settings: Settings) -> Iterator[Client]:
    """Open the store as a reader for the length of the block.

    Raises CommandError for a store that is empty or older than the program: its tables would not be found.
    """
    with closing(open_store(settings.data, settings.store, role="reader")) as client:
        missing = pending(client)
        if missing:
            raise CommandError(
                f"The store at {settings.address} lacks {', '.join(missing)}; "
                "start `controltower up` or `serve`, or run `controltower migrate`."
            )
        yield client


@contextmanager
def reading_beside(settings: Settings) -> Iterator[tuple[Client, Aside]]:
    """Open the store as ``reading`` does, and once more for what is read beside. Raises CommandError."""
    with (
        reading(settings) as client,
        closing(open_store(settings.data, settings.store, role="reader")) as other,
        beside(other) as aside,
    ):
        yield client, aside


def writable(client: Client) -> None:
    """Raise CommandError for a store that lacks tables."""
    if missing := pending(client):
        raise CommandError(f"The store lacks {', '.join(missing)}; run `controltower migrate`.")
