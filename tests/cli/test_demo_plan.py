"""The plan of the simulated network: repeatable, causal, conserving goods and money, and honest about its faults."""

from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.cli.demo import facts
from controltower.cli.demo.model import ORDER, Anchor, Plan
from controltower.cli.demo.plan import history
from controltower.cli.demo.published import flow_of, packs
from controltower.cli.demo.rates import FaultRates, no_faults
from controltower.cli.demo.scenarios import JOURNEYS, SCENARIOS
from controltower.cli.demo.truth import truth_of
from controltower.cli.demo.verdicts import deadline_state, state
from controltower.cli.demo.world import SYSTEMS

END = datetime(2026, 11, 20, 16, tzinfo=UTC)

seeds = st.integers(min_value=0, max_value=10_000)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@lru_cache(maxsize=32)
def plan_of(seed: int, transactions: int = 60, days: int = 45) -> Plan:
    return history(seed, transactions, days, END)


@given(seed=seeds)
@few
def test_same_seed_same_plan(seed: int) -> None:
    """The same seed and times give the same plan, ids and order of sending included."""
    assert history(seed, 30, 30, END) == history(seed, 30, 30, END)


def test_another_seed_is_another_plan() -> None:
    """Seeds differ in what happens, and in the range of document numbers."""
    one, other = plan_of(1), plan_of(2)

    assert not one.anchors & other.anchors


@given(seed=seeds)
@few
def test_no_trace_is_shared_by_two_systems(seed: int) -> None:
    """Every system has its own traces: between systems there are only keys, messages and files."""
    systems = defaultdict(set)
    for trace in plan_of(seed).traces:
        for span in trace.spans:
            systems[span.ref.trace_id].add(trace.system)

    assert all(len(found) == 1 for found in systems.values())


@given(seed=seeds)
@few
def test_span_ids_are_unique_and_parents_are_in_their_trace(seed: int) -> None:
    """A span's parent is a span of the same trace that lasts as long, and no id is used twice."""
    plan = plan_of(seed)
    refs = [span.ref for trace in plan.traces for span in trace.spans]

    assert len(refs) == len(set(refs))
    for trace in plan.traces:
        spans = {span.ref.span_id: span for span in trace.spans}
        for span in trace.spans:
            if span.parent in spans:
                parent = spans[span.parent]
                assert parent.start <= span.start < span.end <= parent.end
            else:
                assert span.parent in ("", trace.run.started.span_id if trace.run else "")


@given(seed=seeds)
@few
def test_nothing_happens_after_the_end(seed: int) -> None:
    """The simulation is cut off at its end: what ends later has not happened."""
    plan = plan_of(seed)

    assert max(span.end for trace in plan.traces for span in trace.spans) <= plan.end


@given(seed=seeds)
@few
def test_causes_come_before_their_effects(seed: int) -> None:
    """Every transaction goes through its stages in an order that can happen."""
    for each in facts.facts_of(plan_of(seed)):
        first = _first_times(plan_of(seed), each.anchor)
        for earlier, later in (
            ("p2p.requisition.created", "p2p.requisition.approved"),
            (facts.CREATED, "p2p.purchase_order.dispatched"),
            ("p2p.purchase_order.dispatched", "p2p.purchase_order.functional_acknowledged"),
            ("p2p.purchase_order.dispatched", "p2p.purchase_order.acknowledged"),
            ("p2p.shipment.notified", facts.RECEIVED),
            (facts.INVOICED, "p2p.invoice.registered"),
            ("p2p.invoice.registered", "p2p.invoice.matched"),
            ("p2p.invoice.matched", "p2p.invoice.posted"),
            ("p2p.invoice.posted", "p2p.payment.issued"),
            ("p2p.payment.issued", "p2p.payment.cleared"),
        ):
            if later in first:
                assert earlier in first, (each.anchor, later)
                assert first[earlier] <= first[later], (each.anchor, later)


def _first_times(plan: Plan, anchor: Anchor) -> dict[str, datetime]:
    first: dict[str, datetime] = {}
    for _, span, step in plan.steps():
        if anchor in step.anchors and not (span.error or step.outcome == "duplicate"):
            first[step.code] = min(first.get(step.code, span.at), span.at)
    return first


@given(seed=seeds)
@few
def test_goods_are_conserved(seed: int) -> None:
    """Nobody receives more than was ordered; what is invoiced beyond that is a planted fault."""
    plan = plan_of(seed)
    over = 0
    for each in facts.facts_of(plan):
        for line in each.lines:
            assert line.received <= line.ordered
            over += line.invoiced is not None and line.invoiced > line.ordered

    assert over <= plan.faults["over_invoiced"]


@given(seed=seeds)
@few
def test_money_is_conserved(seed: int) -> None:
    """An invoice's total is the sum of its lines, and a cleared payment is the sum of the invoices it was issued for."""
    issued: dict[str, Decimal] = defaultdict(Decimal)
    cleared: dict[str, Decimal] = {}
    for _, _, step in plan_of(seed).steps():
        assert step.amount is None or isinstance(step.amount, Decimal)
        if step.code == facts.INVOICED and step.lines:
            assert step.amount == sum((line.value for line in step.lines), Decimal(0)).quantize(Decimal("0.01"))
        if step.code == "p2p.payment.issued":
            issued[step.about["payment"]] += step.amount or 0
        if step.code == "p2p.payment.cleared" and step.amount is not None:
            cleared[step.about["payment"]] = step.amount

    assert all(amount == issued[payment] for payment, amount in cleared.items())


@given(seed=seeds)
@few
def test_a_run_adds_up(seed: int) -> None:
    """A batch run announces as many records and as much money as lie below it."""
    for trace in plan_of(seed).traces:
        if trace.run:
            records = [span.step for span in trace.spans if span.step]
            assert trace.run.expected == len(records)
            assert trace.run.expected_total == sum((step.amount or Decimal(0) for step in records), Decimal(0))


