"""What an example in a flow file may say."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field


def _values(value: object) -> object:
    """Return several values of a key as spans carry them: the JSON text of an array."""
    return json.dumps([str(each) for each in value]) if isinstance(value, list) else str(value)


def _instant(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time needs its zone: 2026-03-02T09:00:00Z")
    return value


KeyValues = Annotated[str, BeforeValidator(_values)]
Text = Annotated[str, BeforeValidator(str)]
Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExampleStep(_Model):
    """A step as a service would send it. ``links`` are numbers of other steps, from 1, that its span links to."""

    step: str
    at: Instant
    keys: Mapping[str, KeyValues] = {}
    scopes: Mapping[str, Text] = {}
    context: Mapping[str, Text] = {}
    system: str = "system"
    trace: Text = ""  # a trace of its own when not given
    links: tuple[Annotated[int, Field(ge=1)], ...] = ()
    outcome: Literal["ok", "rejected", "exception", "duplicate", "pending"] = "ok"
    reason: str = ""
    failed: bool = False
    amount: Text = ""
    currency: str = ""
    lines: tuple[Mapping[str, Text], ...] = ()


class Expected(_Model):
    """A transaction that must come of an example; what is not said may be anything."""

    transaction: str  # TYPE:VALUE or TYPE:VALUE@SCOPE of its anchor
    state: str | None = None
    stages: tuple[str, ...] | None = None
    steps: int | None = None
    at_stake: Annotated[
        Decimal | None, BeforeValidator(lambda value: value if value is None else Decimal(str(value)))
    ] = None
    deadlines: Mapping[str, str] = {}  # rule, with its subject when it has one -> state
    matches: Mapping[Text, str] = {}  # line -> status, with its reason when it has one


class Example(_Model):
    """A few steps, and all the transactions that must come of them as of *now* (default: the last step)."""

    name: Annotated[str, Field(min_length=1)]
    now: Instant | None = None
    heard: Mapping[str, Instant] = {}  # source -> when it was last heard of (default: now)
    steps: Annotated[tuple[ExampleStep, ...], Field(min_length=1)]
    expect: Annotated[tuple[Expected, ...], Field(min_length=1)]
    parked: int = 0  # steps that belong to none
    since: Instant | None = None  # since when the flow is in force, for its schedules (default: the first step)
    # Rule with every, with whose it is when it says of each -> the times that were missed; every one is told.
    missed: Mapping[str, tuple[Instant, ...]] = {}

    def model_post_init(self, context: Any) -> None:
        """Refuse links to steps that are not there."""
        for step in self.steps:
            if any(number > len(self.steps) for number in step.links):
                raise ValueError(f"{step.step}: a link names a step that is not there")
