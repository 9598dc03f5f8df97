"""``trace``, ``search`` and ``kpi`` on both stores: what they print, as text and as JSON."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from controltower.store.address import StoreAddress, parse_address
from controltower.store.client import Client
from controltower.store.rows import DeadlineState, Key, TransactionState
from controltower.store.write import insert
from tests.cli.conftest import Run
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import database_for
from tests.databases import migrated
from tests.factories import (
    AT,
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


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def filled(request: pytest.FixtureRequest, embedded: Callable[[str], StoreAddress]) -> Iterator[StoreAddress]:
    """A store that holds one late order with a price that is too high, and one that is done; only read from."""
    address = embedded(database_for("reading"))
    if request.param == "server":
        server: ClickHouseServer = request.getfixturevalue("clickhouse_server")
        address = parse_address(server.address(database_for("reading")))
    with migrated(address) as client:
        fill(client)
        yield address


def fill(client: Client) -> None:
    """Store two orders."""
    created = step(stage="created", step="p2p.purchase_order.created", system="erp", at=AT)
    invoiced = step(
        stage="invoiced",
        step="p2p.invoice.received",
        system="ap",
        at=AT + timedelta(hours=1),
        keys=(purchase_order(), INVOICE),
        amount=Decimal("1400.00"),
    )
    late = transaction(
        state=TransactionState.BREACHED,
        at_stake=Decimal("1250.00"),
        breached_deadlines=1,
        open_exceptions=1,
        keys=(purchase_order(), INVOICE),
    )
    done = transaction(anchor=purchase_order("PO-2000"), state=TransactionState.COMPLETED, amount=Decimal("80.50"))
    insert(client, [created, invoiced])
    insert(client, [membership(created), membership(invoiced)])
    insert(client, [document_line(created)])
    insert(client, [late, replace(done, keys=(purchase_order("PO-2000"),))])
    insert(client, [deadline(state=DeadlineState.BREACHED)])
    insert(client, [reconciliation()])
    insert(client, [exception()])
    columns = ["Timestamp", "TraceId", "SeverityText", "ServiceName", "Body", "LogAttributes"]
    by_key = {"controltower.key.purchase_order": "PO-1042"}
    records = [
        [AT, created.trace_id, "ERROR", "edi-gateway", "850 refused by the mailbox", {}],
        [AT, "", "INFO", "mailbox", "tried again", by_key],
    ]
    client.insert("otel_logs", records, columns, settings={"async_insert": 0})


@pytest.fixture
def run_filled(filled: StoreAddress, run_on: Callable[[StoreAddress], Run]) -> Run:
    """Run the command on the store with the two orders."""
    return run_on(filled)


def test_trace_as_json_has_the_documented_shape(run_filled: Run) -> None:
    """The JSON names flow, anchor, state, stages with their explanation, keys, amounts, deadlines and matches."""
    ran = run_filled("trace", "PO-1042", "--json")
    (found,) = ran.json["transactions"]

    assert ran.code == 0
    assert found["flow"] == "procure_to_pay"
    assert found["anchor"] == {"type": "purchase_order", "scope": "", "value": "PO-1042"}
    assert found["state"] == "breached"
    assert found["started_at"] == "2026-03-02T09:00:00Z"
    assert [(stage["name"], stage["system"]) for stage in found["stages"]] == [("created", "erp"), ("invoiced", "ap")]
    assert found["stages"][0]["via"][0]["value"] == "PO-1042"
    assert set(found["stages"][0]["span"]) == {"trace_id", "span_id"}
    assert {"type": "invoice", "scope": "V-7", "value": "INV-9"} in found["keys"]
    assert found["amounts"] == {"created": "1250.00"}
    assert found["deadlines"][0]["rule"] == "supplier acknowledges"
    assert found["deadlines"][0]["due_at"] == "2026-03-03T09:00:00Z"
    assert found["deadlines"][0]["state"] == "breached"
    assert found["reconciliations"][0]["difference"] == "150.00"
    assert ran.json["spans"] == []


def test_trace_tells_the_path_in_words(run_filled: Run) -> None:
    """The text shows state, money, path, what is late and what does not add up."""
    out = run_filled("trace", "PO-1042").out

    assert "purchase_order PO-1042  procure_to_pay · breached · 1,250.00 USD · V-7" in out
    assert "2026-03-02 09:00:00  created   erp" in out
    assert "breached  supplier acknowledges" in out
    assert "1,250.00 USD at stake" in out
    assert "ordered 2 × 625.00" in out
    assert "difference 150.00 USD" in out
    assert "The supplier has not acknowledged purchase order PO-1042." in out
    assert "because of" not in out


def test_trace_shows_what_was_logged(run_filled: Run) -> None:
    """Records of its traces and with its keys are listed on request, and always in JSON."""
    assert "mailbox" not in run_filled("trace", "PO-1042").out

    out = run_filled("trace", "PO-1042", "--logs").out
    assert "\nLogs (times in UTC)\n" in out
    assert "850 refused by the mailbox" in out
    (found,) = run_filled("trace", "PO-1042", "--json").json["transactions"]
    assert [(one["severity"], one["found_by"]) for one in found["logs"]] == [("ERROR", "trace"), ("INFO", "key")]
    assert found["logs_truncated"] is False
    out = run_filled("trace", "PO-2000", "--logs").out
    assert "Nothing was logged in its traces or with its keys." in out


def test_trace_finds_by_any_key_in_any_case(run_filled: Run) -> None:
    """An invoice leads to the order it belongs to, typed as the user has it."""
    (found,) = run_filled("trace", " inv-9 ", "--json").json["transactions"]

    assert found["anchor"]["value"] == "PO-1042"


def test_why_explains_each_step(run_filled: Run) -> None:
    """``--why`` says over which keys and spans a step belongs."""
    out = run_filled("trace", "PO-1042", "--why").out

    assert out.count("because of its own keys: purchase_order PO-1042 (key, span ") == 2


@pytest.mark.parametrize("words", [["PO-3"], ["PO-1042", "--type", "voucher"], ["PO-1042", "--flow", "other"], [""]])
def test_an_unknown_key_is_a_sentence(words: list[str], run_filled: Run) -> None:
    """What nothing carries ends with 1 and says what was asked."""
    ran = run_filled("trace", *words)

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith(f"Nothing carries the key {words[0]!r}")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], ["PO-1042", "PO-2000"]),
        (["INV-9"], ["PO-1042"]),
        (["--state", "completed"], ["PO-2000"]),
        (["--state", "completed", "--state", "breached"], ["PO-1042", "PO-2000"]),
        (["--min-amount", "1,000"], ["PO-1042"]),
        (["--vendor", "V-8"], []),
        (["--flow", "procure_to_pay", "--since", "2026-03-02", "--until", "2026-03-03"], ["PO-1042", "PO-2000"]),
        (["--since", "2026-03-03"], []),
    ],
)
def test_search_filters(words: list[str], values: list[str], run_filled: Run) -> None:
    """Filters narrow down, together."""
    found = run_filled("search", *words, "--json").json

    assert sorted(row["anchor"]["value"] for row in found["transactions"]) == values
    assert found["total"] == len(values)


def test_search_tells_how_many_there_are(run_filled: Run) -> None:
    """A page that is cut off says how many there are in all."""
    ran = run_filled("search", "--limit", "1")

    assert "1 of 2 transactions" in ran.out
    assert run_filled("search", "--vendor", "V-8").out == "No transaction fits.\n"


def test_search_refuses_more_than_its_limit(run_filled: Run) -> None:
    """A limit that is too high is refused by name."""
    ran = run_filled("search", "--limit", "1000000")

    assert ran.code == 1
    assert ran.err.count("\n") == 1


def test_kpi_prints_figures_with_their_definition(run_filled: Run) -> None:
    """A figure comes with what it means; JSON has the same value exactly."""
    ran = run_filled("kpi", "in_flight")
    (kpi,) = run_filled("kpi", "in_flight", "--json").json["kpis"]

    assert ran.out.startswith("In flight  1\n  Transactions that are not completed")
    assert kpi["value"] == "1"
    assert kpi["unit"] == "count"


def test_kpi_without_data_says_why(run_filled: Run) -> None:
    """A figure over nothing is no figure, and says so."""
    kpis = {kpi["name"]: kpi for kpi in run_filled("kpi", "--json").json["kpis"]}

    assert kpis["order_to_pay_p50"]["value"] is None
    assert kpis["order_to_pay_p50"]["reason"]


def test_an_unknown_kpi_names_those_there_are(run_filled: Run) -> None:
    """A wrong name is answered with the right ones."""
    ran = run_filled("kpi", "happiness")

    assert ran.code == 1
    assert "in_flight" in ran.err


def test_paths_name_variants_hops_and_work(run_filled: Run) -> None:
    """Text and JSON hold the same; a flow nobody knows is refused with those there are."""
    (flow,) = run_filled("paths", "--json").json["flows"]
    text = run_filled("paths", "--flow", "procure_to_pay").out

    assert flow["flow"] == "procure_to_pay"
    assert text.startswith(f"procure_to_pay: {sum(one['transactions'] for one in flow['variants'])} transaction")
    assert all(" > ".join(one["stages"]) in text for one in flow["variants"])
    assert {one["step"] for one in flow["work"]} <= set(text.split())
    assert run_filled("paths", "--until", "2020-01-01").out == "No transaction has a step in this time range.\n"
    assert "Known flows: " in run_filled("paths", "--flow", "laundry").err


def test_a_store_that_is_not_set_up_says_what_to_do(
    store_address: StoreAddress, run_on: Callable[[StoreAddress], Run]
) -> None:
    """Reading from an empty store is no stack of SQL but a sentence."""
    ran = run_on(store_address)("search")

    assert ran.code == 1
    assert "run `controltower migrate`" in ran.err


def test_migrate_shows_applies_and_repeats(any_address: StoreAddress, run_on: Callable[[StoreAddress], Run]) -> None:
    """Migrations are shown, applied once, and then there is nothing left to do."""
    run = run_on(any_address)
    shown = run("migrate", "--show", "--json").json
    applied = run("migrate", "--json").json
    again = run("migrate")

    assert shown["applied"] == []
    assert applied["applied"] == shown["pending"]
    assert applied["pending"] == []
    assert again.out == f"The store has schema {applied['version']}; nothing is missing.\n"
