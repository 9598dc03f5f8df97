"""Numbers that are missing of a source: what it tells and is late is unknown until they come or are lost."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.cli.path import path
from controltower.cli.shapes import transaction_of
from controltower.dashboard.journey import standing
from controltower.dashboard.parts.transaction import deadlines
from controltower.store.client import Client
from controltower.store.errors import FlowError
from controltower.store.flows.check import check_flow
from controltower.store.flows.classify import SpanRow
from controltower.store.flows.counts import RUNS_KEPT, WIDEST, Counts
from controltower.store.flows.deadlines import Circumstances, Member
from controltower.store.flows.definition import Flow
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import parse_flow
from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.flows.sequences import Gap, changes
from controltower.store.flows.transaction import judge
from controltower.store.missing import Missing, missing_of
from controltower.store.reads.answers import TransactionView
from controltower.store.reads.transaction import read_transaction
from controltower.store.rows import Deadline, DeadlineState, ExceptionRow, Key, Step
from controltower.store.write import insert
from tests.conftest import ManualClock
from tests.factories import membership, step
from tests.store.calls import Calls
from tests.store.flow_steps import START
from tests.store.spans import Span, store

TEXT = """
flow: calls
version: 1
title: Calls
prefix: c
anchors: [order]
keys: {order: {}, mail: {parent: order, shared: true, scope: context.vendor}}
counterparty: vendor
sources:
  edi: {silent_after: 2 hours}
sequences:
  mail: {missing_after: 1 hour, source: edi, lost_after: 2 days, severity: page}
stages:
  - {name: sent, step: c.sent}
  - {name: answered, step: c.answered, told_by: [edi], final: true}
sla:
  - {name: answer, from: sent, to: answered, within: 4 hours}