def test_without_faults_everything_comes_and_matches() -> None:
    """With all rates at zero every answer comes and no line is an exception; only a stuck batch makes invoices late."""
    plan = history(3, 80, 60, END, rates=no_faults())
    truth = truth_of(plan)
    verdicts = {
        (fact.rule, deadline_state(fact, None, END)) for each in truth.transactions for fact in each.facts.deadlines
    }

    assert {rule for rule, verdict in verdicts if verdict == "breached"} == set()
    assert {rule for rule, verdict in verdicts if verdict == "met late"} <= {"invoice registered"}
    assert "exception" not in {fact.at(END)[0] for each in truth.transactions for fact in each.matches}
    assert {state(each.facts, each.matches, END) for each in truth.transactions} == {"completed", "in progress"}


def test_every_fault_shows() -> None:
    """A simulation of the usual size holds every fault that has a rate, and those that the network itself brings."""
    faults = plan_of(7, 2000, 60).faults

    assert not asdict(FaultRates()).keys() - faults.keys() - {"missing_clearing", "journeys"}
    for name in ("stuck_batch", "recycled_check_number", "same_order_number_in_two_companies"):
        assert faults[name]


def test_the_network_is_as_described() -> None:
    """Seven systems take part, each step code of the flow occurs, and payment runs cover hundreds of invoices."""
    plan = plan_of(7, 2000, 60)
    codes = Counter(step.code for _, _, step in plan.steps())
    runs = [trace.run.expected for trace in plan.traces if trace.run and trace.run.name == "payment-run"]

    assert {trace.system for trace in plan.traces} == set(SYSTEMS)
    assert set(packs()["procure_to_pay"].stage_by_step) <= set(codes)
    assert max(runs) >= 200
    assert 60_000 <= plan.span_count <= 90_000
    assert 1_980 <= len(plan.anchors) <= 2_000


@pytest.mark.parametrize(("kind", "fence"), [("set", timedelta(days=3)), ("check", timedelta(days=30))])
def test_recycled_numbers_rest_longer_than_their_fence(kind: str, fence: timedelta) -> None:
    """A number is used again only when no step about its former bearer can lie within the flow's fence."""
    uses: dict[str, list[tuple[datetime, object]]] = defaultdict(list)
    for _, span, step in plan_of(7, 2000, 60).steps():
        if kind in step.keys:
            uses[str(step.keys[kind])].append((span.at, step.about.get("payment") or step.anchors))
    apart = [
        abs(one - other)
        for found in uses.values()
        for one, bearer in found
        for other, another in found
        if bearer != another
    ]

    assert apart
    assert min(apart) > fence


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_is_a_chance(rate: float) -> None:
    """A rate outside 0 to 1 is refused."""
    with pytest.raises(ValueError, match="missing_855"):
        FaultRates(missing_855=rate)


def test_the_same_order_number_in_two_companies_is_two_transactions() -> None:
    """Numbers overlap between companies; the scope tells the transactions apart."""
    anchors = [anchor for anchor in plan_of(7, 2000, 60).anchors if anchor.type == ORDER]
    twice = [value for value, count in Counter(anchor.value for anchor in anchors).items() if count == 2]

    assert len(twice) > 50


def test_every_rate_is_documented() -> None:
    """docs/demo.md names every fault rate."""
    document = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")

    assert [name for name in asdict(FaultRates()) if f"`{name}`" not in document] == []


def test_every_fault_of_a_journey_is_documented() -> None:
    """docs/demo.md names every scenario, and every fault of the flows that are described by legs, with its rate."""
    document = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    faults = {fault.name: fault.rate for each in JOURNEYS for leg in each.legs for fault in leg.faults}

    assert [name for name in SCENARIOS if f"| `{name}` |" not in document] == []
    assert [name for name, rate in faults.items() if f"`{name}` {rate * 100:g} %" not in document] == []


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "network"])
def test_every_leg_and_fault_of_a_scenario_shows(scenario: str) -> None:
    """A simulation of the usual size goes through every leg of its flows, and meets every fault that they name."""
    plan = history(7, 2000, 60, END, scenario=SCENARIOS[scenario])
    journeys = [each for each in JOURNEYS if each.flow in plan.flows]
    codes = {step.code for _, _, step in plan.steps()}

    assert {flow_of(code) for code in codes} == set(plan.flows)
    assert {leg.code for each in journeys for leg in each.legs} <= codes
    assert {fault.name for each in journeys for leg in each.legs for fault in leg.faults} <= plan.faults.keys()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_follows_from_its_seed(scenario: str) -> None:
    """The same seed and times give the same plan in every scenario; another seed has other numbers."""
    chosen = SCENARIOS[scenario]
    plan = history(5, 60, 45, END, scenario=chosen)

    assert plan == history(5, 60, 45, END, scenario=chosen)
    assert not plan.anchors & history(6, 60, 45, END, scenario=chosen).anchors


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "network"])
def test_without_faults_nothing_is_late_or_wrong(scenario: str) -> None:
    """With all rates at zero no deadline of a described flow is broken and nothing is refused."""
    truth = truth_of(history(3, 200, 60, END, rates=no_faults(), scenario=SCENARIOS[scenario]))
    described = [each for each in truth.transactions if each.flow != "procure_to_pay"]
    verdicts = {
        (each.flow, fact.rule): deadline_state(fact, None, END)
        for each in described
        for fact in each.facts.deadlines
        if deadline_state(fact, None, END) not in ("met", "running")
    }

    assert verdicts == {}
    assert {state(each.facts, each.matches, END) for each in described} == {"completed", "in progress"}
