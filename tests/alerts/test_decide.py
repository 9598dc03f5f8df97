"""Decisions, as pure functions of what was decided before and what is seen now."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.decide import Decision, Policy, Reason, decide
from controltower.alerts.evaluate import dedup_key, notification_id
from controltower.store.alert_rows import Alert, AlertState
from controltower.store.rows import ExceptionRow, Key
from tests.factories import AT, exception

Move = Literal["open", "resolve", "delete", "duplicate", "look"]
MOVES: list[Move] = ["open", "resolve", "delete", "duplicate", "look"]
DAY = timedelta(hours=24)
TOLD = (Reason.FIRST, Reason.MORE, Reason.REPEAT)
OVER = (Reason.RESOLVED, Reason.RETRACTED)


def policy(now: datetime = AT, *, announce: bool = True) -> Policy:
    """Return a policy with the default maximum age."""
    return Policy(now, DAY, announce)


def moved(row: ExceptionRow | None, move: Move, now: datetime, version: int) -> ExceptionRow | None:
    """Return the row that the engine writes for *move*."""
    if move == "open":
        return exception(opened_at=now, version=version)
    if row is None or move == "look":
        return row
    changed: dict[Move, ExceptionRow] = {
        "resolve": replace(row, resolved_at=now),
        "delete": replace(row, is_deleted=True),
    }
    return replace(changed.get(move, row), version=version)


def is_open(row: ExceptionRow) -> bool:
    """Whether the row says that something is wrong."""
    return row.resolved_at is None and not row.is_deleted


def play(moves: list[Move], looks: list[bool]) -> tuple[list[Decision], list[ExceptionRow]]:
    """Play *moves*; after those with a look the worker decides. Return the decisions and the rows that it saw."""
    row: ExceptionRow | None = None
    alert: Alert | None = None
    decisions, seen = [], []
    for number, (move, look) in enumerate(zip(moves, looks, strict=True), start=1):
        now = AT + timedelta(minutes=number)
        row = moved(row, move, now, number)
        if look and row is not None:
            decision = decide(alert, row, policy(now))
            alert = decision.alert or alert
            decisions.append(decision)
            seen.append(row)
    return decisions, seen


def episodes(rows: list[ExceptionRow]) -> int:
    """Return how many times what was seen went from not open to open."""
    states = [False, *map(is_open, rows)]
    return sum(1 for before, after in itertools.pairwise(states) if after and not before)


@given(st.lists(st.tuples(st.sampled_from(MOVES), st.booleans()), max_size=30))
def test_an_episode_is_told_once_and_ended_once(played: list[tuple[Move, bool]]) -> None:
    """Any interleaving of opening, resolving, deleting and duplicates tells each episode once and ends it at most once."""
    decisions, seen = play([move for move, _ in played], [look for _, look in played])
    told = [decision for decision in decisions if decision.notifies]
    reasons = [decision.reason for decision in told]

    assert reasons.count(Reason.FIRST) == episodes(seen)
    assert reasons[::2] == [Reason.FIRST] * len(reasons[::2])
    assert all(reason in OVER for reason in reasons[1::2])
    ids = [decision.alert.notification_id for decision in told if decision.alert]
    assert len(set(ids)) == len(ids)


@given(st.lists(st.tuples(st.sampled_from(MOVES), st.booleans()), max_size=30))
def test_looking_twice_decides_nothing_the_second_time(played: list[tuple[Move, bool]]) -> None:
    """Deciding about the row that was just decided about changes nothing."""
    row: ExceptionRow | None = None
    alert: Alert | None = None
    for number, (move, _) in enumerate(played, start=1):
        row = moved(row, move, AT + timedelta(minutes=number), number)
        if row is not None:
            alert = decide(alert, row, policy(AT + timedelta(minutes=number))).alert or alert
            again = decide(alert, row, policy(AT + timedelta(minutes=number)))

            assert again == Decision(Reason.NONE)


@given(st.lists(st.sampled_from(MOVES), max_size=20))
def test_without_a_receiver_nothing_is_ever_told(moves: list[Move]) -> None:
    """Without a receiver decisions are taken and no notification follows, also not of an end when one is set later."""
    alert: Alert | None = None
    row: ExceptionRow | None = None
    for number, move in enumerate(moves, start=1):
        row = moved(row, move, AT + timedelta(minutes=number), number)
        if row is not None:
            decision = decide(alert, row, policy(AT + timedelta(minutes=number), announce=False))
            alert = decision.alert or alert
            assert not decision.notifies
    if alert is not None and alert.state is AlertState.FIRING:
        ended = decide(alert, replace(exception(version=99), resolved_at=AT), policy())
        assert (ended.reason, ended.notifies) == (Reason.RESOLVED, False)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_age_when_first_seen_divides_news_from_history(age: timedelta) -> None:
    """Up to the maximum age an exception is told, beyond it is history; its end follows the same way."""
    row = exception(opened_at=AT - age)

    begun = decide(None, row, policy())
    ended = decide(begun.alert, replace(row, resolved_at=AT, version=2), policy())

    assert begun.reason is (Reason.HISTORIC if age > DAY else Reason.FIRST)
    assert begun.notifies == ended.notifies == (age <= DAY)


def test_growing_old_is_not_becoming_history() -> None:
    """An alert that was told stays told: its age counts when it is first seen only."""
    begun = decide(None, exception(), policy())
    later = policy(AT + timedelta(days=30))

    followed = decide(begun.alert, exception(detail="Still missing.", version=2), later)
    ended = decide(followed.alert, exception(resolved_at=AT, version=3), later)

    assert followed.reason is Reason.NONE
    assert followed.alert is not None
    assert (followed.alert.detail, followed.alert.decided_at) == ("Still missing.", AT)
    assert (ended.reason, ended.notifies) == (Reason.RESOLVED, True)


def test_a_fresh_breach_of_something_historic_is_told() -> None:
    """A historic exception that opens anew, later and recently, is news."""
    history = decide(None, exception(opened_at=AT - timedelta(days=3)), policy())

    same = decide(history.alert, exception(opened_at=AT - timedelta(days=2), version=2), policy())
    fresh = decide(history.alert, exception(opened_at=AT, version=2), policy())

    assert same.reason is Reason.NONE
    assert (fresh.reason, fresh.notifies) == (Reason.FIRST, True)


def test_an_older_row_than_the_one_decided_about_decides_nothing() -> None:
    """A row that arrives late and is older than what was decided about does not turn time back."""
    begun = decide(None, exception(version=5), policy())
    ended = decide(begun.alert, exception(resolved_at=AT, version=7), policy())

    assert decide(ended.alert, exception(version=6), policy()) == Decision(Reason.NONE)


PARTS = st.text(alphabet='ab,"\\ \x1f', max_size=3)
ROWS = st.builds(
    lambda flow, type, scope, value, kind, rule, subject: exception(
        flow=flow, anchor=Key(type, scope, value), kind=kind, rule=rule, subject=subject
    ),
    *[PARTS] * 7,
)


@given(ROWS, ROWS)
def test_a_key_names_one_thing_and_always_the_same(one: ExceptionRow, other: ExceptionRow) -> None:
    """Two exceptions share a key exactly when flow, anchor, kind, rule and subject are the same."""

    def about(row: ExceptionRow) -> tuple[object, ...]:
        return row.flow, row.anchor, row.kind, row.rule, row.subject

    later = replace(one, detail="other words", amount=one.amount + 1, version=9, resolved_at=AT)
    assert dedup_key(one) == dedup_key(later)
    assert (dedup_key(one) == dedup_key(other)) == (about(one) == about(other))
    assert len(dedup_key(one)) <= 255


def test_the_names_of_things_do_not_change_between_releases() -> None:
    """Keys and ids are promises to receivers: the same row has the same name for ever."""
    key = dedup_key(exception())

    assert key == "ct_edd24edf53ccb6dfc55786ba9311e7da6674fbbb"
    assert notification_id(key, 1) == "msg_086c02de94b040224799ca5d9356510e"
