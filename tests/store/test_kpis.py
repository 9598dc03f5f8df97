"""Key figures: each value follows its definition, and a figure without a denominator says so."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client

from controltower.store.errors import StoreError
from controltower.store.kpis import BY_NAME, KPIS, Counted, KpiValue, compute, figure
from controltower.store.queries import statement
from controltower.store.rows import DeadlineState, MatchStatus, TransactionState
from controltower.store.write import insert
from tests.factories import AT, FLOW, deadline, exception, membership, purchase_order, reconciliation, step, transaction

SINCE, UNTIL = AT - timedelta(days=1), AT + timedelta(days=30)


def figures(client: Client, names: Sequence[str] | None = None) -> dict[str, KpiValue]:
    """Compute figures over the tests' time range."""
    return {value.name: value for value in compute(client, names, FLOW, SINCE, UNTIL)}


def test_each_kpi_has_words_and_a_statement() -> None:
    """Nothing is shown without its definition, its formula and a statement that gives it."""
    assert len(BY_NAME) == len(KPIS)
    for kpi in KPIS:
        assert kpi.definition.endswith(".")
        assert kpi.formula
        assert f"'{kpi.name}'" in statement(kpi.statement)


def test_empty_store_gives_no_rate_and_says_why(any_store: Client) -> None:
    """A count of nothing is zero; a rate, a duration or a sum over nothing is no figure and has its reason."""
    found = figures(any_store)

    assert list(found) == list(BY_NAME)
    for value in found.values():
        assert value.value == (0 if value.unit == "count" else None)
        assert bool(value.reason) == (value.value is None)


def test_open_transactions_count_as_of_now(any_store: Client) -> None:
    """In flight, late and at stake look at what is open, however old; money is not added across currencies."""
    old = AT - timedelta(days=400)
    breached = TransactionState.BREACHED
    insert(
        any_store,
        [
            transaction(
                state=breached, breached_deadlines=2, at_stake=Decimal("10.5"), last_step_at=old, started_at=old
            ),
            transaction(anchor=purchase_order("PO-2"), at_stake=Decimal(0)),
            transaction(anchor=purchase_order("PO-3"), state=TransactionState.COMPLETED, at_stake=Decimal(9)),
        ],
    )
    found = figures(any_store, ["in_flight", "late_now", "money_at_stake"])

    assert (found["in_flight"].value, found["late_now"].value) == (2, 1)
    assert (found["money_at_stake"].value, found["money_at_stake"].currency) == (Decimal("10.5"), "USD")

    insert(any_store, [transaction(anchor=purchase_order("PO-4"), currency="EUR", at_stake=Decimal(3))])
    both = figures(any_store, ["in_flight", "money_at_stake"])

    assert both["in_flight"].value == 3
    assert both["money_at_stake"].value is None
    assert {(part.currency, part.value) for part in both["money_at_stake"].parts} == {
        ("USD", Decimal("10.5")),
        ("EUR", 3),
    }


def test_attainment_is_over_decided_deadlines_that_fell_due(any_store: Client) -> None:
    """Running and waived deadlines, and those due outside the range, are in neither part of the rate."""
    states = [DeadlineState.MET, DeadlineState.MET, DeadlineState.MET_LATE, DeadlineState.BREACHED]
    rows = [deadline(subject=str(number), state=state) for number, state in enumerate(states)]
    rows += [
        deadline(subject="r", state=DeadlineState.RUNNING),
        deadline(subject="w", state=DeadlineState.WAIVED),
        deadline(subject="o", state=DeadlineState.MET, due_at=UNTIL),
        deadline(rule="order to pay", state=DeadlineState.BREACHED),
    ]
    insert(any_store, rows)

    found = figures(any_store)["sla_attainment"]

    assert (found.value, found.numerator, found.denominator) == (Decimal("0.4"), 2, 5)
    assert [(part.label, part.value) for part in found.parts] == [
        ("order to pay", 0),
        ("supplier acknowledges", Decimal("0.5")),
    ]


def test_durations_are_measured_between_stages_by_vendor(any_store: Client) -> None:
    """The time of an answer is its own minus the question's, for answers inside the range, also by vendor."""
    insert(any_store, [transaction(), transaction(anchor=purchase_order("PO-2"), context={})])
    hours = [1, 2, 10]
    insert(
        any_store,
        [
            deadline(subject=str(number), met_at=AT + timedelta(hours=hour), state=DeadlineState.MET)
            for number, hour in enumerate(hours)
        ]
        + [
            deadline(anchor=purchase_order("PO-2"), met_at=AT + timedelta(hours=4), state=DeadlineState.MET),
            deadline(subject="early", met_at=AT - timedelta(hours=4), state=DeadlineState.MET),
            deadline(subject="later", met_at=UNTIL, state=DeadlineState.MET),
            deadline(from_stage="created", to_stage="paid", rule="pay", met_at=AT + timedelta(days=9)),
        ],
    )

    found = figures(any_store)

    assert (found["supplier_response_p50"].value, found["supplier_response_p50"].denominator) == (4 * 3600, 4)
    assert found["supplier_response_p90"].value == 10 * 3600
    assert found["order_to_pay_p50"].value == 9 * 86400
    assert found["invoice_to_paid_p50"].value is None
    assert [(part.label, part.value) for part in found["supplier_response_p50"].parts] == [
        ("V-7", 2 * 3600),
        ("unknown vendor", 4 * 3600),
    ]


