"""Paths: variants, ways, hops and work are those of the steps, whatever order they came in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count, pairwise

from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.flows.definition import Flow
from controltower.store.flows.files import load_packs
from controltower.store.read import Money, paths
from controltower.store.reads.paths import Hop, Passage, Paths, Variant, Way, Work
from controltower.store.rows import Key, Step, TransactionState
from controltower.store.write import insert
from tests.factories import AT, membership, purchase_order, step, transaction

PURCHASE = next(flow for flow in load_packs() if flow.flow == "procure_to_pay")
STAGES = [stage.name for stage in PURCHASE.stages]
NUMBERS = count(1)
HOUR = timedelta(hours=1)


def fresh() -> Flow:
    """Return the flow under a name that nothing is stored of."""
    return PURCHASE.model_copy(update={"flow": f"paths_{next(NUMBERS)}"})


def put(client: Client, flow: Flow, steps: Mapping[str, Sequence[Step]], **values: object) -> None:
    """Store one transaction for each order number, with its steps."""
    owned = {purchase_order(number): found for number, found in steps.items()}
    insert(client, [one for found in owned.values() for one in found])
    insert(client, [membership(one, anchor) for anchor, found in owned.items() for one in found])
    insert(client, [transaction(flow=flow.flow, anchor=anchor, **values) for anchor in owned])


def at(flow: Flow, stage: str, hours: float, **values: object) -> Step:
    """Return a step that reaches *stage* so many hours after the tests' time, and takes no time itself."""
    moment = AT + hours * HOUR
    shown = {"at": moment, "observed_at": moment, "duration_ns": 0, "system": "erp"} | values
    return step(flow=flow.flow, stage=stage, step=f"p2p.{stage}", **shown)


def read(client: Client, flow: Flow) -> Paths:
    """Return the paths of everything."""
    return paths(client, flow, AT - 999 * HOUR, AT + 999 * HOUR)


def test_nothing_has_no_paths_but_all_its_stages_ahead_of_nobody(any_store: Client) -> None:
    """An empty store answers with empty lists."""
    assert read(any_store, fresh()) == Paths(
        PURCHASE.flow.replace("procure_to_pay", f"paths_{next(NUMBERS) - 1}"), (), (), (), (), (), ()
    )


def test_a_variant_is_the_order_of_first_arrivals(any_store: Client) -> None:
    """Part deliveries make no variant of their own; money and the slowest transaction are with it."""
    flow = fresh()
    plain = [at(flow, "created", 0), at(flow, "received", 2), at(flow, "invoiced", 3)]
    parts = [at(flow, "created", 0), at(flow, "received", 1), at(flow, "received", 2), at(flow, "invoiced", 5)]
    early = [at(flow, "created", 0), at(flow, "invoiced", 1), at(flow, "received", 9)]
    put(any_store, flow, {"PO-1": plain, "PO-2": parts}, state=TransactionState.COMPLETED)
    put(any_store, flow, {"PO-3": early}, currency="EUR")

    assert read(any_store, flow).variants == (
        Variant(
            ("created", "received", "invoiced"),
            2,
            2,
            5 * 3600.0,
            (Money(Decimal(2500), "USD"),),
            Key("purchase_order", "", "PO-2"),
        ),
        Variant(
            ("created", "invoiced", "received"),
            1,
            0,
            9 * 3600.0,
            (Money(Decimal(1250), "EUR"),),
            Key("purchase_order", "", "PO-3"),
        ),
    )


def test_what_fails_or_is_a_duplicate_reaches_nothing(any_store: Client) -> None:
    """A failed attempt and a refused duplicate are work, not part of the way."""
    flow = fresh()
    put(
        any_store,
        flow,
        {
            "PO-1": [
                at(flow, "created", 0),
                at(flow, "dispatched", 1, failed=True),
                at(flow, "dispatched", 2, duration_ns=3_000_000_000),
                at(flow, "dispatched", 3, outcome="duplicate"),
            ],
            "PO-2": [at(flow, "created", 0), at(flow, "dispatched", 1, failed=True, replay_of="t/s")],
        },
    )
    found = read(any_store, flow)

    assert [(variant.stages, variant.transactions) for variant in found.variants] == [
        (("created",), 1),
        (("created", "dispatched"), 1),
    ]
    assert found.ways == (Way("created", "dispatched", 1, 1, False, 2 * 3600.0, 2 * 3600.0),)
    assert found.work == (
        Work("p2p.dispatched", "erp", 4, 2, 1, 1, duplicates=1, replays=1, work_p50=0.0, work_p90=3.0),
        Work("p2p.created", "erp", 2, 0, 0, 0, 0, 0, 0.0, 0.0),
    )


