"""The read API answers what the tables hold, bounded, and nothing for what is unknown."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client

from controltower.store import read
from controltower.store.alert_rows import AlertState
from controltower.store.errors import LimitError
from controltower.store.queries import MEMBERS_AT_ONCE, statement
from controltower.store.read import AnchorRef, Money, SearchFilters
from controltower.store.rows import (
    Change,
    Deadline,
    DeadlineState,
    DocumentLine,
    ExceptionRow,
    Key,
    ParkedStep,
    Reconciliation,
    Step,
    Transaction,
    TransactionState,
    TransactionStep,
)
from controltower.store.write import Row, insert
from tests.factories import (
    AT,
    FLOW,
    alert,
    deadline,
    document_line,
    exception,
    membership,
    purchase_order,
    reconciliation,
    step,
    transaction,
)

INVOICE = Key("invoice", "V-7", "INV-9")
STATEMENTS: dict[str, type] = {
    "select_transaction": Transaction,
    "select_transactions": Transaction,
    "select_transaction_steps": TransactionStep,
    "select_member_steps": Step,
    "select_steps_of_parked": Step,
    "select_member_lines": DocumentLine,
    "select_deadlines": Deadline,
    "select_reconciliations": Reconciliation,
    "select_exceptions": ExceptionRow,
    "select_history": Change,
    "select_parked": ParkedStep,
}


def put(client: Client, *groups: Sequence[Row]) -> None:
    """Insert each group of rows; a group holds rows of one type."""
    for rows in groups:
        insert(client, rows)


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_reads_every_column_of_its_dataclass(name: str) -> None:
    """The columns of a statement are those of the dataclass it fills, in the same order."""
    columns = statement(name).split("SELECT\n")[1].split("\nFROM")[0]

    assert [line.strip(" ,") for line in columns.splitlines()] == [field.name for field in fields(STATEMENTS[name])]


def test_unknown_key_leads_to_nothing(any_store: Client) -> None:
    """A key nobody has seen is an answer without rows, not an error."""
    assert read.find_anchors(any_store, "PO-NOBODY") == []
    assert read.find_anchors(any_store, "   ") == []
    assert read.spans_with_key(any_store, "PO-NOBODY") == []
    assert read.read_transaction(any_store, FLOW, purchase_order("PO-NOBODY")) is None


def test_key_leads_to_every_transaction_that_shares_it(any_store: Client) -> None:
    """An invoice for two orders leads to both, an order's own number to that order only."""
    first, second = purchase_order("PO-1"), purchase_order("PO-2")
    invoiced = step(keys=(first, second, INVOICE))
    put(
        any_store,
        [invoiced],
        [transaction(anchor=first), transaction(anchor=second)],
        [membership(invoiced, first), membership(invoiced, second)],
    )

    assert read.find_anchors(any_store, "INV-9") == [AnchorRef(FLOW, first), AnchorRef(FLOW, second)]
    assert read.find_anchors(any_store, " po-1 ") == [AnchorRef(FLOW, first)]
    assert read.find_anchors(any_store, "INV-9", type="payment") == []
    assert read.find_anchors(any_store, "INV-9", flow="another") == []
    assert read.find_anchors(any_store, "INV-9", limit=1) == [AnchorRef(FLOW, first)]


def test_transaction_comes_back_as_it_was_written(any_store: Client) -> None:
    """What the engine writes of a transaction is what a reader gets, with types, order and microseconds."""
    late = step(at=AT + timedelta(hours=2), stage="invoiced", keys=(INVOICE,))
    early = step(at=AT + timedelta(microseconds=1), actor="human", failed=True, quantity=Decimal("0.5"))
    whole = transaction(amounts={"created": Decimal(1250), "invoiced": Decimal("-3.000001")}, next_due_at=None)
    lines = [document_line(early), document_line(early, position=1, keys=(purchase_order("PO-2"),), unit_price=None)]
    due = [deadline(), deadline(rule="order to pay", due_at=AT + timedelta(days=60))]
    change = Change(FLOW, purchase_order(), AT, "in progress", "", "created", 1, Decimal(0), {"x": "running"}, 1)
    put(any_store, [late, early], [whole], [membership(late), membership(early)], lines, due)
    put(any_store, [reconciliation()], [exception(), exception(kind="match", is_deleted=True)], [change])

    view = read.read_transaction(any_store, FLOW, purchase_order())

    assert view is not None
    assert view.transaction == whole
    assert [member.step for member in view.members] == [early, late]
    assert [member.membership for member in view.members] == [membership(early), membership(late)]
    assert view.lines == tuple(lines)
    assert view.deadlines == tuple(due)
    assert view.reconciliations == (reconciliation(),)
    assert view.exceptions == (exception(),)
    assert view.history == (change,)
    assert not view.truncated


