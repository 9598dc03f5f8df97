"""``flows diff`` and ``flows publish``: what a changed flow makes of history, and history under it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.flows.publishing import EngineInForce
from controltower.store.flows.scraped import FLOW, KIND
from controltower.store.rows import Key
from controltower.store.write import insert
from tests.cli.conftest import Run
from tests.factories import exception
from tests.store.orders import at, whole_order
from tests.store.spans import Span, store


def databases(client: Client) -> set[str]:
    """Return all databases."""
    return {name for (name,) in client.query("SELECT name FROM system.databases").result_rows}


def test_a_flow_that_parts_documents(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], changed: Path
) -> None:
    """The diff says exactly which transactions split; after it is published they are, and history shows both."""
    run = run_on(store_address)
    store(store_client, whole_order())
    untouched = Span(
        50, 50, at(), "p2p.purchase_order.created", {"purchase_order": "PO-2"}, context={"company": "acme"}
    )
    store(store_client, [untouched])
    engine = EngineInForce(store_address, store_client, lambda: at(days=30))
    engine.run_cycle()
    before = databases(store_client)

    diff = run("flows", "diff", str(changed), "--json")
    assert diff.code == 0, diff.err
    order = {"type": "purchase_order", "scope": "acme", "value": "PO-1"}
    invoice = {"type": "invoice", "scope": "V-7", "value": "I-1"}
    parts = [{"anchor": order, "steps": 9}, {"anchor": invoice, "steps": 5}]
    assert diff.json["split"] == [{"anchor": order, "steps": 14, "parts": parts}]
    assert (diff.json["joined"], diff.json["gone"], diff.json["placed"]) == ([], [], [])
    assert [one["anchor"] for one in diff.json["transactions"]] == [invoice, order]
    assert {"anchor": order, "about": "order to pay", "old": "met", "new": "breached"} in diff.json["verdicts"]
    assert databases(store_client) == before
    assert "purchase_order PO-1 (acme) (14 steps) into" in run("flows", "diff", str(changed)).out

    assert "is correct" in run("flows", "check", str(changed)).out
    assert "is in force" in run("flows", "publish", str(changed), "--user", "ana").out
    assert databases(store_client) == before
    engine.run_cycle()
    (now,) = run("trace", "PO-1", "--json").json["transactions"]
    assert (now["flow_version"], len(now["steps"])) == (2, 9)
    (split,) = run("trace", "V1", "--json").json["transactions"]
    assert (split["anchor"], len(split["steps"])) == (invoice, 5)
    history = store_client.query(
        "SELECT state FROM transaction_history FINAL WHERE anchor.value = 'PO-1' ORDER BY known_at"
    ).result_rows
    assert [state for (state,) in history] == ["completed", "breached"]
    assert "nothing stored comes out differently" in run("flows", "diff", str(changed)).out
    assert "Version 2 of procure_to_pay is in force" in run("flows", "publish", str(changed), "--user", "ana").err


def test_what_arrives_meanwhile_is_under_the_new_flow(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], changed: Path
) -> None:
    """New spans are followed by the flow in force: steps of an invoice no longer reach its order."""
    store(store_client, whole_order()[:9])
    insert(store_client, [exception(flow=FLOW, kind=KIND, anchor=Key("source", "edi-1", "edi"))])
    run = run_on(store_address)
    assert run("flows", "publish", str(changed), "--user", "ana").code == 0
    store(store_client, whole_order()[9:])
    EngineInForce(store_address, store_client, lambda: at(days=30)).run_cycle()

    (split,) = run("trace", "V1", "--json").json["transactions"]
    assert (split["anchor"]["type"], len(split["steps"])) == ("invoice", 5)
    about = "SELECT anchor.value FROM exceptions FINAL WHERE flow = 'scrape'"  # of no flow, and still there
    assert store_client.query(about).result_rows == [("edi",)]


NIGHTLY = """
flow: nightly
version: 1
title: Nightly
prefix: n
anchors: [run]
keys: {run: {}}
stages:
  - {name: done, step: n.run.done, final: true}
sla:
  - {name: nightly run, every: 1 day, to: done, severity: page, each: {context: plant, values: [north, south]}}
"""


def test_what_was_missed_stays_so(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], tmp_path: Path
) -> None:
    """What is missed of one partner is still missed once the flow is published with another one in place of the other."""
    run = run_on(store_address)
    first, other = tmp_path / "first.yaml", tmp_path / "other.yaml"
    first.write_text(NIGHTLY)
    other.write_text(NIGHTLY.replace("version: 1", "version: 2").replace("south]", "west]"))

    def looked() -> list[tuple[str, bool]]:
        began = datetime.now(UTC) + timedelta(days=2)
        ticks = count()
        EngineInForce(store_address, store_client, lambda: began + next(ticks) * timedelta(minutes=10)).run_cycle()
        text = "SELECT subject, resolved_at IS NULL FROM exceptions FINAL WHERE kind = 'schedule' ORDER BY subject, opened_at"
        return [(subject, bool(still)) for subject, still in store_client.query(text).result_rows]

    assert run("flows", "publish", str(first), "--user", "ana").code == 0
    assert looked() == [("north", True), ("south", True)]
    assert "nothing stored comes out differently" in run("flows", "diff", str(other)).out
    assert run("flows", "publish", str(other), "--user", "ana").code == 0
    assert looked() == [("north", True), ("south", False), ("west", True)]
