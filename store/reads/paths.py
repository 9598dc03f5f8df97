"""Paths: in which orders transactions go through their stages and systems, how long each part takes, what is done twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from clickhouse_connect.driver.client import Client

from controltower.store.queries import Query, statement, timestamp
from controltower.store.reads.answers import Money
from controltower.store.reads.fetch import fetch
from controltower.store.rows import Key

if TYPE_CHECKING:
    from controltower.store.flows.definition import Flow

PATHS_LIMIT = 1_000  # rows of each list: far more than a person looks at; the most frequent come first


@dataclass(frozen=True, slots=True)
class Variant:
    """Transactions that first reached the same stages in the same order. Seconds are from the first stage to the last."""

    stages: tuple[str, ...]
    transactions: int
    completed: int
    seconds_p50: float
    amounts: tuple[Money, ...]
    slowest: Key  # the transaction that took the longest


@dataclass(frozen=True, slots=True)
class Way:
    """One stage reached next after another. ``back``: to an earlier stage, or to the same once more."""

    from_stage: str
    to_stage: str
    times: int
    transactions: int
    back: bool
    seconds_p50: float
    seconds_p90: float


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of one stage: transactions that reached it, did so repeatedly, went past it, or are still before it."""

    stage: str
    transactions: int
    repeated: int
    skipped: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Hop:
    """Steps in one system followed by steps in another. ``overlapping``: the other began before the one had ended."""

    from_system: str
    to_system: str
    times: int
    transactions: int
    overlapping: int
    wait_p50: float
    wait_p90: float


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of step in one system: how often, how long, and what did not go through at once.

    ``recovered`` and ``given_up`` count transactions in which an attempt failed: with success after it, and without.
    """

    step: str
    system: str
    attempts: int
    failed: int
    recovered: int
    given_up: int
    duplicates: int
    replays: int
    work_p50: float
    work_p90: float


@dataclass(frozen=True, slots=True)
class DoubleEffect:
    """One idempotency key under which the same step took effect more than once. Of the spans the first 20."""

    idempotency_key: str
    step: str
    system: str
    effects: int
    first_at: datetime
    last_at: datetime
    amounts: tuple[Money, ...]
    spans: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one flow. Each list holds ``PATHS_LIMIT`` rows at most, the most frequent first."""

    flow: str
    variants: tuple[Variant, ...]
    passages: tuple[Passage, ...]
    ways: tuple[Way, ...]
    hops: tuple[Hop, ...]
    work: tuple[Work, ...]
    double_effects: tuple[DoubleEffect, ...]


def paths(client: Client, flow: "Flow", since: datetime, until: datetime) -> Paths:
    """Return the paths of the transactions of *flow* whose last step is in the time range. Six queries."""

    def query(name: str) -> Query:
        return Query(
            f"{statement('paths')}{statement(f'paths_{name}')}",
            {
                "flow": flow.flow,
                "stages": [stage.name for stage in flow.stages],
                "reaching": _reaching(flow),
                "cancelling": [stage.name for stage in flow.stages if stage.cancels],
                "since": timestamp(since),
                "until": timestamp(until),
                "limit": PATHS_LIMIT,
            },
        )

    return Paths(
        flow.flow,
        variants=fetch(client, query("variants"), Variant),
        passages=fetch(client, query("passages"), Passage),
        ways=fetch(client, query("ways"), Way),
        hops=fetch(client, query("hops"), Hop),
        work=fetch(client, query("work"), Work),
        double_effects=fetch(client, query("effects"), DoubleEffect),
    )


def _reaching(flow: "Flow") -> Sequence[tuple[str, str]]:
    """Return the stages with the outcomes that reach them."""
    return [(stage.name, outcome) for stage in flow.stages for outcome in stage.outcomes]
