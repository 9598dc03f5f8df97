"""What people decided about links, over what the rules would say: cut, confirmed, or undone. Pure.

A correction is about two keys (an invoice and its order), or about a step and a key (this receipt and that order). Of each
pair the last word holds that was not undone, by the time it was said, in whatever order the words become known.

*A cut takes away all that rests on what it names, a confirmation joins what it names and nothing else.* Two keys that were
cut are no link. A step that was cut from a key is taken not to carry it: it is no evidence for links of that key, and
nothing leads the step to that key's transaction. Two keys that were confirmed are a link at any time, and the only one of a
key that may have one. A step that was confirmed for a key is placed as if it carried it. Where both speak, the cut holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from controltower.store.rows import Correction, CorrectionAction, Key, KeyLink, Step

if TYPE_CHECKING:  # readers of corrections need no flows, whose definition takes a fifth of a command's start
    from controltower.store.flows.definition import Flow

CONFIRM: Final = "confirm"  # the evidence of what a person confirmed

StepId = tuple[str, str]  # trace id, span id
Value = tuple[str, str]  # key type, value: a key whatever its scope


class Waived(NamedTuple):
    """A deadline that somebody waived."""

    flow: str
    anchor: Key
    rule: str
    subject: str


def standing(said: Iterable[Correction]) -> list[Correction]:
    """Return the cuts and confirmations that hold, in order of time."""
    in_order = sorted(said, key=lambda one: (one.at, one.id))
    undone = {one.undoes for one in in_order}
    last = {one.subject: one for one in in_order if one.action is not CorrectionAction.UNDO and one.id not in undone}
    return sorted(last.values(), key=lambda one: (one.at, one.id))


def fits(named: Key, key: Key) -> bool:
    """Whether a cut of *named* is about *key*: where one of them names no scope, the value tells."""
    return named[::2] == key[::2] and (named.scope == key.scope or "" in (named.scope, key.scope))


@dataclass(frozen=True, slots=True)
class Corrections:
    """The corrections of one flow that hold."""

    cuts: Mapping[Value, Sequence[tuple[Key, Key]]] = field(default_factory=dict)  # pairs of keys, by each of the two
    links: Sequence[KeyLink] = ()  # pairs that were confirmed: without a trace, the correction's id as their span
    cut_steps: Mapping[StepId, Sequence[Key]] = field(default_factory=dict)
    confirmed_steps: Mapping[StepId, Sequence[tuple[Key, str]]] = field(default_factory=dict)  # key, correction's id

    def is_cut(self, key: Key, other: Key) -> bool:
        """Whether the two keys were cut."""
        return any(
            (fits(one, key) and fits(two, other)) or (fits(one, other) and fits(two, key))
            for one, two in self.cuts.get(_value(key), ())
        )

    def cut_from(self, step: Step) -> Sequence[Key]:
        """Return the keys that the step was cut from."""
        return self.cut_steps.get((step.trace_id, step.span_id), ()) if self.cut_steps else ()

    def carried(self, step: Step) -> Sequence[Key]:
        """Return the keys that the step is taken to carry by itself."""
        cut = self.cut_from(step)
        return [key for key in step.keys if not any(fits(named, key) for named in cut)] if cut else step.keys

    def confirmed_for(self, step: Step) -> Sequence[tuple[Key, str]]:
        """Return the keys that the step was confirmed for, each with the correction's id."""
        return self.confirmed_steps.get((step.trace_id, step.span_id), ()) if self.confirmed_steps else ()

    def lost(self, link: KeyLink) -> bool:
        """Whether the step that says *link* was cut from one of its keys."""
        cut = self.cut_steps.get((link.trace_id, link.span_id), ()) if self.cut_steps else ()
        return any(fits(named, key) for named in cut for key in (link.child, link.parent))


def of_flow(flow: "Flow", said: Iterable[Correction]) -> Corrections:
    """Return what holds in *flow*; what names types or pairs that the flow does not join is without effect."""
    cuts: dict[Value, list[tuple[Key, Key]]] = defaultdict(list)
    links: list[KeyLink] = []
    cut_steps: dict[StepId, list[Key]] = defaultdict(list)
    confirmed_steps: dict[StepId, list[tuple[Key, str]]] = defaultdict(list)
    for one in standing(each for each in said if each.flow == flow.flow and not each.of_deadline):
        if one.of_step and one.action is CorrectionAction.CUT:
            cut_steps[one.trace_id, one.span_id].append(one.other)
        elif one.of_step and one.other.type in flow.keys:
            confirmed_steps[one.trace_id, one.span_id].append((one.other, one.id))
        elif one.action is CorrectionAction.CUT:
            for value in {_value(one.key), _value(one.other)}:
                cuts[value].append((one.key, one.other))
        elif one.other.type in flow.ancestors.get(one.key.type, ()):
            links.append(KeyLink(flow.flow, one.key, one.other, "", one.id, one.at))
        elif one.key.type == one.other.type and one.key.type in flow.keys:
            both = (one.key, one.other), (one.other, one.key)
            links.extend(KeyLink(flow.flow, child, parent, "", one.id, one.at) for child, parent in both)
    return Corrections(dict(cuts), tuple(links), dict(cut_steps), dict(confirmed_steps))


def waivers(said: Iterable[Correction]) -> dict[Waived, Correction]:
    """Return the deadlines that people waived, each with the waiver that holds."""
    return {
        Waived(one.flow, one.key, one.other.value, one.other.scope): one
        for one in standing(each for each in said if each.of_deadline)
    }


def _value(key: Key) -> Value:
    return key.type, key.value
