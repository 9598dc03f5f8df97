"""What ``cut`` and ``confirm`` share: their options, and recording what was decided."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

from controltower.cli.errors import CommandError
from controltower.cli.opening import writable
from controltower.cli.options import add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import correction_of, dumps
from controltower.cli.text import correction_text
from controltower.store.client import Client
from controltower.store.correcting import Decision, known, record
from controltower.store.flows.definition import Flow
from controltower.store.flows.published import flows_in_force
from controltower.store.rows import Correction, CorrectionAction
from controltower.store.runtime import open_store


def add_decision(parser: ArgumentParser) -> None:
    """Add what a correction is about, who says so, and why."""
    parser.add_argument("one", metavar="KEY|STEP", help="TYPE:VALUE or TYPE:VALUE@SCOPE, or TRACE/SPAN of a step")
    parser.add_argument("other", metavar="KEY", help="TYPE:VALUE or TYPE:VALUE@SCOPE, such as purchase_order:PO-1042")
    parser.add_argument("--reason", required=True, help="why: who reads it later must know")
    parser.add_argument("--user", required=True, help="who says so")
    parser.add_argument("--flow", help="of which flow, when several know the keys' types")
    parser.add_argument("--undo", action="store_true", help="take it back: the rules decide again")
    add_json(parser)


def decide(arguments: Namespace, action: CorrectionAction) -> int:
    """Record the correction and print it."""
    settings = read_settings(arguments)
    decision = Decision(
        action=CorrectionAction.UNDO if arguments.undo else action,
        one=arguments.one,
        other=arguments.other,
        user=arguments.user,
        reason=arguments.reason,
        undoes=action if arguments.undo else None,
    )
    with closing(open_store(settings.data, settings.store)) as client:
        writable(client)
        flow = _flow(arguments, flows_in_force(client), client)
        correction = record(client, flow, decision, id=f"c-{uuid4().hex[:10]}", at=datetime.now(UTC))
    return print_correction(arguments, correction)


def print_correction(arguments: Namespace, correction: Correction) -> int:
    """Print what was recorded."""
    if arguments.json:
        print(dumps(correction_of(correction)))
    else:
        print(f"{correction_text(correction)}\nThe engine applies it within a second, or when it runs next.")
    return 0


def _flow(arguments: Namespace, flows: Sequence[Flow], client: Client) -> Flow:
    """Return the flow that is named, or the only one that has the types of the keys and knows them."""
    types = {text.partition(":")[0] for text in (arguments.one, arguments.other) if ":" in text}
    fitting = [flow for flow in flows if arguments.flow in (None, flow.flow) and types <= flow.keys.keys()]
    if len(fitting) > 1:
        counts = [known(client, flow, arguments.one, arguments.other) for flow in fitting]
        fitting = [flow for flow, count in zip(fitting, counts, strict=True) if count == max(counts)]
        if max(counts) < 2:
            fitting = fitting[:1]  # it says what is wrong
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(flow.flow for flow in (fitting or flows))
    if fitting:
        raise CommandError(f"Several flows have these keys; name one with --flow: {names}.")
    raise CommandError(
        f"No flow{f' {arguments.flow}' if arguments.flow else ''} joins keys of type {' and '.join(sorted(types))}; the flows are {names}."
    )
