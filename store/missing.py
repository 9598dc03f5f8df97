"""Numbers of a count that were not seen although a later one was: what a source may have told, and nobody heard. Pure."""

import json
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Final

_BEGINS: Final = '["'  # of a name: JSON, as no source is called


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """Numbers that follow each other and are missing, of a count that a source tells."""

    since: datetime  # the earlier of the times of the numbers before and after them
    until: datetime  # the later one
    source: str
    type: str
    scope: str
    first: str
    last: str
    counterparty: str = ""  # whose they are; empty when they may be anybody's

    @property
    def name(self) -> str:
        """All of it as one text, which stands where a deadline says for what it waits."""
        return json.dumps([str(value) for value in astuple(self)], ensure_ascii=False)

    @property
    def numbers(self) -> str:
        """What is missing, in words: ``interchange A|B|0099 to A|B|0100``."""
        return f"{self.type} {self.first}" + (f" to {self.last}" if self.last != self.first else "")

    @property
    def verb(self) -> str:
        """Whether it is one that is missing or several."""
        return "is" if self.first == self.last else "are"


def missing_of(name: str) -> Missing | None:
    """Return what is missing by its name; nothing when *name* is that of a source."""
    if not name.startswith(_BEGINS):
        return None
    since, until, *rest = json.loads(name)
    return Missing(datetime.fromisoformat(since), datetime.fromisoformat(until), *rest)
