"""What becomes of a transaction: states, deadlines, exceptions and money, judged from its steps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controltower.store.flows.deadlines import Member
from controltower.store.flows.files import load_packs
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.rows import DeadlineState, DocumentLine, Key, Step, TransactionState
from tests.factories import membership, span_ids, step
from tests.store.flow_steps import P2P

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)  # a Monday, 09:00 in New York
ANCHOR = Key("purchase_order", "acme", "PO-1")
STEPS = {stage.name: stage.step for stage in P2P.stages}


def done(stage: str, *, hours: float = 0, keys: Sequence[Key] = (ANCHOR,), **values: Any) -> Step:
    """Return a step that reaches *stage* some hours after the start; the receipt of what is sent is to be confirmed."""
    at = START + timedelta(hours=hours)
    stated = {"context": {"vendor": "V-7", "ack_within_s": "14400"}} if stage == "dispatched" else {}
    values = {"amount": None, **stated, **values}
    return step(stage=stage, step=STEPS[stage], at=at, keys=tuple(keys), system="erp", **values)


def line(of: Step, number: int, quantity: str, price: str, order: str = "") -> DocumentLine:
    """Return a line of the document that a step carries."""
    keys = (Key("purchase_order", "", order),) if order else ()
    return DocumentLine(
        flow=of.flow,
        trace_id=of.trace_id,
        span_id=of.span_id,
        position=number,
        line=str(number),
        item="item",
        quantity=Decimal(quantity),
        uom="EA",
        unit_price=Decimal(price),
        amount=None,
        currency="USD",
        keys=keys,
    )


def verdict(
    steps: Sequence[Step],
    *,
    hours: float,
    lines: Sequence[DocumentLine] = (),
    shared: Sequence[Step] = (),
    through: Sequence[Key] = (),
) -> Verdict:
    """Judge these steps *hours* after the start."""
    by_step: dict[tuple[str, str], tuple[DocumentLine, ...]] = {}
    for one in lines:
        by_step[one.trace_id, one.span_id] = (*by_step.get((one.trace_id, one.span_id), ()), one)
    members = [
        Member(one, membership(one, ANCHOR, anchors=2 if one in shared else 1, through=tuple(through))) for one in steps
    ]
    return judge(P2P, ANCHOR, members, by_step, START + timedelta(hours=hours), version=1)


def states(found: Verdict) -> dict[tuple[str, str], DeadlineState]:
    """Return (rule, subject) -> state."""
    return {(row.rule, row.subject): row.state for row in found.deadlines}


def test_a_deadline_runs_until_it_is_due() -> None:
    """It runs before its due time and is breached from that very instant on."""
    steps = [done("dispatched")]

    assert states(verdict(steps, hours=3.999))["functional acknowledgement", ""] is DeadlineState.RUNNING
    assert states(verdict(steps, hours=4))["functional acknowledgement", ""] is DeadlineState.BREACHED
    assert verdict(steps, hours=4).transaction.state is TransactionState.BREACHED


def test_an_order_whose_receipt_nobody_confirms() -> None:
    """Sent by other means than an interchange, it does not say that somebody will: nothing waits for that."""
    found = verdict([done("dispatched", context={"vendor": "V-7"})], hours=9)

    assert ("functional acknowledgement", "") not in states(found)
    assert ("supplier acknowledges", "") in states(found)


def test_a_late_answer_closes_the_breach_and_stays_on_record() -> None:
    """What came late is met late: no open breach, but an exception with its time of opening and of resolution."""
    found = verdict([done("dispatched"), done("functional_acknowledged", hours=5)], hours=6)
    (late,) = [row for row in found.exceptions if row.rule == "functional acknowledgement"]

    assert states(found)["functional acknowledgement", ""] is DeadlineState.MET_LATE
    assert found.transaction.breached_deadlines == 0
    assert (late.opened_at, late.resolved_at) == (START + timedelta(hours=4), START + timedelta(hours=5))


def test_an_answer_that_seems_to_come_before_its_question_counts() -> None:
    """Clocks of two systems differ: an acknowledgement stamped before the dispatch is an acknowledgement."""
    found = verdict([done("dispatched"), done("functional_acknowledged", hours=-0.01)], hours=9)

    assert states(found)["functional acknowledgement", ""] is DeadlineState.MET


def test_failed_attempts_and_duplicates_reach_nothing() -> None:
    """A dispatch that failed starts no deadline; the one that worked does, and closes the failure."""
    failed = done("dispatched", failed=True)
    alone = verdict([done("created", hours=-0.1), failed], hours=1)
    retried = verdict([done("created", hours=-0.1), failed, done("dispatched", hours=0.1)], hours=1)
    doubled = verdict([done("dispatched"), done("functional_acknowledged", outcome="duplicate")], hours=1)

    assert ("supplier acknowledges", "") not in states(alone)
    assert [(row.kind, row.resolved_at) for row in alone.exceptions if row.kind == "failed"] == [("failed", None)]
    assert [row.resolved_at for row in retried.exceptions if row.kind == "failed"] == [START + timedelta(hours=0.1)]
    assert states(doubled)["functional acknowledgement", ""] is DeadlineState.RUNNING


def test_rules_run_once_per_invoice() -> None:
    """Two invoices of one order have two deadlines, each met by its own voucher."""
    one, two = Key("invoice", "V-7", "I-1"), Key("invoice", "V-7", "I-2")
    steps = [
        done("invoiced", keys=[ANCHOR, one]),
        done("invoiced", keys=[ANCHOR, two], hours=1),
        done("registered", keys=[one, Key("voucher", "", "V1")], hours=2),
    ]
    found = states(verdict(steps, hours=200))

    assert found["invoice registered", "I-1"] is DeadlineState.MET
    assert found["invoice registered", "I-2"] is DeadlineState.BREACHED


def test_a_step_speaks_of_the_documents_above_its_own() -> None:
    """A posting with a voucher only meets the deadline of the voucher's invoice."""
    invoice, voucher = Key("invoice", "V-7", "I-1"), Key("voucher", "", "V1")
    registered, matched = done("registered", keys=[invoice, voucher]), done("matched", keys=[voucher], hours=1)
    found = verdict([registered, matched], hours=500, through=[invoice])

    assert states(found)["invoice matched", "I-1"] is DeadlineState.MET


