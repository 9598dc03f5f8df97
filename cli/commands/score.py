"""``controltower score``: compare the paths with what really happened."""

from argparse import ArgumentTypeError, Namespace
from datetime import UTC, datetime
from pathlib import Path

from controltower.cli.demo.published import packs
from controltower.cli.demo.scoring import WORST, Found, Score, score
from controltower.cli.demo.truth import read_truth
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.path import key_text
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.cli.text import table
from controltower.store.client import Client
from controltower.store.rows import Key
from controltower.store.truth_reads import all_deadlines, all_matches, all_memberships, all_transactions


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "score",
        "compare the paths with what really happened",
        "Compare what the store says with a truth file of `controltower demo --truth FILE`, as of now: precision and "
        "recall of the steps' places, and the part of states, deadlines and match outcomes that is exactly right.",
    )
    parser.add_argument("truth", type=Path, metavar="TRUTH.jsonl", help="written by `controltower demo --truth`")
    parser.add_argument(
        "--require",
        type=_share,
        metavar="SHARE",
        help="exit with 1 when precision or recall of the places is below, such as 0.999, or a transaction is wrongly joined",
    )
    add_json(parser)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.999")
    return share


def run(arguments: Namespace) -> int:
    """Print the comparison."""
    truth = read_truth(arguments.truth)
    with reading(read_settings(arguments)) as client:
        found = {flow: _found(client, flow) for flow in truth.flows}
        now = datetime.now(UTC)
    result = score(truth, found, now)
    print(dumps(result.as_json()) if arguments.json else _text(result))
    return 1 if arguments.require is not None and _falls_short(result, arguments.require) else 0


def _falls_short(result: Score, required: float) -> bool:
    member = result.membership
    return min(member.precision, member.recall) < required or member.wrongly_joined > 0


def _found(client: Client, flow: str) -> Found:
    transactions = all_transactions(client, flow)
    deadlines = all_deadlines(client, flow)
    matches = [row for rule in packs()[flow].reconciliations for row in all_matches(client, flow, rule.name)]
    return Found(all_memberships(client, flow), transactions, deadlines, matches)


def _text(result: Score) -> str:
    member = result.membership
    joined = member.found - member.apart
    rows = [
        ["membership precision", f"{member.precision:.4%}", f"{member.right:,} of {joined:,} joined"],
        ["membership recall", f"{member.recall:.4%}", f"{member.right:,} of {member.expected:,} expected"],
        ["wrongly joined", f"{member.wrongly_joined:,}", "transactions"],
    ]
    for name, share in result.shares.items():
        wrong = f", {share.missing:,} missing, {share.extra:,} too many" if share.missing or share.extra else ""
        rows.append([name, f"{share.share:.4%}", f"{share.exact:,} of {share.of:,}{wrong}"])
    return table(rows, right=(1,)) + _flows(result) + _differences(result)


def _flows(result: Score) -> str:
    if len(result.flows) < 2:
        return ""
    rows = [
        [
            packs()[flow].title,
            f"{each.membership.expected:,}",
            f"{each.membership.precision:.4%}",
            f"{each.membership.recall:.4%}",
            f"{each.membership.wrongly_joined:,}",
            *(f"{share.share:.4%}" if share.of else "" for share in each.shares.values()),
        ]
        for flow, each in result.flows.items()
    ]
    head = ("FLOW", "STEPS", "PRECISION", "RECALL", "WRONGLY JOINED", "STATE", "DEADLINES", "MATCHES")
    return f"\n\n{table(rows, head=head, right=tuple(range(1, len(head))))}"


def _differences(result: Score) -> str:
    if not result.differences:
        return ""
    rows = [
        [each.flow, key_text(Key(*each.anchor)), each.what, each.expected or "nothing", each.found or "nothing"]
        for each in result.differences[:WORST]
    ]
    shown = table(rows, head=("FLOW", "TRANSACTION", "WHAT", "EXPECTED", "FOUND"))
    return f"\n\n{min(WORST, len(result.differences))} of {len(result.differences):,} differences\n{shown}"