"""
FLOW = parse_flow(TEXT, "calls.yaml")
OF_VENDORS = parse_flow(TEXT.replace("source: edi", "source: edi, per_counterparty: true"), "calls.yaml")
# The same, but the numbers are counted by another flow, whose steps are those of the first.
UNCOUNTED = parse_flow(TEXT[: TEXT.index("sequences:")] + TEXT[TEXT.index("stages:") :], "calls.yaml")
POST_TEXT = """
flow: post
version: 1
title: Post
prefix: c
anchors: [mail]
keys: {mail: {scope: context.vendor}}
counterparty: vendor
sources: {edi: {silent_after: 2 hours}}
sequences: {mail: {missing_after: 1 hour, source: edi, lost_after: 2 days, severity: page}}
stages: [{name: sent, step: c.sent}, {name: answered, step: c.answered, final: true}]
"""
POST = parse_flow(POST_TEXT, "post.yaml")
POST_OF_VENDORS = parse_flow(POST_TEXT.replace("source: edi", "source: edi, per_counterparty: true"), "post.yaml")
ANCHOR = Key("order", "", "1")
HOUR = timedelta(hours=1)
DUE = START + 4 * HOUR


def gap(since: datetime, until: datetime, counterparty: str = "", source: str = "edi") -> Missing:
    """Return numbers that are missing between two times."""
    return Missing(since, until, source, "mail", counterparty, "M02", "M03", counterparty)


@pytest.mark.parametrize(
    ("missing", "is_unknown"),
    [
        (gap(START + HOUR, START + 2 * HOUR), True),
        (gap(START - HOUR, DUE + HOUR), True),
        (gap(START - HOUR, START), True),
        (gap(DUE, DUE + HOUR), True),
        (gap(START - 2 * HOUR, START - HOUR), False),  # it came before the question
        (gap(DUE + HOUR, DUE + 2 * HOUR), False),  # it would be late as well
        (gap(START, DUE, "acme"), True),
        (gap(START, DUE, "globex"), False),
        (gap(START, DUE, source="fax"), False),
    ],
)
def test_what_is_missing_may_be_the_answer(missing: Missing, is_unknown: bool) -> None:
    """A late deadline is unknown when a number is missing that was told between its begin and its end, by who tells the
    stage, and by its own counterparty where that is known."""
    sent = step(flow="calls", step="c.sent", stage="sent", at=START, keys=(ANCHOR,), context={"vendor": "acme"})
    around = Circumstances({"edi": DUE}, {"calls": [missing]})
    verdict = judge(FLOW, ANCHOR, [Member(sent, membership(sent, ANCHOR))], {}, DUE + HOUR, 1, around)
    (row,) = verdict.deadlines

    assert row.state is (DeadlineState.UNKNOWN if is_unknown else DeadlineState.BREACHED)
    assert row.missing == (missing if is_unknown else None)
    assert bool(verdict.exceptions) is not is_unknown


def test_what_is_missing_has_a_name() -> None:
    """The name of what is missing says all of it; that of a source says nothing of the kind."""
    missing = gap(START, DUE + timedelta(microseconds=1), 'a "b"\n')

    assert missing_of(missing.name) == missing
    assert missing_of("edi") is None
    assert missing_of("") is None


@pytest.mark.parametrize(
    ("was", "instead", "problem"),
    [
        ("source: edi", "source: tty", "tty is not one of the sources"),
        ("source: edi, ", "", "without a source nothing waits"),
        ("lost_after: 2 days", "lost_after: 2 business days", "a count knows no calendar"),
        ("lost_after: 2 days", "lost_after: 10 minutes", "lost before it counts as missing"),
        ("lost_after: 2 days", "per_counterparty: true", ""),
        ("counterparty: vendor", "", ""),
    ],
)
def test_sequences_that_cannot_be_meant(was: str, instead: str, problem: str) -> None:
    """A count is told by a source that is declared, and lost after plain time."""
    text = TEXT.replace(was, instead)
    if not problem:
        parse_flow(text, "calls.yaml")
        return
    with pytest.raises(FlowError, match=problem):
        parse_flow(text, "calls.yaml")


def test_whose_numbers_they_are_needs_a_counterparty() -> None:
    """A count of each counterparty needs a flow that says who that is."""
    text = TEXT.replace("counterparty: vendor\n", "").replace("source: edi", "source: edi, per_counterparty: true")
    with pytest.raises(FlowError, match="does not say who the counterparty is"):
        parse_flow(text, "calls.yaml")


EXAMPLE = """
examples:
  - name: the second mail did not come
    now: 2026-03-02T15:00:00Z
    steps:
      - {step: c.sent, at: 2026-03-02T09:00:00Z, keys: {order: 1}}
      - {step: c.sent, at: 2026-03-02T09:00:00Z, keys: {order: 2, mail: M1}}
      - {step: c.sent, at: 2026-03-02T10:00:00Z, keys: {order: 3, mail: M3}}
    expect:
      - {transaction: order:1, deadlines: {answer: unknown}}
      - {transaction: order:2, deadlines: {answer: unknown}}
      - {transaction: order:3, deadlines: {answer: unknown}}
