"""``trace --as-known-at``: what was known then, and what late data restated or retracted since."""

from collections.abc import Callable
from datetime import timedelta

from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from tests.cli.conftest import Run
from tests.conftest import ManualClock
from tests.store.flow_steps import P2P
from tests.store.orders import at, whole_order
from tests.store.spans import store

LATE = ("p2p.invoice.received", "p2p.purchase_order.functional_acknowledged")


def test_late_data_restates_visibly(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], clock: ManualClock
) -> None:
    """A breach that late data took back, a document that was a transaction of its own, and steps that came later."""
    run = run_on(store_address)
    engine = Engine(store_client, [P2P], clock.now)
    clock.set(at(days=40))
    store(store_client, [span for span in whole_order() if span.step not in LATE])
    engine.catch_up()
    clock.set(at(days=50))
    store(store_client, [span for span in whole_order() if span.step in LATE])
    engine.catch_up()
    closing = (at(days=45)).isoformat()

    (order,) = run("trace", "PO-1", "--as-known-at", closing, "--json").json["transactions"]
    assert (order["state"], len(order["steps"])) == ("breached", 7)
    restated = {one["about"]: (one["then"], one["now"], one["what"]) for one in order["restated"]}
    assert restated["deadline: functional acknowledgement"] == ("breached", "met", "retracted")
    assert [(one["known_at"], one["steps"], one["state"]) for one in order["since"]] == [
        ("2026-04-21T14:00:00Z", 14, "completed")
    ]

    (invoice,) = run("trace", "V1", "--type", "voucher", "--as-known-at", closing, "--json").json["transactions"]
    assert (invoice["anchor"]["type"], len(invoice["steps"])) == ("invoice", 5)
    assert [one["state"] for one in invoice["since"]] == ["gone"]
    text = run("trace", "PO-1", "--as-known-at", closing).out
    assert "retracted  deadline: functional acknowledgement" in text
    assert "as known at 2026-04-16 14:00:00 UTC: 7 steps" in text
    before = (at(days=39) - timedelta(hours=1)).isoformat()
    assert run("trace", "PO-1", "--as-known-at", before).out.startswith("Nothing was known of PO-1")
    (now,) = run("trace", "PO-1", "--as-known-at", at(days=51).isoformat(), "--json").json["transactions"]
    assert (now["state"], len(now["steps"]), now["restated"]) == ("completed", 14, [])
