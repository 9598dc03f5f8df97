"""Exceptions that are of no transaction: what is known of them, and what must be written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import ExceptionRow, Key


class Often:
    """Says once in so many seconds that it is time. For one thread."""

    def __init__(self, every_s: float, monotonic: Callable[[], float]) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._due_s = monotonic()

    def is_due(self) -> bool:
        """Whether it is time; asked again it is not, until the seconds are over."""
        now_s = self._monotonic()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._every_s
        return True


Known = Mapping[Key, ExceptionRow]


def known(client: Client, flow: str, kind: str) -> dict[Key, ExceptionRow]:
    """Return anchor -> what is stored of a flow's exceptions of one kind, which are one for each anchor."""
    rows = fetch(client, named("select_exceptions_of_kind", flow=flow, kind=kind), ExceptionRow)
    return {row.anchor: row for row in rows}


def stamped(rows: Iterable[ExceptionRow], before: Known, now: datetime) -> list[ExceptionRow]:
    """Return those of *rows* that say something else than *before*, each with a version above. Pure."""
    stamp = int(now.timestamp() * 1_000_000_000)
    return [
        replace(row, version=max(stamp, was.version + 1 if was else 0))
        for row in rows
        if (was := before.get(row.anchor)) is None or replace(was, version=row.version) != row
    ]
