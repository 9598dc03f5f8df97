"""The flows that are described by legs: what the customers' situations are about can be found in the product."""

from datetime import timedelta
from decimal import Decimal

from controltower.cli.demo.plan import history
from controltower.cli.demo.scenarios import SCENARIOS
from controltower.store.rows import DeadlineState, Key
from tests.cli.demo_resolved import Verdicts, judged
from tests.cli.test_score import END

LATER = END + timedelta(days=30)  # when what never comes is late


def verdicts_of(scenario: str, flow: str) -> Verdicts:
    """Return what becomes of the transactions of a flow."""
    return judged(history(12, 600, 60, END, scenario=SCENARIOS[scenario]), LATER)[flow][1]


def open_money(verdicts: Verdicts, kind: str, rule: str) -> dict[Key, Decimal]:
    """Return the money of the open exceptions of a rule."""
    return {
        anchor: row.amount
        for anchor, verdict in verdicts.items()
        for row in verdict.exceptions
        if (row.kind, row.rule, row.resolved_at) == (kind, rule, None)
    }


def test_a_lost_implant_charge_is_found_with_its_money() -> None:
    """An implant that was used, ordered and paid for, and never charged, is a broken deadline with its price at stake."""
    verdicts = verdicts_of("hospital", "implant")
    lost = open_money(verdicts, "deadline", "charge captured")
    ordered = {anchor for anchor in lost if "ordered" in verdicts[anchor].transaction.stages}

    assert ordered
    for anchor in ordered:
        transaction = verdicts[anchor].transaction
        assert lost[anchor] == transaction.at_stake == transaction.amounts["ordered"] > 0
        assert {each.state for each in verdicts[anchor].deadlines if each.rule == "charge captured"} == {
            DeadlineState.BREACHED
        }


def test_an_implant_off_contract_is_found_with_its_money() -> None:
    """A price that the contract does not know is a refusal that stays open, with the money that it is about."""
    off_contract = open_money(verdicts_of("hospital", "implant"), "rejected", "implant.price.validated")

    assert off_contract
    assert all(amount > 0 for amount in off_contract.values())


def test_what_is_billed_and_not_received_or_dearer_is_found() -> None:
    """Invoices that match neither receipt nor price are exceptions of the match."""
    wrong = open_money(verdicts_of("hospital", "procure_to_pay"), "match", "three_way_match")

    assert wrong
    assert all(amount > 0 for amount in wrong.values())


def test_a_supplier_may_answer_by_api_or_edi() -> None:
    """An acknowledgement meets the deadline whatever channel it came by, and one that never comes breaks it."""
    plan = history(12, 600, 60, END, scenario=SCENARIOS["distributor"])
    styles = {step.style for _, _, step in plan.steps() if step.code == "inv.supplier.acknowledged"}
    states = {
        row.state
        for verdict in judged(plan, LATER)["replenishment"][1].values()
        for row in verdict.deadlines
        if row.rule == "supplier acknowledges"
    }

    assert styles == {"api", "edi"}
    assert {DeadlineState.MET, DeadlineState.MET_LATE, DeadlineState.BREACHED} <= states


def test_a_cost_that_comes_late_and_a_movement_that_is_lost_are_found() -> None:
    """Stock that moved and is not in the books, or at a stale cost, is late; what was refused is open."""
    verdicts = verdicts_of("distributor", "warehouse_to_finance")
    late = {(row.rule, row.state) for each in verdicts.values() for row in each.deadlines}

    assert ("movement applied", DeadlineState.BREACHED) in late
    assert ("cost updated", DeadlineState.MET_LATE) in late
    assert open_money(verdicts, "rejected", "inv.movement.applied")


def test_a_missed_run_and_a_version_that_some_systems_lack_are_found() -> None:
    """A run that never starts breaks the deadline of its slot; a version is late in the system that did not apply it."""
    runs = verdicts_of("specialty", "batch_and_file")
    versions = verdicts_of("specialty", "master_data")
    missed = [anchor for anchor in open_money(runs, "deadline", "run started") if anchor.type == "slot"]
    legs = [
        {row.subject: row.state for row in verdict.deadlines if row.rule == "version applied"}
        for verdict in versions.values()
    ]

    assert missed
    assert any({DeadlineState.MET, DeadlineState.BREACHED} <= set(states.values()) for states in legs)
