"""The simulated network with links withheld and hubs injected, resolved in memory: paths get shorter, none is joined wrongly."""

from functools import lru_cache

import pytest

from controltower.cli.demo.model import Plan
from controltower.cli.demo.perturbing import add_hub_keys, perturbed, withhold_links
from controltower.cli.demo.plan import history
from controltower.cli.demo.scenarios import SCENARIOS
from controltower.cli.demo.scoring import Membership, score
from controltower.cli.demo.truth import Truth, truth_of
from tests.cli.demo_resolved import found_in
from tests.cli.test_score import END, NOW
from tests.store.flow_steps import P2P, anchors, resolve_all, seen

# Enough that a hub leads to more than a shipment may have.
TRANSACTIONS = {"network": 150, "hospital": 300, "distributor": 200, "specialty": 400}

every = pytest.mark.parametrize("scenario", SCENARIOS)


@lru_cache
def plan_of(scenario: str) -> Plan:
    """What really happens."""
    return history(31, TRANSACTIONS[scenario], 45, END, scenario=SCENARIOS[scenario])


@lru_cache
def truth_about(scenario: str) -> Truth:
    """What is true, whatever is reported."""
    return truth_of(plan_of(scenario))


def places_in(plan: Plan, scenario: str) -> Membership:
    """Resolve what *plan* reports and compare the places with the truth."""
    return score(truth_about(scenario), found_in(plan, NOW), NOW).membership


@every
def test_what_is_reported_whole_is_found_whole(scenario: str) -> None:
    """Without anything withheld every place, state, deadline and match is right, in each flow."""
    result = score(truth_about(scenario), found_in(plan_of(scenario), NOW), NOW)

    assert result.differences == ()
    for flow, found in result.flows.items():
        assert found.membership.expected > 0, flow
        assert (found.membership.precision, found.membership.recall, found.state.share) == (1.0, 1.0, 1.0), flow
        assert (found.deadlines.share, found.matches.share) == (1.0, 1.0), flow


@pytest.mark.parametrize(("scenario", "share"), [("network", 0.01), *((name, 0.05) for name in SCENARIOS)])
def test_withheld_links_cost_recall_only(scenario: str, share: float) -> None:
    """What is not known to belong together is apart, and nothing is guessed."""
    spoilt = withhold_links(plan_of(scenario), share)
    found = places_in(spoilt, scenario)

    assert spoilt.faults["withheld_link"] > 0
    assert found.recall < 1
    assert (found.precision, found.wrongly_joined) == (1.0, 0)


@every
def test_hubs_join_nothing(scenario: str) -> None:
    """A number on every document of a kind is set aside; the numbers beside it work as before."""
    spoilt = add_hub_keys(plan_of(scenario), 1)
    found = places_in(spoilt, scenario)

    assert spoilt.faults["hub_key"] > 0
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


@every
def test_both_at_once(scenario: str) -> None:
    """A step that is left with a hub alone is parked, and joined to nothing."""
    found = places_in(perturbed(plan_of(scenario), withhold=0.02, hubs=1), scenario)

    assert (found.precision, found.wrongly_joined) == (1.0, 0)
    assert found.recall > 0.9


@every
def test_the_truth_stays(scenario: str) -> None:
    """What is reported does not change what happened, nor the plan that it was made of."""
    plan = plan_of(scenario)
    before = plan.faults.copy()

    assert truth_of(perturbed(plan, withhold=0.05, hubs=2)).transactions == truth_about(scenario).transactions
    assert plan.faults == before