"""


def test_examples_count(tmp_path: Any) -> None:
    """What is missing in an example of a flow file makes its deadlines unknown, until it is lost."""
    file = tmp_path / "calls.yaml"
    file.write_text(TEXT + EXAMPLE)
    assert check_flow(file).flow == "calls"

    file.write_text(TEXT + EXAMPLE.replace("03-02T15", "03-04T10"))
    with pytest.raises(FlowError, match="answer: breached, not answer: unknown"):
        check_flow(file)


# counting

seen = st.lists(st.tuples(st.sampled_from(("", "eu")), st.sampled_from(("M", "")), st.integers(0, 300), st.integers(0, 9)), max_size=25)  # fmt: skip


def carrying(drawn: Iterable[tuple[str, str, int, int]]) -> list[Step]:
    """Return steps that carry these numbers: scope, series, number, hours after the start."""
    return [
        step(
            flow="calls",
            step="c.sent",
            stage="sent",
            trace_id=f"{place:032x}",
            span_id=f"{place:016x}",
            at=START + hours * HOUR,
            keys=(Key("mail", scope, f"{series}{number:04d}"),),
        )
        for place, (scope, series, number, hours) in enumerate(drawn, 1)
    ]


def plainly(steps: Iterable[Step]) -> set[Missing]:
    """Return what is missing, by plain counting."""
    numbers: dict[tuple[str, str], dict[int, datetime]] = {}
    for one in steps:
        ((_, scope, value),) = one.keys
        own = numbers.setdefault((scope, value[:-4]), {})
        own[int(value[-4:])] = min(one.at, own.get(int(value[-4:]), one.at))
    return {
        Missing(
            since=min(own[before], own[after]),
            until=max(own[before], own[after]),
            source="edi",
            type="mail",
            scope=scope,
            first=f"{series}{before + 1:04d}",
            last=f"{series}{after - 1:04d}",
        )
        for (scope, series), own in numbers.items()
        for before, after in pairwise(sorted(own))
        if 2 <= after - before <= WIDEST
    }


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(drawn=seen, size=st.integers(1, 5))
def test_counting_on_is_plain_counting(
    store_client: Client, clock: ManualClock, drawn: list[tuple[str, str, int, int]], size: int
) -> None:
    """In whatever order and lots numbers come, and after every start over what is stored: each gap, and when it was."""
    store_client.command("TRUNCATE TABLE step_keys")
    steps, now = carrying(drawn), START + 10 * HOUR
    counts = Counts(FLOW)
    for begin in range(0, len(steps), size):
        counts.see(steps[begin : begin + size])
        insert(store_client, steps[begin : begin + size])
        expected = plainly(steps[: begin + size])
        assert counts.missing(now) == expected
        stored = Counts(FLOW, Neighbourhood(store_client).runs(FLOW, now))
        assert stored.missing(now) == expected


def test_what_is_lost_is_not_missing() -> None:
    """After the time that the flow says nobody waits for a number, and none is remembered for ever."""
    counts = Counts(FLOW)
    counts.see(carrying([("", "", 1, 0), ("", "", 3, 1)]))
    assert len(counts.missing(START + timedelta(days=2))) == 1
    assert not counts.missing(START + timedelta(days=2, hours=1))

    for_ever = Counts(parse_flow(TEXT.replace("lost_after: 2 days, ", ""), "calls.yaml"))
    for_ever.see(carrying([("", "", 1, 0), ("", "", 3, 1)]))
    assert len(for_ever.missing(START + timedelta(days=90))) == 1
    assert not for_ever.missing(START + timedelta(days=91))


def test_what_does_not_count_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a key whose values do not follow each other the latest are remembered."""
    monkeypatch.setattr("controltower.store.flows.counts.RUNS_KEPT", 10)
    assert RUNS_KEPT > 10
    counts = Counts(FLOW)
    for number in range(50):
        counts.see(carrying([("", f"M{number}-", 1, number)]))
    counts.see(carrying([("", "M49-", 3, 50), ("", "M1-", 3, 50)]))

    assert {missing.first for missing in counts.missing(START + 51 * HOUR)} == {"M49-0002"}


# the exception


def test_a_source_is_told_once() -> None:
    """All that is missing of a source is one exception, which ends when everything came or is lost."""
    known: dict[Key, ExceptionRow] = {}

    def look(at: datetime, *gaps: Gap) -> list[ExceptionRow]:
        written = changes(FLOW, {"mail": gaps}, known, at)
        known.update({row.anchor: row for row in written})
        return written

    gaps = [Gap("", f"{letter}|", 2, 1, 3, START, START) for letter in "ABCDE"]
    (row,) = look(START + HOUR, *gaps)
    assert (row.anchor, row.kind, row.severity) == (Key("source", "", "edi"), "gap", "page")
    assert row.detail == (
        "edi did not tell all, so that whether what it tells is late is not known. "
        "Mail A|02 was not seen: the one before came 2026-03-02 09:00 UTC, the next one 2026-03-02 09:00 UTC. "
        "Mail B|02 was not seen: the one before came 2026-03-02 09:00 UTC, the next one 2026-03-02 09:00 UTC. "
        "Mail C|02 was not seen: the one before came 2026-03-02 09:00 UTC, the next one 2026-03-02 09:00 UTC. "
        "2 more gaps are open."
    )
    assert look(START + 2 * HOUR, *gaps) == []
    assert [each.resolved_at for each in look(START + 2 * HOUR, *gaps[1:])] == [None]
    assert [each.resolved_at for each in look(START + 2 * HOUR)] == [START + 2 * HOUR]
    assert [each.resolved_at for each in look(START + 3 * HOUR, gaps[0])] == [None]
    assert [each.resolved_at for each in look(START + timedelta(days=2), gaps[0])] == [START + timedelta(days=2)]


