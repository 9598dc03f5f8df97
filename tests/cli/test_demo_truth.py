"""What really happened: verdicts by the published rules, and the file they are kept in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from controltower.cli.demo.facts import DeadlineFact, Facts, LineFact
from controltower.cli.demo.model import Anchor
from controltower.cli.demo.plan import history
from controltower.cli.demo.published import due_at, packs
from controltower.cli.demo.truth import Truth, read_truth, truth_of, write_truth
from controltower.cli.demo.verdicts import deadline_state, match, state
from controltower.cli.errors import CommandError
from controltower.store.flows.definition import SlaRule

MONDAY = datetime(2026, 11, 16, 15, tzinfo=UTC)
TEN = Decimal(10)
LINE = LineFact(
    line="1",
    price=Decimal("8.25"),
    ordered=TEN,
    received=TEN,
    received_at=MONDAY,
    invoiced=TEN,
    invoiced_value=Decimal("82.50"),
    invoiced_at=MONDAY,
)
DONE = Facts(
    "procure_to_pay", Anchor("purchase_order", "1000", "PO-1"), (), (), (), final=True, cancelled_at=None, unhealed=()
)


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        (LINE, ("matched", ""), ("matched", "")),
        (
            replace(LINE, invoiced_value=Decimal("84.00")),
            ("matched_within_tolerance", ""),
            ("matched_within_tolerance", ""),
        ),
        (
            replace(LINE, invoiced_value=Decimal("95.00")),
            ("exception", "price_variance"),
            ("exception", "price_variance"),
        ),
        (
            replace(LINE, invoiced=Decimal(12), invoiced_value=Decimal("99.00")),
            ("exception", "qty_variance"),
            ("exception", "qty_variance"),
        ),
        (
            replace(LINE, received=Decimal(6)),
            ("pending_timing", "qty_variance"),
            ("exception", "qty_variance"),
        ),
        (
            replace(LINE, received=Decimal(0), received_at=None),
            ("pending_timing", "missing_left"),
            ("exception", "missing_left"),
        ),
        (
            replace(LINE, invoiced=None, invoiced_value=Decimal(0), invoiced_at=None),
            ("pending_timing", "missing_right"),
            ("exception", "missing_right"),
        ),
        (
            replace(LINE, invoiced=Decimal(6), received=Decimal(6), invoiced_value=Decimal("49.50")),
            ("partial", ""),
            ("partial", ""),
        ),
    ],
)
def test_match_of_a_line(line: LineFact, before: tuple[str, str], after: tuple[str, str]) -> None:
    """A difference of timing becomes an exception when its window ends, and not before."""
    fact = match(line)

    assert fact.at(MONDAY) == before
    assert fact.at(MONDAY + timedelta(days=60)) == after


def test_goods_may_follow_the_invoice_for_two_business_days() -> None:
    """The window of missing goods counts business days from the last invoice."""
    fact = match(replace(LINE, received=Decimal(6)))

    assert fact.window_ends_at == MONDAY + timedelta(days=2)


@pytest.mark.parametrize(
    ("met_after", "now_after", "expected"),
    [(1, 5, "met"), (3, 5, "met late"), (None, 1, "running"), (None, 2, "breached")],
)
def test_deadline_states(met_after: int | None, now_after: int, expected: str) -> None:
    """A deadline is late from the moment it is due."""
    hour = timedelta(hours=1)
    met = MONDAY + met_after * hour if met_after is not None else None
    fact = DeadlineFact("order created", "", MONDAY, MONDAY + 2 * hour, met)

    assert deadline_state(fact, None, MONDAY + now_after * hour) == expected
    assert met is not None or deadline_state(fact, MONDAY, MONDAY + now_after * hour) == "waived"


def test_states_in_their_order() -> None:
    """A breach outranks an exception, which outranks completion; what is open keeps a transaction in progress."""
    late = DeadlineFact("order to pay", "", MONDAY, MONDAY + timedelta(hours=1), None)
    wrong = match(replace(LINE, invoiced_value=Decimal("95.00")))
    now = MONDAY + timedelta(hours=2)

    assert state(DONE, (match(LINE),), now) == "completed"
    assert state(DONE, (match(LINE), wrong), now) == "exception"
    assert state(replace(DONE, deadlines=(late,)), (wrong,), now) == "breached"
    assert state(replace(DONE, deadlines=(late,)), (match(LINE),), MONDAY) == "in progress"
    assert state(replace(DONE, unhealed=("failed x",)), (match(LINE),), now) == "exception"
    assert state(replace(DONE, final=False), (match(LINE),), now) == "in progress"


@pytest.mark.parametrize(
    ("within", "stated", "context", "expected"),
    [
        ("4 hours", None, {}, timedelta(hours=4)),
        ("1 business day", None, {}, timedelta(days=1)),
        ("4 hours", {"context": "grace_s"}, {"grace_s": "600"}, timedelta(minutes=10)),
        ("4 hours", {"context": "grace_s"}, {}, timedelta(hours=4)),
        ("4 hours", {"context": "beat_s", "times": 3, "only": True}, {"beat_s": "60"}, timedelta(minutes=3)),
        ("4 hours", {"context": "beat_s", "only": True}, {}, None),
    ],
)
def test_when_a_limit_falls_due(
    within: str, stated: dict[str, object] | None, context: dict[str, str], expected: timedelta | None
) -> None:
    """A limit is what the rule says, or what the step states where the rule asks for it."""
    given = {"name": "x", "from": "a", "to": "b", "within": within, "stated": stated, "calendar": "us_business"}
    due = due_at(SlaRule.model_validate(given), MONDAY, context)

    assert due == (None if expected is None else MONDAY + expected)


def test_the_truth_knows_every_limit_that_ships() -> None:
    """Each service level of each pack is in a unit that the truth has a calendar for."""
    for flow in packs().values():
        for rule in flow.sla:
            assert rule.calendar in (None, "us_business")
            assert (rule.stated and rule.stated.only) or due_at(rule, MONDAY, {})


def test_a_truth_file_reads_back(tmp_path: Path) -> None:
    """What is written is read, but the lines' facts, which the outcomes already say."""
    truth = truth_of(history(5, 40, 40, MONDAY))
    write_truth(tmp_path / "truth.jsonl", truth)
    back = read_truth(tmp_path / "truth.jsonl")

    assert back == Truth(truth.header, tuple(replace(each, facts=replace(each.facts, lines=())) for each in truth.transactions), truth.loose)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "its first line is not a header"),
        ("nonsense\n", ":1: this is no line of a truth file"),
        ('{"kind": "header", "version": 9}\n', "is of version 9"),
        ('{"kind": "header", "version": 2}\n{"kind": "transaction"}\n', ":2: this is no line"),
    ],
)
def test_a_bad_truth_file_is_refused_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    """A file that is no truth file is refused in a sentence."""
    path = tmp_path / "truth.jsonl"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(CommandError, match=sentence):
        read_truth(path)


def test_a_missing_truth_file_is_refused(tmp_path: Path) -> None:
    """The sentence says how to make one."""
    with pytest.raises(CommandError, match="demo --truth"):
        read_truth(tmp_path / "none.jsonl")
