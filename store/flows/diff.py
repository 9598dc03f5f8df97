"""What a changed flow makes of the stored history: transactions joined and split, changed verdicts, money moved."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from controltower.store.queries import statement
from controltower.store.reads.mapping import to_values
from controltower.store.rows import Key

NOWHERE = Key("", "", "")  # of a step that came from, or went to, no transaction


@dataclass(frozen=True, slots=True)
class Moved:
    """Steps that were in one transaction and are in another one; ``NOWHERE`` is none."""

    from_anchor: Key
    to_anchor: Key
    steps: int


@dataclass(frozen=True, slots=True)
class Differs:
    """A transaction as it was and as it is; without steps where it is not there."""

    anchor: Key
    currency: str
    old_steps: int
    new_steps: int
    old_state: str
    new_state: str
    old_amount: Decimal
    new_amount: Decimal
    old_at_stake: Decimal
    new_at_stake: Decimal


@dataclass(frozen=True, slots=True)
class Judged:
    """A deadline or a match with another verdict; an empty one is none."""

    anchor: Key
    about: str
    old_verdict: str
    new_verdict: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one transaction: what of it is where now, with the number of steps."""

    anchor: Key
    steps: int
    parts: tuple[tuple[Key, int], ...]  # itself first, if it still is; last, under ``NOWHERE``, steps that only left


@dataclass(frozen=True, slots=True)
class FlowDiff:
    """Everything that differs in one flow."""

    flow: str
    moved: Sequence[Moved]
    transactions: Sequence[Differs]
    verdicts: Sequence[Judged]

    def split(self) -> list[Fate]:
        """Return the transactions whose steps are in several now, or partly in none."""
        return [fate for fate in self._fates() if len(fate.parts) > 1]

    def joined(self) -> list[Fate]:
        """Return the transactions that are wholly part of another one now."""
        return [fate for fate in self._fates() if len(fate.parts) == 1 and fate.parts[0][0] != NOWHERE]

    def gone(self) -> list[Fate]:
        """Return the transactions of which nothing but steps without a transaction is left."""
        return [fate for fate in self._fates() if [part for part, _ in fate.parts] == [NOWHERE]]

    def placed(self) -> list[Moved]:
        """Return what had no transaction and has one."""
        return [moved for moved in self.moved if moved.from_anchor == NOWHERE]

    def money(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return currency -> how the amounts, and what is at stake, change in sum."""
        sums: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
        for one in self.transactions:
            amount, at_stake = sums[one.currency]
            sums[one.currency] = (
                amount + one.new_amount - one.old_amount,
                at_stake + one.new_at_stake - one.old_at_stake,
            )
        return dict(sums)

    def _fates(self) -> Iterable[Fate]:
        sizes = {one.anchor: one for one in self.transactions}
        by_origin: Mapping[Key, list[Moved]] = defaultdict(list)
        for moved in self.moved:
            if moved.from_anchor != NOWHERE:
                by_origin[moved.from_anchor].append(moved)
        for anchor in sorted(by_origin):
            size = sizes.get(anchor)
            left = [(anchor, size.new_steps if size else 0)] if size is None or size.new_steps else []
            went = sorted(
                ((moved.to_anchor, moved.steps) for moved in by_origin[anchor]), key=lambda p: (p[0] == NOWHERE, p)
            )
            yield Fate(anchor, size.old_steps if size else 0, (*left, *went))


def compare(client: Client, flow: str, old: str, new: str) -> FlowDiff:
    """Return what differs in *flow* between two databases with the engine's tables. Blocks as long as the engine takes."""

    def of(name: str, kind: type) -> Sequence:  # type: ignore[type-arg]  # of whichever kind is asked for
        result = client.query(
            statement(name), parameters={"old": old, "new": new, "flow": flow}, query_formats={"Tuple*": "tuple"}
        )
        return to_values(kind, result.column_names, result.result_columns)

    return FlowDiff(flow, of("diff_moves", Moved), of("diff_transactions", Differs), of("diff_verdicts", Judged))
