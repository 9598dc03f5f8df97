"""Where messages are: a queue, topic or subject at a broker, and what a span of an operation there is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

Plain = str | bool | int | float
Operation = Literal["send", "receive", "process", "settle"]

MAX_ID: Final = 256  # characters of a message id, of a destination
MAX_PLACES: Final = 1024  # that are remembered; a service has tens, and subjects and topics can be made up


@dataclass(frozen=True, slots=True)
class Place:
    """A queue, topic or subject at a broker."""

    system: str  # rabbitmq, kafka … as OpenTelemetry names them
    name: str
    host: str = ""
    port: int | None = None
    others: Mapping[str, Plain] = field(default_factory=dict)
    template: str = ""  # of names that a receiver asked for: orders.*
    _described: dict[tuple[str, str], tuple[str, dict[str, Plain]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def described(self, type_: Operation, operation: str) -> tuple[str, dict[str, Plain]]:
        """Return the name and the attributes of a span of one operation, not to be changed.

        The name is of the template, of which there are few, before that of the place.
        """
        if (found := self._described.get((type_, operation))) is None:
            name = f"{type_} {(self.template or self.name)[:MAX_ID]}"
            found = self._described[type_, operation] = name, {**self._attributes(), **operation_of(type_, operation)}
        return found

    def _attributes(self) -> dict[str, Plain]:
        found: dict[str, Plain] = {
            "messaging.system": self.system,
            "messaging.destination.name": self.name[:MAX_ID],
            **self.others,
        }
        if self.template:
            found["messaging.destination.template"] = self.template[:MAX_ID]
        if self.host:
            found["server.address"] = self.host
        if self.port:
            found["server.port"] = self.port
        return found


@lru_cache(MAX_PLACES)
def place_at(
    system: str,
    name: str,
    host: str = "",
    port: int | None = None,
    others: tuple[tuple[str, Plain], ...] = (),
    template: str = "",
) -> Place:
    """Return a place: the same one as before, if it was asked for, so that its attributes are made once."""
    return Place(system, name, host, port, dict(others), template)


def operation_of(type_: Operation, name: str) -> dict[str, Plain]:
    """Return the attributes of an operation."""
    return {"messaging.operation.name": name, "messaging.operation.type": type_}
