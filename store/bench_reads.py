"""What ``controltower bench`` asks of the store: how many spans are visible, and what they take on the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named
from controltower.store.reads.fetch import fetch, run
from controltower.store.rows import Key


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table as it lies on the disk."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Anchor:
    anchor: Key


def visible_spans(client: Client, services: Sequence[str], since: datetime) -> int:
    """Return how many spans of *services* are stored that began at *since* or later. Raises StoreError."""
    ((count,),) = run(client, named("select_bench_spans", services=list(services), since=since)).result_rows
    return int(count)


def table_sizes(client: Client) -> dict[str, TableSize]:
    """Return the size of every table of the store's database that holds anything, by its name. Raises StoreError."""
    rows = run(client, named("select_bench_disk")).result_rows
    return {str(table): TableSize(int(count), int(size)) for table, count, size in rows}


def resolved_counts(client: Client) -> tuple[int, int]:
    """Return how many steps and how many transactions the engine has made so far. Raises StoreError."""
    ((steps, transactions),) = run(client, named("select_bench_steps")).result_rows
    return int(steps), int(transactions)


def some_anchors(client: Client, limit: int) -> tuple[Key, ...]:
    """Return the anchors of up to *limit* transactions. Raises StoreError."""
    return tuple(row.anchor for row in fetch(client, named("select_bench_anchors", limit=limit), _Anchor))
