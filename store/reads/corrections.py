"""What people decided about links, and which of it concerns a transaction."""

from dataclasses import dataclass
from typing import Literal

from clickhouse_connect.driver.client import Client

from controltower.store.flows.corrections import fits, standing
from controltower.store.queries import named
from controltower.store.reads.answers import TransactionView
from controltower.store.reads.fetch import fetch
from controltower.store.rows import Correction, CorrectionAction

Standing = Literal["holds", "undone", "replaced", "undo"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A correction, and whether it holds: undone, or replaced by a later one about the same."""

    correction: Correction
    state: Standing


def corrections(client: Client) -> list[Decided]:
    """Return every correction in order of time. People make them, so they are few."""
    said = fetch(client, named("select_corrections"), Correction)
    holding = {one.id for one in standing(said)}
    undone = {one.undoes for one in said}

    def state(one: Correction) -> Standing:
        if one.action is CorrectionAction.UNDO:
            return "undo"
        if one.id in holding:
            return "holds"
        return "undone" if one.id in undone else "replaced"

    return [Decided(one, state(one)) for one in said]


def corrections_of(client: Client, view: TransactionView) -> list[Decided]:
    """Return the corrections about a transaction: about its anchor, or about keys or steps that are in it."""
    anchor = view.transaction.anchor
    keys = {anchor, *view.transaction.keys}
    steps = {(member.step.trace_id, member.step.span_id) for member in view.members}

    def concerns(one: Correction) -> bool:
        if one.flow != view.transaction.flow:
            return False
        if one.of_deadline:
            return one.key == anchor
        if one.of_step:
            return (one.trace_id, one.span_id) in steps or fits(one.other, anchor)
        return fits(one.other, anchor) or fits(one.key, anchor) or (one.key in keys and one.other in keys)

    return [decided for decided in corrections(client) if concerns(decided.correction)]
