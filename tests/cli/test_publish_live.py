"""``flows publish`` and ``flows diff`` beside a running ``serve``: what readers see meanwhile, and what a kill leaves."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controltower.store.client import Client
from controltower.store.flows.publishing import drop_left
from controltower.store.flows.shadow import LASTS
from controltower.store.read import find_anchors, read_transaction
from tests.cli.test_publishing import databases
from tests.processes import Tower, tower, until
from tests.store.orders import whole_order
from tests.store.spans import store

pytestmark = pytest.mark.slow

BEFORE, AFTER = (1, 14), (2, 9)  # version of the flow, and steps of the order


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Tower]:
    """A running ``serve`` that has made one transaction of an order."""
    with tower(tmp_path / "data") as running:
        running.serve()
        with closing(running.client()) as client:
            store(client, whole_order())
            until(lambda: order(client) == BEFORE, "the order is whole")
        yield running


def order(client: Client) -> tuple[int, int] | None:
    """Return by which version of the flow the order stands there, and with how many steps."""
    for found in find_anchors(client, "PO-1"):
        view = read_transaction(client, *found)
        return (view.transaction.flow_version, len(view.members)) if view else None
    return None


def shadows(client: Client) -> set[str]:
    """Return the databases beside the store's own in which flows are tried."""
    return {name for name in databases(client) if any(f"_{side}_" in name for side in ("old", "new", "publish"))}


def test_readers_see_the_old_or_the_new_and_nothing_between(serving: Tower, changed: Path) -> None:
    """While a flow is published the order stands there as it was, and from one look to the next as it is now."""
    with closing(serving.client()) as client:
        publishing = serving.start("flows", "publish", str(changed), "--user", "ana")
        seen = [BEFORE]

        def looked() -> bool:
            seen.append(order(client) or (0, 0))
            return seen[-1] == AFTER

        until(looked, "the new flow is in force")
        assert publishing.wait(60) == 0, serving.said("flows")
        until(lambda: not shadows(client), "nothing is left behind")
    assert set(seen) == {BEFORE, AFTER}
    assert seen == sorted(seen)


@pytest.mark.parametrize("action", ["diff", "publish"])
def test_what_a_kill_leaves_is_removed_and_in_nobodys_way(serving: Tower, changed: Path, action: str) -> None:
    """After kill -9 the flow in force is as it was and the command can be run again; its shadows go when their lease ends."""
    words = ("flows", action, str(changed), *(["--user", "ana"] if action == "publish" else []))
    with closing(serving.client()) as client:
        killed = serving.start(*words)
        left = until(lambda: shadows(client), "a shadow is there")
        serving.kill(killed)
        assert order(client) == BEFORE

        serving.run(*words)
        assert left <= shadows(client)  # whoever made them might still be at work
        if action == "publish":
            until(lambda: order(client) == AFTER, "the new flow is in force")

        database = str(client.command("SELECT currentDatabase()"))
        drop_left(client, database, datetime.now(UTC) + LASTS + timedelta(minutes=1))
        assert not shadows(client)