def test_long_transaction_comes_back_whole_and_in_order_of_time(any_store: Client) -> None:
    """Steps are asked for some at a time; what comes back is each of them once, with its lines and its membership."""
    steps = [step(at=AT + timedelta(seconds=second)) for second in range(MEMBERS_AT_ONCE + 1)]
    lines = [document_line(one) for one in steps]
    gone = membership(steps[0], is_deleted=True, version=2)
    put(any_store, steps, [transaction()], lines, [membership(one) for one in steps], [gone])

    view = read.read_transaction(any_store, FLOW, purchase_order())

    assert view is not None
    assert [member.step for member in view.members] == steps[1:]
    assert [member.membership for member in view.members] == [membership(one) for one in steps[1:]]
    assert sorted(line.span_id for line in view.lines) == sorted(one.span_id for one in steps[1:])


def test_latest_version_is_the_one_that_is_read(any_store: Client) -> None:
    """A row that was written again replaces the one before, a deleted one disappears."""
    put(any_store, [transaction(version=1)])
    put(any_store, [transaction(version=2, state=TransactionState.COMPLETED)])
    put(any_store, [transaction(anchor=purchase_order("PO-2"))])
    put(any_store, [transaction(anchor=purchase_order("PO-2"), version=2, is_deleted=True)])

    page = read.search(any_store, SearchFilters())

    assert [row.state for row in page.rows] == [TransactionState.COMPLETED]
    assert page.total == 1


def test_latest_version_of_a_step_is_shown_with_its_lines(any_store: Client) -> None:
    """Whatever the order in which they were stored, and once each."""
    made = step()
    put(any_store, [transaction()], [membership(made)])
    put(any_store, [replace(made, outcome="failed", version=3)], [document_line(made, item="third", version=3)])
    put(any_store, [replace(made, version=2)], [document_line(made, version=2), document_line(made, position=1)])

    view = read.read_transaction(any_store, FLOW, purchase_order())

    assert view is not None
    assert [(member.step.outcome, member.step.version) for member in view.members] == [("failed", 3)]
    assert [(line.position, line.item, line.version) for line in view.lines] == [
        (0, "third", 3),
        (1, "00810012345678", 1),
    ]


def test_search_filters_sorts_and_pages(any_store: Client) -> None:
    """Each filter narrows the result, the total ignores the page, and pages do not overlap."""
    rows = [
        transaction(
            anchor=purchase_order(f"PO-{number}"),
            last_step_at=AT + timedelta(days=number),
            amount=None if number == 0 else Decimal(number * 100),
            state=TransactionState.BREACHED if number % 2 else TransactionState.COMPLETED,
            breached_deadlines=number % 2,
            stage="paid" if number == 4 else "created",
            context={"vendor": f"V-{number}"},
        )
        for number in range(5)
    ]
    put(any_store, rows)

    def found(**filters: object) -> list[str]:
        return [row.anchor.value for row in read.search(any_store, SearchFilters(**filters)).rows]  # type: ignore[arg-type]  # fields of the dataclass

    assert found() == ["PO-4", "PO-3", "PO-2", "PO-1", "PO-0"]
    assert found(sort="amount", descending=False) == ["PO-0", "PO-1", "PO-2", "PO-3", "PO-4"]
    assert found(states=(TransactionState.BREACHED,)) == ["PO-3", "PO-1"]
    assert found(late_only=True) == ["PO-3", "PO-1"]
    assert found(stage="paid") == ["PO-4"]
    assert found(context={"vendor": "V-2"}) == ["PO-2"]
    assert found(min_amount=Decimal(300)) == ["PO-4", "PO-3"]
    assert found(since=AT + timedelta(days=3)) == ["PO-4", "PO-3"]
    assert found(until=AT + timedelta(days=1)) == ["PO-0"]
    assert found(text="po-2") == ["PO-2"]
    assert found(text="po-2", states=(TransactionState.BREACHED,)) == []
    assert found(flow="another") == []
    assert found(limit=2, offset=2) == ["PO-2", "PO-1"]
    assert read.search(any_store, SearchFilters(limit=2, late_only=True, offset=2)).total == 2


