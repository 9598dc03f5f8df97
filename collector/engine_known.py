"""What is known of the store's engine from before: beside the segments, for the process that comes after a crash."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import Disk

logger = logging.getLogger(__name__)

FILE: Final = "engine.json"


@dataclass(frozen=True, slots=True)
class Known:
    """A value, written down before it is relied on."""

    life: str = ""  # the engine's run, by ``store.life``
    is_checked: bool = True  # whether what is kept was looked for in this run
    is_counted: bool = True  # whether counts of spans are right: what is loaded again is counted again

    def in_life(self, life: str) -> "Known":
        """Return this in the run *life*, in which nothing was looked for yet."""
        return replace(self, life=life, is_checked=False)

    def checked(self) -> "Known":
        """Return this, with what is kept looked for."""
        return replace(self, is_checked=True)

    def counted(self, *, right: bool) -> "Known":
        """Return this, with counts that are right or have to be made again."""
        return replace(self, is_counted=right)


class KnownFile:
    """Where it is written down."""

    def __init__(self, journal: Path, disk: Disk | None = None) -> None:
        self._path = journal / FILE
        self._disk = disk or Disk()

    def read(self) -> Known:
        """Return what was written last; a file that cannot be read says nothing, and everything is looked for again."""
        try:
            known = json.loads(self._path.read_bytes())
            return Known(str(known["life"]), bool(known["is_checked"]), bool(known["is_counted"]))
        except FileNotFoundError:
            return Known()  # a new journal
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s cannot be read, the store is looked through: %s", self._path, error)
            return Known(is_counted=False)

    def write(self, known: Known) -> None:
        """Write *known* durably. Raises OSError."""
        content = {"life": known.life, "is_checked": known.is_checked, "is_counted": known.is_counted}
        self._disk.replace(self._path, json.dumps(content).encode() + b"\n")
