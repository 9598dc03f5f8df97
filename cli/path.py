"""One transaction as text: where it is, what it is late for, which money does not add up, and why a step belongs. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from controltower.cli.hops import Hop, Way
from controltower.cli.text import amount, correction_text, lasting, money, plain, section, table, when
from controltower.store.read import Decided, KeySpan, Logs, Member, TransactionView
from controltower.store.rows import Correction, Deadline, DeadlineState, Key, Reconciliation, Via

INDENT: Final = "  "
BODY_SHOWN: Final = 120  # characters of a log record; --json has them all
ANCHOR_FIRST: Final = 12  # other keys shown in the head; a payment run carries hundreds


def path(view: TransactionView, now: datetime, *, why: bool = False, decided: Sequence[Decided] = ()) -> str:
    """Return everything a reader needs of one transaction, at the time *now*; *decided* are the corrections about it."""
    rules = f", by {view.transaction.flow} version {view.transaction.flow_version}" if why else ""
    blocks = [
        head(view),
        section(f"Path (times in UTC{rules})", steps(view.members, why=why, decided=decided)),
        section("Corrections", corrections(decided) if why else ""),
        section("Deadlines", deadlines(view.deadlines, now, view.heard)),
        section("Matches", matches(view.reconciliations)),
        section("Exceptions", exceptions(view)),
    ]
    if view.truncated:
        blocks.append("\nMore is stored than is shown here; use --json and the dashboard to see a part of it.")
    return "\n".join(block for block in blocks if block)


def head(view: TransactionView) -> str:
    """Return the transaction's name, state and money."""
    found = view.transaction
    counterparty = found.context.get("vendor", "")
    facts = [found.flow, str(found.state), money(found.amount, found.currency), counterparty]
    lines = [
        f"{key_text(found.anchor)}  " + " · ".join(filter(None, facts)),
        f"{when(found.started_at)} to {when(found.last_step_at)} UTC",
        f"{counted(found.steps, 'step')} in {counted(len(found.systems), 'system')}: {', '.join(found.systems)}",
    ]
    if found.at_stake:
        lines.append(f"{money(found.at_stake, found.currency)} at stake")
    others = [key_text(key) for key in found.keys if key != found.anchor]
    if others:
        more = f" and {len(others) - ANCHOR_FIRST} more" if len(others) > ANCHOR_FIRST else ""
        lines.append(f"keys: {', '.join(others[:ANCHOR_FIRST])}{more}")
    return "\n".join(lines)


def corrections(decided: Sequence[Decided]) -> str:
    """Return what people decided about the transaction, whether or not it holds."""
    return table([[one.state, correction_text(one.correction)] for one in decided], indent=INDENT)


def steps(members: Sequence[Member], *, why: bool, decided: Sequence[Decided] = ()) -> str:
    """Return the path: one line per step in order of time, with its explanation below it when *why*."""
    rows = [step_cells(member) for member in members]
    lines = table(rows, right=(4,), indent=INDENT).splitlines()
    if not why:
        return "\n".join(lines)
    said = {one.correction.id: one.correction for one in decided}
    return "\n".join(f"{line}\n{explanation(member, said)}" for line, member in zip(lines, members, strict=True))


def step_cells(member: Member) -> list[str]:
    """Return the cells of one step."""
    step = member.step
    outcome = " ".join(filter(None, ("failed attempt" if step.failed else step.outcome, step.reason)))
    return [when(step.at), step.stage or f"· {step.step}", step.system, outcome, money(step.amount, step.currency)]


# What a step's place rests on; a person's word stands in place of the span.
RULES: Final = {
    "key": "its own keys",
    "trace": "the only such key of its trace",
    "link": "the only such key behind its span links",
    "confirm": "what a person confirmed",
}


def explanation(member: Member, said: Mapping[str, Correction]) -> str:
    """Return why a step belongs: the rule, the keys that were walked, and the spans they were seen on."""
    membership = member.membership
    hops = " → ".join(f"{via.type} {via.value} ({seen_on(via, said)})" for via in membership.via)
    return f"{INDENT * 2}because of {RULES.get(membership.evidence, membership.evidence)}: {hops}"


def seen_on(via: Via, said: Mapping[str, Correction]) -> str:
    """Return where one hop of an explanation was seen, or who said so."""
    if via.evidence == "confirm":
        by = said.get(via.span_id)
        return f"confirmed by {by.user}: {by.reason}, {by.id}" if by else f"confirmed, {via.span_id}"
    return f"{via.evidence}, span {via.span_id}"


