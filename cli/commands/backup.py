"""``controltower backup``: make a backup of the store."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from argparse import Namespace
from contextlib import closing

from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.path import counted
from controltower.cli.settings import Settings, read_settings
from controltower.cli.shapes import dumps
from controltower.store.backup import Backup, back_up
from controltower.store.client import backups_of
from controltower.store.runtime import BACKUP_PATH, RuntimeFile, open_store, running


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "backup",
        "make a backup of the store",
        "Make a backup of the store while everything runs. That of an embedded store lies in the folder `backups` beside "
        "it: copy it to another machine. A server needs `backups.allowed_path` in its own configuration.",
    )
    parser.add_argument("name", metavar="NAME", help="of the backup; there must be none of this name")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make the backup and print what it holds."""
    settings = read_settings(arguments)
    runtime = running(settings.data) if settings.address.embedded else None
    made = _by(runtime, arguments.name) if runtime is not None else _here(settings, arguments.name)
    path = settings.address.path
    if arguments.json:
        print(dumps({"name": made.name, "rows": dict(made.rows)}))
    else:
        where = f" in {backups_of(path) / made.name}" if path is not None else ""
        print(
            f"The backup {made.name} holds {counted(made.total, 'row')} of {counted(len(made.rows), 'table')}{where}."
        )
    return 0


def _here(settings: Settings, name: str) -> Backup:
    with closing(open_store(settings.data, settings.store)) as client:
        return back_up(client, settings.address, name)


def _by(runtime: RuntimeFile, name: str) -> Backup:
    """Have the process that holds the engine make it, which takes as long as it takes."""
    credentials = base64.b64encode(f"{runtime.writer_user}:{runtime.writer_password}".encode()).decode()
    address = f"http://{runtime.host}:{runtime.port}{BACKUP_PATH}?{urllib.parse.urlencode({'name': name})}"
    request = urllib.request.Request(address, method="POST", headers={"Authorization": f"Basic {credentials}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach our loopback
    try:
        with opener.open(request) as answer:
            return Backup(name, json.load(answer))
    except urllib.error.HTTPError as exc:
        with exc:
            raise CommandError(exc.read().decode(errors="replace").strip()) from exc
    except OSError as exc:
        raise CommandError(f"`controltower serve` did not end the backup: {exc}; {name} is not complete.") from exc
