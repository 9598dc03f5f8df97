"""Numbers that are missing between two that were seen: found by the store, told once, and closed when they come."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.client import Client
from controltower.store.errors import FlowError
from controltower.store.flows.counts import BACK, WIDEST
from controltower.store.flows.files import load_packs, parse_flow
from controltower.store.flows.sequences import Gap, Sequences, changes
from controltower.store.rows import ExceptionRow, Key
from controltower.store.write import insert
from tests.conftest import ManualClock
from tests.factories import step
from tests.store.flow_steps import SMALL

HOUR = timedelta(hours=1)
COUNTED = "sequences:\n  box: {missing_after: 1 hour, severity: page}\n"
FLOW = parse_flow(SMALL + COUNTED, "small.yaml")
numbers = count(1)


def see(client: Client, values: Iterable[str], at: datetime, scope: str = "") -> None:
    """Store a step with each of these boxes."""
    steps = []
    for value in values:
        number = next(numbers)
        key = Key("box", scope, value)
        ids = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
        steps.append(step(flow=FLOW.flow, step="s.box.seen", stage="", at=at, keys=(key,), **ids))
    insert(client, steps)


def looking(client: Client, clock: ManualClock) -> Sequences:
    """Return what looks each time it is asked to."""
    return Sequences(client, clock.now, count(0.0, 3600.0).__next__)


def stored(client: Client) -> dict[str, bool]:
    """Return what is missing -> whether it still is."""
    rows = client.query("SELECT anchor.value, resolved_at IS NULL FROM exceptions FINAL WHERE kind = 'gap'").result_rows
    return {value: bool(still) for value, still in rows}


def test_what_is_missing_is_told_an_hour_later_and_closed_when_it_comes(any_store: Client, clock: ManualClock) -> None:
    """Two numbers that were not seen are one exception; when the first of them comes it is one about the second."""
    sequences = looking(any_store, clock)
    see(any_store, ["A|B|0098", "A|B|0101"], clock.now())
    sequences.look([FLOW])
    assert stored(any_store) == {}

    clock.advance(HOUR)
    sequences.look([FLOW])
    (row,) = any_store.query("SELECT severity, rule, detail FROM exceptions FINAL").result_rows
    assert row == (
        "page",
        "every box is seen",
        "Box A|B|0099 to A|B|0100 were not seen: the one before came 2026-03-02 09:00 UTC, the next one 2026-03-02 09:00 UTC.",
    )
    see(any_store, ["A|B|0099"], clock.now())
    looking(any_store, clock).look([FLOW])  # also after a start
    assert stored(any_store) == {"A|B|0099": False, "A|B|0100": True}


def test_a_flow_that_counts_no_more_closes_what_is_open(store_client: Client, clock: ManualClock) -> None:
    """Once the flow names no sequence nobody is told that a number is missing."""
    see(store_client, ["1", "3"], clock.now())
    clock.advance(HOUR)
    looking(store_client, clock).look([FLOW])
    assert stored(store_client) == {"2": True}

    looking(store_client, clock).look([parse_flow(SMALL, "small.yaml")])
    assert stored(store_client) == {"2": False}


def test_what_is_old_is_not_looked_at(store_client: Client, clock: ManualClock) -> None:
    """Numbers of more than ninety days ago say nothing."""
    see(store_client, ["1", "3"], clock.now() - BACK - HOUR)
    looking(store_client, clock).look([FLOW])
    assert stored(store_client) == {}


counts = st.dictionaries(
    st.tuples(st.sampled_from(["", "eu"]), st.sampled_from(["", "A|", "A9-"])),
    st.sets(st.integers(0, 400), max_size=12),
    max_size=3,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(drawn=counts)
def test_gaps_are_those_of_plain_counting(
    store_client: Client, clock: ManualClock, drawn: dict[tuple[str, str], set[int]]
) -> None:
    """For any numbers of any counts: each gap between two neighbours up to the widest, with its ends."""
    client = store_client
    client.command("TRUNCATE TABLE step_keys")
    for (scope, series), seen in drawn.items():
        see(client, [f"{series}{number:04d}" for number in seen], clock.now(), scope)
    see(client, ["no number", "A|"], clock.now())

    found = looking(client, clock)._gaps(FLOW, "box", clock.now() - BACK)
    expected = {
        (scope, series, before, after)
        for (scope, series), seen in drawn.items()
        for before, after in pairwise(sorted(seen))
        if 2 <= after - before <= WIDEST
    }
    assert {(gap.scope, gap.series, gap.previous, gap.number) for gap in found} == expected


def gap(previous: int, number: int, at: datetime) -> Gap:
    """Return a gap of one count."""
    return Gap("", "A|", 4, previous, number, at, at)


@given(st.lists(st.sets(st.integers(0, 12), max_size=12), max_size=6))
def test_looked_at_again_and_again(looks: list[set[int]]) -> None:
    """After each look what is open is what is missing now, and a second look at the same changes nothing."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    known: dict[Key, ExceptionRow] = {}
    for missing in looks:
        now += HOUR
        seen = sorted(set(range(-1, 14)) - missing)
        gaps = [gap(a, b, now - HOUR) for a, b in pairwise(seen) if b - a > 1]
        written = changes(FLOW, {"box": gaps}, known, now)
        known |= {row.anchor: row for row in written}
        assert {key.value for key, row in known.items() if row.resolved_at is None} == {g.missing[0] for g in gaps}
        assert changes(FLOW, {"box": gaps}, known, now) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (COUNTED.replace("box", "crate"), "crate is not one of the keys"),
        (COUNTED.replace("1 hour", "1 business hour"), "write plain time"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused(text: str, problem: str) -> None:
    """It counts keys of the flow, in plain time."""
    with pytest.raises(FlowError, match=problem):
        parse_flow(SMALL + text, "small.yaml")


def test_shipped_flows_count_nothing() -> None:
    """Whether numbers follow each other is known to a site alone."""
    assert not [flow.flow for flow in load_packs() if flow.sequences]
