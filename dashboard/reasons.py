"""Why a step belongs to a transaction, in words; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controltower.dashboard.format import key_text
from controltower.store.read import Member
from controltower.store.rows import Key, Via

EVIDENCE = {
    "key": "both on one step",
    "trace": "in the same trace",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One hop of a chain: a key, and how it is tied to the one before."""

    key: Key
    evidence: str
    seen_in: str  # the system whose span shows the tie; empty when that span is no member


@dataclass(frozen=True, slots=True)
class Reason:
    """The chain of keys from a step to the anchor."""

    member: Member
    links: tuple[Link, ...]
    sentence: str


def explain(members: Iterable[Member], anchor: Key) -> tuple[Reason, ...]:
    """Return for each step the chain of keys it belongs by."""
    known = list(members)
    systems = {(member.step.trace_id, member.step.span_id): member.step.system for member in known}
    return tuple(_reason(member, anchor, systems) for member in known)


def _reason(member: Member, anchor: Key, systems: Mapping[tuple[str, str], str]) -> Reason:
    via = member.membership.via
    links = tuple(
        Link(Key(hop.type, hop.scope, hop.value), hop.evidence, systems.get((hop.trace_id, hop.span_id), ""))
        for hop in via
    )
    return Reason(member, links, _sentence(via, anchor))


def _sentence(via: tuple[Via, ...], anchor: Key) -> str:
    if not via:
        return "It was placed here without a recorded key."
    keys = [Key(hop.type, hop.scope, hop.value) for hop in via]
    if via[0].evidence == "trace":
        start = f"It carries no key that leads here, but its trace is about {key_text(keys[0])} only"
    elif keys[0] == anchor:
        return f"It carries {key_text(anchor)} itself."
    else:
        start = f"It carries {key_text(keys[0])}"
    chain = "".join(f", which stands on one step with {key_text(key)}" for key in keys[1:])
    return f"{start}{chain}."
