"""The simulated network with links withheld and hubs injected, resolved in memory: paths get shorter, none is joined wrongly."""

import pytest

from controltower.cli.demo.model import BusinessStep, Plan
from controltower.cli.demo.perturbing import HUB_TYPES, add_hub_keys, perturbed, withhold_links
from controltower.cli.demo.plan import history
from controltower.cli.demo.scoring import Found, Membership, score
from controltower.cli.demo.truth import Truth, truth_of
from controltower.store.flows.classify import SpanRow, classify
from controltower.store.rows import Step
from controltower.store.truth_reads import FoundMembership
from controltower.tracer import attributes as names
from tests.cli.test_score import END, NOW
from tests.store.flow_steps import P2P, anchors, resolve_all, seen
from tests.store.spans import text_of

ORDERS = 150  # more than a shipment may have, so that a hub is one


@pytest.fixture(scope="module")
def plan() -> Plan:
    """What really happens."""
    return history(31, ORDERS, 45, END)


@pytest.fixture(scope="module")
def truth(plan: Plan) -> Truth:
    """What is true, whatever is reported."""
    return truth_of(plan)


def steps_of(plan: Plan) -> list[Step]:
    """Return the steps that are reported, as the engine reads them."""
    return [
        found.step
        for trace, span, step in plan.steps()
        for found in classify(
            [P2P],
            SpanRow(*span.ref, trace.system, span.name, span.at, 0, bool(span.error), _attributes(step), (), span.at),
            1,
        )
    ]


def _attributes(step: BusinessStep) -> dict[str, str]:
    said = {names.STEP: step.code, names.OUTCOME: step.outcome}
    said |= {names.KEY + name: text_of(value) for name, value in step.keys.items()}
    said |= {names.SCOPE + name: value for name, value in step.scopes.items()}
    said |= {names.CONTEXT + name: value for name, value in step.context.items()}
    return said


def places_in(plan: Plan, truth: Truth) -> Membership:
    """Resolve what *plan* reports and compare the places with the truth."""
    steps = {int(step.span_id, 16): step for step in steps_of(plan)}
    found = [
        FoundMembership(member.anchor, steps[number].trace_id, steps[number].span_id)
        for number, resolution in resolve_all(steps.values(), flow=P2P).items()
        for member in resolution.memberships
    ]
    return score(truth, Found(found, (), (), ()), NOW).membership


def test_what_is_reported_whole_is_found_whole(plan: Plan, truth: Truth) -> None:
    """Without anything withheld every place is right."""
    found = places_in(plan, truth)

    assert (found.precision, found.recall, found.apart, found.wrongly_joined) == (1.0, 1.0, 0, 0)


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_withheld_links_cost_recall_only(share: float, plan: Plan, truth: Truth) -> None:
    """What is not known to belong together is apart, and nothing is guessed."""
    spoilt = withhold_links(plan, share)
    found = places_in(spoilt, truth)

    assert spoilt.faults["withheld_link"] > 0
    assert found.recall < 1
    assert (found.precision, found.wrongly_joined) == (1.0, 0)


def test_hubs_join_nothing(plan: Plan, truth: Truth) -> None:
    """A number on every requisition, shipment and slip is set aside; the numbers beside it work as before."""
    spoilt = add_hub_keys(plan, 1)
    reported = {key for step in steps_of(spoilt) for key in step.keys if key.value.startswith("HUB-")}
    found = places_in(spoilt, truth)

    assert {key.type for key in reported} == {*HUB_TYPES}
    assert (found.precision, found.wrongly_joined) == (1.0, 0)
    assert found.recall >= 0.999


def test_a_set_that_nobody_links_is_not_its_group() -> None:
    """An acknowledgement of one set is not of the other order in the same file, when the own order does not say its set."""
    steps = [
        seen(1, "purchase_order:PO-1@acme", "group:7", "set:7.1", flow=P2P),
        seen(2, "purchase_order:PO-2@acme", flow=P2P),
        seen(3, "group:7", "set:7.2", flow=P2P),
        seen(4, "group:7", flow=P2P),
    ]
    found = resolve_all(steps, flow=P2P)

    assert found[3].parked is not None
    assert anchors(found[4]) == ["purchase_order:PO-1"]


def test_both_at_once(plan: Plan, truth: Truth) -> None:
    """A step that is left with a hub alone is parked, and joined to nothing."""
    found = places_in(perturbed(plan, withhold=0.02, hubs=1), truth)

    assert (found.precision, found.wrongly_joined) == (1.0, 0)
    assert found.recall > 0.9


def test_the_truth_stays(plan: Plan, truth: Truth) -> None:
    """What is reported does not change what happened, nor the plan that it was made of."""
    before = plan.faults.copy()

    assert truth_of(perturbed(plan, withhold=0.05, hubs=2)).transactions == truth.transactions
    assert plan.faults == before
