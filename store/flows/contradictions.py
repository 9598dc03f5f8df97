"""What a flow says that is well formed and cannot be meant, such as a key that leads to no anchor. Pure."""

from collections.abc import Hashable, Iterator
from datetime import timedelta

from controltower.store.flows.calendar import Limit
from controltower.store.flows.definition import Each, Flow, Sequence, Side, Sides, SlaRule, Window, Windows
from controltower.store.flows.schedule import Every, shortest
from controltower.store.yaml_lines import Problem


def contradictions(flow: Flow) -> Iterator[Problem]:
    """Yield (place, problem) for everything that is well formed but cannot be meant."""
    yield from _key_problems(flow)
    yield from _stage_problems(flow)
    yield from _source_problems(flow)
    yield from _sequence_problems(flow)
    yield from _sla_problems(flow)
    yield from _reconciliation_problems(flow)
    for name, spec in flow.calendars.items():
        try:
            spec.build()
        except ValueError as exc:
            yield ("calendars", name), str(exc)


def _key_problems(flow: Flow) -> Iterator[Problem]:
    for position, anchor in enumerate(flow.anchors):
        if anchor not in flow.keys:
            yield ("anchors", position), f"{anchor} is not one of the keys"
    for name, spec in flow.keys.items():
        if spec.parent is not None and spec.parent not in flow.keys:
            yield ("keys", name, "parent"), f"{spec.parent} is not one of the keys"
        elif name in _parents_of(flow, name):
            yield ("keys", name, "parent"), f"{name} is its own ancestor"
        elif name not in flow.anchors and not flow.ancestors[name] & set(flow.anchors):
            yield (
                ("keys", name),
                f"leads to no anchor ({', '.join(flow.anchors)}): give it a parent, or send it as context",
            )


def _parents_of(flow: Flow, name: str) -> set[str]:
    """Every type above *name*, itself included when the tree has a loop."""
    found: set[str] = set()
    parent = flow.keys[name].parent
    while parent is not None and parent in flow.keys and parent not in found:
        found.add(parent)
        parent = flow.keys[parent].parent
    return found


def _stage_problems(flow: Flow) -> Iterator[Problem]:
    names: set[str] = set()
    steps: set[str] = set()
    matches: set[tuple[str, str]] = set()
    for position, stage in enumerate(flow.stages):
        if not set(stage.outcomes) - {"duplicate"}:
            yield ("stages", position, "outcomes"), f"{stage.name} cannot be reached: no outcome but a duplicate counts"
        if stage.match is not None and (stage.match.service, stage.match.span) in matches:
            yield ("stages", position, "match"), f"{stage.name} cannot be reached so: the span already is another stage"
        if stage.match is not None:
            matches.add((stage.match.service, stage.match.span))
        if stage.name in names:
            yield ("stages", position, "name"), f"two stages are named {stage.name}"
        if stage.step in steps:
            yield ("stages", position, "step"), f"{stage.step} already reaches another stage"
        if not stage.step.startswith(flow.prefix + "."):
            yield ("stages", position, "step"), f"{stage.step} does not start with the flow's prefix {flow.prefix}."
        for number, key in enumerate(stage.joined_by):
            if key not in flow.keys:
                yield ("stages", position, "joined_by", number), f"{key} is not one of the keys"
        names.add(stage.name)
        steps.add(stage.step)
    if not any(stage.final for stage in flow.stages):
        yield ("stages",), "no stage is final: no transaction could ever be completed"
    if flow.amount is not None and flow.amount not in names:
        yield ("amount",), f"{flow.amount} is not one of the stages"
    if flow.batch is not None and flow.batch not in flow.keys:
        yield ("batch",), f"{flow.batch} is not one of the keys"


def _source_problems(flow: Flow) -> Iterator[Problem]:
    for position, stage in enumerate(flow.stages):
        for number, name in enumerate(stage.told_by):
            if name not in flow.sources:
                yield ("stages", position, "told_by", number), f"{name} is not one of the sources"
    for name, source in flow.sources.items():
        yield from _limit_problems(flow, ("sources", name), source.silent_after, source.calendar, "silent_after")


def _sequence_problems(flow: Flow) -> Iterator[Problem]:
    for name, sequence in flow.sequences.items():
        if name not in flow.keys:
            yield ("sequences", name), f"{name} is not one of the keys"
        for field, limit in (("missing_after", sequence.missing_after), ("lost_after", sequence.lost_after)):
            if limit is not None and limit.business:
                yield ("sequences", name, field), "write plain time, such as 1 hour: a count knows no calendar"
        yield from _counted_problems(flow, name, sequence)


def _counted_problems(flow: Flow, name: str, sequence: Sequence) -> Iterator[Problem]:
    if sequence.source is not None and sequence.source not in flow.sources:
        yield ("sequences", name, "source"), f"{sequence.source} is not one of the sources"
    for field in ("lost_after", "per_counterparty"):
        if sequence.source is None and getattr(sequence, field):
            yield ("sequences", name, field), "without a source nothing waits for what is missing"
    if sequence.per_counterparty and flow.counterparty is None:
        yield ("sequences", name, "per_counterparty"), "the flow does not say who the counterparty is"
    if sequence.lost_after is not None and sequence.lost_after.span < sequence.missing_after.span:
        yield ("sequences", name, "lost_after"), "it would be lost before it counts as missing"