def test_a_cancelled_order_owes_nothing() -> None:
    """What is open at the cancellation is waived, and the order is completed."""
    found = verdict([done("created"), done("dispatched"), done("cancelled", hours=9)], hours=2000)

    assert {state for rule, state in states(found).items() if rule[0] != "order dispatched"} == {DeadlineState.WAIVED}
    assert found.transaction.state is TransactionState.COMPLETED
    assert found.reconciliations == ()


def test_a_rejection_is_open_until_it_is_healed() -> None:
    """A rejected order needs a person, until the supplier accepts after all."""
    refused = done("acknowledged", outcome="rejected", reason="invalid_product", hours=1)
    open_one = verdict([refused], hours=2)
    healed = verdict([refused, done("acknowledged", hours=2)], hours=3)

    assert (open_one.transaction.state, open_one.exceptions[0].reason) == (
        TransactionState.EXCEPTION,
        "invalid_product",
    )
    assert healed.transaction.state is TransactionState.IN_PROGRESS
    assert healed.exceptions[0].resolved_at == START + timedelta(hours=2)


def test_a_shared_invoice_counts_its_own_lines_only() -> None:
    """Of an invoice over two orders, an order takes the lines that name it, in quantity and in money."""
    created, invoiced = done("created", amount=Decimal(40)), done("invoiced", hours=1, amount=Decimal(900))
    lines = [
        line(created, 1, "10", "4"),
        line(invoiced, 1, "10", "4", order="PO-1"),
        line(invoiced, 1, "86", "10", order="PO-2"),
    ]
    found = verdict([created, invoiced], hours=2, lines=lines, shared=[invoiced])
    (match,) = found.reconciliations

    assert match.quantities == {"ordered": Decimal(10), "invoiced": Decimal(10)}
    assert found.transaction.amounts["invoiced"] == Decimal(40)