def deadlines(found: Sequence[Deadline], now: datetime, heard: Mapping[str, datetime]) -> str:
    """Return the deadlines, the open ones first; *heard* says when silent sources were last heard of."""
    order = {DeadlineState.BREACHED: 0, DeadlineState.UNKNOWN: 1, DeadlineState.AT_RISK: 2, DeadlineState.RUNNING: 3}
    rows = [
        [
            str(deadline.state),
            deadline.rule,
            deadline.subject,
            f"due {when(deadline.due_at)}",
            verdict(deadline, now, heard),
        ]
        for deadline in sorted(found, key=lambda deadline: (order.get(deadline.state, 4), deadline.due_at))
    ]
    return table(rows, indent=INDENT)


def verdict(deadline: Deadline, now: datetime, heard: Mapping[str, datetime]) -> str:
    """Return how far a deadline is from its due time, and the money on it while it is open, or who would know and is
    silent, or what of it is missing."""
    if deadline.state is DeadlineState.BREACHED:
        stake = money(deadline.at_stake, deadline.currency) if deadline.at_stake else ""
        return f"late by {lasting(now - deadline.due_at)}" + (f", {stake} at stake" if stake else "")
    if deadline.missing:
        return f"source {deadline.told_by}: {deadline.missing.numbers} missing since {when(deadline.missing.since)}"
    if deadline.state is DeadlineState.UNKNOWN:
        since = f" since {when(heard[deadline.source])}" if deadline.source in heard else ""
        return f"source {deadline.source} silent{since}"
    if deadline.state in (DeadlineState.RUNNING, DeadlineState.AT_RISK):
        return f"{lasting(deadline.due_at - now)} left"
    if deadline.waived_by:
        return f"by {deadline.waived_by}: {deadline.waived_why}"
    if deadline.met_at and deadline.met_at > deadline.due_at:
        return f"met {lasting(deadline.met_at - deadline.due_at)} late"
    return f"met {when(deadline.met_at)}" if deadline.met_at else ""


def matches(found: Sequence[Reconciliation]) -> str:
    """Return the matches, one line each, with what every side says."""
    rows = [
        [
            result.rule,
            f"line {result.line}" if result.line else "",
            result.item,
            str(result.status),
            result.reason,
            sides(result),
            f"difference {money(result.difference, result.currency)}" if result.difference else "",
        ]
        for result in found
    ]
    return table(rows, indent=INDENT)


def sides(result: Reconciliation) -> str:
    """Return quantity and unit price of every side: ``ordered 2 × 625.00, received 2, invoiced 2 × 700.00``."""
    shown = []
    for side, quantity in result.quantities.items():
        price = result.prices.get(side)
        shown.append(f"{side} {plain(quantity):f}" + (f" × {amount(price)}" if price else ""))
    return ", ".join(shown)


def exceptions(view: TransactionView) -> str:
    """Return the exceptions that are open, in sentences."""
    open_rows = [row for row in view.exceptions if row.resolved_at is None]
    return "\n".join(f"{INDENT}{row.detail or f'{row.rule}: {row.reason}'}" for row in open_rows)


def loose_spans(spans: Sequence[KeySpan]) -> str:
    """Return the spans that carry the key and belong to no transaction."""
    rows = [
        [when(span.at), span.system, span.span_name, f"{span.type} {span.value}", f"trace {span.trace_id}"]
        for span in spans
    ]
    return table(rows, indent=INDENT)


def hop_lines(way: Way) -> str:
    """Return the messages on a transaction's way, one line each: what was done with it, where, and its wait."""
    rows = [
        [
            when(hop.span.at),
            hop.operation,
            hop.span.system,
            f"{hop.broker} {hop.destination}".rstrip(),
            waited(hop),
            fate(hop),
        ]
        for hop in way.hops
    ]
    more = f"\n{INDENT}More spans are stored of its traces than were looked at." if way.truncated else ""
    return table(rows, indent=INDENT) + more


def waited(hop: Hop) -> str:
    """Return how long a message waited: ``waited 1,250 ms``."""
    return "" if hop.wait_ms is None else f"waited {hop.wait_ms:,} ms"


def fate(hop: Hop) -> str:
    """Return what became of a message, and whether it came more than once."""
    again = f"delivery {hop.delivery_count}" if hop.delivery_count else "delivered again"
    return " ".join(
        filter(None, ("failed" if hop.failed else "", hop.outcome, hop.reason, again if hop.redelivered else ""))
    )


def log_lines(logs: Logs) -> str:
    """Return the log records of a transaction, one line each."""
    rows = [
        [
            when(record.at),
            record.system,
            record.severity or (str(record.severity_number) if record.severity_number else ""),
            record.event,
            " ".join(record.body.split())[:BODY_SHOWN],
        ]
        for record in logs.records
    ]
    more = f"\n{INDENT}More was logged than is shown." if logs.truncated else ""
    return table(rows, indent=INDENT) + more


def key_text(key: Key) -> str:
    """Return a key for people: ``purchase_order PO-1042 (V-7)``."""
    return f"{key.type} {key.value}" + (f" ({key.scope})" if key.scope else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