# the engine


def span(number: int, order: int, stage: str, at: datetime, mail: int = 0, vendor: str = "") -> SpanRow:
    """Return a step of an order, or of none, in the mail of a number."""
    said = {"controltower.step": f"c.{stage or 'noted'}"}
    said |= {"controltower.key.order": str(order)} if order else {}
    said |= {"controltower.key.mail": f"M{mail:02d}"} if mail else {}
    said |= {"controltower.context.vendor": vendor} if vendor else {}
    return SpanRow(f"{number:032x}", f"{number:016x}", "edi", "work", at, 1, False, said, (), at)


def test_the_number_comes_after_all() -> None:
    """What was broken becomes unknown when a number turns out to be missing, is met when the answer is in it, and broken
    when it is not; also when it comes in another lot, to another engine. What is told of it once is no exception meanwhile."""
    calls = Calls(FLOW)
    calls.take([span(1, 1, "sent", START, 1), span(2, 2, "sent", START)], START)
    calls.take([span(3, 0, "", DUE)], DUE)
    assert calls.states() == {"1": "breached", "2": "breached"}

    calls.take([span(4, 0, "", DUE + HOUR, 3)], DUE + HOUR)
    assert calls.states() == {"1": "unknown", "2": "unknown"}
    assert calls.rows("exceptions") == []
    assert {row.missing.numbers for row in calls.rows("deadlines")} == {"mail M02"}

    calls.restart()
    calls.take([], DUE + 2 * HOUR)
    assert calls.states() == {"1": "unknown", "2": "unknown"}
    calls.take([span(5, 1, "answered", DUE - HOUR, 2)], DUE + 2 * HOUR)
    assert calls.states() == {"1": "met", "2": "breached"}
    assert calls.rows("awaited_deadlines") == []
    told = [row.verdicts.get("deadline: answer") for row in calls.memory.rows("transaction_history") if row.anchor.value == "2"]  # fmt: skip
    assert [verdict for verdict in told if verdict] == ["breached", "unknown", "breached"]


def test_the_number_is_lost() -> None:
    """After the time that the flow says, deadlines are judged by what is there; by a new engine as well."""
    for restarts in (False, True):
        calls = Calls(FLOW)
        calls.take([span(1, 1, "sent", START, 1), span(2, 0, "", DUE, 3)], DUE)
        assert calls.states() == {"1": "unknown"}
        if restarts:
            calls.restart()
        calls.take([], DUE + timedelta(days=2))
        assert calls.states() == {"1": "breached"}


def test_the_numbers_of_one_say_nothing_of_another() -> None:
    """Where counts are of counterparties, what is missing of one leaves the deadlines of others alone."""
    calls = Calls(OF_VENDORS)
    sent = [span(1, 1, "sent", START, 1, "acme"), span(2, 2, "sent", START, 1, "globex"), span(3, 3, "sent", START)]
    calls.take([*sent, span(4, 0, "", DUE, 3, "acme")], DUE)

    assert calls.states() == {"1": "unknown", "2": "breached", "3": "unknown"}


def test_whose_numbers_another_flow_counts() -> None:
    """Whom they are of is known to a flow that calls the counterparty the same; to another one they may be anybody's."""
    other = parse_flow(
        POST_TEXT.replace("counterparty: vendor", "counterparty: partner").replace(
            "source: edi", "source: edi, per_counterparty: true"
        ),
        "post.yaml",
    )
    for post, state in ((POST_OF_VENDORS, "breached"), (other, "unknown")):
        calls = Calls(UNCOUNTED, post)
        calls.take([span(1, 1, "sent", START, 1, "acme"), span(2, 2, "sent", START, 1, "globex")], START)
        calls.take([span(3, 0, "", DUE, 3, "acme")], DUE)
        assert calls.states() == {"1": "unknown", "2": state}


