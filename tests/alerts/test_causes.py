"""What several exceptions have in common: decided purely, and told once over the real store and a real receiver."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.causes import KIND, shared, tally
from controltower.alerts.decide import Decision, Policy, Reason, decide
from controltower.store.alert_rows import Alert, AlertState
from controltower.store.client import Client
from controltower.store.outbox import list_alerts, open_causes, record, tallies
from controltower.store.rows import ExceptionRow, Key
from controltower.store.write import Row
from tests.alerts.conftest import Bench
from tests.alerts.receiver import Receiver
from tests.factories import AT, exception

LEAST = 3
POLICY = Policy(AT, timedelta(days=1), announce=True, least=LEAST)


def late(number: int, *, vendor: str = "V-7", minutes: float = 0, **values: Any) -> ExceptionRow:
    """Return an order that is late with a vendor, behind the gateway, opened so many minutes ago."""
    about = {
        "system": "edi-gateway",
        "counterparty": vendor,
        "opened_at": AT - timedelta(minutes=minutes),
        "version": 1,
    }
    return exception(anchor=Key("purchase_order", "", f"PO-{number}"), **{**about, **values})


def decided(rows: Sequence[ExceptionRow], causes: Sequence[Alert] = (), alone: Sequence[Alert] = ()) -> list[Decision]:
    """Decide about rows that nothing is known of."""
    return shared([decide(None, row, POLICY) for row in rows], causes, alone, POLICY, 1)


def alerts(decisions: Sequence[Decision]) -> list[Alert]:
    """Return the alerts that the decisions leave."""
    return [decision.alert for decision in decisions if decision.alert is not None]


def told(decisions: Sequence[Decision]) -> list[tuple[str, str, str]]:
    """Return kind, and type and value of the anchor, of what people are told."""
    return sorted(
        (decision.alert.kind, decision.alert.anchor.type, decision.alert.anchor.value)
        for decision in decisions
        if decision.notifies and decision.alert is not None
    )


def test_fewer_than_enough_are_told_one_by_one() -> None:
    """Two orders of a vendor are two notifications."""
    assert told(decided([late(1), late(2)])) == [
        ("deadline", "purchase_order", "PO-1"),
        ("deadline", "purchase_order", "PO-2"),
    ]


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([late(n, batch="0231") for n in range(4)], ("batch", "0231")),
        ([late(n, batch=str(n % 2)) for n in range(6)], ("counterparty", "V-7")),
        ([late(n, vendor=f"V-{n % 3}") for n in range(6)], ("system", "edi-gateway")),
        ([*(late(n) for n in range(8)), late(8, vendor="V-8"), late(9, vendor="V-9")], ("counterparty", "V-7")),
    ],
    ids=["one batch", "several batches of one vendor", "several vendors behind one system", "nearly all of one vendor"],
)
def test_the_cause_is_the_narrowest_that_nearly_all_share(rows: list[ExceptionRow], cause: tuple[str, str]) -> None:
    """A batch, else a counterparty, else a system; who does not share it is told by itself."""
    found = decided(rows)

    assert [alert for alert in told(found) if alert[0] == KIND] == [(KIND, *cause)]
    names, value = cause
    others = [row.anchor.value for row in rows if getattr(row, names) != value]
    assert [value for kind, _, value in told(found) if kind != KIND] == others


def test_two_systems_are_two_causes() -> None:
    """What fails in two places at a time is told once for each that is large enough, and the rest by itself."""
    rows = [late(n, vendor="", system=("a", "b", "c")[n % 3 if n < 7 else 0]) for n in range(11)]

    assert told(decided(rows)) == [
        (KIND, "system", "a"),
        ("deadline", "purchase_order", "PO-1"),
        ("deadline", "purchase_order", "PO-2"),
        ("deadline", "purchase_order", "PO-4"),
        ("deadline", "purchase_order", "PO-5"),
    ]


def test_what_opens_at_another_time_is_another_cause() -> None:
    """More than an hour between two of them: they did not break together."""
    rows = [*(late(n, minutes=n) for n in range(4)), *(late(n, minutes=66 + n) for n in range(4, 8))]
    causes = [alert for alert in alerts(decided(rows)) if alert.kind == KIND]

    assert Counter(alert.members for alert in causes) == {4: 2}
    assert len({alert.dedup_key for alert in causes}) == 2


def test_other_rules_and_reasons_are_other_topics() -> None:
    """A vendor with two rules broken has two causes, or none where each has too few."""
    rows = [late(n, rule=("one", "two")[n % 2]) for n in range(4)]

    assert not [alert for alert in alerts(decided(rows)) if alert.kind == KIND]


def test_the_first_of_them_were_told_before_they_were_enough() -> None:
    """Two that were told by themselves and a third make a cause of three, which tells of the third alone."""
    alone = alerts(decided([late(1, minutes=9), late(2, minutes=5)]))
    found = decided([late(3)], alone=alone)

    (cause,) = (alert for alert in alerts(found) if alert.kind == KIND)
    assert told(found) == [(KIND, "counterparty", "V-7")]
    assert cause.members == 3
    assert {alert.cause for alert in alerts(found) if alert.kind != KIND} == {cause.dedup_key}
    assert [alert.announced for alert in alerts(found) if alert.kind != KIND] == [False, True, True]


def test_an_open_cause_takes_what_follows_within_the_hour() -> None:
    """One more within an hour of the last belongs to it and is not told; one after that is told by itself."""
    (cause,) = (alert for alert in alerts(decided([late(n) for n in range(3)])) if alert.kind == KIND)

    soon = decided([late(4, minutes=-59)], causes=[cause])
    later = decided([late(5, minutes=-61)], causes=[cause])
    chain = decided([late(4, minutes=-59), late(5, minutes=-61)], causes=[cause])
    assert (told(soon), told(later), told(chain)) == ([], [("deadline", "purchase_order", "PO-5")], [])


def test_a_cause_says_how_many_with_whom_and_how_much() -> None:
    """One sentence: the transactions, what they share, the rule, the money, since when; each transaction's money once."""
    rows = [late(n, subject=subject, amount=Decimal(1000 + n)) for n in range(3) for subject in ("INV-1", "INV-2")]
    (cause,) = (alert for alert in alerts(decided(rows)) if alert.kind == KIND)

    assert cause.detail == (
        "3 transactions with V-7 are late for supplier acknowledges, 3,003.00 USD at stake, since 2026-03-02 09:00 UTC."
    )
    assert (cause.amount, cause.currency, cause.members, cause.severity) == (Decimal(3003), "USD", 3, "page")


