"""Parts of spans are left alone while they are few, and merged all the same before they are too many."""

from controltower.store.client import Client
from tests.processes import until

BURST = 30
MANY = 200
MOST = 70  # the engine begins at some fifty


def insert_parts(store: Client, first: int, count: int) -> None:
    """Insert so many spans, each as a part of its own, into a copy of the table that no view stands behind."""
    store.command(
        "INSERT INTO parts (Timestamp, SpanName) "
        "SELECT toDateTime64('2026-01-01 12:00:00', 9, 'UTC'), toString({first:UInt32} + number) "
        "FROM numbers({count:UInt32}) "
        "SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1, "
        "max_insert_threads = 1, max_threads = 1",
        parameters={"first": first, "count": count},
    )


def parts(store: Client) -> tuple[int, int]:
    """Return how many parts there are, and how often the most merged of them was merged."""
    found = store.query(
        "SELECT count(), max(level) FROM system.parts WHERE database = currentDatabase() AND table = 'parts' AND active"
    )
    count, level = found.result_rows[0]
    return int(count), int(level)


def test_a_burst_is_not_merged_and_parts_stay_few(any_store: Client) -> None:
    """F49: a burst of loads pays for no merge; of hundreds, whatever their size, fewer parts stay than make loading wait."""
    any_store.command("CREATE TABLE parts AS otel_traces")
    insert_parts(any_store, 0, BURST)
    burst = parts(any_store)

    insert_parts(any_store, BURST, MANY - BURST)
    until(lambda: parts(any_store)[0] <= MOST, "the parts are merged")
    _, level = parts(any_store)

    assert burst == (BURST, 0)
    assert level > 0
    assert any_store.command("SELECT count() FROM parts") == MANY


def test_a_day_that_is_over_becomes_one_part(any_store: Client) -> None:
    """What a burst left is merged once nothing came for its day for a while: three hours, here a second."""
    any_store.command("CREATE TABLE parts AS otel_traces")
    shipped = str(any_store.command("SHOW CREATE TABLE otel_traces"))
    insert_parts(any_store, 0, BURST)
    any_store.command("ALTER TABLE parts MODIFY SETTING min_age_to_force_merge_seconds = 1")

    until(lambda: parts(any_store)[0] == 1, "the day is one part")

    assert "min_age_to_force_merge_seconds = 10800" in shipped
    assert any_store.command("SELECT count() FROM parts") == BURST