def test_a_flow_that_is_told_by_others_waits_for_nothing() -> None:
    """What is missing of a source says nothing of stages that another one tells."""
    told_by_fax = parse_flow(
        TEXT[: TEXT.index("sequences:")].replace("edi:", "fax:")
        + TEXT[TEXT.index("stages:") :].replace("[edi]", "[fax]"),
        "calls.yaml",
    )
    calls = Calls(told_by_fax, POST)
    heard = SpanRow("f" * 32, "f" * 16, "fax", "work", DUE, 1, False, {}, (), DUE)
    calls.take([span(1, 1, "sent", START, 1), span(2, 0, "", DUE, 3), heard], DUE)

    assert calls.states() == {"1": "breached"}


def test_only_what_changed_is_judged() -> None:
    """As long as the same numbers are missing no deadline is looked at again."""
    calls = Calls(FLOW)
    calls.take([span(1, 1, "sent", START, 1), span(2, 0, "", DUE, 3)], DUE)
    assert calls.states() == {"1": "unknown"}

    calls.clock.advance(HOUR)
    assert calls.engine.run_cycle().transactions == 0
    calls.take([span(3, 9, "sent", DUE + HOUR, 4)], DUE + HOUR)
    judged = {row.anchor.value for row in calls.memory.rows("transactions") if row.version == calls.memory.newest}
    assert judged == {"9"}