def test_stages_say_who_went_past_them(any_store: Client) -> None:
    """Skipped is a stage that a later one was reached without; what nothing has come to is ahead."""
    flow = fresh()
    put(any_store, flow, {"PO-1": [at(flow, STAGES[0], 0), at(flow, STAGES[2], 1), at(flow, STAGES[2], 2)]})
    found = {passage.stage: passage for passage in read(any_store, flow).passages}

    assert list(found) == STAGES
    assert found[STAGES[0]] == Passage(STAGES[0], 1, 0, 0, 0)
    assert found[STAGES[1]] == Passage(STAGES[1], 0, 0, 1, 0)
    assert found[STAGES[2]] == Passage(STAGES[2], 1, 1, 0, 0)
    assert found[STAGES[3]] == Passage(STAGES[3], 0, 0, 0, 1)


def test_to_be_called_off_skips_nothing(any_store: Client) -> None:
    """The stage that calls off comes last in the flow and is behind no other."""
    flow = fresh()
    (cancelled,) = (stage.name for stage in flow.stages if stage.cancels)
    put(any_store, flow, {"PO-1": [at(flow, STAGES[0], 0), at(flow, cancelled, 1)], "PO-2": [at(flow, STAGES[0], 0)]})
    found = {passage.stage: passage for passage in read(any_store, flow).passages}

    assert {passage.skipped for passage in found.values()} == {0}
    assert found[cancelled] == Passage(cancelled, 1, 0, 0, ahead=0)


def test_a_hop_waits_from_the_end_of_the_one_to_the_start_of_the_other(any_store: Client) -> None:
    """Steps are followed as they were observed, whatever time their document has; overlapping ones wait for nothing."""
    flow = fresh()
    long = 7200 * 10**9
    put(
        any_store,
        flow,
        {
            "PO-1": [
                at(flow, "created", 0, duration_ns=1800 * 10**9),
                at(flow, "dispatched", 1, system="edi", at=AT - HOUR, duration_ns=long),
                at(flow, "acknowledged", 2, system="erp"),
            ]
        },
    )

    assert read(any_store, flow).hops == (
        Hop("edi", "erp", 1, 1, overlapping=1, wait_p50=0.0, wait_p90=0.0),
        Hop("erp", "edi", 1, 1, overlapping=0, wait_p50=1800.0, wait_p90=1800.0),
    )


def test_one_idempotency_key_with_two_effects_is_named(any_store: Client) -> None:
    """A refused duplicate and a failed attempt are no effects; a step of two transactions is one."""
    flow = fresh()

    def paid(hours: float, key: str, **values: object) -> Step:
        return at(flow, "paid", hours, keys=(purchase_order(), Key("idempotency", "", key)), **values)

    twice = [paid(1, "pay-1"), paid(2, "pay-1", amount=Decimal("80.50"))]
    harmless = [paid(3, "pay-2"), paid(4, "pay-2", outcome="duplicate"), paid(5, "pay-2", failed=True)]
    put(any_store, flow, {"PO-1": [*twice, *harmless], "PO-2": twice})

    (found,) = read(any_store, flow).double_effects
    assert (found.idempotency_key, found.step, found.effects) == ("pay-1", "p2p.paid", 2)
    assert (found.first_at, found.last_at) == (AT + HOUR, AT + 2 * HOUR)
    assert found.amounts == (Money(Decimal("1330.50"), "USD"),)
    assert set(found.spans) == {(one.trace_id, one.span_id) for one in twice}


stories = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(STAGES[:5]), st.integers(0, 3), st.sampled_from(["erp", "edi", "bank"]), st.booleans()
        ),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stories)
def test_lists_are_those_of_a_plain_reading(
    store_client: Client, drawn: list[list[tuple[str, int, str, bool]]]
) -> None:
    """Variants, ways and hops are what reading each transaction's steps in order of time gives; ties go by stage."""
    flow = fresh()
    steps = {
        f"PO-{number}": [at(flow, stage, hours, system=system, failed=failed) for stage, hours, system, failed in story]
        for number, story in enumerate(drawn)
    }
    put(store_client, flow, steps)
    found = read(store_client, flow)

    variants: Counter[tuple[str, ...]] = Counter()
    ways: Counter[tuple[str, str]] = Counter()
    hops: Counter[tuple[str, str]] = Counter()
    for story in steps.values():
        kept = [one for one in story if not one.failed]
        reached = [one.stage for one in sorted(kept, key=lambda one: (one.at, STAGES.index(one.stage), one.trace_id))]
        ways.update(pairwise(reached))
        hops.update(
            (one.system, other.system)
            for one, other in pairwise(sorted(story, key=lambda one: (one.observed_at, one.trace_id)))
            if one.system != other.system
        )
        if reached:
            variants[tuple(dict.fromkeys(reached))] += 1
    assert {variant.stages: variant.transactions for variant in found.variants} == variants
    assert {(way.from_stage, way.to_stage): way.times for way in found.ways} == ways
    assert {(hop.from_system, hop.to_system): hop.times for hop in found.hops} == hops
