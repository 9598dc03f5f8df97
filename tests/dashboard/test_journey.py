"""The way of a transaction in words and rows: stages, hops, and the sentence where it stands."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from controltower.dashboard.journey import StageState, hops, stage_rows, stage_title, standing, step_title
from controltower.store.flows.files import load_packs
from controltower.store.read import Member, TransactionView
from controltower.store.rows import DeadlineState, MatchStatus, Step, TransactionState
from tests.factories import AT, deadline, exception, membership, reconciliation, step, transaction

FLOW = next(flow for flow in load_packs() if flow.flow == "procure_to_pay")
NOW = AT + timedelta(days=3)


def member(of: Step) -> Member:
    """Return a step as a member of its transaction."""
    return Member(of, membership(of))


def view(*steps: Step, **values: object) -> TransactionView:
    """Return a transaction of these steps, with further values of the view."""
    members = tuple(member(one) for one in steps)
    whole = transaction(stages=tuple(one.stage for one in steps))
    empty = TransactionView(whole, members, (), (), (), (), ())
    return replace(empty, **values)  # type: ignore[arg-type]  # fields of the dataclass


CREATED = step(stage="created", step="p2p.purchase_order.created", system="erp")
SENT = step(stage="dispatched", system="edi-gateway", at=AT + timedelta(minutes=5))


def test_stages_follow_the_flow_and_say_what_became_of_them() -> None:
    """Reached, passed by, waited for, late and ahead are told apart."""
    shipped = step(stage="shipped", at=AT + timedelta(days=1))
    late = deadline(to_stage="shipped", met_at=AT + timedelta(days=1), due_at=AT, state=DeadlineState.MET_LATE)
    waits = deadline(to_stage="acknowledged", state=DeadlineState.BREACHED)
    running = deadline(to_stage="paid", rule="invoice paid")

    rows = {row.name: row for row in stage_rows(FLOW, view(CREATED, SENT, shipped, deadlines=(late, waits, running)))}

    assert list(rows) == [stage.name for stage in FLOW.stages if not stage.cancels]
    assert rows["created"].state == StageState.REACHED
    assert rows["requested"].state == rows["functional_acknowledged"].state == StageState.SKIPPED
    assert rows["acknowledged"].state == StageState.BREACHED
    assert rows["shipped"].state == StageState.LATE
    assert rows["paid"].state == StageState.WAITING
    assert rows["cleared"].state == StageState.AHEAD
    assert rows["dispatched"].first_at == SENT.at
    assert rows["dispatched"].systems == ("edi-gateway",)


def test_failed_attempts_and_duplicates_reach_nothing() -> None:
    """An attempt that failed is a member, and its stage is not reached by it."""
    failed = replace(SENT, failed=True)
    again = replace(SENT, outcome="duplicate")

    rows = {row.name: row for row in stage_rows(FLOW, view(CREATED, failed, again))}

    assert rows["dispatched"].reached == ()


def test_cancelled_is_a_stage_only_when_it_happened() -> None:
    """A stage that cancels is not ahead of every order."""
    cancelled = step(stage="cancelled", step="p2p.purchase_order.cancelled")

    assert "cancelled" not in {row.name for row in stage_rows(FLOW, view(CREATED))}
    assert "cancelled" in {row.name for row in stage_rows(FLOW, view(CREATED, cancelled))}


def test_unknown_flow_shows_what_was_reached() -> None:
    """A transaction of a flow that this program does not know still shows its stages."""
    assert [row.title for row in stage_rows(None, view(CREATED, SENT))] == ["Created", "Dispatched"]
    assert stage_title(None, "goods_received") == "Goods received"
    assert step_title(None, "p2p.exception.opened", "") == "Exception opened"


def test_hops_are_changes_of_system_with_the_time_between() -> None:
    """Steps within one system are no hop; a failed attempt did not arrive; time never runs backwards."""
    inside = step(stage="created", system="erp", at=AT + timedelta(minutes=1), duration_ns=60 * 10**9)
    failed = step(system="supplier", at=AT + timedelta(minutes=2), failed=True)
    early = step(system="warehouse", at=SENT.at, duration_ns=10**12)
    members = [member(one) for one in (CREATED, inside, failed, SENT, early)]

    found = hops(members)

    assert [(hop.source, hop.target, hop.took) for hop in found] == [
        ("erp", "edi-gateway", timedelta(minutes=3)),
        ("edi-gateway", "warehouse", timedelta(0)),
    ]


def test_sentence_of_a_late_transaction_names_what_it_waits_for() -> None:
    """The oldest broken deadline comes first, the others are counted, open exceptions follow."""
    broken = deadline(state=DeadlineState.BREACHED, subject="INV-9", due_at=AT + timedelta(days=1))
    newer = deadline(state=DeadlineState.BREACHED, rule="invoice paid", to_stage="paid", due_at=AT + timedelta(days=2))
    match = exception(kind="match", amount=Decimal(150), detail="Line 1: price variance of 150.00 USD.")
    late = view(CREATED, SENT, deadlines=(newer, broken), exceptions=(match, exception()))
    late = replace(late, transaction=replace(late.transaction, state=TransactionState.BREACHED, stage="dispatched"))

    assert standing(FLOW, late, NOW) == (
        "Reached “Order sent”. It waits for “Supplier acknowledged” of INV-9, which was due 2 d ago "
        "(2026-03-03 09:00 UTC; clock started with “Order sent”), and 1 more deadline. "
        "Line 1: price variance of 150.00 USD."
    )


def test_sentence_of_one_in_time_names_what_is_due_next() -> None:
    """Without anything broken the next deadline is what it waits for; without any, nothing is invented."""
    running = deadline(due_at=NOW + timedelta(hours=3))

    assert "which is due in 3 h" in standing(FLOW, view(CREATED, deadlines=(running,)), NOW)
    assert "Nothing is due" in standing(FLOW, view(CREATED), NOW)


def test_sentence_of_a_completed_transaction_sums_it_up() -> None:
    """How long it took, whether in time, and how many lines matched."""
    done = transaction(state=TransactionState.COMPLETED, last_step_at=AT + timedelta(days=34, hours=2))
    met_late = deadline(state=DeadlineState.MET_LATE)
    matched = reconciliation(status=MatchStatus.MATCHED)

    assert standing(FLOW, replace(view(CREATED), transaction=done), NOW) == (
        "Completed 34 d 2 h after its first step: every deadline met in time."
    )
    late = replace(view(CREATED), transaction=done, deadlines=(met_late,), reconciliations=(matched,))
    assert standing(FLOW, late, NOW).endswith("1 deadline met late, 1 line matched.")
