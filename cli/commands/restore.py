"""``controltower restore``: fill an empty store from a backup."""

from argparse import Namespace
from contextlib import closing

from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.path import counted
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.store.backup import restore
from controltower.store.client import connect
from controltower.store.runtime import running


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "restore",
        "fill an empty store from a backup",
        "Fill an empty store from a backup, read every row of it and compare the counts. Nothing may run on the store.",
    )
    parser.add_argument("name", metavar="NAME", help="of the backup")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Restore, and print what the store holds."""
    settings = read_settings(arguments)
    if settings.address.embedded and (runtime := running(settings.data)) is not None:
        raise CommandError(f"`controltower serve` runs as process {runtime.pid}; stop it first.")
    with closing(connect(settings.address)) as client:
        made = restore(client, settings.address, arguments.name)
    if arguments.json:
        print(dumps({"name": made.name, "rows": dict(made.rows)}))
    else:
        print(
            f"The store holds what the backup {made.name} held: {counted(made.total, 'row')} of "
            f"{counted(len(made.rows), 'table')}, each read and on the disk."
        )
    return 0
