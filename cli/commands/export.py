"""``controltower export``: what is stored, as a log that other tools read."""

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from controltower.cli.errors import CommandError
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.store.client import Client
from controltower.store.export import export_flow, flows_with_steps
from controltower.store.ocel.kept import export_log, kept_logs
from controltower.store.ocel.staged import Staged
from controltower.store.ocel.tables import TABLE_WRITERS, objects_beside
from controltower.store.ocel.writing import WRITERS

ENDINGS: Final = {
    **dict.fromkeys((".json", ".jsonocel"), "json"),
    **dict.fromkeys((".xml", ".xmlocel"), "xml"),
    **dict.fromkeys((".sqlite", ".db"), "sqlite"),
}
OCEL: Final = "ocel2"


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "export",
        "transactions as an object-centric log: OCEL, CSV, Parquet",
        "Write all steps as events and all keys as objects: as OCEL 2.0 (JSON, XML or SQLite, by the ending of FILE), or as "
        "tables, one of events and beside it FILE.objects of objects. A file that is there is not overwritten.",
    )
    parser.add_argument("format", choices=(OCEL, *TABLE_WRITERS), help="what to write")
    parser.add_argument("file", type=Path, metavar="FILE", help="where to; for ocel2 .json, .xml or .sqlite")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--flow", action="append", metavar="FLOW", help="only this one, several times for several")
    what.add_argument("--log", metavar="NAME", help="an imported log that was kept whole, as it was")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write the file."""
    write = _writer(arguments.format, arguments.file)
    with _aside(arguments.file) as folder:
        with reading(read_settings(arguments)) as client, closing(Staged(folder / "staged.sqlite")) as staged:
            if arguments.log:
                export_log(client, _log(client, arguments.log), staged)
            else:
                for flow in _flows(client, arguments.flow):
                    export_flow(client, flow, staged)
            staged.whole()
            made = folder / arguments.file.name
            write(staged, made)
            counts = staged.counts()
        for file in filter(Path.exists, (objects_beside(made), made)):
            _put(file, arguments.file.with_name(file.name))
    if arguments.json:
        print(dumps({"file": str(arguments.file), **counts}))
    else:
        print(
            f"{counts['events']:,} events, {counts['objects']:,} objects, {counts['event_objects']:,} relations of events "
            f"and {counts['object_objects']:,} between objects in {arguments.file}"
        )
    return 0


def _writer(form: str, file: Path) -> Callable[[Staged, Path], None]:
    if form != OCEL:
        _refuse_existing(file, objects_beside(file))
        return TABLE_WRITERS[form]
    _refuse_existing(file)
    if file.suffix.lower() not in ENDINGS:
        raise CommandError(f"The ending of {file} does not tell the form of OCEL: {', '.join(ENDINGS)}.")
    return WRITERS[ENDINGS[file.suffix.lower()]]


def _refuse_existing(*files: Path) -> None:
    for file in files:
        if file.exists():
            raise CommandError(f"{file} is there already and is not overwritten; remove it or choose another name.")


def _flows(client: Client, wanted: list[str] | None) -> list[str]:
    stored = flows_with_steps(client)
    if not stored:
        raise CommandError("The store holds no step of any flow, so there is nothing to export.")
    if unknown := sorted({*(wanted or ())} - {*stored}):
        raise CommandError(f"The store holds no step of a flow {unknown[0]}; it holds {', '.join(stored)}.")
    return list(dict.fromkeys(wanted or stored))


def _log(client: Client, name: str) -> str:
    if name not in (kept := kept_logs(client)):
        there = (
            f"it keeps {', '.join(kept)}" if kept else "it keeps none: write keep_log: true into a map and import it"
        )
        raise CommandError(f"The store keeps no log {name}; {there}.")
    return name


@contextmanager
def _aside(file: Path) -> Iterator[Path]:
    """Give a folder beside *file* for what is not whole yet; it does not outlive the block."""
    try:
        with tempfile.TemporaryDirectory(prefix=".controltower-export-", dir=file.absolute().parent) as folder:
            yield Path(folder)
    except OSError as exc:
        raise CommandError(f"{file} cannot be written: {exc.strerror or exc}.") from exc


def _put(made: Path, file: Path) -> None:
    """Give a file that is whole its name, unless there is one of that name by now."""
    try:
        os.link(made, file)
    except FileExistsError:
        _refuse_existing(file)
        raise