def test_search_by_open_exception(any_store: Client) -> None:
    """A rule or a reason finds the transactions with such an exception that is open, not resolved or retracted ones."""
    put(
        any_store,
        [transaction(anchor=purchase_order(f"PO-{number}"), open_exceptions=number % 2) for number in range(4)],
    )
    put(
        any_store,
        [
            exception(anchor=purchase_order("PO-1"), kind="match", rule="three_way_match", reason="price_variance"),
            exception(anchor=purchase_order("PO-2"), kind="match", rule="three_way_match", resolved_at=AT),
            exception(anchor=purchase_order("PO-3"), rule="invoice paid", reason="missing"),
            exception(anchor=purchase_order("PO-0"), rule="invoice paid", reason="missing", is_deleted=True),
        ],
    )

    def found(filters: SearchFilters) -> set[str]:
        return {row.anchor.value for row in read.search(any_store, filters).rows}

    assert found(SearchFilters(rule="three_way_match")) == {"PO-1"}
    assert found(SearchFilters(reason="missing")) == {"PO-3"}
    assert found(SearchFilters(rule="three_way_match", reason="missing")) == set()
    assert found(SearchFilters(open_only=True)) == {"PO-1", "PO-3"}


def test_search_by_common_cause(any_store: Client) -> None:
    """A cause finds the transactions whose alert it tells of and is open, and no other."""
    put(any_store, [transaction(anchor=purchase_order(f"PO-{number}")) for number in range(4)])
    about = {"cause": "ct_all", "announced": False}
    members = [alert(f"ct_{number}", anchor=purchase_order(f"PO-{number}"), **about) for number in range(2)]
    over = alert("ct_2", anchor=purchase_order("PO-2"), state=AlertState.RESOLVED, **about)
    put(any_store, [*members, over, alert("ct_3", anchor=purchase_order("PO-3"))])

    found = read.search(any_store, SearchFilters(cause="ct_all"))
    assert ({row.anchor.value for row in found.rows}, found.total) == ({"PO-0", "PO-1"}, 2)


def test_value_never_becomes_part_of_a_statement(any_store: Client) -> None:
    """Quotes, comments, braces and line ends in what people type are looked for, not run."""
    nasty = "x' OR 1=1 -- {limit:UInt32} \\ \n ; \t"
    put(any_store, [transaction(anchor=purchase_order("PO-1"), context={"vendor": nasty})])

    assert read.search(any_store, SearchFilters(text=nasty)).total == 0
    assert read.search(any_store, SearchFilters(context={"vendor": nasty})).total == 1
    assert read.search(any_store, SearchFilters(context={nasty: "x"})).total == 0
    assert read.find_anchors(any_store, nasty, type=nasty, flow=nasty) == []


@pytest.mark.parametrize("filters", [SearchFilters(limit=1_001), SearchFilters(offset=-1), SearchFilters(limit=-1)])
def test_more_than_the_limit_is_refused(store_client: Client, filters: SearchFilters) -> None:
    """Asking for more than a read may give names the limit."""
    with pytest.raises(LimitError, match="must be between 0 and"):
        read.search(store_client, filters)


