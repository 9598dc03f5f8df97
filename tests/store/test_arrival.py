"""In whatever order and batches the steps of the demo's network arrive, and wherever the engine starts anew."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from controltower.cli.bench.pattern import pattern
from controltower.store.bench_writes import PatternSpan, write_pattern
from controltower.store.client import Client
from controltower.store.flows.beside import StepId
from controltower.store.flows.classify import Classifier, SpanRow
from controltower.store.flows.engine import Engine
from controltower.store.rows import Key, Step
from tests.conftest import ManualClock
from tests.store.flow_steps import P2P
from tests.store.reference import Place, Reference

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
STEPS = 300
LOST = 9  # each ninth span never arrives, so that some steps wait for ever
WORLDS = 200  # of 300 steps: what arrives together is more than a cycle takes
ROUNDS = 4
DERIVED = {  # what a map holds has no order; exceptions that were retracted stay readable
    "transaction_steps": "* EXCEPT (known_at)",
    "parked_steps": "*",
    "transactions": "* EXCEPT (context, amounts), arraySort(mapKeys(amounts))",
    "deadlines": "*",
    "reconciliations": "* EXCEPT (quantities, prices, amounts)",
    "exceptions": "*",
}


def mark(world: int) -> str:
    """Return what tells the documents of a world from those of the others; of one length, so that order stays."""
    return f"~{world:03}~"


def of_world(span: PatternSpan, world: int) -> PatternSpan:
    """Return the span as one of a world of its own: a trace and documents that no other world has."""
    return replace(
        span,
        trace_id=f"{mark(world)}{span.trace_id}",
        attributes=_marked(span.attributes, world),
        lines=[_marked(line, world) for line in span.lines],
    )


def _marked(attributes: Any, world: int) -> dict[str, str]:
    return {
        name: _numbered(text, world) if name.startswith("controltower.key.") else text
        for name, text in attributes.items()
    }


def _numbered(text: str, world: int) -> str:
    """Mark each number; one without a digit above zero is a placeholder and stays one."""
    if text.startswith("["):
        return text.replace('",', f'{mark(world)}",').replace('"]', f'{mark(world)}"]')
    return text + mark(world) if any(digit in text for digit in "123456789") else text


def rounds(spans: Sequence[PatternSpan]) -> Iterator[list[PatternSpan]]:
    """Yield what arrives together: the first world at once, the others each shuffled and cut at random."""
    arriving: list[list[PatternSpan]] = [[] for _ in range(ROUNDS)]
    arriving[0].extend(of_world(span, 0) for span in spans)
    for world in range(1, WORLDS + 1):
        random = Random(world)
        own = [of_world(span, world) for span in random.sample(spans, len(spans))]
        cuts = [0, *sorted(random.randint(0, len(own)) for _ in range(ROUNDS - 1)), len(own)]
        for number in range(ROUNDS):
            arriving[number].extend(own[cuts[number] : cuts[number + 1]])
    yield from arriving


def derived(client: Client) -> dict[str, dict[str, list[str]]]:
    """Return everything derived as text: world -> table -> rows, without the world's mark."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table, columns in DERIVED.items():
        alive = f"SELECT * EXCEPT (version, is_deleted) FROM {table} FINAL WHERE NOT is_deleted"
        for (row,) in client.query(f"SELECT toString(tuple({columns})) FROM ({alive})").result_rows:
            start = row.index("~")
            world = row[start : start + 5]
            found[world][table].append(row.replace(world, ""))
    return {world: {table: sorted(rows) for table, rows in tables.items()} for world, tables in found.items()}


def expected_places(spans: Sequence[PatternSpan]) -> dict[StepId, Place]:
    """Return where the reference puts the steps of the first world."""
    return Reference(P2P, [step for span in spans for step in steps_of(of_world(span, 0))]).places()


def steps_of(span: PatternSpan) -> Iterator[Step]:
    """Yield the steps that a span is."""
    row = SpanRow(
        trace_id=span.trace_id,
        span_id=span.span_id,
        service=span.service,
        name=span.name,
        started_at=span.at,
        duration_ns=span.duration_ns,
        failed=span.failed,
        attributes=span.attributes,
        lines=tuple(span.lines),
        loaded_at=NOW,
    )
    yield from (found.step for found in Classifier([P2P]).classify(row, 1))


def of_traces(client: Client, select: str, world: int) -> Sequence[Sequence[Any]]:
    """Return the rows of a query that are about traces of a world."""
    return client.query(
        f"{select} FINAL WHERE startsWith(trace_id, {{mark:String}})",
        parameters={"mark": mark(world)},
        query_formats={"Tuple*": "tuple"},
    ).result_rows


def stored_places(client: Client, world: int) -> dict[StepId, Place]:
    """Return where the engine put the steps of a world."""
    anchors: dict[StepId, set[Key]] = defaultdict(set)
    how: dict[StepId, str] = {}
    for trace_id, span_id, evidence, anchor in of_traces(
        client, "SELECT trace_id, span_id, evidence, anchor FROM transaction_steps", world
    ):
        how[trace_id, span_id] = evidence
        anchors[trace_id, span_id].add(Key(*anchor))
    for trace_id, span_id, state in of_traces(client, "SELECT trace_id, span_id, state FROM parked_steps", world):
        how[trace_id, span_id] = state
    return {step_id: Place(found, frozenset(anchors[step_id])) for step_id, found in how.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)  # thirty thousand steps, many of them resolved several times
def test_any_arrival_gives_the_same(store_client: Client, clock: ManualClock) -> None:
    """A hundred orders and splits of 300 steps, with an engine started anew for each batch: one result, the reference's."""
    sent = pattern(2 * STEPS, NOW - timedelta(days=5))
    spans = [span for number, span in enumerate(sent) if number % LOST][:STEPS]
    for number, arrived in enumerate(rounds(spans)):
        clock.set(NOW + timedelta(seconds=number))
        write_pattern(store_client, arrived)
        Engine(store_client, [P2P], lambda: NOW, steps_per_cycle=4_999 + number).catch_up()

    found = derived(store_client)
    assert len(found) == WORLDS + 1
    assert set(found[mark(0)]) == set(DERIVED)
    assert [world for world, tables in found.items() if tables != found[mark(0)]] == []
    assert stored_places(store_client, 0) == expected_places(spans)
