"""``cut``, ``confirm`` and ``corrections``: what people decide, what becomes of it, and who said so."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from tests.cli.conftest import Ran, Run
from tests.store.flow_steps import P2P
from tests.store.orders import at, whole_order
from tests.store.spans import store

BY = ("--user", "ana", "--reason", "invoice of another order")


@pytest.fixture
def shop(store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run]) -> Run:
    """The command on a store with one order, where the engine catches up after each command."""
    store(store_client, whole_order())
    engine = Engine(store_client, [P2P], lambda: at(days=30))
    engine.catch_up()
    command = run_on(store_address)

    def run(*words: str) -> Ran:
        ran = command(*words)
        engine.catch_up()
        return ran

    return run


def steps(run: Run, key: str) -> dict[str, int]:
    """Return the transactions that a key leads to, with the number of their steps."""
    found = run("trace", key, "--json").json["transactions"]
    return {f"{one['anchor']['type']} {one['anchor']['value']}": len(one["steps"]) for one in found}


def test_an_invoice_is_cut_from_its_order_and_back(shop: Run) -> None:
    """The steps that only the invoice led there leave, the listing tells who said so, and an undo brings them back."""
    cut = shop("cut", "invoice:i-1", "purchase_order:po-1", *BY, "--json")
    assert cut.code == 0
    assert cut.json["key"] == {"type": "invoice", "scope": "V-7", "value": "I-1"}
    assert cut.json["other"] == {"type": "purchase_order", "scope": "acme", "value": "PO-1"}
    assert steps(shop, "V1") == {"invoice I-1": 5}
    assert steps(shop, "PO-1") == {"purchase_order PO-1": 9}

    why = shop("trace", "PO-1", "--why").out
    assert "by procure_to_pay version 1" in why
    assert f"holds  {cut.json['id']}: invoice I-1 cut from purchase_order PO-1 by ana" in why
    assert shop("cut", "invoice:I-1", "purchase_order:PO-1", "--undo", *BY).code == 0
    assert steps(shop, "V1") == {"purchase_order PO-1": 14}
    listed = shop("corrections", "--json").json["corrections"]
    assert [(one["action"], one["state"], one["user"]) for one in listed] == [
        ("cut", "undone", "ana"),
        ("undo", "undo", "ana"),
    ]
    assert shop("corrections", "--holding").out == "Nothing was corrected.\n"


def test_a_step_is_cut_and_confirmed(shop: Run) -> None:
    """A step leaves the order it names, and joins it again by a person's word, which the explanation repeats."""
    (found,) = shop("trace", "PO-1", "--json").json["transactions"]
    (span,) = [one["span"] for one in found["steps"] if one["name"] == "shipped"]
    step = f"{span['trace_id']}/{span['span_id']}"

    assert shop("cut", step, "purchase_order:PO-1", *BY).code == 0
    assert steps(shop, "PO-1") == {"purchase_order PO-1": 12}  # with the receipt, which only the shipment led there
    assert shop("confirm", step, "purchase_order:PO-1", *BY).code == 0
    assert steps(shop, "PO-1") == {"purchase_order PO-1": 14}  # a confirmation takes the place of the cut
    assert "step " in shop("corrections").out


REFUSED = {
    ("invoice:I-9", "purchase_order:PO-1"): "No step of procure_to_pay carries invoice:I-9.",
    ("invoice:I-1", "vendor:V-7"): "No flow joins keys of type invoice and vendor",
    ("approval:1", "invoice:I-1"): "No step of procure_to_pay carries approval:1.",
    ("receipt:G1", "voucher:V1"): "neither of receipt and voucher stands above the other",
    ("invoice:I-1", "invoice:I-1"): "invoice I-1 is named twice.",
    ("feed/beef", "purchase_order:PO-1"): "has no step feed/beef.",
    ("I-1", "purchase_order:PO-1"): "'I-1' is neither a key (invoice:I-1) nor a step",
    ("invoice:I-1", "purchase_order:PO-1", "--undo"): "No cut of invoice:I-1 and purchase_order:PO-1 holds.",
}


def test_what_is_unknown_is_refused(shop: Run) -> None:
    """Nothing is recorded that names nothing, or no link."""
    for words, problem in REFUSED.items():
        ran = shop("cut", *words, *BY)
        assert ran.code == 1
        assert problem in ran.err
    assert shop("corrections", "--json").json == {"corrections": []}


def test_the_same_is_not_said_twice(shop: Run) -> None:
    """What holds already is not recorded again, and a reason must say something."""
    assert shop("cut", "invoice:I-1", "purchase_order:PO-1", *BY).code == 0
    again = shop("cut", "purchase_order:PO-1", "invoice:I-1@V-7", *BY)
    assert "ana said so before" in again.err
    assert (
        "needs a reason" in shop("confirm", "invoice:I-1", "purchase_order:PO-1", "--user", "ana", "--reason", " ").err
    )


def test_the_documents_commands_run(shop: Run) -> None:
    """What docs/operate.md shows of corrections does what it says."""
    text = (Path(__file__).parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")
    part = text.partition("## Correcting what was joined")[2].partition("\n## ")[0]
    commands = [shlex.split(line)[2:] for line in part.splitlines() if line.startswith("$ controltower ")]
    ran = {" ".join(words[:1]): shop(*words) for words in commands}

    assert len(commands) == 5
    assert [one.err for one in ran.values() if one.code] == []
    assert "cut from purchase_order PO-1 by ana" in ran["corrections"].out


def test_a_deadline_is_waived_and_back(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run]
) -> None:
    """A late deadline that need not be met any more is waived with name and reason, listed, and taken back; others are refused."""
    store(store_client, whole_order()[:4])
    engine = Engine(store_client, [P2P], lambda: at(days=30))
    engine.catch_up()
    run = run_on(store_address)
    by = ("--user", "ana", "--reason", "they sent it by mail")
    rule = "supplier acknowledges"

    waived = run("waive", "purchase_order:po-1", rule, *by, "--json")
    assert waived.code == 0
    assert waived.json["deadline"] == {"rule": rule, "subject": ""}
    engine.catch_up()
    assert "by ana: they sent it by mail" in run("trace", "PO-1").out
    assert f"holds  {waived.json['id']}: '{rule}' of purchase_order PO-1 waived by ana" in run("corrections").out
    assert "ana waived it before" in run("waive", "purchase_order:PO-1", rule, *by).err
    assert run("waive", "purchase_order:PO-1", rule, "--undo", *by).code == 0
    engine.catch_up()
    (found,) = run("trace", "PO-1", "--json").json["transactions"]
    assert {one["rule"]: one["state"] for one in found["deadlines"]}[rule] == "breached"

    for words, problem in {
        ("purchase_order:PO-1", "order dispatched"): "was met at 2026-03-02 16:05 UTC: nothing is left to waive.",
        ("purchase_order:PO-1", rule, "--undo"): f"No waiver of '{rule}' of purchase_order:PO-1 holds.",
        ("purchase_order:PO-1", "invoice paid"): "has no deadline 'invoice paid'; it has ",
        ("purchase_order:PO-1", "no such"): "No flow has a rule 'no such' for transactions of 'purchase_order'",
        ("purchase_order:PO-9", rule): "No step of procure_to_pay carries purchase_order:PO-9.",
        ("invoice:I-1", rule): "No step of procure_to_pay carries invoice:I-1.",
        ("purchase_order:PO-1", rule, "--user", " "): "A waiver needs a user",
    }.items():
        ran = run("waive", *words[:2], *by, *words[2:])
        assert (ran.code, problem in ran.err) == (1, True), ran.err
