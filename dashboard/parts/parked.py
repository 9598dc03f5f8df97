"""Steps that belong to no transaction yet."""

from collections.abc import Iterable

from controltower.dashboard import links
from controltower.dashboard.format import key_text, moment, money
from controltower.dashboard.journey import step_title
from controltower.dashboard.labels import Flows
from controltower.dashboard.markup import Column, Html, badge, chip, joined, link, muted, table, toned, two_lines
from controltower.store.read import AnchorRef, Parked

TITLES = {"": "Parked and ambiguous", "parked": "Parked: no way up", "ambiguous": "Ambiguous: more than one way"}
KEYS_SHOWN = 6


def rows(found: Iterable[Parked], flows: Flows) -> Html:
    """Return the steps with what they carry and why they wait."""
    columns = (
        Column("Step"),
        Column("At (UTC)"),
        Column("State"),
        Column("Why"),
        Column("Keys it carries"),
        Column("Amount", "right"),
    )
    return table(columns, (_row(one, flows) for one in found))


def _row(one: Parked, flows: Flows) -> tuple[str | Html, ...]:
    step = one.step
    return (
        two_lines(step_title(flows.get(step.flow), step.step, step.stage), step.system),
        moment(step.at, seconds=True),
        badge("stalled" if one.parked.state == "ambiguous" else "waived", one.parked.state),
        joined((one.parked.reason, *_candidates(one))),
        _keys(one),
        money(step.amount, step.currency),
    )


def _candidates(one: Parked) -> Iterable[Html]:
    """Return the ways that are possible, each with its page."""
    for key in one.parked.candidates[:KEYS_SHOWN]:
        yield joined((" ", link(key_text(key), links.transaction(AnchorRef(one.parked.flow, key)))))


def _keys(one: Parked) -> Html:
    carried = [chip(key_text(key)) for key in one.step.keys[:KEYS_SHOWN]]
    ignored = [toned(f"{key_text(key)} (placeholder, ignored)", "warn") for key in one.step.ignored_keys[:KEYS_SHOWN]]
    return joined([*carried, *ignored], " ") if carried or ignored else muted("none")
