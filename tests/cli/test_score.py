"""The comparison with what really happened: exact where the product is right, and concrete where it is not."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controltower.cli.demo.network import Network
from controltower.cli.demo.plan import history
from controltower.cli.demo.scenarios import SCENARIOS
from controltower.cli.demo.scoring import Found, Score, score
from controltower.cli.demo.sending import send_all
from controltower.cli.demo.truth import Truth, truth_of, write_truth
from controltower.cli.demo.verdicts import deadline_state, state
from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import load_packs
from controltower.store.loader import Segment, load_segment
from controltower.store.rows import DeadlineState, Key, MatchStatus, TransactionState
from controltower.store.truth_reads import (
    FoundDeadline,
    FoundMatch,
    FoundMembership,
    FoundTransaction,
    all_deadlines,
    all_matches,
    all_memberships,
    all_transactions,
    progress,
)
from tests.cli.conftest import Run
from tests.cli.otlp_recorder import recording

END = datetime(2026, 11, 20, 16, tzinfo=UTC)
NOW = END + timedelta(minutes=1)
FLOW = "procure_to_pay"


@pytest.fixture(scope="module")
def truth() -> Truth:
    """What really happened in a small network."""
    return truth_of(history(6, 40, 45, END))


def perfect(truth: Truth) -> Found:
    """Return what a product without mistakes would say."""
    return Found(
        memberships=[
            FoundMembership(Key(*each.anchor), member.trace_id, member.span_id)
            for each in truth.transactions
            for member in each.facts.members
        ],
        transactions=[
            FoundTransaction(Key(*each.anchor), TransactionState(state(each.facts, each.matches, NOW)))
            for each in truth.transactions
        ],
        deadlines=[
            FoundDeadline(
                anchor=Key(*each.anchor),
                rule=fact.rule,
                subject=fact.subject,
                from_at=fact.from_at,
                due_at=fact.due_at,
                met_at=fact.met_at,
                state=DeadlineState(deadline_state(fact, each.facts.cancelled_at, NOW)),
            )
            for each in truth.transactions
            for fact in each.facts.deadlines
        ],
        matches=[
            FoundMatch(Key(*each.anchor), fact.line, MatchStatus(fact.at(NOW)[0]), fact.at(NOW)[1])
            for each in truth.transactions
            for fact in each.matches
        ],
    )


def of_p2p(truth: Truth, found: Found, now: datetime) -> Score:
    """Compare what is found of procure to pay, the only flow of these truths."""
    return score(truth, {FLOW: found}, now)


def shares(result: Score) -> tuple[float, float, float, float, float]:
    """Return the five figures."""
    return (
        result.membership.precision,
        result.membership.recall,
        result.state.share,
        result.deadlines.share,
        result.matches.share,
    )


def test_a_product_without_mistakes_scores_one(truth: Truth) -> None:
    """Everything right is 1.0 everywhere, without a difference to show."""
    result = of_p2p(truth, perfect(truth), NOW)

    assert shares(result) == (1.0, 1.0, 1.0, 1.0, 1.0)
    assert result.differences == ()


def test_an_empty_store_scores_nothing(truth: Truth) -> None:
    """What is missing is wrong: recall and shares are 0, and nothing that was found is false."""
    result = of_p2p(truth, Found((), (), (), ()), NOW)

    assert shares(result) == (1.0, 0.0, 0.0, 0.0, 0.0)
    assert len(result.as_json()["worst"]) == 20


def test_a_step_in_a_wrong_place_costs_precision(truth: Truth) -> None:
    """A step of ours in another transaction, known or not, is a false place; strangers are left alone."""
    found = perfect(truth)
    member = truth.transactions[0].facts.members[0]
    elsewhere = FoundMembership(Key("purchase_order", "", "PO-OTHER"), member.trace_id, member.span_id)
    stranger = FoundMembership(Key("purchase_order", "", "PO-THEIRS"), "f" * 32, "f" * 16)
    result = of_p2p(truth, replace(found, memberships=[*found.memberships, elsewhere, stranger]), NOW)

    assert result.membership.found == result.membership.expected + 1
    assert result.membership.precision < 1
    assert result.membership.recall == 1
    assert result.differences[0].anchor.value == "PO-OTHER"


def test_what_a_scraper_read_stands_for_its_step_once(truth: Truth) -> None:
    """A step that was read where its record was written is in its place; read twice, the second one is too much."""
    found = perfect(truth)
    scraped = [
        replace(row, span_id=f"{number:016x}", written_in=row.span_id)
        for number, row in enumerate(found.memberships, start=1)
    ]
    twice = [*scraped, replace(scraped[0], span_id="f" * 16)]
    once, doubled = (of_p2p(truth, replace(found, memberships=rows), NOW).membership for rows in (scraped, twice))

    assert (once.precision, once.recall) == (1.0, 1.0)
    assert (doubled.found, doubled.right) == (doubled.expected + 1, doubled.expected)
    assert doubled.precision < 1


def test_a_loose_step_that_was_joined_costs_precision() -> None:
    """A step that belongs to no transaction is expected in none."""
    truth = truth_of(history(7, 300, 45, END))
    found = perfect(truth)
    loose = truth.loose[0]
    joined = FoundMembership(Key("purchase_order", "", "PO-1"), loose.trace_id, loose.span_id)

    assert of_p2p(truth, replace(found, memberships=[*found.memberships, joined]), NOW).membership.precision < 1


def test_a_piece_that_is_not_joined_yet_costs_recall_only(truth: Truth) -> None:
    """Steps of one transaction that are a transaction of their own are apart; with a stranger among them it is joined wrongly."""
    found = perfect(truth)
    first, second = (each.anchor for each in truth.transactions[:2])
    piece = Key("invoice", "", "INV-PIECE")
    moved = [replace(row, anchor=piece) if row.anchor == first else row for row in found.memberships]
    apart = of_p2p(truth, replace(found, memberships=moved), NOW).membership
    mixed = [replace(row, anchor=piece) if row.anchor in (first, second) else row for row in found.memberships]
    joined = of_p2p(truth, replace(found, memberships=mixed), NOW).membership

    assert (apart.precision, apart.wrongly_joined) == (1.0, 0)
    assert apart.recall < 1
    assert apart.apart == len(truth.transactions[0].facts.members)
    assert joined.precision < 1
    assert joined.wrongly_joined == 1


def test_missing_and_extra_deadlines_are_wrong(truth: Truth) -> None:
    """A deadline too few and one too many both lower the share, and the times must be exact."""
    found = perfect(truth)
    first, second, *rest = found.deadlines
    moved = replace(second, due_at=second.due_at + timedelta(microseconds=1))
    invented = replace(first, subject="INV-INVENTED")
    result = of_p2p(truth, replace(found, deadlines=[invented, moved, *rest]), NOW)

    assert (result.deadlines.missing, result.deadlines.extra) == (1, 1)
    assert result.deadlines.of - result.deadlines.exact == 3
    assert {each.what.split()[0] for each in result.differences} == {"deadline"}


def test_a_verdict_may_be_a_few_seconds_old(truth: Truth) -> None:
    """At the very moment that a deadline falls due, the verdict before and the one after are both right."""
    found = perfect(truth)
    running = min((row.due_at for row in found.deadlines if row.state is DeadlineState.RUNNING), default=None)

    assert running is not None
    assert of_p2p(truth, found, running - timedelta(seconds=1)).deadlines.exact <= len(found.deadlines)
    just_due = of_p2p(truth, found, running + timedelta(seconds=1))
    later = of_p2p(truth, found, running + timedelta(seconds=60))
    assert just_due.deadlines.exact > later.deadlines.exact


def sent_and_resolved(
    client: Client,
    folder: Path,
    truth_file: Path,
    *,
    seed: int,
    shuffle: bool = False,
    end: datetime = END,
    scenario: str = "network",
    transactions: int = 60,
) -> Truth:
    """Simulate until *end*, send over HTTP, load and resolve a minute later; return what really happened."""
    plan = history(seed, transactions, 45, end, scenario=SCENARIOS[scenario])
    truth = truth_of(plan)
    write_truth(truth_file, truth)
    with recording() as recorder, closing(Network(recorder.url, "", "run-1")) as network:
        sent = send_all(
            network,
            plan,
            shuffle=shuffle,
            over_s=0,
            wait=lambda seconds: False,
            elapsed_s=lambda: 0.0,
            say=lambda done, total: None,
        )
        network.finish(sent)
        segment = recorder.segment(folder / "segment")
    load_segment(client, Segment(f"demo-{scenario}-{seed}-{shuffle}", "traces", segment))
    Engine(client, load_packs(), lambda: end + (NOW - END)).catch_up()
    seen = progress(client, "run-1")
    assert seen.loaded == plan.span_count
    assert seen.resolved
    return truth


def found_of(client: Client, flow: str) -> Found:
    """Return what the store says of a flow."""
    return Found(
        all_memberships(client, flow),
        all_transactions(client, flow),
        all_deadlines(client, flow),
        all_matches(client, flow, "three_way_match"),
    )


@pytest.mark.parametrize(("seed", "shuffle"), [(21, False), (22, True)])
def test_the_engine_finds_out_what_really_happened(any_store: Client, tmp_path: Path, seed: int, shuffle: bool) -> None:
    """From the SDK over OTLP, the loader and the engine: every path, state, deadline and match is as it really was."""
    truth = sent_and_resolved(any_store, tmp_path, tmp_path / "truth.jsonl", seed=seed, shuffle=shuffle)
    result = score(truth, {FLOW: found_of(any_store, FLOW)}, NOW)

    assert result.differences == ()
    assert shares(result) == (1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "network"])
def test_every_flow_of_a_scenario_is_found_out(store_client: Client, tmp_path: Path, scenario: str) -> None:
    """The same of all flows of a customer's situation, sent shuffled."""
    truth = sent_and_resolved(
        store_client, tmp_path, tmp_path / "truth.jsonl", seed=24, shuffle=True, scenario=scenario, transactions=70
    )
    result = score(truth, {flow: found_of(store_client, flow) for flow in truth.flows}, NOW)

    assert result.differences == ()
    assert {flow: shares(found) for flow, found in result.flows.items()} == dict.fromkeys(truth.flows, (1.0,) * 5)
    assert all(found.membership.expected for found in result.flows.values())


