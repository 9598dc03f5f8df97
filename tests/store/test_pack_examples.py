"""The worked examples of the flows that ship: real steps in, and the transactions that must come of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from controltower.collector.redaction.policy import default_policy
from controltower.store.flows.classify import Classifier, SpanRow
from controltower.store.flows.deadlines import Member
from controltower.store.flows.definition import Flow
from controltower.store.flows.files import load_packs
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.rows import DeadlineState, Key, Step, TransactionStep
from controltower.tracer import attributes as names
from tests.store.flow_steps import resolve_all
from tests.store.spans import text_of

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "flows"
PACKS = load_packs()
CLASSIFIER = Classifier(PACKS)
BY_NAME = {flow.flow: flow for flow in PACKS}
LATE = (DeadlineState.BREACHED, DeadlineState.MET_LATE)
PLAIN = ("amount", "currency", "outcome", "reason")  # of a step, named as they are


class Strict(BaseModel):
    """A field that is misspelt is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExampleStep(Strict):
    """What a system says of a step."""

    at: datetime
    step: str
    keys: dict[str, str | tuple[str, ...]]
    context: dict[str, str] = {}
    outcome: str = ""
    reason: str = ""
    amount: str = ""
    currency: str = ""

    def span(self, number: int) -> SpanRow:
        """Return the span that says so, in a trace of its own."""
        said = {names.PREFIX + name: getattr(self, name) for name in PLAIN if getattr(self, name)}
        said |= {names.KEY + name: text_of(value) for name, value in self.keys.items()}
        said |= {names.CONTEXT + name: value for name, value in self.context.items()}
        ids = f"{number + 1:032x}", f"{number + 1:016x}"
        return SpanRow(*ids, "example", self.step, self.at, 0, False, {names.STEP: self.step, **said}, (), self.at)


class Expected(Strict):
    """What must become of a transaction: late deadlines by their rules, open exceptions by kind and reason."""

    state: str
    stages: tuple[str, ...]
    late: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


class Example(Strict):
    """Steps, and what must come of them at a time; no step may be left over unless it is said how many are."""

    name: str
    now: datetime
    steps: tuple[ExampleStep, ...]
    transactions: dict[str, Expected]
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the steps of an example."""

    verdicts: Mapping[str, Verdict]
    parked: Mapping[str, str]
    flows: Counter[str] = field(default_factory=Counter)


def examples() -> list[Any]:
    """Return every example with its flow."""
    return [
        pytest.param(flow.flow, Example(**given), id=f"{flow.flow}: {given['name']}")
        for flow in PACKS
        if (FOLDER / f"{flow.flow}.yaml").exists()
        for given in yaml.safe_load((FOLDER / f"{flow.flow}.yaml").read_text(encoding="utf-8"))
    ]


def outcome_of(flow: Flow, example: Example) -> Outcome:
    """Classify by all flows that ship, resolve, and judge what is of this one."""
    found = [one.step for number, each in enumerate(example.steps) for one in CLASSIFIER.classify(each.span(number), 1)]
    steps = {int(step.span_id, 16): step for step in found if step.flow == flow.flow}
    resolutions = resolve_all(steps.values(), flow=flow)
    members: dict[Key, list[Member]] = {}
    for number, resolution in resolutions.items():
        for one in resolution.memberships:
            row = membership(steps[number], one.anchor, one.evidence, one.through, len(resolution.memberships))
            members.setdefault(one.anchor, []).append(Member(steps[number], row))
    verdicts = {named(key): judge(flow, key, own, {}, example.now, 1) for key, own in members.items()}
    parked = {steps[number].step: each.parked.reason for number, each in resolutions.items() if each.parked}
    return Outcome(verdicts, parked, Counter(step.flow for step in found))


def membership(step: Step, anchor: Key, evidence: str, through: tuple[Key, ...], anchors: int) -> TransactionStep:
    """Return a membership as the engine writes it."""
    return TransactionStep(
        step.flow, anchor, step.trace_id, step.span_id, step.stage, evidence, (), through, anchors=anchors
    )


def named(key: Key) -> str:
    """Return a key as the examples write it: the scope only where two could be meant."""
    return f"{key.type} {key.value}" + (f"@{key.scope}" if key.scope else "")


def of_verdict(verdict: Verdict) -> Expected:
    """Return what an example says of a transaction."""
    return Expected(
        state=str(verdict.transaction.state),
        stages=verdict.transaction.stages,
        late=tuple(dict.fromkeys(each.rule for each in verdict.deadlines if each.state in LATE)),
        open=tuple(
            f"{each.kind} {each.reason}"
            for each in verdict.exceptions
            if each.resolved_at is None and each.kind != "deadline"
        ),
    )


@pytest.mark.parametrize(("name", "example"), examples())
def test_what_must_come_of_the_steps(name: str, example: Example) -> None:
    """Each step is of this flow only; every transaction has its state, its stages and what is late; none is left over."""
    found = outcome_of(BY_NAME[name], example)
    shown = {anchor.rpartition("@")[0] or anchor: verdict for anchor, verdict in found.verdicts.items()}
    if len(shown) < len(found.verdicts) or not shown.keys() <= example.transactions.keys():
        shown = dict(found.verdicts)

    assert found.flows == {name: len(example.steps)}
    assert {anchor: of_verdict(verdict) for anchor, verdict in shown.items()} == example.transactions
    assert len(found.parked) == example.parked, found.parked


@pytest.mark.parametrize("name", [flow.flow for flow in PACKS if flow.flow != "procure_to_pay"])
def test_every_flow_that_ships_has_examples(name: str) -> None:
    """A pack without one is a claim; procure to pay has the simulated network."""
    reached = {step.step for _, example in (param.values for param in examples() if param.values[0] == name) for step in example.steps}  # fmt: skip

    assert reached & {stage.step for stage in BY_NAME[name].stages if stage.final}


def test_every_limit_says_where_it_is_from() -> None:
    """Beside each limit stands its source, or that it is a default."""
    packs = Path(str(FOLDER.parents[2] / "store" / "flows" / "packs"))
    lines = [
        (pack.name, line)
        for pack in sorted(packs.glob("*.yaml"))
        for line in pack.read_text(encoding="utf-8").splitlines()
        if "from:" in line and "to:" in line
    ]

    assert len(lines) > 30
    assert [each for each in lines if "   #" not in each[1]] == []


def test_amounts_of_examples_are_exact() -> None:
    """An amount in an example is the transaction's, to the cent."""
    (example,) = [param.values[1] for param in examples() if "applied late" in str(param.id)]
    verdict = outcome_of(BY_NAME["warehouse_to_finance"], example).verdicts["movement M-1"]

    assert verdict.transaction.amount == Decimal("120.00")


def test_no_key_of_a_pack_is_dropped_by_the_policy_that_ships() -> None:
    """What joins transactions, and the issuers that tell numbers apart, pass sources of patients' data, as they are or as tokens."""
    policy = default_policy()
    keys = {name for flow in PACKS for name in flow.keys}
    issuers = {spec.scope.removeprefix("context.") for flow in PACKS for spec in flow.keys.values() if spec.scope}

    assert keys - {*policy.keys.keep, *policy.keys.token} == set()
    assert issuers - {*policy.contexts.keep} == set()
