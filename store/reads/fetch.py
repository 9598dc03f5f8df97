"""Run a read: bounded in time by the engine, errors in words, rows as values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from controltower.store.errors import NoTablesError, StoreError, StoreUnavailableError
from controltower.store.queries import Query
from controltower.store.reads.mapping import to_values

T = TypeVar("T")

MAX_EXECUTION_TIME_S = 20  # a page that takes longer is no page; the engine stops the read
STREAM_TIME_S = 120  # likewise, of what is taken a few rows at a time: the engine waits for who takes them

# What the engine says when trying again can help: time was up, too many at once, or nobody answered.
_TRANSIENT = ("TIMEOUT_EXCEEDED", "TOO_MANY_SIMULTANEOUS_QUERIES", "NETWORK_ERROR", "onnection", "timed out")
_NO_TABLE = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE")


def fetch(client: Client, query: Query, kind: type[T]) -> tuple[T, ...]:
    """Return the result of *query* as values of *kind*. Blocks at most ``MAX_EXECUTION_TIME_S``."""
    result = run(client, query)
    return to_values(kind, result.column_names, result.result_columns)


def stream(client: Client, query: Query, kind: type[T], *, rows_at_once: int) -> Iterator[T]:
    """Yield the result of *query* as values of *kind*, which are made a few at a time: for more rows than should stand in
    memory as values. The client is busy until the last one is taken. Blocks at most ``STREAM_TIME_S``."""
    result = run(client, replace(query, rows_at_once=rows_at_once))
    with _in_words(), result.column_block_stream as blocks:
        for columns in blocks:
            yield from to_values(kind, result.column_names, columns)


def fetch_records(client: Client, query: Query) -> list[dict[str, Any]]:
    """Return the result of *query* as dictionaries by column name."""
    result = run(client, query)
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def run(client: Client, query: Query) -> Any:
    """Run *query*. Raises NoTablesError, StoreUnavailableError when trying again can help, StoreError otherwise."""
    settings: dict[str, Any] = {"max_execution_time": MAX_EXECUTION_TIME_S}
    if query.threads is not None:
        settings["max_threads"] = query.threads
    if query.rows_at_once is not None:
        settings |= {"max_block_size": query.rows_at_once, "max_execution_time": STREAM_TIME_S}
    with _in_words():
        return client.query(
            query.sql,
            parameters=dict(query.parameters),
            settings=settings,
            query_formats={"Tuple*": "tuple"},
            tz_mode="aware",
        )


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise what the client raises in our words."""
    try:
        yield
    except ClickHouseError as exc:
        raise _refusal(exc) from exc
    except (HTTPError, OSError) as exc:
        raise StoreUnavailableError("The store does not answer; is `controltower up` or the server running?") from exc


def _refusal(error: ClickHouseError) -> StoreError:
    text = str(error)
    if any(mark in text for mark in _NO_TABLE):
        return NoTablesError("The store has no tables yet: run `controltower migrate`, or start `controltower up`.")
    if any(mark in text for mark in _TRANSIENT):
        return StoreUnavailableError("The store did not answer in time; try again in a moment.")
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return StoreError(f"The store refused a read: {first_line[:300]}")