def test_the_command_prints_the_figures(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], tmp_path: Path
) -> None:
    """``score --json`` has the agreed shape; without it there is a table that names differences."""
    file = tmp_path / "truth.jsonl"
    # The command compares as of now, so the engine must have judged now.
    sent_and_resolved(store_client, tmp_path, file, seed=23, shuffle=False, end=datetime.now(UTC) - (NOW - END))
    ran = run_on(store_address)("score", str(file), "--json")

    assert ran.code == 0, ran.err
    assert ran.json["membership"]["precision"] == ran.json["membership"]["recall"] == 1.0
    assert ran.json["matches"] == 1.0
    assert {"expected", "found"} <= ran.json["membership"].keys()
    assert isinstance(ran.json["state"], float)
    assert isinstance(ran.json["deadlines"], float)
    assert {"detail", "worst"} <= ran.json.keys()
    assert "membership precision" in run_on(store_address)("score", str(file)).out
    assert ran.json["membership"]["wrongly_joined"] == 0
    assert run_on(store_address)("score", str(file), "--require", "0.999").code == 0
    store_client.command("TRUNCATE TABLE transaction_steps")
    assert run_on(store_address)("score", str(file), "--require", "0.999").code == 1


def test_the_command_refuses_what_is_no_truth(run: Run, tmp_path: Path) -> None:
    """A missing or foreign file is a sentence and exit code 1."""
    (tmp_path / "other.jsonl").write_text(json.dumps({"kind": "header", "version": 2}) + "\nnonsense\n")
    missing, foreign = run("score", str(tmp_path / "none.jsonl")), run("score", str(tmp_path / "other.jsonl"))

    assert (missing.code, foreign.code) == (1, 1)
    assert "There is no truth file" in missing.err
    assert ":2:" in foreign.err
    assert "Traceback" not in missing.err + foreign.err
