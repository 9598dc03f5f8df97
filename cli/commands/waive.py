"""``controltower waive``: say that a deadline need not be met."""

from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

from controltower.cli.correcting import print_correction
from controltower.cli.errors import CommandError
from controltower.cli.opening import writable
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.store.flows.definition import Flow
from controltower.store.flows.published import flows_in_force
from controltower.store.runtime import open_store
from controltower.store.waiving import Wish, waive


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "waive", "say that a deadline need not be met")
    parser.add_argument("anchor", metavar="KEY", help="the transaction: TYPE:VALUE or TYPE:VALUE@SCOPE of its anchor")
    parser.add_argument("rule", metavar="RULE", help="the deadline, as `controltower trace` names it")
    parser.add_argument("--subject", default="", help="which one, of a rule that runs for each invoice or payment")
    parser.add_argument("--reason", required=True, help="why: who reads it later must know")
    parser.add_argument("--user", required=True, help="who says so")
    parser.add_argument("--flow", help="of which flow, when several have such a deadline")
    parser.add_argument("--undo", action="store_true", help="take it back: the deadline is judged again")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Record the waiver, or its undoing."""
    settings = read_settings(arguments)
    wish = Wish(
        arguments.anchor, arguments.rule, arguments.subject, arguments.user, arguments.reason, undo=arguments.undo
    )
    with closing(open_store(settings.data, settings.store)) as client:
        writable(client)
        flow = _flow(arguments, flows_in_force(client))
        correction = waive(client, flow, wish, id=f"w-{uuid4().hex[:10]}", at=datetime.now(UTC))
    return print_correction(arguments, correction)


def _flow(arguments: Namespace, flows: Sequence[Flow]) -> Flow:
    """Return the flow that is named, or the only one with such an anchor and such a rule."""
    kind = arguments.anchor.partition(":")[0]
    asked = [flow for flow in flows if arguments.flow in (None, flow.flow)]
    fitting = [flow for flow in asked if kind in flow.anchors and any(rule.name == arguments.rule for rule in flow.sla)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(flow.flow for flow in fitting)
        raise CommandError(f"Several flows have such a deadline; name one with --flow: {names}.")
    raise CommandError(
        f"No flow{f' {arguments.flow}' if arguments.flow else ''} has a rule {arguments.rule!r} for transactions of {kind!r};"
        " `controltower trace` shows a transaction with its anchor and its deadlines."
    )
