"""Telemetry that is worse than the truth: links that nobody reports, and numbers that lead everywhere. Pure.

What really happened stays as it was, so a score tells what the product makes of it: paths may be shorter, and never joined.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from controltower.cli.demo.model import BusinessStep, Plan, PlannedSpan, Values
from controltower.cli.demo.simulation import as_sent

# Documents whose numbers a careless interface fills with one and the same text, by the prefix of their steps.
HUB_TYPES: Final = {
    "p2p": ("requisition", "shipment", "packing_slip"),
    "implant": ("device",),
    "c2c": ("charge",),
    "o2c": ("sscc",),
    "inv": ("erp_transaction",),
    "mdm": ("mdm_leg",),
}
# Without its set, what a file's group says is said of the whole group, and so on: another statement, and no link that is missing.
NARROWS: Final = {"set": "group", "usage": "case", "debit_memo_line": "debit_memo"}

Change = Callable[[BusinessStep], BusinessStep]


def withhold_links(plan: Plan, share: float) -> Plan:
    """Return *plan* with one key left out of that *share* of the steps that link several; each is counted as a fault."""
    chance = Random(f"{plan.seed}/withheld")  # noqa: S311 - a simulation must be repeatable

    def withheld(step: BusinessStep) -> BusinessStep:
        if len(step.keys) < 2 or chance.random() >= share:
            return step
        left_out = chance.choice([name for name in sorted(step.keys) if NARROWS.get(name) not in step.keys])
        plan.faults["withheld_link"] += 1
        return replace(step, keys={name: value for name, value in step.keys.items() if name != left_out})

    plan = replace(plan, faults=plan.faults.copy())
    return _changed(plan, withheld)


def add_hub_keys(plan: Plan, hubs: int) -> Plan:
    """Return *plan* with *hubs* numbers of each of HUB_TYPES beside the true ones, in turn on all steps that have such a key."""
    turns: Counter[str] = Counter()

    def with_hub(step: BusinessStep) -> BusinessStep:
        added: dict[str, Values] = {}
        for name in HUB_TYPES.get(step.code.partition(".")[0], ()):
            if name in step.keys:
                turns[name] += 1
                plan.faults["hub_key"] += 1
                added[name] = (*_many(step.keys[name]), as_sent(name, f"HUB-{name.upper()}-{turns[name] % hubs + 1}"))
        return replace(step, keys={**step.keys, **added}) if added else step

    plan = replace(plan, faults=plan.faults.copy())
    return _changed(plan, with_hub)


def _many(values: Values) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def _changed(plan: Plan, change: Change) -> Plan:
    traces = tuple(replace(trace, spans=tuple(_span(span, change) for span in trace.spans)) for trace in plan.traces)
    return replace(plan, traces=traces)


def _span(span: PlannedSpan, change: Change) -> PlannedSpan:
    return replace(span, step=change(span.step)) if span.step else span


def perturbed(plan: Plan, *, withhold: float, hubs: int) -> Plan:
    """Return *plan* with hubs, and then without some links."""
    plan = add_hub_keys(plan, hubs) if hubs else plan
    return withhold_links(plan, withhold) if withhold else plan
