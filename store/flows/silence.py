"""Sources that are silent: one exception for each, in place of one for every deadline that waits for it. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from controltower.store.flows.calendar import due_at
from controltower.store.flows.definition import Flow, Source
from controltower.store.rows import ExceptionRow, Key

KIND: Final = "silent"
RULE: Final = "source is heard of"


def of_source(name: str) -> Key:
    """Return what stands in place of a transaction's anchor in the exception about a source."""
    return Key("source", "", name)


def silences(
    flow: Flow,
    heard: Mapping[str, datetime],
    known: Mapping[Key, ExceptionRow],
    now: datetime,
    version: int,
    *,
    in_force_at: datetime,
) -> list[ExceptionRow]:
    """Return what must be written of the sources of *flow*: who is silent now, and who was *known* to be and is heard again.

    One that was never heard of is silent since the flow is in force: its name may be wrong.
    """
    rows = (
        _silence(flow, name, source, heard.get(name, in_force_at), known.get(of_source(name)), now, version)
        for name, source in sorted(flow.sources.items())
    )
    return [row for row in rows if row is not None]


def _silence(
    flow: Flow, name: str, source: Source, heard: datetime, known: ExceptionRow | None, now: datetime, version: int
) -> ExceptionRow | None:
    silent_at = due_at(heard, source.silent_after, flow.calendar(source.calendar))
    if now < silent_at:
        return _over(known, heard, version)
    row = ExceptionRow(
        flow=flow.flow,
        anchor=of_source(name),
        kind=KIND,
        rule=RULE,
        subject="",
        reason="silent",
        severity=source.severity,
        opened_at=silent_at,
        resolved_at=None,
        amount=Decimal(0),
        currency="",
        detail=f"{name} is silent since {heard:%Y-%m-%d %H:%M} UTC: whether what it tells is late is not known.",
        version=version,
    )
    return row if known is None or replace(known, version=version) != row else None


def _over(known: ExceptionRow | None, heard: datetime, version: int) -> ExceptionRow | None:
    """Return the end of a silence, or that there was none: what came late says that it was not silent at the time."""
    if known is None or known.resolved_at is not None or known.is_deleted:
        return None
    if heard < known.opened_at:
        return replace(known, is_deleted=True, version=version)
    return replace(known, resolved_at=heard, version=version)
