"""The parts of one transaction's page."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from controltower.dashboard import links
from controltower.dashboard.charts import STAGE_COLOURS
from controltower.dashboard.documents import Difference, Document, MatchRow, line_belongs
from controltower.dashboard.format import (
    NOTHING,
    count,
    duration,
    key_text,
    moment,
    money,
    nanoseconds,
    plural,
    quantity,
    reason,
    relative,
    rule,
    unit_price,
    words,
)
from controltower.dashboard.journey import Hop, StageRow, StageState, stage_title, step_title
from controltower.dashboard.markup import (
    Cell,
    Column,
    Html,
    badge,
    chip,
    facts,
    joined,
    link,
    muted,
    table,
    tag,
    title,
    toned,
    two_lines,
)
from controltower.dashboard.reasons import EVIDENCE, Reason
from controltower.dashboard.theme import colour
from controltower.store.flows.definition import Flow
from controltower.store.read import LogRecord, Span, TransactionView
from controltower.store.rows import Change, Deadline, DeadlineState, DocumentLine, ExceptionRow, Transaction

OPEN_STAGES = (StageState.AHEAD, StageState.WAITING, StageState.SKIPPED, StageState.BREACHED)
BODY_SHOWN = 300  # characters of a log record; the whole is in the store
ERROR_FROM = 17  # OTLP: ERROR is 17 to 20, FATAL 21 to 24
SKEWED = "clock skew suspected"
SKEWED_HINT = "It begins before the span that caused it; times are shown as they were sent."
ATTRIBUTES_SHOWN = 12  # of one span; the rest is in its trace


def header(one: Transaction, flow: Flow | None) -> Html:
    """Return the head of the page: which transaction, and its state."""
    kind = words(one.anchor.type) + (f" of {one.anchor.scope}" if one.anchor.scope else "")
    name = joined((muted(f"{kind} "), one.anchor.value))
    return title(joined((name, " ", badge(one.state.value))), flow.title if flow else words(one.flow))


def standing(one: Transaction, sentence: str) -> Html:
    """Return the sentence that says where the transaction stands."""
    return tag("div", sentence, css="ct-standing", style=f"--state: {colour(one.state.value)}")


def summary(one: Transaction, now: datetime) -> Html:
    """Return the facts beside the state."""
    next_due = f"{moment(one.next_due_at)} UTC, {relative(one.next_due_at, now)}" if one.next_due_at else NOTHING
    return facts(
        (
            ("Amount", money(one.amount, one.currency)),
            ("Money at stake", toned(money(one.at_stake, one.currency), "bad" if one.at_stake else "")),
            ("Vendor", one.context.get("vendor") or NOTHING),
            ("Next deadline", next_due),
            ("Broken deadlines", toned(count(one.breached_deadlines), "bad" if one.breached_deadlines else "")),
            ("Open exceptions", count(one.open_exceptions)),
            ("Steps", f"{count(one.steps)} in {plural(len(one.systems), 'system')}"),
            ("First step (UTC)", moment(one.started_at)),
            ("Last step (UTC)", f"{moment(one.last_step_at)}, {relative(one.last_step_at, now)}"),
        )
    )


def stages(rows: Iterable[StageRow], now: datetime) -> Html:
    """Return the stages in a row, each with when it was reached or is due."""
    cells = [_stage(row, now) for row in rows]
    halves = f"--stages: {max(len(cells), 8)}; --half: {max((len(cells) + 1) // 2, 4)}"
    return tag("div", *cells, css="ct-stages", style=halves)


def hops(rows: Iterable[Hop], flow: Flow | None) -> Html:
    """Return the hops between systems."""
    columns = (
        Column("Arrived (UTC)"),
        Column("From"),
        Column("To"),
        Column("With"),
        Column("By"),
        Column("Interface"),
        Column("Took", "right", hint="From the end of the last step in the one system to the first in the other"),
    )
    return table(
        columns,
        (
            (
                moment(hop.at, seconds=True),
                hop.source,
                hop.target,
                step_title(flow, hop.step, _stage_of(flow, hop.step)),
                hop.style or NOTHING,
                hop.interface or NOTHING,
                duration(hop.took),
            )
            for hop in rows
        ),
        empty="It has not left its first system yet.",
    )


def matches(rows: Sequence[MatchRow]) -> Html:
    """Return each line as ordered, received and invoiced; what differs stands out."""
    columns = (
        Column("Line"),
        Column("Item"),
        Column("Ordered", "right"),
        Column("Received", "right"),
        Column("Invoiced", "right"),
        Column("Order price", "right"),
        Column("Invoice price", "right"),
        Column("Difference", "right", hint="Invoiced minus expected; negative when goods came in without an invoice"),
        Column("Match"),
        Column("Reason"),
    )
    return table(columns, (_match(row) for row in rows), empty="No line has been ordered, received or invoiced yet.")


def documents(rows: Iterable[Document], flow: Flow | None, one: Transaction) -> Html:
    """Return the documents with their lines; of a shared document only the lines of this transaction."""
    columns = (
        Column("Document"),
        Column("At (UTC)"),
        Column("System"),
        Column("Line"),
        Column("Item"),
        Column("Quantity", "right"),
        Column("Unit price", "right"),
        Column("Amount", "right"),
    )
    cells: list[Sequence[Cell]] = []
    for document in rows:
        cells.extend(_document(document, flow, one))
    return table(columns, cells, empty="No step carries lines or an amount.")


def deadlines(rows: Iterable[Deadline], flow: Flow | None, now: datetime, heard: Mapping[str, datetime]) -> Html:
    """Return the deadlines with what became of them."""
    columns = (
        Column("Rule"),
        Column("For"),
        Column("State"),
        Column("Clock started (UTC)"),
        Column("Due (UTC)"),
        Column("Answered (UTC)"),
        Column("Margin", "right", hint="How much before or after the deadline the answer came, or now is"),
        Column("At stake", "right"),
        Column("Severity"),
    )
    return table(
        columns,
        (
            (
                two_lines(rule(row.rule), f"{stage_title(flow, row.from_stage)} → {stage_title(flow, row.to_stage)}"),
                row.subject or NOTHING,
                badge(row.state.value),
                moment(row.from_at),
                moment(row.due_at),
                moment(row.met_at),
                _margin(row, now, heard),
                money(row.at_stake, row.currency) if row.at_stake else NOTHING,
                row.severity,
            )
            for row in rows
        ),
        empty="No stage has started a deadline.",
    )


def exceptions(rows: Iterable[ExceptionRow], now: datetime) -> Html:
    """Return the exceptions, the open ones first."""
    columns = (
        Column("What"),
        Column("State"),
        Column("Opened (UTC)"),
        Column("Resolved (UTC)"),
        Column("Took", "right"),
        Column("Money", "right"),
        Column("Severity"),
    )
    return table(
        columns,
        (
            (
                two_lines(row.detail or reason(row.reason), f"{rule(row.rule)}: {reason(row.reason).lower()}"),
                badge("completed", "resolved") if row.resolved_at else badge("exception", "open"),
                moment(row.opened_at),
                moment(row.resolved_at),
                duration((row.resolved_at or now) - row.opened_at),
                money(row.amount, row.currency) if row.amount else NOTHING,
                row.severity,
            )
            for row in rows
        ),
        empty="Nothing ever went wrong with it.",
    )


def spans(
    rows: Iterable[Span], own: Collection[tuple[str, str]], skewed: Collection[tuple[str, str]] = frozenset()
) -> Html:
    """Return the spans around a transaction's steps; the steps stand out, and so do times of clocks that do not agree."""
    columns = (
        Column("At (UTC)"),
        Column("System", nowrap=True),
        Column("Span"),
        Column("Kind"),
        Column("Took", "right"),
        Column("Status"),
        Column("Attributes"),
    )
    ids = ((row, (row.trace_id, row.span_id)) for row in rows)
    return table(columns, (_span(row, each in own, each in skewed) for row, each in ids), empty="No span is stored.")