def test_matches_are_decided_pending_or_open(any_store: Client) -> None:
    """Timing differences are money of their own, partial lines undecided, a healed line no first pass, a retracted one is."""
    statuses = [
        MatchStatus.MATCHED,
        MatchStatus.WITHIN_TOLERANCE,
        MatchStatus.EXCEPTION,
        MatchStatus.PENDING,
        MatchStatus.PARTIAL,
    ]
    insert(
        any_store,
        [
            reconciliation(
                line=str(number),
                status=status,
                amounts={"invoiced": Decimal(100 * (number + 1))},
                difference=Decimal(-7),
            )
            for number, status in enumerate(statuses)
        ],
    )
    insert(any_store, [transaction()])
    healed = exception(kind="match", rule="three_way_match", subject="0", resolved_at=AT)
    insert(any_store, [healed, exception(kind="match", rule="three_way_match", subject="1", is_deleted=True)])

    found = figures(any_store)

    assert found["auto_match_rate"].value == Decimal("0.666667")
    assert found["auto_match_rate_by_value"].value == Decimal("0.5")
    assert found["first_pass_yield"].value == Decimal("0.333333")
    assert (found["unreconciled_amount"].value, found["unreconciled_amount"].currency) == (7, "USD")
    assert found["pending_amount"].value == 7


def test_exceptions_by_reason_and_age(any_store: Client) -> None:
    """A transaction counts once in the rate however many exceptions it has; ages are as of the end of the range."""
    insert(any_store, [transaction(), transaction(anchor=purchase_order("PO-2"))])
    insert(
        any_store,
        [
            exception(reason="missing", opened_at=UNTIL - timedelta(hours=1)),
            exception(reason="missing", subject="2", opened_at=UNTIL - timedelta(days=5)),
            exception(reason="late", subject="3", opened_at=AT, resolved_at=AT + timedelta(hours=6)),
            exception(anchor=purchase_order("PO-2"), is_deleted=True),
        ],
    )

    found = figures(any_store)

    assert found["exception_rate"].value == Decimal("0.5")
    assert [(part.label, part.value) for part in found["exception_rate"].parts] == [
        ("supplier acknowledges: late", Decimal("0.5")),
        ("supplier acknowledges: missing", Decimal("0.5")),
    ]
    assert found["open_exceptions"].value == 2
    assert {part.label for part in found["open_exceptions"].parts} == {"up to 1 day", "4 to 7 days"}
    assert found["time_to_resolve_p50"].value == 6 * 3600


def test_deadline_met_in_time_after_all_was_no_exception(any_store: Client) -> None:
    """When only the news of a step was late, the exception of the time between counts in no figure."""
    insert(any_store, [transaction()])
    insert(any_store, [deadline(state=DeadlineState.MET, met_at=AT + timedelta(hours=1))])
    insert(any_store, [exception(reason="missing", resolved_at=AT + timedelta(days=2))])

    found = figures(any_store)

    assert found["exception_rate"].value == 0
    assert found["time_to_resolve_p50"].value is None


def test_people_duplicates_replays_and_failures(any_store: Client) -> None:
    """One step by a person makes a transaction touched; a failed attempt is a step but no document."""
    human, silent = step(actor="human"), step(actor="", outcome="duplicate", replay_of="x:y")
    machine, failed = step(), step(failed=True, actor="")
    second, third = purchase_order("PO-2"), purchase_order("PO-3")
    done = TransactionState.COMPLETED
    insert(any_store, [human, silent, machine, failed])
    insert(
        any_store,
        [
            transaction(state=done, attributed_steps=2, human_steps=1),
            transaction(state=done, anchor=second, attributed_steps=1),
            transaction(state=done, anchor=third),
        ],
    )
    insert(any_store, [membership(human), membership(machine), membership(machine, second), membership(silent, third)])

    found = figures(any_store)

    assert (found["touchless_rate"].value, found["touchless_rate"].denominator) == (Decimal("0.5"), 2)
    assert (found["duplicate_rate"].numerator, found["duplicate_rate"].denominator) == (1, 3)
    assert found["replay_rate"].value == found["failed_attempt_rate"].value == Decimal("0.25")


def test_unknown_name_is_refused_with_the_known_ones(store_client: Client) -> None:
    """A typing mistake is answered with the names that exist."""
    with pytest.raises(StoreError, match="no KPI named 'latte'; there are in_flight, late_now"):
        figures(store_client, ["latte"])


def test_parts_of_one_currency_are_not_repeated() -> None:
    """With one currency the figure is the whole; parts by currency appear only when there are several."""
    row = Counted("pending_amount", "", "USD", Decimal(5), Decimal(1))
    one = figure(BY_NAME["pending_amount"], [row])

    assert (one.value, one.currency, one.parts) == (5, "USD", ())