def test_an_invoice_that_came_twice_counts_once() -> None:
    """The same invoice number sent again adds no quantity and no money."""
    keys = [ANCHOR, Key("invoice", "V-7", "I-1")]
    created = done("created", amount=Decimal(40))
    first, again = (done("invoiced", hours=h, keys=keys, amount=Decimal(40)) for h in (1, 2))
    lines = [line(created, 1, "10", "4"), line(first, 1, "10", "4"), line(again, 1, "10", "4")]
    found = verdict([created, first, again], hours=3, lines=lines)

    assert found.reconciliations[0].quantities["invoiced"] == Decimal(10)
    assert found.transaction.amounts == {"created": Decimal(40), "invoiced": Decimal(40)}


def test_the_next_look_is_when_time_can_change_something() -> None:
    """The verdict names the earliest instant at which it may differ, and none when nothing is open."""
    found = verdict([done("dispatched")], hours=1).transaction

    assert found.evaluate_at == found.next_due_at == START + timedelta(hours=4)
    assert verdict([done("requested")], hours=5000).transaction.evaluate_at is None


reached = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.floats(0, 100), st.booleans()), min_size=1, max_size=12)


@given(reached, st.floats(0, 3000), st.randoms(use_true_random=False))
def test_order_of_steps_changes_nothing(drawn: list[tuple[str, float, bool]], hours: float, random: Any) -> None:
    """The same steps in any order give the same verdict."""
    ids = [span_ids(number) for number in range(1, len(drawn) + 1)]
    steps = [
        done(stage, hours=after, failed=failed, trace_id=trace, span_id=span)
        for (stage, after, failed), (trace, span) in zip(drawn, ids, strict=True)
    ]
    shuffled = list(steps)
    random.shuffle(shuffled)

    assert verdict(shuffled, hours=hours) == verdict(steps, hours=hours)


@given(reached, st.floats(0, 3000))
def test_nothing_changes_before_the_next_look(drawn: list[tuple[str, float, bool]], hours: float) -> None:
    """Between now and ``evaluate_at`` time alone changes no state: the engine may sleep until then."""
    steps = [done(stage, hours=after, failed=failed) for stage, after, failed in drawn]
    now = verdict(steps, hours=hours)
    until = now.transaction.evaluate_at
    last = until - timedelta(microseconds=1) if until else START + timedelta(days=4000)
    then = verdict(steps, hours=(last - START) / timedelta(hours=1))

    assert states(then) == states(now)
    assert then.transaction.state == now.transaction.state


RUN = Key("run", "", "RUN-1")
BATCH = next(flow for flow in load_packs() if flow.flow == "batch_and_file")


def alive(*beats_s: float, at_s: float, ended: bool = False, **context: str) -> DeadlineState | None:
    """Return how the rule about heartbeats stands at *at_s*, of a run with these heartbeats."""
    steps = [("started", 0.0), *(("running", beat) for beat in beats_s), *([("completed", at_s)] if ended else [])]
    codes = {stage.name: stage.step for stage in BATCH.stages}
    members = [
        Member(one, membership(one, RUN, anchors=1, through=()))
        for name, second in steps
        for one in [
            step(
                flow="batch_and_file",
                stage=name,
                step=codes[name],
                at=START + timedelta(seconds=second),
                keys=(RUN,),
                context=context,
            )
        ]
    ]
    found = judge(BATCH, RUN, members, {}, START + timedelta(seconds=at_s), version=1)
    return {row.rule: row.state for row in found.deadlines}.get("run alive")


def test_a_heartbeat_that_stops_is_a_breach() -> None:
    """Three of the intervals that the run states without a word; each heartbeat begins them anew, and its end ends them."""
    assert alive(at_s=29, heartbeat_s="10") is DeadlineState.RUNNING
    assert alive(at_s=30, heartbeat_s="10") is DeadlineState.BREACHED
    assert alive(10, 20, 30, at_s=59, heartbeat_s="10") is DeadlineState.RUNNING
    assert alive(10, 20, 30, at_s=60, heartbeat_s="10") is DeadlineState.BREACHED
    assert alive(30, 20, 10, at_s=59, heartbeat_s="10") is DeadlineState.RUNNING
    assert alive(10, at_s=12, ended=True, heartbeat_s="10") is DeadlineState.MET
    for nothing in ("", "soon", "-1", "inf", "nan"):
        assert alive(at_s=86_400, heartbeat_s=nothing) is None