def test_more_than_one_cycle_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one cycle cannot judge anew the next one does."""
    monkeypatch.setattr("controltower.store.flows.engine.DUE_PER_CYCLE", 2)
    calls = Calls(FLOW)
    calls.take([span(1, 0, "", START, 1), *(span(10 + n, n, "sent", START) for n in range(1, 8))], START)
    calls.take([span(2, 0, "", DUE)], DUE)
    assert set(calls.states().values()) == {"breached"}
    calls.take([span(3, 0, "", DUE + HOUR, 3)], DUE + HOUR)
    assert set(calls.states().values()) == {"unknown"}
    calls.take([span(4, 0, "", DUE + HOUR, 2)], DUE + HOUR)
    assert set(calls.states().values()) == {"breached"}


@pytest.mark.parametrize("cut_at", range(1, 8))
@pytest.mark.parametrize("change", ["a gap shows", "the number comes"])
def test_a_cut_while_deadlines_are_judged_anew_leaves_no_half(cut_at: int, change: str) -> None:
    """Wherever the writing of new verdicts is cut off, the next engine completes it, though nothing new arrives."""

    def after(cut_at: int) -> list[list[Any]]:
        calls = Calls(FLOW)
        calls.take([span(1, 1, "sent", START, 1)], START)
        calls.take([span(2, 0, "", DUE)], DUE)
        seen = [span(3, 0, "", DUE + HOUR, 3)]
        if change == "the number comes":
            calls.take(seen, DUE + HOUR)
            seen = [span(4, 0, "", DUE + HOUR, 2)]
        calls.take(seen, DUE + 2 * HOUR, cut_at)
        return [calls.rows(table) for table in ("deadlines", "transactions", "exceptions", "awaited_deadlines")]

    assert after(cut_at) == after(0)


events = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(("sent", "answered", "")), st.integers(0, 12), st.integers(0, 6), st.sampled_from(("acme", "globex", ""))),
    min_size=1,
    max_size=9,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    events,
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12)), min_size=1, max_size=4),
    st.sampled_from(
        (
            (FLOW, (FLOW,)),
            (OF_VENDORS, (OF_VENDORS,)),
            (FLOW, (UNCOUNTED, POST)),
            (OF_VENDORS, (UNCOUNTED, POST_OF_VENDORS)),
        )
    ),
)
def test_order_and_restarts_change_no_deadline(
    drawn: list[tuple[int, str, int, int, str]], random: Any, batches: list[tuple[int, int]], flows: Any
) -> None:
    """Whatever came first, and wherever the engine was cut off: what is late and what is unknown is the same in the end; it is no
    matter which flow counts the numbers of the source."""
    flow, several = flows
    end = START + timedelta(hours=14)
    spans = [
        span(number, order, stage, START + timedelta(hours=hours), mail, vendor)
        for number, (order, stage, hours, mail, vendor) in enumerate(drawn, 1)
    ]
    at_once = Calls(flow)
    at_once.take(spans, end)
    random.shuffle(spans)
    calls = Calls(*several)
    calls.take_piecemeal(spans, batches, START + timedelta(hours=12), end)

    def without_names(rows: Iterable[Deadline]) -> list[tuple[object, ...]]:
        """Of several that may be the answer, any may be named."""
        return [(row.anchor, row.state, row.due_at, row.met_at, row.told_by, bool(row.missing)) for row in rows]

    assert without_names(calls.rows("deadlines")) == without_names(at_once.rows("deadlines"))
    for table in ("transactions", "exceptions"):
        assert [row for row in calls.rows(table) if row.anchor.type != "source"] == [
            row for row in at_once.rows(table) if row.anchor.type != "source"
        ], table
    open_ = {gap.name for gap in calls.engine._circumstances.missing[flow.flow]}
    assert {row.source for row in calls.rows("deadlines") if row.missing} <= open_
    waited = {(row.anchor, row.source) for row in calls.rows("deadlines") if row.source}
    assert waited <= {(row.anchor, row.source) for row in calls.rows("awaited_deadlines")}


@pytest.mark.parametrize("flows", [(FLOW,), (UNCOUNTED, POST)], ids=["one flow", "another one counts"])
def test_readers_are_told_what_is_missing(any_store: Client, clock: ManualClock, flows: tuple[Flow, ...]) -> None:
    """Over a real store, also for what was broken before, and after a start: `trace` says which numbers of which source are
    missing, and since when; and each deadline is judged by what they bring."""
    keys = [{"order": "1", "mail": "M01"}, {"order": "2"}, {"order": "3"}]
    store(any_store, [Span(n, n, START, "c.sent", own, "edi") for n, own in enumerate(keys, 1)])
    store(any_store, [Span(8, 8, DUE, "", {}, "edi")])
    clock.set(DUE + HOUR)
    running = Engine(any_store, flows, clock.now)
    running.catch_up()
    assert {row.state for row in view_of(any_store, "1").deadlines} == {DeadlineState.BREACHED}

    store(any_store, [Span(9, 9, DUE + HOUR, "c.noted", {"mail": "M04"}, "edi")])
    running.catch_up()
    view = view_of(any_store, "1")
    assert "source edi: mail M02 to M03 missing since 2026-03-02 09:00" in path(view, clock.now())
    assert "is unknown: mail M02 to M03 of edi are missing since" in standing(FLOW, view, clock.now())
    assert "edi: mail M02 to M03 missing since" in str(deadlines(view.deadlines, FLOW, clock.now(), view.heard))
    said: Any = transaction_of(view)
    said = said["deadlines"][0]
    assert (said["source"], said["silent_since"]) == ("edi", None)
    assert said["missing"] == {
        "type": "mail",
        "scope": "",
        "first": "M02",
        "last": "M03",
        "since": "2026-03-02T09:00:00Z",
        "until": "2026-03-02T14:00:00Z",
    }
    answers = [("1", "M02", DUE - HOUR), ("2", "M03", DUE + HOUR)]
    store(any_store, [Span(20 + n, 20 + n, at, "c.answered", {"order": order, "mail": mail}, "edi") for n, (order, mail, at) in enumerate(answers)])  # fmt: skip
    running = Engine(any_store, flows, clock.now)
    running.catch_up()
    states = [view_of(any_store, order).deadlines[0].state for order in ("1", "2", "3")]
    assert states == [DeadlineState.MET, DeadlineState.MET_LATE, DeadlineState.BREACHED]
    assert any_store.command("SELECT count() FROM awaited_deadlines FINAL") == 0


def view_of(client: Client, order: str) -> TransactionView:
    """Return what readers see of an order."""
    view = read_transaction(client, "calls", Key("order", "", order))
    assert view is not None
    return view