def test_lines_that_do_not_match_add_up() -> None:
    """Three lines of one order are one transaction, and their differences are one sum."""
    rows = [late(1, kind="match", subject=str(line), amount=Decimal(10)) for line in range(3)]
    members = alerts([decide(None, row, POLICY) for row in rows])

    assert (tally(members).open, tally(members).amounts) == (1, {"USD": Decimal(30)})


some_rows = st.lists(
    st.builds(
        lambda number, vendor, system, batch, minutes, rule, kind: late(
            number, vendor=vendor, system=system, batch=batch, minutes=minutes, rule=rule, kind=kind
        ),
        st.integers(0, 30),
        st.sampled_from(["", "V-1", "V-2"]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "x", "y"]),
        st.integers(0, 240),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["deadline", "failed"]),
    ),
    max_size=30,
    unique_by=lambda row: (row.anchor, row.kind, row.rule),
)


@given(some_rows, st.randoms(use_true_random=False))
def test_everything_is_told_by_itself_or_by_its_cause(rows: list[ExceptionRow], random: Any) -> None:
    """Each exception is told once, by itself or by one cause that is told; members agree in what they share; and the order
    of a page changes nothing."""
    found = decided(rows)
    mixed = random.sample(rows, len(rows))

    assert told(decided(mixed)) == told(found)
    causes = {alert.dedup_key: alert for alert in alerts(found) if alert.kind == KIND}
    members = [alert for alert in alerts(found) if alert.kind != KIND]
    assert len(members) == len(rows)
    assert all(alert.announced != bool(alert.cause) for alert in members)
    assert all(cause.announced for cause in causes.values())
    for key, cause in causes.items():
        own = [alert for alert in members if alert.cause == key]
        assert len(own) >= LEAST
        assert {getattr(alert, cause.anchor.type) for alert in own} == {cause.anchor.value}
        assert cause.members == len({alert.anchor for alert in own})


