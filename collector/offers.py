"""What was offered to the store in its present run: which segments may be there in part, and under which tokens."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from controltower.tracer.journal import order_of
from controltower.tracer.journal.disk import Disk

logger = logging.getLogger(__name__)

FILE: Final = "offers.json"


@dataclass(frozen=True, slots=True)
class Offers:
    """What is known of offers; a value, written down before it is relied on.

    A segment that was begun before the engine's present run may have been offered to an earlier run, which left a part
    of it, all of it or nothing. From then on it has a token of its own.
    """

    life: str = ""  # the engine's run, by ``store.life``
    since_ns: int = 0  # when that run was noticed
    is_checked: bool = True  # whether what is kept was looked for in this run
    is_counted: bool = True  # whether counts of spans are right: what is loaded again is counted again
    tokens: dict[str, str] = field(default_factory=dict)  # segment -> under which it is loaded instead of its id

    def in_life(self, life: str, now_ns: int) -> "Offers":
        """Return what is known in the run *life*, noticed now: nothing of what an earlier one was offered."""
        if life == self.life:
            return self
        return Offers(life, now_ns, is_checked=False, is_counted=self.is_counted)

    def is_unsure(self, segment: str) -> bool:
        """Whether an earlier run of the engine may hold something of *segment*."""
        return order_of(segment)[0] < self.since_ns and segment not in self.tokens

    def token(self, segment: str) -> str:
        """Return under what *segment* is loaded; empty for its id."""
        return self.tokens.get(segment, "")

    def with_token(self, segment: str, token: str) -> "Offers":
        """Return this and that *segment* is loaded under *token*."""
        return replace(self, tokens={**self.tokens, segment: token})

    def without(self, segment: str) -> "Offers":
        """Return this without the token of *segment*, which is done."""
        return replace(self, tokens={name: token for name, token in self.tokens.items() if name != segment})

    def checked(self) -> "Offers":
        """Return this, with what is kept looked for."""
        return replace(self, is_checked=True)

    def counted(self, *, right: bool) -> "Offers":
        """Return this, with counts that are right or have to be made again."""
        return replace(self, is_counted=right)


class OffersFile:
    """Where offers are written down, beside the segments."""

    def __init__(self, journal: Path, disk: Disk | None = None) -> None:
        self._path = journal / FILE
        self._disk = disk or Disk()

    def read(self) -> Offers:
        """Return what was written last; a file that cannot be read says nothing, and everything is looked for again."""
        try:
            known = json.loads(self._path.read_bytes())
            return Offers(
                life=str(known["life"]),
                since_ns=int(known["since_unix_nano"]),
                is_checked=bool(known["is_checked"]),
                is_counted=bool(known["is_counted"]),
                tokens={str(name): str(token) for name, token in known["tokens"].items()},
            )
        except FileNotFoundError:
            return Offers()  # a new journal
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read, segments are looked for in the store: %s", self._path, error)
            return Offers()

    def write(self, offers: Offers) -> None:
        """Write *offers* durably. Raises OSError."""
        known = {
            "life": offers.life,
            "since_unix_nano": offers.since_ns,
            "is_checked": offers.is_checked,
            "is_counted": offers.is_counted,
            "tokens": offers.tokens,
        }
        self._disk.replace(self._path, json.dumps(known).encode() + b"\n")
