"""How far a source was read, on disk: written after the collector acknowledged, and never more than a batch behind.

Two files. ``position`` is the state behind everything that was acknowledged. ``batch`` is the request that is on its way,
with the state behind it: it is there before the request is sent, so that after a crash the very same bytes are sent again,
whatever has become of what they were read from. The collector recognises them and stores nothing twice.
"""

import json
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.errors import PositionError
from controltower.tracer.journal.disk import Disk

logger = logging.getLogger(__name__)

FORMAT: Final = 1
MAGIC: Final = b"controltower scrape 1\n"

HEAD: Final = struct.Struct("<IQQ")  # CRC-32 of all behind it, length of the state, length of the body

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """A request that is on its way, and the state behind it."""

    state: Json
    body: bytes


class Positions:
    """The two files of one source. Every method blocks and raises PositionError when the disk does not do it."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self._folder = folder
        self._position = folder / "position"
        self._batch = folder / "batch"
        self._serial = 0

    def open(self) -> tuple[Json | None, Batch | None]:
        """Return the saved state, none at the first start, and the batch that was on its way."""
        try:
            self._disk.private_folder(self._folder)
        except OSError as exc:
            raise PositionError(f"The folder {self._folder} cannot be made: {exc.strerror}.") from exc
        saved = self._read(self._position)
        batch = self._read(self._batch)
        serial = saved[0]["serial"] if saved else 0
        if batch and batch[0]["serial"] <= serial:
            batch = None  # acknowledged, and the process ended before it was removed
        self._serial = batch[0]["serial"] if batch else serial
        return saved[0]["state"] if saved else None, Batch(batch[0]["state"], batch[1]) if batch else None

    def prepare(self, state: Json, body: bytes) -> None:
        """Save a request that is about to be sent."""
        self._serial += 1
        self._write(self._batch, state, body)

    def acknowledge(self, state: Json) -> None:
        """Save *state* as done: what was sent before is acknowledged."""
        self._write(self._position, state, b"")
        try:
            self._disk.unlink(self._batch)
        except OSError as exc:
            raise PositionError(f"{self._batch} cannot be removed: {exc.strerror}.") from exc

    def _write(self, path: Path, state: Json, body: bytes) -> None:
        text = json.dumps({"format": FORMAT, "serial": self._serial, "state": state}, separators=(",", ":")).encode()
        check = zlib.crc32(body, zlib.crc32(text))
        try:
            self._disk.replace(path, b"".join([MAGIC, HEAD.pack(check, len(text), len(body)), text, body]))
        except OSError as exc:
            raise PositionError(f"{path} cannot be written: {os.strerror(exc.errno or 0)}.") from exc

    def _read(self, path: Path) -> tuple[Json, bytes] | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PositionError(f"{path} cannot be read: {exc.strerror}.") from exc
        begin = len(MAGIC) + HEAD.size
        if not data.startswith(MAGIC) or len(data) < begin:
            raise PositionError(_damaged(path))
        check, length, body_length = HEAD.unpack_from(data, len(MAGIC))
        if len(data) != begin + length + body_length or zlib.crc32(data[begin:]) != check:
            raise PositionError(_damaged(path))
        found: Json = json.loads(data[begin : begin + length])
        return found, data[begin + length :]


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged. Remove it to read the source anew: steps that were sent already keep their ids, "
        "so none is there twice."
    )
