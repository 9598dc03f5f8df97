"""Recording that a person waives a deadline: what is named is looked up and checked, then appended. The engine applies it."""

from dataclasses import dataclass, replace
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.correcting import named_key
from controltower.store.errors import CorrectionError
from controltower.store.flows.corrections import standing
from controltower.store.flows.definition import Flow
from controltower.store.queries import named, of_anchor
from controltower.store.reads.fetch import fetch
from controltower.store.rows import Correction, CorrectionAction, Deadline, DeadlineState, Key
from controltower.store.write import insert

DEADLINES_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants, in their words: a transaction by its anchor, and one of its deadlines."""

    anchor: str  # purchase_order:PO-1042, with @SCOPE where several issuers have the number
    rule: str
    subject: str  # which invoice or payment, where the rule runs for each; empty when the rule runs once
    user: str
    reason: str
    undo: bool = False


def waive(client: Client, flow: Flow, wish: Wish, *, id: str, at: datetime) -> Correction:
    """Append the waiver, or its undoing, and return it. Raises CorrectionError when there is no such deadline, when it was met,
    or when it is waived already."""
    correction = _checked(client, flow, wish, id, at)
    insert(client, [correction])
    return correction


def _checked(client: Client, flow: Flow, wish: Wish, id: str, at: datetime) -> Correction:
    for name, text in (("user", wish.user), ("reason", wish.reason)):
        if not text.strip():
            raise CorrectionError(f"A waiver needs a {name}: who reads it later must know.")
    deadline = _deadline(client, flow, wish)
    drawn = Correction(
        id=id,
        flow=flow.flow,
        action=CorrectionAction.UNDO if wish.undo else CorrectionAction.WAIVE,
        key=deadline.anchor,
        trace_id="",
        span_id="",
        other=Key("", deadline.subject, deadline.rule),
        undoes="",
        user=wish.user,
        reason=wish.reason,
        at=at,
    )
    said = fetch(client, named("select_corrections"), Correction)
    own = (one for one in said if one.flow == flow.flow)
    holds = next((one for one in standing(own) if one.subject == drawn.subject), None)
    if wish.undo:
        if holds is None:
            raise CorrectionError(f"No waiver of {wish.rule!r} of {wish.anchor} holds.")
        return replace(drawn, undoes=holds.id)
    if holds is not None:
        raise CorrectionError(
            f"{holds.user} waived it before, at {holds.at:%Y-%m-%d %H:%M} UTC: {holds.reason} ({holds.id})"
        )
    if deadline.met_at is not None:
        raise CorrectionError(
            f"{wish.rule!r} of {wish.anchor} was met at {deadline.met_at:%Y-%m-%d %H:%M} UTC: nothing is left to waive."
        )
    if deadline.state is DeadlineState.WAIVED:
        raise CorrectionError(f"{wish.rule!r} of {wish.anchor} is waived already: the transaction was cancelled.")
    return drawn


def _deadline(client: Client, flow: Flow, wish: Wish) -> Deadline:
    anchor = named_key(client, flow, wish.anchor)
    rows = fetch(client, of_anchor("select_deadlines", flow.flow, anchor, limit=DEADLINES_LIMIT), Deadline)
    if not rows:
        raise CorrectionError(
            f"{wish.anchor} has no deadline; name a transaction by its anchor, as `controltower trace` shows it."
        )
    of_rule = [row for row in rows if row.rule == wish.rule]
    if not of_rule:
        raise CorrectionError(
            f"{wish.anchor} has no deadline {wish.rule!r}; it has {_listed({row.rule for row in rows})}."
        )
    found = [row for row in of_rule if row.subject == wish.subject]
    if not found:
        raise CorrectionError(
            f"{wish.rule!r} runs for each of {_listed({row.subject for row in of_rule})}; name one with --subject."
        )
    return found[0]


def _listed(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)[:20])
