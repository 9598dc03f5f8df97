"""Reads over a second client answer as those over one do, and fail where their answer is asked for."""

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.errors import LimitError
from controltower.store.read import at_once, beside, find_anchors, read_beside, read_transaction
from controltower.store.write import insert
from tests.factories import FLOW, deadline, document_line, exception, membership, purchase_order, step, transaction

T = TypeVar("T")


def test_a_transaction_read_beside_is_the_one_read_at_once(any_store: Client, any_address: StoreAddress) -> None:
    """What is read aside and what is read meanwhile make the same view, or nothing for what is not there."""
    steps = [step(), step()]
    for rows in (steps, [membership(one) for one in steps], [document_line(steps[0])]):
        insert(any_store, rows)
    for row in (transaction(), deadline(), exception()):
        insert(any_store, [row])

    with closing(connect(any_address, role="reader")) as other, beside(other) as aside:
        view, members = read_beside(any_store, aside, FLOW, purchase_order(), len)
        nothing = read_beside(any_store, aside, FLOW, purchase_order("PO-NOBODY"), len)

    assert view == read_transaction(any_store, FLOW, purchase_order())
    assert members == 2
    assert nothing == (None, 0)


def test_what_is_replaced_while_it_is_read_is_read_again(store_client: Client) -> None:
    """A transaction gets other steps between the reading of its steps and of itself: all is as it is afterwards."""
    steps = [step(), step()]
    insert(store_client, steps)
    insert(store_client, [membership(one) for one in steps])
    insert(store_client, [transaction(steps=2)])
    looked: list[int] = []

    def aside(read: Callable[[Client], T], /) -> Callable[[], T]:
        if not looked:  # one step is taken away now
            insert(store_client, [membership(steps[1], is_deleted=True, version=2)])
            insert(store_client, [transaction(steps=1, version=2)])
        answer = read(store_client)
        return lambda: answer

    view, _ = read_beside(store_client, aside, FLOW, purchase_order(), lambda found: looked.append(len(found)))

    assert looked == [2, 1]
    assert view is not None
    assert (view.transaction.steps, len(view.members)) == (1, 1)


def test_a_read_aside_fails_where_its_answer_is_asked_for(store_client: Client, store_address: StoreAddress) -> None:
    """Beside, the caller goes on until then; at once, there is nothing to go on with."""
    with closing(connect(store_address)) as other, beside(other) as aside:
        answer = aside(lambda client: find_anchors(client, "PO-1", limit=-1))

        with pytest.raises(LimitError):
            answer()
    with pytest.raises(LimitError):
        at_once(store_client)(lambda client: find_anchors(client, "PO-1", limit=-1))
