"""A transaction as it was known at a time, and what became known since, as text and as JSON. Pure."""

from collections.abc import Iterable, Sequence

from controltower.cli.path import INDENT, counted, key_text, steps
from controltower.cli.shapes import Json, key_of, money_of, stage_of, time_of
from controltower.cli.text import amount, section, table, when
from controltower.store.read import KnownThen
from controltower.store.rows import Change


def then_text(known: KnownThen) -> str:
    """Return what was known, which verdicts are others now, and every later change."""
    last = known.last
    facts = [known.flow, last.state, f"flow version {last.flow_version}" if last.flow_version else ""]
    if last.at_stake:
        facts.append(f"{amount(last.at_stake)} at stake")
    others = [[one.word, one.about, f"{one.then} → {one.now}"] for one in known.restated]
    blocks = [
        f"{key_text(known.anchor)}  " + " · ".join(filter(None, facts)),
        f"as known at {when(known.at)} UTC: {counted(last.steps, 'step')}, last changed {when(last.known_at)}",
        section("Path (times in UTC)", steps(known.members, why=False)),
        section("Verdicts", table([[verdict, about] for about, verdict in known.verdicts.items()], indent=INDENT)),
        section("Restated since", table(others, indent=INDENT)),
        section("Known since", changes_text(known.since)),
    ]
    return "\n".join(block for block in blocks if block)


def changes_text(changes: Sequence[Change]) -> str:
    """Return changes in order of the time when they became known, each with the verdicts that it brought."""
    rows = []
    for change in changes:
        verdicts = ", ".join(f"{about} {verdict}" for about, verdict in change.verdicts.items())
        states = " → ".join(filter(None, (change.previous_state, change.state)))
        version = f"version {change.flow_version}" if change.flow_version else ""
        rows.append([when(change.known_at), version, states, counted(change.steps, "step"), verdicts])
    return table(rows, indent=INDENT)


def then_of(known: KnownThen) -> dict[str, Json]:
    """Return what was known."""
    return {
        "flow": known.flow,
        "anchor": key_of(known.anchor),
        "as_known_at": time_of(known.at),
        "state": known.last.state,
        "stage": known.last.stage,
        "at_stake": money_of(known.last.at_stake),
        "flow_version": known.last.flow_version or None,
        "steps": [stage_of(member) for member in known.members],
        "verdicts": dict(known.verdicts),
        "restated": [
            {"about": one.about, "then": one.then, "now": one.now, "what": one.word} for one in known.restated
        ],
        "since": changes_of(known.since),
    }


def changes_of(changes: Iterable[Change]) -> list[Json]:
    """Return changes in order of the time when they became known."""
    return [
        {
            "known_at": time_of(change.known_at),
            "state": change.state,
            "previous_state": change.previous_state or None,
            "stage": change.stage,
            "steps": change.steps,
            "at_stake": money_of(change.at_stake),
            "flow_version": change.flow_version or None,
            "verdicts": dict(change.verdicts),
        }
        for change in changes
    ]
