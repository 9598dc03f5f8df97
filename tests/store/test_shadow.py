"""A shadow of the store: made, evaluated, exchanged and dropped, also through the endpoint of a running ``serve``."""

import re
from contextlib import closing
from datetime import timedelta
from importlib.resources import files

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import parse_flow
from controltower.store.flows.publishing import evaluate, prepare, take_over
from controltower.store.flows.shadow import DERIVED, drop_shadow, exchange, left_to_exchange, make_shadow, shadow_name
from tests.conftest import ManualClock
from tests.store.conftest import Served
from tests.store.flow_steps import P2P
from tests.store.orders import at, whole_order
from tests.store.spans import store

PACK = files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml").read_text(encoding="utf-8")
RULES = re.findall(r"^  - \{name: .*from: .*\n", PACK, flags=re.MULTILINE)
TEXT = PACK.partition("\nexamples:")[0].replace("".join(RULES), RULES[0]).replace("version: 1", "version: 2")
STRICT = parse_flow(TEXT, "strict.yaml")


def count(client: Client, table: str) -> int:
    """Return the rows of a table."""
    return int(str(client.command(f"SELECT count() FROM {table}")))


def test_a_shadow_changes_nothing_until_it_is_exchanged(
    endpoint: Served, store_client: Client, clock: ManualClock
) -> None:
    """Through the endpoint: readers see the old verdicts while history is evaluated, and all new ones afterwards."""
    address = StoreAddress(
        "clickhouse", None, endpoint.host, endpoint.port, endpoint.user, endpoint.password, endpoint.database
    )
    del store_client  # it has migrated the database behind the endpoint
    clock.set(at(days=30))
    with closing(connect(address)) as client:
        store(client, whole_order()[:9])
        Engine(client, [P2P], clock.now).catch_up()
        before = count(client, "deadlines FINAL")
        clock.advance(timedelta(seconds=1))
        name = shadow_name(address, "test")
        with closing(make_shadow(address, client, name, clock.now())) as shadow:
            told: list[tuple[int, int]] = []
            evaluate(shadow, [STRICT], clock.now, lambda done, total: told.append((done, total)))
            assert count(shadow, "deadlines FINAL") == 1 < before
        assert told[-1] == (9, 9)
        assert count(client, "deadlines FINAL") == before

        assert left_to_exchange(client, address.database, name) == list(DERIVED)
        exchange(client, address.database, name, DERIVED[:3])  # and then the process ended
        exchange(client, address.database, name, left_to_exchange(client, address.database, name))
        assert left_to_exchange(client, address.database, name) == []
        drop_shadow(client, name)
        assert count(client, "deadlines FINAL") == 1
        store(client, whole_order()[9:])
        Engine(client, [STRICT], clock.now).catch_up()
        assert count(client, "step_keys FINAL") > 14


def test_a_take_over_that_was_cut_off_is_run_again(
    store_client: Client, store_address: StoreAddress, clock: ManualClock
) -> None:
    """History that became known meanwhile is kept, and what changed places already does not change back."""
    clock.set(at(days=30))
    store(store_client, whole_order()[:4])
    engine = Engine(store_client, [P2P], clock.now)
    engine.catch_up()
    clock.advance(timedelta(seconds=1))
    name = shadow_name(store_address, "test")
    ready = prepare(
        store_address,
        store_client,
        STRICT,
        TEXT.replace("version: 1", "version: 2"),
        user="ana",
        shadow=name,
        now=clock.now,
        progress=lambda *_: None,
    )
    clock.advance(timedelta(seconds=1))
    store(store_client, whole_order()[4:9])
    engine.catch_up()
    known = count(store_client, "transaction_history FINAL WHERE flow_version = 1")
    exchange(store_client, store_address.database, name, left_to_exchange(store_client, store_address.database, name))
    clock.advance(timedelta(seconds=1))
    take_over(store_address, store_client, ready, clock.now)

    assert count(store_client, "deadlines FINAL") == 1
    assert known >= 2
