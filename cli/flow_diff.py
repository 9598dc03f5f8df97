"""What a changed flow makes of history, as text and as JSON. Pure."""

from collections.abc import Iterable
from typing import Final

from controltower.cli.path import counted, key_text
from controltower.cli.shapes import Json, key_of, money_of
from controltower.cli.text import money, section, table
from controltower.store.flows.diff import NOWHERE, Fate, FlowDiff

SHOWN: Final = 50  # of each list; --json has them all
INDENT: Final = "  "


def diff_text(diff: FlowDiff) -> str:
    """Return what differs, in words."""
    if not (diff.moved or diff.transactions or diff.verdicts):
        return f"{diff.flow}: nothing stored comes out differently."
    split, joined, gone, placed = diff.split(), diff.joined(), diff.gone(), diff.placed()
    verdicts = [
        [key_text(one.anchor), one.about, f"{one.old_verdict or 'none'} → {one.new_verdict or 'none'}"]
        for one in diff.verdicts
    ]
    worth = [
        [
            key_text(one.anchor),
            f"{one.old_state or 'not there'} → {one.new_state or 'not there'}",
            f"{money(one.old_amount, one.currency)} → {money(one.new_amount, one.currency)}",
            f"at stake {money(one.old_at_stake, one.currency)} → {money(one.new_at_stake, one.currency)}",
        ]
        for one in diff.transactions
    ]
    sums = ", ".join(
        f"amounts {money(amount, currency)}, at stake {money(at_stake, currency)}"
        for currency, (amount, at_stake) in sorted(diff.money().items())
    )
    counts = (
        f"{diff.flow}: {len(split):,} split, {len(joined):,} joined, {len(gone):,} gone, "
        f"{len(verdicts):,} verdicts and {len(worth):,} transactions differ; moved in sum: {sums or 'no money'}"
    )
    blocks = [
        counts,
        _listed("Split", [f"{_of(fate)} into {_parts(fate)}" for fate in split]),
        _listed("Joined", [f"{_of(fate)} to {_parts(fate)}" for fate in joined]),
        _listed("Gone", [_of(fate) for fate in gone]),
        _listed("Placed", [f"{counted(one.steps, 'step')} in {key_text(one.to_anchor)}" for one in placed]),
        _listed("Verdicts", table(verdicts).splitlines()),
        _listed("Transactions", table(worth).splitlines()),
    ]
    return "\n".join(block for block in blocks if block)


def _listed(title: str, lines: list[str]) -> str:
    more = [f"and {len(lines) - SHOWN:,} more; --json has them all"] if len(lines) > SHOWN else []
    return section(title, "\n".join(INDENT + line for line in (*lines[:SHOWN], *more)))


def _of(fate: Fate) -> str:
    return key_text(fate.anchor) + (f" ({counted(fate.steps, 'step')})" if fate.steps else "")


def _parts(fate: Fate) -> str:
    return ", ".join(
        f"{key_text(part)} ({counted(steps, 'step')})"
        if part != NOWHERE
        else f"{counted(steps, 'step')} that only left"
        for part, steps in fate.parts
    )


def diff_of(diff: FlowDiff) -> Json:
    """Return what differs."""
    return {
        "flow": diff.flow,
        "split": _fates(diff.split()),
        "joined": _fates(diff.joined()),
        "gone": _fates(diff.gone()),
        "placed": [{"to": key_of(one.to_anchor), "steps": one.steps} for one in diff.placed()],
        "verdicts": [
            {"anchor": key_of(one.anchor), "about": one.about, "old": one.old_verdict, "new": one.new_verdict}
            for one in diff.verdicts
        ],
        "transactions": [
            {
                "anchor": key_of(one.anchor),
                "currency": one.currency,
                "old": {
                    "steps": one.old_steps,
                    "state": one.old_state,
                    "amount": money_of(one.old_amount),
                    "at_stake": money_of(one.old_at_stake),
                },
                "new": {
                    "steps": one.new_steps,
                    "state": one.new_state,
                    "amount": money_of(one.new_amount),
                    "at_stake": money_of(one.new_at_stake),
                },
            }
            for one in diff.transactions
        ],
        "moved": {
            currency: {"amount": money_of(amount), "at_stake": money_of(at_stake)}
            for currency, (amount, at_stake) in sorted(diff.money().items())
        },
    }


def _fates(fates: Iterable[Fate]) -> list[Json]:
    return [
        {
            "anchor": key_of(fate.anchor),
            "steps": fate.steps,
            "parts": [
                {"anchor": key_of(part) if part != NOWHERE else None, "steps": steps} for part, steps in fate.parts
            ],
        }
        for fate in fates
    ]
