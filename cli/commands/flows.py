"""``controltower flows``: list, check, compare and publish flow definitions."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from controltower.cli.errors import CommandError
from controltower.cli.flow_diff import diff_of, diff_text
from controltower.cli.opening import writable
from controltower.cli.options import Subparsers, add_action, add_command, add_json
from controltower.cli.progress import Progress
from controltower.cli.settings import Settings, read_settings
from controltower.cli.shapes import Json, dumps
from controltower.cli.text import table
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.errors import FlowError
from controltower.store.flows.check import check_flow
from controltower.store.flows.definition import Flow
from controltower.store.flows.diff import FlowDiff, compare
from controltower.store.flows.files import load_packs, read_text
from controltower.store.flows.published import flow_versions, flows_in_force, overlaid, waiting
from controltower.store.flows.publishing import drop_left, evaluate, kept, prepare, take_over
from controltower.store.flows.shadow import drop_shadow, make_shadow, shadow_name
from controltower.store.runtime import reachable, running


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "flows", "list, check, compare and publish flow definitions")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = add_action(actions, "list", "the flows that ship with this program")
    add_json(listing)
    checking = add_action(
        actions, "check", "check flow files and run their examples; every problem with file, line and field"
    )
    checking.add_argument("files", nargs="+", type=Path, metavar="FILE")
    comparing = add_action(actions, "diff", "what a changed flow makes of the stored history")
    comparing.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="the new flow, or the old and the new one"
    )
    add_json(comparing)
    publishing = add_action(
        actions, "publish", "put a flow in force: history is evaluated under it, then it counts at once"
    )
    publishing.add_argument("file", type=Path, metavar="FILE")
    publishing.add_argument("--user", required=True, help="who publishes it")


def run(arguments: Namespace) -> int:
    """Run the action."""
    if arguments.action == "list":
        return _list(json=arguments.json)
    if arguments.action == "check":
        return _check(arguments.files)
    if arguments.action == "diff":
        return _diff(arguments)
    return _publish(arguments)


def _list(*, json: bool) -> int:
    packs = load_packs()
    if json:
        print(dumps({"flows": [_shape(flow) for flow in packs]}))
    else:
        rows = [[flow.flow, str(flow.version), flow.title, str(len(flow.stages)), str(len(flow.sla))] for flow in packs]
        print(table(rows, head=("FLOW", "VERSION", "TITLE", "STAGES", "DEADLINE RULES"), right=(1, 3, 4)))
    return 0


def _shape(flow: Flow) -> Json:
    return {
        "flow": flow.flow,
        "version": flow.version,
        "title": flow.title,
        "stages": [{"name": stage.name, "step": stage.step} for stage in flow.stages],
        "sla": [{"name": rule.name, "from": rule.from_, "to": rule.to} for rule in flow.sla],
    }


def _check(files: list[Path]) -> int:
    refused = False
    for file in files:
        try:
            flow = check_flow(file)
        except FlowError as exc:
            refused = True
            print(exc, file=sys.stderr)
        else:
            examples = f", and so are its {len(flow.examples)} examples" if flow.examples else ""
            print(f"{file}: flow {flow.flow} version {flow.version} is correct{examples}")
    return 1 if refused else 0


def _diff(arguments: Namespace) -> int:
    if len(arguments.files) > 2:
        raise CommandError("`flows diff` takes the new flow, or the old and the new one.")
    *olds, new = [check_flow(file) for file in arguments.files]
    if any(old.flow != new.flow for old in olds):
        raise CommandError(f"{arguments.files[0]} is another flow than {new.flow}: a flow is compared with itself.")
    address, client = _opened(read_settings(arguments))
    with closing(client):
        in_force = flows_in_force(client)
        found = _compared(address, client, overlaid(in_force, olds), overlaid(in_force, [new]), new.flow)
    print(dumps(diff_of(found)) if arguments.json else diff_text(found))
    return 0


def _compared(address: StoreAddress, client: Client, old: Sequence[Flow], new: Sequence[Flow], flow: str) -> FlowDiff:
    """Evaluate what is stored under both in shadows of the same moment, compare, and leave nothing behind."""
    at = datetime.now(UTC)
    names = [shadow_name(address, side) for side in ("old", "new")]
    drop_left(client, address.database, at)
    try:
        for name, flows, words in zip(names, (old, new), ("as it is", "as it would be"), strict=True):
            with (
                closing(make_shadow(address, client, name, _now())) as shadow,
                Progress(f"history {words}") as progress,
            ):
                evaluate(shadow, flows, lambda: at, kept(client, names, _now, progress.say))
        return compare(client, flow, *names)
    finally:
        for name in names:
            drop_shadow(client, name)


def _publish(arguments: Namespace) -> int:
    flow = check_flow(arguments.file)
    settings = read_settings(arguments)
    address, client = _opened(settings)
    with closing(client):
        if waiting(flow_versions(client)) is not None:
            raise CommandError("Another flow is ready and not taken over yet; the running engine does that.")
        last = next((each.version for each in flows_in_force(client) if each.flow == flow.flow), 0)
        if flow.version <= last:
            raise CommandError(
                f"Version {last} of {flow.flow} is in force; give the new one a higher version than {flow.version}."
            )
        drop_left(client, address.database, _now())
        shadow = shadow_name(address, "publish")
        with Progress("history under the new flow") as progress:
            ready = prepare(
                address,
                client,
                flow,
                read_text(arguments.file),
                user=arguments.user,
                shadow=shadow,
                now=_now,
                progress=progress.say,
            )
        if settings.address.embedded and running(settings.data) is None:
            take_over(address, client, ready, _now)  # nobody else can run the engine on this folder
            print(f"{flow.flow} version {flow.version} is in force.")
        else:
            print(
                f"{flow.flow} version {flow.version} is ready; the running engine puts it in force before its next cycle."
            )
    return 0


def _opened(settings: Settings) -> tuple[StoreAddress, Client]:
    address = reachable(settings.data, settings.store)
    client = connect(address)
    try:
        writable(client)
    except CommandError:
        client.close()
        raise
    return address, client


def _now() -> datetime:
    return datetime.now(UTC)
