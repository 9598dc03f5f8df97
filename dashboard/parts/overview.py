"""The overview's figures and tables."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from controltower.dashboard import links
from controltower.dashboard.data import OverviewData
from controltower.dashboard.format import count, moment, money, moneys, plural, reason, relative, rule, words
from controltower.dashboard.markup import Card, Column, Html, Tone, badge, cards, link, table, toned, two_lines
from controltower.store.alert_rows import Alert
from controltower.store.read import Freshness, ReasonCount, RuleCount
from controltower.store.rows import TransactionState

# After so long without a span a system is quiet, or silent: worth a look before its deadlines break.
QUIET_AFTER, SILENT_AFTER = timedelta(hours=4), timedelta(days=1)

KINDS = {
    "deadline": "Deadline",
    "match": "Match",
    "rejected": "Rejected",
    "failed": "Failed",
    "silent": "Source",
    "source": "Source",
    "gap": "Gap",
    "schedule": "Schedule",
}


def figures(found: OverviewData, flow: str, range_title: str) -> Html:
    """Return the cards at the head of the page; each leads to what it counts."""
    overview = found.overview
    completed = sum(state.transactions for state in overview.states if state.state == TransactionState.COMPLETED)
    money_tone: Tone = "bad" if overview.at_stake else ""
    return cards(
        (
            Card("In flight", count(overview.in_flight), "not completed", href=links.transactions(flow=flow)),
            Card(
                "Late now",
                count(overview.late),
                "with a broken deadline",
                "bad" if overview.late else "good",
                links.transactions(flow=flow, late="1", sort="at_stake"),
            ),
            Card(
                "Money at stake",
                moneys(overview.at_stake) if overview.at_stake else "0",
                "late, refused or not adding up",
                money_tone,
                links.transactions(flow=flow, sort="at_stake"),
            ),
            Card(
                "Due within a day",
                count(overview.due_soon),
                "deadlines that run out",
                "warn" if overview.due_soon else "",
                links.transactions(flow=flow, sort="next_due_at", order="up"),
            ),
            Card(
                "Open exceptions",
                count(sum(reason.exceptions for reason in overview.exceptions)),
                plural(len(overview.exceptions), "reason"),
                href=links.transactions(flow=flow, open="1", sort="at_stake"),
            ),
            Card(
                "Completed",
                count(completed),
                range_title.lower(),
                href=links.transactions(flow=flow, state=TransactionState.COMPLETED.value),
            ),
            Card(
                "Parked steps",
                count(found.parked),
                "without a transaction",
                "warn" if found.parked else "",
                links.href("parked", {"flow": flow}),
            ),
        )
    )


def rules(rows: Sequence[RuleCount], now: datetime, flow_title: Callable[[str], str]) -> Html:
    """Return the open deadlines by rule; where they are of several flows, whose they are: names repeat."""
    several = len({row.flow for row in rows}) > 1
    columns = (
        Column("Rule"),
        Column("Broken", "right", hint="Deadlines that passed without the step"),
        Column(
            "Unknown", "right", hint="Over, while the source that would tell is silent or numbers of it are missing"
        ),
        Column("At risk", "right", hint="Not due yet, and half of what was open so late in the past was late"),
        Column("Running", "right", hint="Deadlines that are not due yet"),
        Column("Overdue for", "right", hint="The longest"),
        Column("Next due", "right"),
        Column("Money behind", "right", hint="Of transactions with a broken deadline, each counted once"),
    )
    return table(
        columns,
        (
            (
                two_lines(rule(row.rule), flow_title(row.flow)) if several else rule(row.rule),
                _broken(row),
                count(row.unknown),
                count(row.at_risk),
                count(row.running),
                relative(row.oldest_due_at, now).removesuffix(" ago"),
                relative(row.next_due_at, now),
                moneys(row.at_stake),
            )
            for row in rows
        ),
        empty="No deadline is open.",
    )


def reasons(rows: Iterable[ReasonCount], now: datetime, flow: str) -> Html:
    """Return the open exceptions by reason, of one *flow* or of all."""
    columns = (
        Column("Reason"),
        Column("Kind"),
        Column("Open", "right"),
        Column("Transactions", "right"),
        Column("Oldest", "right"),
        Column(
            "Money", "right", hint="Lines that do not match: the difference. Others: the transaction's amount, once"
        ),
    )
    return table(
        columns,
        (
            (
                two_lines(_reason(row, flow), rule(row.rule)),
                KINDS.get(row.kind, words(row.kind)),
                count(row.exceptions),
                count(row.transactions),
                relative(row.oldest_at, now),
                moneys(row.amounts),
            )
            for row in rows
        ),
        empty="No exception is open.",
    )


def causes(rows: Iterable[Alert], now: datetime) -> Html:
    """Return what several exceptions have in common; it leads to their transactions."""
    columns = (
        Column("Cause"),
        Column("Rule"),
        Column("Transactions", "right"),
        Column("Money", "right", hint="Of those that are open, each counted once"),
        Column("Since", "right"),
    )
    return table(
        columns,
        (
            (
                two_lines(
                    link(row.anchor.value, links.transactions(cause=row.dedup_key, sort="at_stake")), row.anchor.type
                ),
                rule(row.rule),
                count(row.members),
                money(row.amount, row.currency),
                relative(row.opened_at, now),
            )
            for row in rows
        ),
    )


def freshness(rows: Iterable[Freshness], now: datetime) -> Html:
    """Return when each system was last heard of."""
    columns = (
        Column("System"),
        Column("State"),
        Column("Last received (UTC)", "right"),
        Column("Age", "right"),
        Column("Latest step time (UTC)", "right", hint="The time the latest span gives for itself"),
        Column("Spans", "right"),
    )
    return table(
        columns,
        (
            (
                f"{count(row.systems)} other systems" if row.systems > 1 else row.system or "(no name)",
                _heard(now - row.last_loaded_at),
                moment(row.last_loaded_at, seconds=True),
                relative(row.last_loaded_at, now),
                moment(row.last_span_at, seconds=True),
                count(row.spans),
            )
            for row in rows
        ),
        empty="No system has sent a span yet.",
    )


def _broken(row: RuleCount) -> Html:
    """Return how many deadlines of a rule are broken; the number leads to their transactions."""
    if not row.breached:
        return toned("0", "quiet")
    return toned(link(count(row.breached), _narrowed(row.flow, row.rule, "missing"), css="ct-bad"), "bad")


def _reason(row: ReasonCount, flow: str) -> Html | str:
    """Return why exceptions are open; it leads to their transactions, or to the sources."""
    if row.kind in ("silent", "gap", "schedule"):
        return reason(row.reason)
    if row.kind == "source":
        return link(reason(row.reason), links.href("sources", {}))
    return link(reason(row.reason), _narrowed(flow, row.rule, row.reason))


def _narrowed(flow: str, by_rule: str, by_reason: str) -> str:
    return links.transactions(flow=flow, rule=by_rule, reason=by_reason, sort="at_stake")


def _heard(silence: timedelta) -> Html:
    if silence >= SILENT_AFTER:
        return badge("breached", "silent")
    return badge("exception", "quiet") if silence >= QUIET_AFTER else badge("completed", "fresh")