def _sla_problems(flow: Flow) -> Iterator[Problem]:
    names: set[str] = set()
    for position, rule in enumerate(flow.sla):
        if rule.name in names:
            yield ("sla", position, "name"), f"two rules are named {rule.name}"
        names.add(rule.name)
        for field, stage in (("from", rule.from_), ("to", rule.to), ("renewed_by", rule.renewed_by)):
            if stage and stage not in flow.stage_by_name:
                yield ("sla", position, field), f"{stage} is not one of the stages"
        if not rule.from_ and rule.every is None:
            yield ("sla", position, "from"), "is missing"
        if rule.from_ == rule.to:
            yield ("sla", position, "to"), f"{rule.to} is reached when {rule.from_} is: nothing is ever due"
        if rule.per is not None and rule.per not in flow.keys:
            yield ("sla", position, "per"), f"{rule.per} is not one of the keys"
        yield from _limit_problems(flow, ("sla", position), rule.within, rule.calendar)
        if rule.every is None:
            yield from _cut_off_problems(flow, position, rule)
        else:
            yield from _schedule_problems(flow, position, rule, rule.every)


def _schedule_problems(flow: Flow, position: int, rule: SlaRule, every: Every) -> Iterator[Problem]:
    place = "sla", position
    for field, value in (
        ("from", rule.from_),
        ("at", rule.at),
        ("stated", rule.stated),
        ("renewed_by", rule.renewed_by),
        ("per", rule.per),
    ):
        if value:
            yield (*place, field), "a schedule asks for no step before, and is of no transaction"
    if isinstance(every, Limit):
        if every.business or not every.count:
            yield (
                (*place, "every"),
                "write plain time that is not zero, such as 15 minutes: with a calendar it counts in its hours",
            )
        elif rule.calendar is not None and every.span > timedelta(days=1):
            yield (*place, "every"), "a calendar counts an interval from each opening: write a time of the day"
    elif rule.calendar is None:
        yield (*place, "every"), "a time of the day, and the close, need a calendar"
    if every == "close" and rule.calendar in flow.calendars and flow.calendars[rule.calendar].close is None:
        yield (*place, "every"), f"the calendar {rule.calendar} does not say when the books close"
    if every and rule.within.span > (apart := shortest(every)):
        yield (*place, "within"), f"the next one comes {apart} later: {rule.within} would not be over by then"
    if rule.early is not None and rule.early.business:
        yield (*place, "early"), "write plain time, such as 12 hours"
    if rule.each is not None:
        yield from _each_problems(flow, (*place, "each"), rule.each)


def _each_problems(flow: Flow, place: tuple[Hashable, ...], each: Each) -> Iterator[Problem]:
    if (each.context is None) == (each.key is None):
        yield place, "say of which context, or of which key, these are values"
    if each.key is not None and each.key not in flow.keys:
        yield (*place, "key"), f"{each.key} is not one of the keys"
    spec = flow.keys.get(each.key or "")
    as_stored = {value.upper() if spec and spec.normalise == "upper" else value for value in each.values}
    if len(as_stored) < len(each.values):
        yield (*place, "values"), "one of them stands there twice"


def _cut_off_problems(flow: Flow, position: int, rule: SlaRule) -> Iterator[Problem]:
    for field in ("early", "each"):
        if getattr(rule, field) is not None:
            yield ("sla", position, field), "only a schedule has it: a rule with every"
    if rule.at is None:
        if "within" not in rule.model_fields_set:
            yield ("sla", position), f"{rule.name} says neither within nor at: it would never be due"
    elif rule.calendar is None:
        yield ("sla", position, "at"), "a cut-off needs a calendar"
    elif rule.at == "close" and rule.calendar in flow.calendars and flow.calendars[rule.calendar].close is None:
        yield ("sla", position, "at"), f"the calendar {rule.calendar} does not say when the books close"


def _reconciliation_problems(flow: Flow) -> Iterator[Problem]:
    for position, rule in enumerate(flow.reconciliations):
        for name in Sides.model_fields:
            side: Side = getattr(rule.sides, name)
            if side.stage not in flow.stage_by_name:
                yield ("reconciliations", position, "sides", name, "stage"), f"{side.stage} is not one of the stages"
            if side.document is not None and side.document not in flow.keys:
                yield (
                    ("reconciliations", position, "sides", name, "document"),
                    f"{side.document} is not one of the keys",
                )
        for name in Windows.model_fields:
            window: Window = getattr(rule.windows, name)
            yield from _limit_problems(
                flow, ("reconciliations", position, "windows", name), window.within, window.calendar
            )


def _limit_problems(
    flow: Flow, place: tuple[Hashable, ...], limit: Limit, calendar: str | None, field: str = "within"
) -> Iterator[Problem]:
    if calendar is not None and calendar not in flow.calendars:
        yield (*place, "calendar"), f"{calendar} is not one of the calendars"
    if limit.business and calendar is None:
        yield (*place, field), f"{limit} needs a calendar"