def logs(rows: Iterable[LogRecord]) -> Html:
    """Return what was logged around a transaction."""
    columns = (
        Column("At (UTC)"),
        Column("System", nowrap=True),
        Column("Severity"),
        Column("Message"),
        Column("Found by"),
        Column("Attributes"),
    )
    return table(columns, (_log(row) for row in rows))


def reasons(rows: Iterable[Reason], flow: Flow | None) -> Html:
    """Return why each step belongs: the chain of keys from it to the anchor."""
    columns = (Column("Step"), Column("At (UTC)"), Column("Evidence"), Column("Chain of keys"))
    return table(
        columns,
        (
            (
                two_lines(step_title(flow, row.member.step.step, row.member.step.stage), row.member.step.system),
                moment(row.member.step.at, seconds=True),
                EVIDENCE_WORDS.get(row.member.membership.evidence, row.member.membership.evidence),
                two_lines(_chain(row), row.sentence),
            )
            for row in rows
        ),
        empty="It has no steps.",
    )


def history(rows: Iterable[Change], flow: Flow | None, currency: str) -> Html:
    """Return what became known, and when."""
    columns = (
        Column("Known at (UTC)"),
        Column("State"),
        Column("Furthest stage"),
        Column("Steps", "right"),
        Column("At stake", "right"),
        Column("Verdicts that changed"),
    )
    return table(
        columns,
        (
            (
                moment(row.known_at, seconds=True),
                _states(row),
                stage_title(flow, row.stage),
                count(row.steps),
                money(row.at_stake, currency) if row.at_stake else NOTHING,
                joined((tag("div", f"{name}: {verdict}") for name, verdict in row.verdicts.items()))
                if row.verdicts
                else NOTHING,
            )
            for row in rows
        ),
        empty="Nothing is recorded yet.",
    )


