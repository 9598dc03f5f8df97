"""What is in quarantine, wherever it lies: files beside the journals, and rows in the store.

An item is named ``signal/file`` or ``signal/segment/reason``. What was sent is not part of it: reasons, times, sizes
and counts are all that a listing shows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from controltower.cli.errors import CommandError
from controltower.store.client import Client
from controltower.store.quarantine import (
    QuarantineFilter,
    QuarantineGroup,
    drop_quarantined,
    list_quarantined,
    retry_quarantined,
)
from controltower.tracer.journal import PLAIN, Quarantine, Quarantined, Sealing

GROUPS: Final = 10_000
"""Groups of rows that one listing reads."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in quarantine: a file, or the rows of one segment that wait for one reason."""

    id: str
    signal: str
    kind: Literal["refused", "damaged", "torn", "raw", "rows"]
    reason: str
    since: datetime | None
    tenant: str = ""
    bytes: int | None = None  # of a file
    rows: int | None = None  # in the store
    can_be_retried: bool = True
    retrying: bool = False  # asked to be loaded again, and not taken yet


def item_of_file(signal: str, file: Quarantined) -> Item:
    """Return the item for a *file* beside the journal of *signal*."""
    return Item(
        id=f"{signal}/{file.name}",
        signal=signal,
        kind=file.kind,
        reason=file.reason,
        since=datetime.fromtimestamp(file.since_ns / 1e9, UTC) if file.since_ns else None,
        bytes=file.bytes,
        can_be_retried=file.can_be_retried,
        retrying=file.retrying,
    )


def items_of_rows(groups: Iterable[QuarantineGroup]) -> list[Item]:
    """Return an item for each segment and reason; of several tenants in one, the names stand side by side."""
    found: dict[str, Item] = {}
    for group in groups:
        name = f"{group.signal}/{group.segment}/{group.reason}"
        before = found.get(name)
        tenants = {group.tenant, *(before.tenant.split(", ") if before else [])} - {""}
        found[name] = Item(
            id=name,
            signal=group.signal,
            kind="rows",
            reason=group.reason,
            since=min(group.first_received_at, (before and before.since) or group.first_received_at),
            tenant=", ".join(sorted(tenants)),
            rows=group.rows + ((before.rows or 0) if before else 0),
        )
    return list(found.values())


class Quarantines:
    """Everything in quarantine of one data folder and one store."""

    def __init__(self, journals: Mapping[str, Path], client: Client | None, sealing: Sealing = PLAIN) -> None:
        """Look beside the *journals*, by signal, and into the store when there is a *client*.

        *sealing* is needed to read the bytes of an encrypted journal, and for nothing else.
        """
        self._files = {signal: Quarantine(folder, sealing=sealing) for signal, folder in journals.items()}
        self._client = client

    def items(self, matches: Callable[[Item], bool] = lambda _: True) -> list[Item]:
        """Return what matches, the oldest first. Raises StoreError, OSError."""
        found = [item_of_file(signal, file) for signal, files in self._files.items() for file in files.listing()]
        if self._client is not None:
            found += items_of_rows(list_quarantined(self._client, limit=GROUPS))
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(filter(matches, found), key=lambda item: (item.since or oldest, item.id))

    def chosen(self, ids: Sequence[str]) -> list[Item]:
        """Return the items of these names. Raises CommandError that names the first that is not there."""
        known = {item.id: item for item in self.items()}
        for wanted in ids:
            if wanted not in known:
                raise CommandError(
                    f"There is no {wanted!r} in quarantine; `controltower quarantine list` shows what is."
                )
        return [known[wanted] for wanted in ids]

    def retry(self, item: Item) -> None:
        """Have *item* loaded again: rows at once, a file by the collector. Raises JournalError, StoreError, OSError."""
        if item.kind == "rows":
            retry_quarantined(self._store(), rows_of(item))
        else:
            self._files[item.signal].retry(_file_of(item))

    def drop(self, item: Item) -> None:
        """Remove *item* for good. Raises JournalError, StoreError, OSError."""
        if item.kind == "rows":
            drop_quarantined(self._store(), rows_of(item))
        else:
            self._files[item.signal].drop(_file_of(item))

    def read(self, item: Item) -> bytes:
        """Return the bytes of a file as they are kept. Raises CommandError for rows, JournalError, OSError."""
        if item.kind == "rows":
            raise CommandError(f"{item.id} is no file: its rows are in the store, in otel_{item.signal}_quarantine.")
        return self._files[item.signal].read(_file_of(item))

    def _store(self) -> Client:
        assert self._client is not None  # rows are listed with a client only
        return self._client


def rows_of(item: Item) -> QuarantineFilter:
    """Return which rows *item* stands for."""
    _, segment, reason = item.id.split("/")
    return QuarantineFilter(item.signal, reason, segment)  # type: ignore[arg-type]  # a signal that the store named


def _file_of(item: Item) -> str:
    return item.id.partition("/")[2]
