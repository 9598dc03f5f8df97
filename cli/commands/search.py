"""``controltower search``: find transactions."""

from argparse import Namespace
from typing import Final

from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json, add_range, decimal, positive
from controltower.cli.path import counted, key_text
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps, search_of
from controltower.cli.text import money, table, when
from controltower.store.read import SearchFilters, SearchPage, search
from controltower.store.rows import TransactionState

DEFAULT_LIMIT: Final = 20
HEAD: Final = ("TRANSACTION", "FLOW", "STATE", "STAGE", "LAST STEP (UTC)", "AMOUNT", "AT STAKE", "VENDOR")


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "search", "find transactions")
    parser.add_argument("text", nargs="?", default="", metavar="KEY", help="a business key of any type")
    parser.add_argument("--flow", default="")
    parser.add_argument(
        "--state", action="append", choices=[state.value for state in TransactionState], help="may be repeated"
    )
    parser.add_argument("--vendor", help="context: the other side")
    parser.add_argument("--min-amount", type=decimal, metavar="AMOUNT")
    parser.add_argument("--limit", type=positive, default=DEFAULT_LIMIT, metavar="N")
    add_range(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the transactions that fit, the latest first."""
    settings = read_settings(arguments)
    filters = SearchFilters(
        text=arguments.text,
        flow=arguments.flow,
        states=tuple(map(TransactionState, arguments.state or ())),
        context={"vendor": arguments.vendor} if arguments.vendor else {},
        since=arguments.since,
        until=arguments.until,
        min_amount=arguments.min_amount,
        limit=arguments.limit,
    )
    with reading(settings) as client:
        page = search(client, filters)
    print(dumps(search_of(page)) if arguments.json else _text(page))
    return 0


def _text(page: SearchPage) -> str:
    if not page.rows:
        return "No transaction fits."
    rows = [
        [
            key_text(row.anchor),
            row.flow,
            row.state,
            row.stage,
            when(row.last_step_at),
            money(row.amount, row.currency),
            money(row.at_stake, row.currency) if row.at_stake else "",
            row.context.get("vendor", ""),
        ]
        for row in page.rows
    ]
    shown = table(rows, head=HEAD, right=(5, 6))
    return f"{shown}\n\n{len(page.rows)} of {counted(page.total, 'transaction')}"
