"""What the flows that ship publish, as the truth reads it: which step reaches which stage, and what is due when.

The rules are the contract that both sides follow; the truth works out what follows from them by itself.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from controltower.cli.demo.model import Anchor
from controltower.cli.demo.workdays import business_days_after
from controltower.store.flows.definition import Flow, SlaRule, Stage
from controltower.store.flows.files import load_packs


@lru_cache(maxsize=1)
def packs() -> Mapping[str, Flow]:
    """Return the flows that ship, by name."""
    return {flow.flow: flow for flow in load_packs()}


@lru_cache(maxsize=512)
def flow_of(code: str) -> str:
    """Return the flow that a step is of: one with a stage for it, else the only one with its prefix."""
    prefixed = [flow for flow in packs().values() if code.startswith(f"{flow.prefix}.")]
    staged = [flow for flow in prefixed if code in flow.stage_by_step]
    (found,) = staged or prefixed
    return found.flow


def stage_of(code: str) -> Stage | None:
    """Return the stage that a step stands for, if any."""
    return packs()[flow_of(code)].stage_by_step.get(code)


def due_at(rule: SlaRule, at: datetime, context: Mapping[str, str]) -> datetime | None:
    """Return when what *rule* asks for falls due after *at*; None when the step there had to state a limit and does not."""
    if rule.stated is not None and (stated := context.get(rule.stated.context)):
        return at + timedelta(seconds=float(stated)) * rule.stated.times
    if rule.stated is not None and rule.stated.only:
        return None
    assert rule.at is None, f"{rule.name} has a cut-off, which the truth does not know"
    if rule.within.unit == "business day":
        return business_days_after(at, rule.within.count)
    assert not rule.within.business, f"{rule.name} is limited in {rule.within.unit}s, which the truth does not know"
    return at + rule.within.span


def anchor(flow: str, key_type: str, value: str, context: Mapping[str, str]) -> Anchor:
    """Return the anchor of a number, issued in the scope that the flow takes from *context*."""
    spec = packs()[flow].keys[key_type]
    scope = context.get(spec.scope.removeprefix("context."), "") if spec.scope else ""
    return Anchor(key_type, scope, value.upper() if spec.normalise == "upper" else value)
