"""What an exception says now, and the stable name of what it is about; pure."""

import hashlib
import json
from enum import StrEnum

from controltower.store.rows import ExceptionRow


class Condition(StrEnum):
    """What an exception says: it is open, it is over, or it was never true."""

    FIRING = "firing"
    RESOLVED = "resolved"
    RETRACTED = "retracted"


def evaluate(row: ExceptionRow) -> Condition:
    """Return what *row* says. A deleted row was taken back by a correction, whatever else it holds."""
    if row.is_deleted:
        return Condition.RETRACTED
    return Condition.RESOLVED if row.resolved_at is not None else Condition.FIRING


def dedup_key(row: ExceptionRow) -> str:
    """Return the name of what *row* is about: the same for every row about it, for ever, and fit for any receiver."""
    return f"ct_{_digest(row.flow, *row.anchor, row.kind, row.rule, row.subject)[:40]}"


def notification_id(key: str, sequence: int) -> str:
    """Return the id of the notification number *sequence* about *key*: deciding the same again gives the same id."""
    return f"msg_{_digest(key, str(sequence))[:32]}"


def _digest(*parts: str) -> str:
    # As JSON, so that ("ab", "c") and ("a", "bc") differ, whatever stands in a key.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
