"""The list of transactions, and its file."""

from collections.abc import Iterable
from datetime import datetime

from controltower.dashboard import links
from controltower.dashboard.format import count, duration, moment, money, plural, reason, relative, rule, to_csv, words
from controltower.dashboard.labels import Flows, stage_titles
from controltower.dashboard.markup import Column, Html, badge, link, muted, table, toned, two_lines
from controltower.store.read import AnchorRef, KeySpan
from controltower.store.rows import Transaction, TransactionState

SORT_TITLES = {
    "last_step_at": "Last step",
    "started_at": "Start",
    "at_stake": "Money at stake",
    "amount": "Amount",
    "next_due_at": "Next deadline",
    "anchor": "Number",
}

NUMBER_SHOWN = 40  # characters

COLUMNS = (
    Column("Transaction", nowrap=True),
    Column("State"),
    Column("Furthest stage"),
    Column("Vendor"),
    Column("Amount", "right"),
    Column("At stake", "right"),
    Column("Deadlines", hint="The next one, or how many are broken"),
    Column("Started (UTC)", "right"),
    Column("Last step (UTC)", "right"),
)


def rows(found: Iterable[Transaction], flows: Flows, now: datetime) -> Html:
    """Return transactions as a table, each with the way to its page."""
    titles = stage_titles(flows)
    return table(COLUMNS, (_row(one, titles, now) for one in found))


def narrowed(by_rule: str, by_reason: str) -> str:
    """Return in words which open exception the list is narrowed to."""
    what = ": ".join(filter(None, (rule(by_rule) if by_rule else "", reason(by_reason) if by_reason else "")))
    return f"Only with an open exception “{what}”"


def key_spans(found: Iterable[KeySpan]) -> Html:
    """Return spans that carry a key but lead to no transaction."""
    columns = (Column("Key"), Column("Seen in"), Column("Span"), Column("At (UTC)", "right"), Column("Trace"))
    return table(
        columns,
        (
            (
                two_lines(span.value, words(span.type) + (f" of {span.scope}" if span.scope else "")),
                span.system,
                span.span_name,
                moment(span.at, seconds=True),
                muted(span.trace_id),
            )
            for span in found
        ),
    )


def candidates(found: Iterable[AnchorRef], flows: Flows) -> Html:
    """Return the transactions that one key leads to."""
    columns = (Column("Transaction"), Column("Type"), Column("Scope"), Column("Flow"))
    return table(
        columns,
        (
            (
                link(one.anchor.value, links.transaction(one)),
                words(one.anchor.type),
                one.anchor.scope,
                flows[one.flow].title if one.flow in flows else words(one.flow),
            )
            for one in found
        ),
    )


def csv(found: Iterable[Transaction]) -> str:
    """Return transactions as a file for a spreadsheet: exact amounts, times in UTC, safe against formulas."""
    header = [
        "flow",
        "type",
        "scope",
        "number",
        "state",
        "stage",
        "started_at",
        "last_step_at",
        "vendor",
        "amount",
        "currency",
        "at_stake",
        "open_deadlines",
        "breached_deadlines",
        "next_due_at",
        "open_exceptions",
        "steps",
        "systems",
    ]
    return to_csv(
        header,
        (
            (
                one.flow,
                one.anchor.type,
                one.anchor.scope,
                one.anchor.value,
                one.state.value,
                one.stage,
                one.started_at,
                one.last_step_at,
                one.context.get("vendor", ""),
                one.amount,
                one.currency,
                one.at_stake,
                one.open_deadlines,
                one.breached_deadlines,
                one.next_due_at,
                one.open_exceptions,
                one.steps,
                " ".join(one.systems),
            )
            for one in found
        ),
    )


def _row(one: Transaction, titles: dict[str, str], now: datetime) -> tuple[str | Html, ...]:
    kind = words(one.anchor.type) + (f" of {one.anchor.scope}" if one.anchor.scope else "")
    return (
        two_lines(_number(AnchorRef(one.flow, one.anchor)), kind),
        badge(one.state.value),
        two_lines(titles.get(one.stage, words(one.stage)) or "No stage", plural(one.steps, "step")),
        one.context.get("vendor") or "–",
        money(one.amount, one.currency),
        toned(money(one.at_stake, one.currency), "bad") if one.at_stake else muted("–"),
        _deadlines(one, now),
        moment(one.started_at),
        two_lines(moment(one.last_step_at), relative(one.last_step_at, now)),
    )


def _number(reference: AnchorRef) -> Html:
    """Return the way to a transaction; a file's number holds its checksum, and would leave no room for the other columns."""
    number = reference.anchor.value
    shown = number if len(number) <= NUMBER_SHOWN else f"{number[: NUMBER_SHOWN - 1]}…"
    return link(shown, links.transaction(reference), hint=number if shown != number else "")


def _deadlines(one: Transaction, now: datetime) -> Html | str:
    if one.breached_deadlines:
        return toned(f"{count(one.breached_deadlines)} broken", "bad")
    if one.next_due_at is not None:
        due = relative(one.next_due_at, now)
        return toned(f"due {due}", "warn" if one.next_due_at <= now else "")
    if one.state == TransactionState.COMPLETED:
        return muted(f"took {duration(one.last_step_at - one.started_at)}")
    return muted("–")
