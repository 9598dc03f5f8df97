"""The list of transactions as HTML."""

from datetime import timedelta

from controltower.dashboard.parts.transactions import NUMBER_SHOWN, rows
from controltower.store.rows import Key
from tests.factories import AT, transaction

FILE = f"HOSPITAL|orders.x12|{'0a' * 32}"


def test_a_long_number_leaves_room_for_the_other_columns() -> None:
    """It is cut off with a mark; the way to its page, and what a pointer over it tells, are all of it."""
    shown = str(rows([transaction(anchor=Key("file", "", FILE), steps=1)], {}, AT + timedelta(days=1)))

    assert f">{FILE[: NUMBER_SHOWN - 1]}…</a>" in shown
    assert f'title="{FILE}"' in shown
    assert f"value={FILE.replace('|', '%7C')}" in shown
    assert ">1 step<" in shown
