"""``controltower quarantine``: see and decide what was acknowledged and could not be stored."""

import getpass
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from controltower.cli.data import PRIVATE_FILE, DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_action, add_command, add_json, positive
from controltower.cli.quarantined import Item, Quarantines, rows_of
from controltower.cli.settings import Settings, read_settings
from controltower.cli.shapes import Json, dumps, time_of
from controltower.cli.text import table, when
from controltower.collector.journals import sealing_of
from controltower.collector.settings import read_settings as read_collector_settings
from controltower.store.client import Client
from controltower.store.loader import WAYS
from controltower.store.quarantine import QuarantineRow, show_quarantined
from controltower.store.runtime import open_store
from controltower.tracer.journal import PLAIN, Sealing

MOST_SHOWN: Final = 100
REASON_SHOWN: Final = 80


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "quarantine",
        "see and decide what could not be stored",
        "What was acknowledged and could not be stored is kept: segments that the store refuses, bytes that a disk "
        "damaged, bodies that could not be decoded, and rows whose times cannot be. Nothing of what was sent is shown.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _narrowed(add_action(actions, "list", "what is there, the oldest first"))
    showing = add_action(actions, "show", "one item, with the times and ids of its rows")
    showing.add_argument("id", metavar="ID")
    showing.add_argument("--limit", type=positive, default=MOST_SHOWN, metavar="N", help="rows to show")
    showing.add_argument(
        "--raw", type=Path, metavar="FILE", help="write the kept bytes, which may be patient data, here"
    )
    add_json(showing)
    _chosen(add_action(actions, "retry", "store it: rows at the time of their receipt, segments as they are"))
    _chosen(add_action(actions, "drop", "delete it for good"))


def _narrowed(parser: ArgumentParser) -> None:
    parser.add_argument("--signal", choices=sorted(WAYS), help="only this signal")
    parser.add_argument("--reason", metavar="TEXT", help="only where the reason holds this text")
    add_json(parser)


def _chosen(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="as `list` names them")
    parser.add_argument("--all", action="store_true", help="everything that --signal and --reason leave")
    _narrowed(parser)


def run(arguments: Namespace) -> int:
    """Run the action."""
    settings = read_settings(arguments)
    actions: dict[str, Callable[[Settings, Namespace], int]] = {
        "list": _list,
        "show": _show,
        "retry": _retry,
        "drop": _drop,
    }
    return actions[arguments.action](settings, arguments)


def _list(settings: Settings, arguments: Namespace) -> int:
    with reading(settings) as client:
        items = _quarantines(settings, client).items(_filter(arguments))
    print(dumps({"quarantine": [_shape(item) for item in items]}) if arguments.json else _table(items))
    return 0


def _show(settings: Settings, arguments: Namespace) -> int:
    with reading(settings) as client:
        sealing = sealing_of(read_collector_settings(os.environ)) if arguments.raw else PLAIN
        quarantines = _quarantines(settings, client, sealing)
        (item,) = quarantines.chosen([arguments.id])
        rows = show_quarantined(client, rows_of(item), arguments.limit) if item.kind == "rows" else ()
        if arguments.raw:
            _write_private(arguments.raw, quarantines.read(item))
            _note(settings, "read", [item])
    print(dumps({**_shape(item), "items": [_row(row) for row in rows]}) if arguments.json else _text(item, rows))
    return 0


def _retry(settings: Settings, arguments: Namespace) -> int:
    with _deciding(settings, arguments) as (quarantines, chosen):
        items = chosen if arguments.ids else [item for item in chosen if item.can_be_retried]
        for item in items:
            quarantines.retry(item)
            _note(settings, "retry", [item])
    return _say("asked for again" if any(item.kind != "rows" for item in items) else "stored", items, arguments)


def _drop(settings: Settings, arguments: Namespace) -> int:
    with _deciding(settings, arguments) as (quarantines, items):
        for item in items:
            _note(settings, "drop", [item])
            quarantines.drop(item)
    return _say("dropped", items, arguments)


@contextmanager
def _deciding(settings: Settings, arguments: Namespace) -> Iterator[tuple[Quarantines, list[Item]]]:
    """Open the store for writing and find what is meant; nothing is meant by accident."""
    if bool(arguments.ids) == arguments.all:
        raise CommandError("Name what is meant, as `controltower quarantine list` does, or say --all.")
    with closing(open_store(settings.data, settings.store)) as client:
        quarantines = _quarantines(settings, client)
        matches = _filter(arguments)
        yield quarantines, quarantines.items(matches) if arguments.all else quarantines.chosen(arguments.ids)