def keys(one: Transaction) -> Html:
    """Return the keys of the transaction; each leads to what else carries it."""
    own = (key for key in one.keys if key != one.anchor)
    chips = [link(chip(key_text(key)), links.transactions(q=key.value)) for key in own]
    return tag("div", *chips, css="ct-keys") if chips else Html("")


EVIDENCE_WORDS = {"key": "by key", "trace": "by trace"}


def _stage(row: StageRow, now: datetime) -> Html:
    css = "ct-stage ct-stage-open" if row.state in OPEN_STAGES and not row.reached else "ct-stage"
    return tag(
        "div",
        tag("div", row.title, css="ct-stage-name"),
        tag("div", _when(row, now), css="ct-sub"),
        css=css,
        style=f"--state: {STAGE_COLOURS[row.state]}",
        hint=", ".join(row.systems),
    )


def _when(row: StageRow, now: datetime) -> Html | str:
    due = min((one.due_at for one in row.deadlines if one.met_at is None), default=None)
    if row.state == StageState.BREACHED and due is not None:
        return toned(f"overdue {duration(now - due)}", "bad")
    if row.state == StageState.WAITING and due is not None:
        return f"due {relative(due, now)}"
    if row.first_at is None:
        return row.state.value
    late = max(
        (one.met_at - one.due_at for one in row.deadlines if one.met_at and one.met_at > one.due_at), default=None
    )
    times = moment(row.first_at)
    return joined((times, tag("div", toned(f"{duration(late)} late", "warn")))) if late else times


def _stage_of(flow: Flow | None, step: str) -> str:
    known = flow.stage_by_step.get(step) if flow else None
    return known.name if known else ""


def _match(row: MatchRow) -> tuple[Cell, ...]:
    match = row.match
    ordered, received, invoiced = (
        _marked(quantity(number), mark) for number, mark in zip(row.quantities, row.marks, strict=True)
    )
    return (
        match.line or NOTHING,
        match.item or NOTHING,
        ordered,
        received,
        invoiced,
        unit_price(row.ordered_price, match.currency),
        _marked(unit_price(row.invoiced_price, match.currency), row.price_mark),
        toned(money(match.difference, match.currency), "bad") if match.difference else NOTHING,
        badge(match.status.value, words(match.status.value.removeprefix("matched_")).lower()),
        _reason_of(row),
    )


def _reason_of(row: MatchRow) -> Html | str:
    match = row.match
    text = reason(match.reason) if match.reason else NOTHING
    if match.window_ends_at is None:
        return text
    return two_lines(text, f"window ends {moment(match.window_ends_at)} UTC")


def _marked(text: str, mark: Difference) -> Html | str:
    if mark == Difference.NONE:
        return text
    arrow = "▲" if mark == Difference.MORE else "▼"
    return toned(f"{arrow} {text}", "bad" if mark == Difference.MORE else "warn", hint=f"{mark.value} than expected")


def _document(document: Document, flow: Flow | None, one: Transaction) -> Iterable[Sequence[Cell]]:
    step = document.member.step
    numbers = joined(chip(key_text(key)) for key in document.numbers[:4])
    lines = [line for line in document.lines if line_belongs(line, one.anchor)]
    shared = document.member.membership.anchors
    note = f"shared by {count(shared)} transactions: only the lines of this one" if shared > 1 else ""
    name = step_title(flow, step.step, step.stage)
    flag = "failed attempt" if step.failed else step.outcome if step.outcome != "ok" else ""
    head = joined((tag("strong", name), " ", toned(flag, "warn")))
    yield (
        joined((head, tag("div", numbers), tag("div", note, css="ct-sub"))),
        moment(step.at),
        step.system,
        muted(plural(len(document.lines), "line") if document.lines else NOTHING),
        "",
        quantity(step.quantity) if step.quantity is not None else "",
        "",
        tag("strong", money(step.amount, step.currency)),
    )
    for line in lines:
        yield _line(line, line.currency or step.currency or one.currency)


