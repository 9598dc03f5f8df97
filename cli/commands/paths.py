"""``controltower paths``: in which orders transactions go through stages and systems, and what is done twice."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from controltower.cli.errors import CommandError
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json, add_range, positive
from controltower.cli.path import counted
from controltower.cli.path_shapes import paths_of
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.cli.text import lasting, money, section, table, when
from controltower.store.flows.definition import Flow
from controltower.store.flows.files import load_packs
from controltower.store.kpis import EARLIEST
from controltower.store.read import Paths, paths

DEFAULT_LIMIT: Final = 10


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers, "paths", "variants, hops between systems, rework and double effects of the transactions of a flow"
    )
    parser.add_argument("--flow", help="only of this flow; all of them without it")
    parser.add_argument(
        "--limit", type=positive, default=DEFAULT_LIMIT, metavar="N", help="rows of each list of the text"
    )
    add_range(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the paths of the transactions whose last step is in the time range."""
    settings = read_settings(arguments)
    flows = _chosen(arguments.flow)
    since, until = arguments.since or EARLIEST, arguments.until or datetime.now(UTC)
    with reading(settings) as client:
        found = [one for flow in flows if (one := paths(client, flow, since, until)).work]
    if arguments.json:
        print(dumps({"flows": [paths_of(one) for one in found]}))
    elif not found:
        print("No transaction has a step in this time range.")
    else:
        print("\n\n".join(_text(one, arguments.limit) for one in found))
    return 0


def _chosen(name: str | None) -> Sequence[Flow]:
    packs = load_packs()
    chosen = [flow for flow in packs if name in (None, flow.flow)]
    if not chosen:
        known = ", ".join(flow.flow for flow in packs)
        raise CommandError(f"There is no flow {name}. Known flows: {known}.")
    return chosen


def _text(found: Paths, limit: int) -> str:
    total = sum(variant.transactions for variant in found.variants)
    parts = [
        f"{found.flow}: {counted(total, 'transaction')} in {counted(len(found.variants), 'variant')}",
        section("Variants: stages in the order in which they were first reached", _variants(found, limit, total)),
        section("Stages", _passages(found)),
        section("From stage to stage", _ways(found, limit)),
        section("From system to system", _hops(found, limit)),
        section("Work", _work(found, limit)),
        section("One idempotency key, more than one effect", _effects(found, limit)),
    ]
    return "\n".join(filter(None, parts))


def _variants(found: Paths, limit: int, total: int) -> str:
    rows = [
        [
            str(one.transactions),
            f"{one.transactions / total:.1%}",
            str(one.completed),
            _time(one.seconds_p50),
            ", ".join(money(*amount) for amount in one.amounts),
            " > ".join(one.stages),
        ]
        for one in found.variants[:limit]
    ]
    return table(rows, head=("TRANSACTIONS", "SHARE", "COMPLETED", "MEDIAN", "AMOUNT", "STAGES"), right=(0, 1, 2, 3, 4))


def _passages(found: Paths) -> str:
    rows = [
        [one.stage, *(str(number) for number in (one.transactions, one.repeated, one.skipped, one.ahead))]
        for one in found.passages
    ]
    return table(rows, head=("STAGE", "REACHED", "MORE THAN ONCE", "SKIPPED", "STILL AHEAD"), right=(1, 2, 3, 4))


def _ways(found: Paths, limit: int) -> str:
    rows = [
        [
            one.from_stage,
            one.to_stage,
            "back" if one.back else "",
            str(one.times),
            _time(one.seconds_p50),
            _time(one.seconds_p90),
        ]
        for one in found.ways[:limit]
    ]
    return table(rows, head=("FROM", "TO", "", "TIMES", "MEDIAN", "P90"), right=(3, 4, 5))


def _hops(found: Paths, limit: int) -> str:
    rows = [
        [one.from_system, one.to_system, str(one.times), _time(one.wait_p50), _time(one.wait_p90), str(one.overlapping)]
        for one in found.hops[:limit]
    ]
    return table(rows, head=("FROM", "TO", "TIMES", "WAIT, MEDIAN", "WAIT, P90", "OVERLAPPING"), right=(2, 3, 4, 5))


def _work(found: Paths, limit: int) -> str:
    rows = [
        [
            one.step,
            one.system,
            str(one.attempts),
            _time(one.work_p50),
            _time(one.work_p90),
            *(str(number or "") for number in (one.failed, one.recovered, one.given_up, one.duplicates, one.replays)),
        ]
        for one in found.work[:limit]
    ]
    head = ("STEP", "SYSTEM", "ATTEMPTS", "MEDIAN", "P90", "FAILED", "RECOVERED", "GIVEN UP", "DUPLICATES", "REPLAYS")
    return table(rows, head=head, right=tuple(range(2, len(head))))


def _effects(found: Paths, limit: int) -> str:
    rows = [
        [
            one.idempotency_key,
            one.step,
            one.system,
            str(one.effects),
            when(one.first_at),
            when(one.last_at),
            ", ".join(money(*amount) for amount in one.amounts),
        ]
        for one in found.double_effects[:limit]
    ]
    head = ("KEY", "STEP", "SYSTEM", "EFFECTS", "FIRST (UTC)", "LAST (UTC)", "AMOUNT IN ALL")
    return table(rows, head=head, right=(3, 6)) if rows else ""


def _time(seconds: float) -> str:
    return lasting(timedelta(seconds=seconds)) if seconds >= 1 else f"{seconds * 1000:.0f} ms"