def _quarantines(settings: Settings, client: Client, sealing: Sealing = PLAIN) -> Quarantines:
    journals = DataFolder(settings.data).journals
    return Quarantines({signal: journals / signal for signal in WAYS}, client, sealing)


def _filter(arguments: Namespace) -> Callable[[Item], bool]:
    def matches(item: Item) -> bool:
        return arguments.signal in (None, item.signal) and (arguments.reason or "").lower() in item.reason.lower()

    return matches


def _note(settings: Settings, action: str, items: Sequence[Item]) -> None:
    """Write down who decided what; before a drop, because nothing else tells of it afterwards."""
    path = DataFolder(settings.data).logs / "quarantine.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, PRIVATE_FILE), "a", encoding="utf-8") as log:
        for item in items:
            line = {"at": time_of(now), "user": getpass.getuser(), "action": action, **_known(item)}
            log.write(json.dumps(line) + "\n")


def _known(item: Item) -> dict[str, Json]:
    return {"id": item.id, "kind": item.kind, "reason": item.reason, "rows": item.rows, "bytes": item.bytes}


def _shape(item: Item) -> dict[str, Json]:
    return {
        **_known(item),
        "signal": item.signal,
        "tenant": item.tenant,
        "since": time_of(item.since),
        "can_be_retried": item.can_be_retried,
        "retrying": item.retrying,
    }


def _row(row: QuarantineRow) -> Json:
    return {
        "service": row.service,
        "trace_id": row.trace_id,
        "span_id": row.span_id,
        "sent_unix_nano": str(row.sent_unix_nano),
        "sent_end_unix_nano": str(row.sent_end_unix_nano),
        "received_at": time_of(row.received_at),
    }


def _table(items: Sequence[Item]) -> str:
    if not items:
        return "Nothing is in quarantine."
    rows = [[item.id, item.kind, _size(item), when(item.since), _short(item)] for item in items]
    return table(rows, head=("ID", "KIND", "SIZE", "SINCE (UTC)", "REASON"), right=(2,))


def _short(item: Item) -> str:
    words = "asked to be loaded again: " if item.retrying else ""
    reason = words + item.reason
    return reason if len(reason) <= REASON_SHOWN else reason[: REASON_SHOWN - 2] + " …"


def _size(item: Item) -> str:
    return f"{item.rows:,} rows" if item.rows is not None else f"{item.bytes:,} bytes"


def _text(item: Item, rows: Sequence[QuarantineRow]) -> str:
    facts = [
        ["id", item.id],
        ["kind", item.kind],
        ["reason", item.reason],
        ["size", _size(item)],
        ["since", f"{when(item.since)} UTC" if item.since else "not recorded"],
        *([["tenant", item.tenant]] if item.tenant else []),
        ["next", _advice(item)],
    ]
    shown = [[row.service, row.trace_id, row.span_id, str(row.sent_unix_nano), when(row.received_at)] for row in rows]
    head = ("SERVICE", "TRACE", "SPAN", "TIME AS SENT (NS)", "RECEIVED (UTC)")
    return table(facts) + (f"\n\n{table(shown, head=head, right=(3,))}" if shown else "")


def _advice(item: Item) -> str:
    if item.retrying:
        return "the collector takes it at its next look"
    if item.kind == "rows":
        return "mend the sender's clock; `retry` stores the rows at the time of their receipt, `drop` deletes them"
    if item.can_be_retried:
        return "`retry` loads it again once the cause is gone, `drop` deletes it"
    return "it cannot be loaded; `show --raw FILE` writes its bytes to a file, `drop` deletes it"


def _say(done: str, items: Sequence[Item], arguments: Namespace) -> int:
    if arguments.json:
        print(dumps({"done": done, "quarantine": [_shape(item) for item in items]}))
    else:
        print("\n".join(f"{done}: {item.id} ({_size(item)})" for item in items) or "Nothing matches.")
    return 0


def _write_private(path: Path, data: bytes) -> None:
    """Write bytes that may hold patient data to a file of their own, for their owner only. Raises CommandError."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
    except OSError as exc:
        raise CommandError(f"{path} cannot be written: {exc.strerror}; choose a file that is not there.") from exc
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    print(f"{len(data):,} bytes are in {path}; they may be patient data.", file=sys.stderr)
