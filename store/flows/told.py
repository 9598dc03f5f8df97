"""Exceptions that are of no transaction: what is known of them, and what must be written."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import ExceptionRow, Key

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