def test_overview_counts_what_is_open_now_and_what_ended_in_the_range(any_store: Client) -> None:
    """A transaction stuck for a year is in the overview of last week; a completed one of last year is not."""
    now = datetime(2026, 3, 10, tzinfo=UTC)
    week = {"since": now - timedelta(days=7), "until": now}
    year_ago = now - timedelta(days=365)
    put(
        any_store,
        [
            transaction(
                anchor=purchase_order("PO-1"),
                state=TransactionState.BREACHED,
                breached_deadlines=1,
                started_at=year_ago,
                last_step_at=year_ago,
                at_stake=Decimal("10.50"),
            ),
            transaction(
                anchor=purchase_order("PO-2"), at_stake=Decimal(7), currency="EUR", started_at=now - timedelta(days=1)
            ),
            transaction(
                anchor=purchase_order("PO-3"),
                state=TransactionState.COMPLETED,
                started_at=now - timedelta(days=2),
                last_step_at=now - timedelta(days=1),
            ),
            transaction(
                anchor=purchase_order("PO-4"),
                state=TransactionState.COMPLETED,
                started_at=year_ago,
                last_step_at=year_ago,
            ),
        ],
        [
            deadline(state=DeadlineState.BREACHED, due_at=now - timedelta(days=1), at_stake=Decimal("10.50")),
            deadline(anchor=purchase_order("PO-2"), due_at=now + timedelta(hours=3)),
            deadline(anchor=purchase_order("PO-3"), due_at=now + timedelta(days=3)),
        ],
        [exception(), exception(kind="match", resolved_at=now), exception(subject="gone", is_deleted=True)],
    )

    found = read.overview(any_store, now, since=week["since"], until=week["until"])

    assert (found.in_flight, found.late, found.due_soon) == (2, 1, 1)
    assert found.at_stake == (Money(Decimal("10.50"), "USD"), Money(Decimal(7), "EUR"))
    assert {state.state: state.transactions for state in found.states} == {
        "breached": 1,
        "completed": 1,
        "in progress": 1,
    }
    assert [(stage.stage, stage.transactions, stage.late) for stage in found.stages] == [("dispatched", 2, 1)]
    assert [(rule.rule, rule.breached, rule.running) for rule in found.breaches] == [("supplier acknowledges", 1, 2)]
    assert found.breaches[0].oldest_due_at == now - timedelta(days=1)
    assert found.breaches[0].next_due_at == now + timedelta(hours=3)
    assert [(reason.kind, reason.exceptions, reason.amounts) for reason in found.exceptions] == [
        ("deadline", 1, (Money(Decimal(1250), "USD"),))
    ]
    assert [(day.day.day, day.started, day.completed, day.breached) for day in found.days] == [
        (8, 1, 0, 0),
        (9, 1, 1, 1),
    ]


def test_overview_of_an_empty_store_is_all_zeros(any_store: Client) -> None:
    """Without data every list is empty and every count zero."""
    found = read.overview(any_store, AT, AT - timedelta(days=1), AT)

    assert (found.in_flight, found.late, found.at_stake) == (0, 0, ())
    assert found.states == found.stages == found.breaches == found.exceptions == found.days == ()
    assert read.freshness(any_store) == []
    assert read.facets(any_store) == read.Facets((), (), ())


def test_facets_list_what_is_there(any_store: Client) -> None:
    """The values to filter by are those of the stored transactions."""
    put(any_store, [transaction(), transaction(anchor=purchase_order("PO-2"), context={}, stage="paid")])

    assert read.facets(any_store) == read.Facets((FLOW,), ("V-7",), ((FLOW, "dispatched"), (FLOW, "paid")))


def test_parked_steps_come_with_their_step_and_reason(any_store: Client) -> None:
    """A step without a way up is shown with what it carries and why it waits."""
    lost, unclear = step(keys=(INVOICE,)), step()
    put(
        any_store,
        [lost, unclear],
        [
            ParkedStep(FLOW, lost.trace_id, lost.span_id, "parked", "no way up from invoice", (), version=2),
            ParkedStep(
                FLOW, unclear.trace_id, unclear.span_id, "ambiguous", "two orders", (purchase_order(),), version=1
            ),
        ],
    )

    assert [(one.step, one.parked.reason) for one in read.parked(any_store)] == [
        (lost, "no way up from invoice"),
        (unclear, "two orders"),
    ]
    assert [one.step for one in read.parked(any_store, state="ambiguous")] == [unclear]
    assert [one.step for one in read.parked(any_store, 1, offset=1)] == [unclear]
    assert read.count_parked(any_store) == 2
    assert read.count_parked(any_store, flow="another") == 0