def _line(line: DocumentLine, currency: str) -> Sequence[Cell]:
    uom = f" {line.uom}" if line.uom else ""
    return (
        "",
        "",
        "",
        line.line or NOTHING,
        line.item or NOTHING,
        f"{quantity(line.quantity)}{uom}",
        unit_price(line.unit_price, currency),
        money(line.amount, currency),
    )


def _margin(row: Deadline, now: datetime, heard: Mapping[str, datetime]) -> Html | str:
    if untold := row.missing:
        return toned(f"{untold.source}: {untold.numbers} missing since {moment(untold.since)} UTC", "warn")
    if row.state == DeadlineState.UNKNOWN:
        since = f" since {moment(heard[row.source])} UTC" if row.source in heard else ""
        return toned(f"{row.source} silent{since}", "warn")
    if row.met_at is not None:
        gap = row.due_at - row.met_at
        late = row.met_at > row.due_at
        return toned(f"{duration(gap)} {'late' if late else 'early'}", "warn" if late else "")
    if row.state == DeadlineState.BREACHED:
        return toned(f"{duration(now - row.due_at)} overdue", "bad")
    if row.waived_by:
        return f"by {row.waived_by}: {row.waived_why}"
    if row.state == DeadlineState.AT_RISK:
        return toned(relative(row.due_at, now), "warn")
    return relative(row.due_at, now) if row.state == DeadlineState.RUNNING else NOTHING


def _attributes(of: Mapping[str, str]) -> Html:
    shown = sorted(of.items())[:ATTRIBUTES_SHOWN]
    more = len(of) - len(shown)
    chips = [chip(f"{name.removeprefix('controltower.')}={_short(value)}", hint=value) for name, value in shown]
    return joined([*chips, muted(f"and {more} more")] if more else chips)


def _log(row: LogRecord) -> Sequence[Cell]:
    severity = row.severity or (str(row.severity_number) if row.severity_number else NOTHING)
    body = row.body if len(row.body) <= BODY_SHOWN else f"{row.body[: BODY_SHOWN - 1]}…"
    where = f"{row.trace_id[:8]}… / {row.span_id}" if row.trace_id else "no trace"
    return (
        moment(row.at, seconds=True),
        row.system,
        toned(severity, "bad") if row.severity_number >= ERROR_FROM else severity,
        two_lines(tag("strong", row.event), body) if row.event else body,
        two_lines("key" if row.by_key else "trace", tag("span", where, css="ct-nowrap")),
        _attributes(row.attributes),
    )


def _span(row: Span, own: bool, skewed: bool) -> Sequence[Cell]:
    failed = row.status in ("Error", "STATUS_CODE_ERROR")
    at = moment(row.at, seconds=True)
    return (
        two_lines(at, toned(SKEWED, "warn", SKEWED_HINT)) if skewed else at,
        row.system,
        two_lines(
            tag("strong", row.name) if own else row.name,
            tag("span", f"{row.trace_id[:8]}… / {row.span_id}", css="ct-nowrap"),
        ),
        row.kind.removeprefix("SPAN_KIND_").lower(),
        nanoseconds(row.duration_ns),
        toned(row.status_message or "error", "bad") if failed else muted("ok"),
        _attributes(row.attributes),
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _chain(row: Reason) -> Html:
    parts: list[Cell] = [chip("this step")]
    for position, hop in enumerate(row.links):
        tie = "carries" if position == 0 and hop.evidence == "key" else EVIDENCE.get(hop.evidence, hop.evidence)
        seen = f" in {hop.seen_in}" if position and hop.seen_in else ""
        parts.append(tag("span", f"— {tie}{seen} →", css="ct-arrow"))
        parts.append(chip(key_text(hop.key)))
    return joined(parts)


def _states(row: Change) -> Html:
    if not row.previous_state or row.previous_state == row.state:
        return badge(row.state)
    return joined((badge(row.previous_state), tag("span", "→", css="ct-arrow"), badge(row.state)))


def open_exceptions(view: TransactionView) -> tuple[ExceptionRow, ...]:
    """Return the exceptions that nobody has resolved."""
    return tuple(row for row in view.exceptions if row.resolved_at is None)
