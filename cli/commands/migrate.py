"""``controltower migrate``: show and apply the store's migrations."""

from argparse import Namespace
from contextlib import closing

from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.store.runtime import open_store
from controltower.store.schema import migrate, pending, version


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "migrate", "show and apply the store's migrations")
    parser.add_argument("--show", action="store_true", help="only show what is missing")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Apply what the store lacks, or only show it."""
    settings = read_settings(arguments)
    with closing(open_store(settings.data, settings.store)) as client:
        before = version(client)
        missing = pending(client)
        applied = [] if arguments.show else migrate(client)
        after = version(client)
    if arguments.json:
        print(dumps({"version": after, "pending": missing if arguments.show else [], "applied": applied}))
    elif not missing:
        print(f"The store has schema {after}; nothing is missing.")
    else:
        word = "missing" if arguments.show else "applied"
        print(
            "\n".join([f"The store had schema {before} and now has {after}.", *(f"{word}: {name}" for name in missing)])
        )
    return 0
