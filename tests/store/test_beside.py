"""Reads over a second client answer as those over one do, and fail where their answer is asked for."""

from contextlib import closing

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.errors import LimitError
from controltower.store.read import at_once, begin_transaction, beside, find_anchors, read_transaction
from controltower.store.write import insert
from tests.factories import FLOW, deadline, document_line, exception, membership, purchase_order, step, transaction


def test_a_transaction_read_beside_is_the_one_read_at_once(any_store: Client, any_address: StoreAddress) -> None:
    """What is read aside and what is read meanwhile make the same view, or nothing for what is not there."""
    steps = [step(), step()]
    for rows in (steps, [membership(one) for one in steps], [document_line(steps[0])]):
        insert(any_store, rows)
    for row in (transaction(), deadline(), exception()):
        insert(any_store, [row])

    with closing(connect(any_address, role="reader")) as other, beside(other) as aside:
        begun = begin_transaction(any_store, aside, FLOW, purchase_order())
        nothing = begin_transaction(any_store, aside, FLOW, purchase_order("PO-NOBODY"))

        assert begun.view() == read_transaction(any_store, FLOW, purchase_order())
        assert len(begun.members) == 2
        assert (nothing.members, nothing.view()) == ((), None)


def test_a_read_aside_fails_where_its_answer_is_asked_for(store_client: Client, store_address: StoreAddress) -> None:
    """Beside, the caller goes on until then; at once, there is nothing to go on with."""
    with closing(connect(store_address)) as other, beside(other) as aside:
        answer = aside(lambda client: find_anchors(client, "PO-1", limit=-1))

        with pytest.raises(LimitError):
            answer()
    with pytest.raises(LimitError):
        at_once(store_client)(lambda client: find_anchors(client, "PO-1", limit=-1))
