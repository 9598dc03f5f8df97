"""Reads beside each other: what no other answer waits for is asked over a second client, in a thread of its own.

A statement that finds a few rows costs the engine some milliseconds, most of which it plans in one thread: only another
statement makes use of another core.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from clickhouse_connect.driver.client import Client

T = TypeVar("T")


class Aside(Protocol):
    """Begins a read, and returns what waits for its answer or raises its error."""

    def __call__(self, read: Callable[[Client], T], /) -> Callable[[], T]: ...


def at_once(client: Client) -> Aside:
    """Return what reads before it returns, for a caller that has one client only."""

    def begin(read: Callable[[Client], T], /) -> Callable[[], T]:
        answer = read(client)
        return lambda: answer

    return begin


@contextmanager
def beside(other: Client) -> Iterator[Aside]:
    """Give what reads over *other*, one read after the other, while the caller goes on with a client of its own.

    At the end of the block blocks until the read that runs is done; those not begun by then are given up.
    """
    thread = ThreadPoolExecutor(1, "reads-beside")

    def begin(read: Callable[[Client], T], /) -> Callable[[], T]:
        return thread.submit(read, other).result

    try:
        yield begin
    finally:
        thread.shutdown(cancel_futures=True)
