"""``controltower flows``: list and check flow definitions."""

import sys
from argparse import Namespace
from pathlib import Path

from controltower.cli.options import Subparsers, add_action, add_command, add_json
from controltower.cli.shapes import Json, dumps
from controltower.cli.text import table
from controltower.store.errors import FlowError
from controltower.store.flows.definition import Flow, load_flow, load_packs


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "flows", "list and check flow definitions")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = add_action(actions, "list", "the flows that ship with this program")
    add_json(listing)
    checking = add_action(actions, "check", "check flow files; every problem with file, line and field")
    checking.add_argument("files", nargs="+", type=Path, metavar="FILE")


def run(arguments: Namespace) -> int:
    """Run the action."""
    return _list(json=arguments.json) if arguments.action == "list" else _check(arguments.files)


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
            flow = load_flow(file)
        except FlowError as exc:
            refused = True
            print(exc, file=sys.stderr)
        else:
            print(f"{file}: flow {flow.flow} version {flow.version} is correct")
    return 1 if refused else 0
