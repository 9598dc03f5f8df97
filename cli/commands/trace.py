"""``controltower trace KEY``: the end-to-end path of whatever carries a business key."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from controltower.cli.errors import UnknownKeyError
from controltower.cli.hops import Way, around
from controltower.cli.opening import reading, reading_beside
from controltower.cli.options import Subparsers, add_command, add_json, moment
from controltower.cli.path import hop_lines, log_lines, loose_spans, path
from controltower.cli.settings import Settings, read_settings
from controltower.cli.shapes import dumps, trace_of
from controltower.cli.text import section, when
from controltower.cli.then import then_of, then_text
from controltower.store.client import Client
from controltower.store.read import (
    SPANS_LIMIT,
    TRACES_LIMIT,
    Aside,
    Decided,
    KeySpan,
    Logs,
    Member,
    TransactionView,
    corrections_of,
    find_anchors,
    find_anchors_then,
    known_then,
    logs_of,
    read_beside,
    spans_of_traces,
    spans_with_key,
)

TRANSACTIONS_LIMIT: Final = 20  # a payment run leads to hundreds of orders; a reader wants to choose
LOOSE_SPANS_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Traced:
    """The transactions of a key, and spans that carry it and are in none of them; *more* says that there are others."""

    views: Sequence[TransactionView]
    ways: Sequence[Way]
    spans: Sequence[KeySpan]
    more: bool


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "trace",
        "the end-to-end path of a purchase order, invoice, payment …",
        "Show where the transactions of a business key are, what they are late for, and which money does not add up.",
    )
    parser.add_argument("key", metavar="KEY", help="for example a purchase order's number")
    parser.add_argument("--type", help="type of the key, when the value alone is ambiguous: purchase_order, invoice …")
    parser.add_argument("--flow", help="only in this flow")
    parser.add_argument("--why", action="store_true", help="explain why each step belongs")
    parser.add_argument(
        "--as-known-at",
        type=moment,
        metavar="TIME",
        help="what was known at this time, and what was restated or retracted since: 2026-01-31T18:00Z",
    )
    parser.add_argument("--logs", action="store_true", help="also what was logged in its traces and with its keys")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the transactions that the key leads to, and spans that carry it outside of any transaction."""
    settings = read_settings(arguments)
    if arguments.as_known_at is not None:
        return _as_known(arguments, settings)
    with reading_beside(settings) as (client, aside):
        found = traced(client, aside, arguments.key, type=arguments.type, flow=arguments.flow)
        logs = [logs_of(client, view) for view in found.views] if arguments.logs or arguments.json else []
        asked = arguments.why or arguments.json
        decided = [corrections_of(client, view) if asked else [] for view in found.views]
    views, ways, spans = found.views, found.ways, found.spans
    if not views and not spans:
        raise UnknownKeyError(arguments.key, _filters(arguments))
    if arguments.json:
        print(dumps(trace_of(list(zip(views, ways, logs, decided, strict=True)), spans)))
    else:
        print(_text(arguments, found, logs, decided))
    return 0


def _as_known(arguments: Namespace, settings: Settings) -> int:
    """Print what was known at a time of the transactions that the key led to then."""
    at = arguments.as_known_at
    with reading(settings) as client:
        anchors = find_anchors_then(
            client, arguments.key, at, type=arguments.type, flow=arguments.flow, limit=TRANSACTIONS_LIMIT
        )
        read = [known_then(client, ref.flow, ref.anchor, at) for ref in anchors]
        if not anchors and not find_anchors(client, arguments.key, type=arguments.type, flow=arguments.flow):
            raise UnknownKeyError(arguments.key, _filters(arguments))
    found = [known for known in read if known is not None]
    if arguments.json:
        print(dumps({"transactions": [then_of(known) for known in found]}))
    elif found:
        print("\n\n".join(map(then_text, found)))
    else:
        print(f"Nothing was known of {arguments.key} at {when(at)} UTC.")
    return 0


def traced(client: Client, aside: Aside, key: str, *, type: str | None = None, flow: str | None = None) -> Traced:
    """Return what a key leads to, part of it read aside. Raises StoreError."""
    carriers = None if flow else aside(lambda other: spans_with_key(other, key, type=type, limit=LOOSE_SPANS_LIMIT))
    anchors = find_anchors(client, key, type=type, flow=flow, limit=TRANSACTIONS_LIMIT + 1)
    views: list[TransactionView] = []
    ways: list[Way] = []
    for ref in anchors[:TRANSACTIONS_LIMIT]:
        view, way = read_beside(client, aside, ref.flow, ref.anchor, partial(way_of, client), history=False)
        if view is not None:
            views.append(view)
            ways.append(way)
    spans = outside(carriers(), views, ways) if carriers else []
    return Traced(views, ways, spans, more=len(anchors) > TRANSACTIONS_LIMIT)


def way_of(client: Client, members: Sequence[Member]) -> Way:
    """Return the spans above and below the steps of a transaction. Raises StoreError."""
    steps = [member.step for member in members]
    traces = list(dict.fromkeys(step.trace_id for step in steps))
    if not steps:
        return Way((), truncated=False)
    since = min(min(step.at, step.observed_at) for step in steps)
    until = max(max(step.at, step.observed_at) for step in steps)
    spans = spans_of_traces(client, traces[:TRACES_LIMIT], since=since, until=until)
    return Way(tuple(around(members, spans)), truncated=len(traces) > TRACES_LIMIT or len(spans) >= SPANS_LIMIT)


def outside(carriers: Sequence[KeySpan], views: Sequence[TransactionView], ways: Sequence[Way]) -> list[KeySpan]:
    """Return those of *carriers* that are in none of the transactions shown, nor around their steps."""
    inside = {(member.step.trace_id, member.step.span_id) for view in views for member in view.members}
    inside |= {(span.trace_id, span.span_id) for way in ways for span in way.spans}
    return [span for span in carriers if (span.trace_id, span.span_id) not in inside]


def _text(arguments: Namespace, found: Traced, logs: Sequence[Logs], decided: Sequence[Sequence[Decided]]) -> str:
    now = datetime.now(UTC)
    blocks = [
        f"{path(view, now, why=arguments.why, decided=each)}\n{section('Messages', hop_lines(way))}".rstrip("\n")
        for view, way, each in zip(found.views, found.ways, decided, strict=True)
    ]
    if arguments.logs:
        blocks = [f"{block}\n{_logged(each)}" for block, each in zip(blocks, logs, strict=True)]
    if found.more:
        blocks.append(f"More than {TRANSACTIONS_LIMIT} transactions share this key; `controltower search` lists them.")
    text = "\n\n".join(blocks)
    loose = section(f"Spans with {arguments.key} outside of these transactions", loose_spans(found.spans))
    return (text + "\n" + loose if text else loose).strip("\n")


def _logged(logs: Logs) -> str:
    shown = log_lines(logs) or "  Nothing was logged in its traces or with its keys."
    return section("Logs (times in UTC)", shown)


def _filters(arguments: Namespace) -> str:
    type_text = f" as {arguments.type}" if arguments.type else ""
    return type_text + (f" in flow {arguments.flow}" if arguments.flow else "")