# over the real store


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what was received."""
    return [json.loads(request.body) for request in receiver.received]


def opened(bench: Bench, count: int, **values: Any) -> list[ExceptionRow]:
    """Let one cycle of the engine open so many exceptions behind one system, with one vendor."""
    at = bench.clock.now() - timedelta(minutes=1)
    rows = [late(number, opened_at=at, **values) for number in range(count)]
    bench.write(*rows)
    return rows


def test_many_with_one_cause_are_one_notification(bench: Bench, receiver: Receiver) -> None:
    """Eight late orders of a vendor are told once, with their number and money, and their end is told once."""
    rows = opened(bench, 8)
    worker = bench.worker()

    first = worker.run_once()
    for row in rows[:7]:
        bench.resolve(row)
    worker.run_once()
    bench.resolve(rows[7])
    worker.run_once()

    assert first.decisions == {Reason.SHARED: 8, Reason.FIRST: 1, Reason.NONE: 1}
    (firing, resolved) = bodies(receiver)
    assert (firing["type"], firing["data"]["kind"], firing["data"]["transactions"]) == (
        "controltower.alert.firing",
        KIND,
        8,
    )
    assert firing["data"]["anchor"] == {"type": "counterparty", "scope": "", "value": "V-7"}
    assert firing["data"]["amount"] == "10000.00"
    assert firing["data"]["summary"].startswith(
        "8 transactions with V-7 are late for supplier acknowledges, 10,000.00 USD"
    )
    assert firing["data"]["url"] == f"http://tower.example:8501/transactions?cause={firing['data']['dedup_key']}"
    assert resolved["type"] == "controltower.alert.resolved"
    assert resolved["data"]["dedup_key"] == firing["data"]["dedup_key"]
    assert {alert.state for alert in list_alerts(bench.client)} == {AlertState.RESOLVED}


def test_a_cause_is_known_by_what_its_members_come_to(bench: Bench, receiver: Receiver) -> None:
    """Its money and number follow its members; those in the store are what is reckoned from the members themselves."""
    rows = opened(bench, 6)
    bench.write(late(6, opened_at=rows[0].opened_at, amount=Decimal(7), currency="EUR", severity="notice"))
    worker = bench.worker()
    worker.run_once()
    bench.resolve(rows[0])
    worker.run_once()

    (cause,) = open_causes(bench.client)
    found = tallies(bench.client, [cause.dedup_key])[cause.dedup_key]
    members = [alert for alert in list_alerts(bench.client) if alert.cause == cause.dedup_key]
    assert len(members) == 7
    still = tally([alert for alert in members if alert.state is AlertState.FIRING])
    assert (found.open, found.amounts, found.severity) == (still.open, still.amounts, still.severity)
    assert (cause.members, cause.amount) == (6, Decimal(6250))
    assert "6,250.00 USD and 7.00 EUR at stake" in cause.detail
    assert len(receiver.received) == 1


def test_a_cause_that_a_correction_took_back_is_retracted(bench: Bench, receiver: Receiver) -> None:
    """When none of its members was ever true, neither was the cause."""
    rows = opened(bench, 5)
    worker = bench.worker()
    worker.run_once()
    bench.write(*(replace(row, is_deleted=True) for row in rows))
    worker.run_once()

    assert [body["type"].rpartition(".")[2] for body in bodies(receiver)] == ["firing", "retracted"]


def test_a_worse_member_makes_the_cause_worse(embedded_bench: Bench, receiver: Receiver) -> None:
    """A member that becomes a page is told by its cause, once."""
    rows = opened(embedded_bench, 5, severity="warning")
    worker = embedded_bench.worker()
    worker.run_once()
    embedded_bench.write(*(replace(row, severity="page") for row in rows[:2]))
    worker.run_once()

    assert [(body["data"]["decision"], body["data"]["severity"]) for body in bodies(receiver)] == [
        ("first", "warning"),
        ("more", "page"),
    ]


def test_whoever_wants_each_by_itself_gets_it(embedded_bench: Bench, receiver: Receiver) -> None:
    """With 0 nothing is put together."""
    opened(embedded_bench, 6)
    embedded_bench.worker(group=0).run_once()

    assert [body["data"]["kind"] for body in bodies(receiver)] == ["deadline"] * 6


@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_a_crash_at_any_write_leaves_no_cause_open(
    embedded_bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    """Wherever the worker ends while a cause ends, the next one tells its end, once."""
    bench = embedded_bench
    rows = opened(bench, 5)
    bench.worker().run_once()
    bench.write(*(replace(row, resolved_at=bench.clock.now()) for row in rows))
    bench.clock.advance(timedelta(minutes=1))  # past the lease of the first
    writes = count(1)

    def crash(client: Client, rows: Sequence[Row]) -> None:
        if rows and next(writes) == crash_at:
            raise KeyboardInterrupt
        record(client, rows)

    with monkeypatch.context() as patched:
        patched.setattr("controltower.alerts.worker.record", crash)
        with pytest.raises(KeyboardInterrupt):
            bench.worker("second").run_once()
    bench.clock.advance(timedelta(minutes=1))
    successor = bench.worker("third")
    for _ in range(3):
        successor.run_once()

    assert [body["type"].rpartition(".")[2] for body in bodies(receiver)] == ["firing", "resolved"]
    assert not open_causes(bench.client)
