"""Slots of schedules that no step answered in time: told once, ended when a step comes late, taken back when it came in time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.client import Client
from controltower.store.errors import FlowError
from controltower.store.flows.check import check_flow
from controltower.store.flows.deadlines import Circumstances
from controltower.store.flows.definition import Flow
from controltower.store.flows.engine import SETTLING
from controltower.store.flows.files import load_packs, parse_flow
from controltower.store.flows.missed import Came, Looked, answers, changes
from controltower.store.flows.published import Watched, published_since
from controltower.store.flows.schedule import BACK
from controltower.store.flows.schedules import Schedules, grain
from controltower.store.missing import Missing
from controltower.store.reads.overview import overview
from controltower.store.rows import ExceptionRow, FlowVersion, Key, Publication
from controltower.store.write import insert
from tests.conftest import ManualClock
from tests.factories import step

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TEXT = """
flow: remittance
version: 1
title: Remittance
prefix: r
anchors: [file]
keys: {file: {}, sender: {parent: file, shared: true, normalise: upper}}
counterparty: payer
sources:
  edi: {silent_after: 1 day}
stages:
  - {name: received, step: r.file.received, told_by: [edi]}
  - {name: polled, step: r.mailbox.polled, final: true}
sla:
  - {name: file arrives, every: "06:00", to: received, within: 2 hours, calendar: office, severity: page,
     each: {context: payer, values: [AETNA, CIGNA]}}
  - {name: mailbox is polled, every: 1 hour, to: polled, within: 10 minutes}
calendars:
  office: {time_zone: America/New_York, hours: "08:00-17:00"}
"""
FLOW = parse_flow(TEXT, "remittance.yaml")
ARRIVES, POLLED = FLOW.sla
SINCE = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)  # midnight of a Monday in New York
SIX = SINCE + 6 * HOUR
numbers = count(1)


class Tower:
    """What looks at schedules over a store, as the engine in force lets it."""

    def __init__(self, client: Client, clock: ManualClock, flow: Flow = FLOW) -> None:
        self.client, self.clock, self.flow = client, clock, flow
        self.version = 0
        self.start()

    def start(self) -> None:
        """Start anew, long enough ago that nobody waits for what senders kept."""
        self.clock.set(SINCE - 2 * DAY)
        self.schedules = Schedules(self.client, self.clock.now, count(0.0, 3600.0).__next__)

    def see(self, stage: str, *times: datetime, key: str = "", **context: str) -> None:
        """Store a step of a stage at each of these times."""
        self.version += 1
        steps = []
        for at in times:
            number = next(numbers)
            ids = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
            code = FLOW.stage_by_name[stage].step
            keys = (Key("sender", "", key),) if key else ()
            made = step(flow="remittance", step=code, stage=stage, at=at, keys=keys, context=context, **ids)
            steps.append(replace(made, version=self.version))
        insert(self.client, steps)

    def look(self, now: datetime, heard: datetime | None = None, since: datetime = SINCE) -> dict[str, datetime | None]:
        """Look at *now*; return what was missed -> when it came."""
        self.clock.set(now)
        around = Circumstances({"edi": heard or now})
        self.schedules.look([self.flow], Watched({}, since), around, self.version)
        return stored(self.client)


def stored(client: Client) -> dict[str, datetime | None]:
    """Return what was missed, with whose it is -> when it came."""
    text = "SELECT anchor.scope, anchor.value, resolved_at FROM exceptions FINAL WHERE kind = 'schedule' AND NOT is_deleted"
    rows = client.query(text, tz_mode="aware").result_rows
    return {f"{value} {scope}".strip(): came for scope, value, came in rows}


def only(found: Mapping[str, datetime | None], name: str) -> dict[str, datetime | None]:
    """Return those whose name begins with *name*."""
    return {each: came for each, came in found.items() if each.startswith(name)}


def test_a_partner_that_never_sent_anything_is_missed(any_store: Client, clock: ManualClock) -> None:
    """What one sends is no answer for the other; when it comes it is told how late, also after a start."""
    tower = Tower(any_store, clock)
    tower.see("received", SIX - 3 * HOUR, payer="AETNA")  # before its time
    assert only(tower.look(SIX + 2 * HOUR - MINUTE), "file") == {}
    assert only(tower.look(SIX + 2 * HOUR), "file") == {"file arrives 2026-03-02 11:00 UTC CIGNA": None}
    (row,) = any_store.query(
        "SELECT severity, reason, subject, counterparty, detail FROM exceptions FINAL WHERE rule = 'file arrives'"
    ).result_rows
    assert row == (
        "page",
        "missed",
        "CIGNA",
        "CIGNA",
        "File arrives of CIGNA: nothing came for 2026-03-02 11:00 UTC by 2026-03-02 13:00 UTC.",
    )

    found = overview(any_store, clock.now(), SINCE, clock.now()).exceptions
    assert ("schedule", "file arrives", 1, 0) in [
        (one.kind, one.rule, one.exceptions, one.transactions) for one in found
    ]

    tower.start()
    late = SIX + 3 * HOUR + 10 * MINUTE
    tower.see("received", late, late + MINUTE, payer="CIGNA")
    assert only(tower.look(late + 2 * MINUTE), "file") == {"file arrives 2026-03-02 11:00 UTC CIGNA": late}
    (detail,) = any_store.query("SELECT detail FROM exceptions FINAL WHERE rule = 'file arrives'").result_rows[0]
    assert detail.endswith(" It came 2026-03-02 14:10 UTC, 1 h 10 min late.")


def test_what_comes_for_the_next_time_is_no_answer_for_the_last(store_client: Client, clock: ManualClock) -> None:
    """From half way between two times on a step is of the later one, and the earlier one stays missed."""
    tower = Tower(store_client, clock)
    half = SIX + 13 * HOUR
    tower.see("received", half, payer="AETNA")
    tower.see("received", half - MINUTE, payer="CIGNA")

    assert only(tower.look(SIX + DAY + 2 * HOUR), "file") == {
        "file arrives 2026-03-02 11:00 UTC AETNA": None,
        "file arrives 2026-03-02 11:00 UTC CIGNA": half - MINUTE,
        "file arrives 2026-03-03 11:00 UTC CIGNA": None,
    }


def test_news_that_come_late_take_it_back(store_client: Client, clock: ManualClock) -> None:
    """A step that happened in time and was heard of late was never missed."""
    tower = Tower(store_client, clock)
    due = SIX + 2 * HOUR
    assert only(tower.look(due), "file arrives 2026-03-02 11:00 UTC CIGNA")
    tower.see("received", due, payer="CIGNA")

    assert only(tower.look(due + HOUR), "file arrives 2026-03-02 11:00 UTC CIGNA") == {}


def test_an_interval_that_is_missed_on_end_is_one(store_client: Client, clock: ManualClock) -> None:
    """It opens with the first slot that was missed, and what comes next ends it, for all of them."""
    tower = Tower(store_client, clock)
    tower.see("polled", *(SINCE + hours * HOUR for hours in range(3)))
    name = "mailbox is polled 2026-03-02 08:00 UTC"
    assert only(tower.look(SINCE + 3 * HOUR + 9 * MINUTE), "mailbox") == {}
    assert only(tower.look(SINCE + 3 * HOUR + 10 * MINUTE), "mailbox") == {name: None}
    assert only(tower.look(SINCE + 9 * HOUR), "mailbox") == {name: None}
    assert only(tower.look(SINCE + 60 * DAY), "mailbox") == {name: None}  # of which a thousand hours are looked at

    again = SINCE + 60 * DAY + HOUR
    tower.see("polled", again)
    assert only(tower.look(again), "mailbox") == {name: again}
    (detail,) = store_client.query(
        "SELECT detail FROM exceptions FINAL WHERE kind = 'schedule' AND subject = ''"
    ).result_rows[0]
    assert detail.endswith("1437 h 50 min late.")


def test_a_rule_that_changed_begins_anew(store_client: Client, clock: ManualClock) -> None:
    """What was open under the rule as it was is closed, and goes on as nothing."""
    tower = Tower(store_client, clock)
    tower.look(SINCE + HOUR)
    tower.start()

    assert only(tower.look(SINCE + 4 * HOUR, since=SINCE + 3 * HOUR), "mailbox") == {
        "mailbox is polled 2026-03-02 05:00 UTC": SINCE + 4 * HOUR,
        "mailbox is polled 2026-03-02 08:00 UTC": None,
    }


def test_nothing_is_missed_from_before_it_was_watched(store_client: Client, clock: ManualClock) -> None:
    """Slots before the flow was in force are no slots of it."""
    tower = Tower(store_client, clock)

    assert tower.look(SINCE - DAY) == {}
    assert tower.look(SINCE) == {}
    assert [*tower.look(SINCE + 10 * MINUTE)] == ["mailbox is polled 2026-03-02 05:00 UTC"]


def test_nobody_is_called_late_right_after_a_start(store_client: Client, clock: ManualClock) -> None:
    """Senders deliver then what they kept."""
    tower = Tower(store_client, clock)
    now = SIX + 3 * HOUR
    clock.set(now)
    tower.schedules = Schedules(store_client, clock.now, count(0.0, 3600.0).__next__)

    assert tower.look(now + SETTLING - MINUTE) == {}
    assert len(tower.look(now + SETTLING)) == 3


def test_a_source_that_is_silent_is_told_and_not_what_it_would_tell(store_client: Client, clock: ManualClock) -> None:
    """As long as a source was not heard of since a slot was due it is not known whether it was missed."""
    tower = Tower(store_client, clock)
    due = SIX + 2 * HOUR

    assert only(tower.look(due + 5 * HOUR, heard=due - MINUTE), "file") == {}
    assert len(only(tower.look(due + 6 * HOUR, heard=due), "file")) == 2


def test_what_is_too_old_is_closed(store_client: Client, clock: ManualClock) -> None:
    """After ninety days nobody waits any more; nor once the flow does not say it, or says it anew."""
    tower = Tower(store_client, clock)
    first = "file arrives 2026-03-02 11:00 UTC CIGNA"
    tower.look(SIX + 2 * HOUR)
    end = SIX + BACK + HOUR
    assert tower.look(end)[first] == end
    last = "file arrives 2026-05-29 10:00 UTC CIGNA"
    assert stored(store_client)[last] is None

    tower.flow = parse_flow(TEXT.replace("CIGNA", "HUMANA"), "remittance.yaml")
    assert tower.look(end + HOUR)[last] == end + HOUR
    assert "Nobody waits for it any more." in str(
        store_client.command("SELECT detail FROM exceptions FINAL WHERE anchor.scope = 'CIGNA' LIMIT 1")
    )


def test_a_step_that_gives_a_later_time_is_of_a_later_slot(store_client: Client, clock: ManualClock) -> None:
    """Also when it was read days before that slot opened."""
    tower = Tower(store_client, clock)
    tower.see("received", SIX + 3 * DAY, payer="AETNA")
    tower.look(SIX)
    tower.see("received", SIX + 3 * DAY, payer="CIGNA")
    tower.look(SIX + HOUR)

    assert only(tower.look(SIX + 3 * DAY + 2 * HOUR), "file arrives 2026-03-05") == {}


def test_each_value_of_a_key(store_client: Client, clock: ManualClock) -> None:
    """A key is written as its flow says; a step may carry several, and one that was refused is no answer."""
    flow = parse_flow(
        TEXT.replace("{context: payer, values: [AETNA, CIGNA]}", "{key: sender, values: [aetna, cigna]}"), "r"
    )
    tower = Tower(store_client, clock, flow)
    tower.see("received", SIX, key="AETNA")
    refused = replace(
        step(flow="remittance", step="r.file.received", stage="received", at=SIX, keys=(Key("sender", "", "CIGNA"),)),
        outcome="duplicate",
    )
    insert(store_client, [refused, replace(refused, outcome="ok", failed=True, span_id="f" * 16)])

    assert only(tower.look(SIX + 2 * HOUR), "file") == {"file arrives 2026-03-02 11:00 UTC cigna": None}


# what looks again and again, in whatever order steps arrive

steps = st.lists(
    st.tuples(
        st.sampled_from(("AETNA", "CIGNA", "polled")),
        st.integers(-8 * 60, 4 * 24 * 60),  # when it happened, in minutes from the beginning
        st.integers(0, 5 * 24),  # how many hours later it was heard of
    ),
    max_size=25,
)


def missed(seen: Sequence[tuple[str, datetime]], until: datetime) -> dict[str, datetime | None]:
    """Return what a clerk with a list finds missed of a Monday to Friday whose clocks stand still."""
    found: dict[str, datetime | None] = {}
    days = [SIX + number * DAY for number in range(5)]
    for payer in ("AETNA", "CIGNA"):
        for at in days:
            due = at + 2 * HOUR
            opens = at - (35 if at == days[0] else 11) * HOUR  # half way since Friday 08:00, or since the day before
            closes = at + 13 * HOUR
            came = min((when for who, when in seen if who == payer and opens <= when < closes), default=None)
            if due <= until and (came is None or came > due):
                found[f"file arrives {at:%Y-%m-%d %H:%M} UTC {payer}"] = came
    opened = None
    for hours in range(5 * 24):
        at = SINCE + hours * HOUR
        opens, closes = at - 25 * MINUTE, at + 35 * MINUTE
        came = min((when for who, when in seen if who == "polled" and opens <= when < closes), default=None)
        if opened is None and at + 10 * MINUTE <= until and (came is None or came > at + 10 * MINUTE):
            opened = f"mailbox is polled {at:%Y-%m-%d %H:%M} UTC"
            found[opened] = None
        if opened is not None and came is not None:
            found[opened], opened = came, None
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(drawn=steps, looks=st.lists(st.tuples(st.integers(0, 4 * 24 * 60), st.booleans()), max_size=5))
def test_whatever_comes_first(
    store_client: Client, clock: ManualClock, drawn: list[tuple[str, int, int]], looks: list[tuple[int, bool]]
) -> None:
    """However late steps are heard of, and however often it is looked and started anew: what was missed in the end, and what came when,
    is what a clerk finds who has all steps in order."""
    for table in ("steps", "step_keys", "exceptions"):
        store_client.command(f"TRUNCATE TABLE {table}")
    tower = Tower(store_client, clock)
    waiting = [(SINCE + minutes * MINUTE, who, hours) for who, minutes, hours in drawn]
    end = SINCE + 4 * DAY + 15 * HOUR
    for now, restarts in [*sorted((SINCE + minutes * MINUTE, restarts) for minutes, restarts in looks), (end, True)]:
        for happened, who, hours in [each for each in waiting if each[0] + each[2] * HOUR <= now or now == end]:
            waiting.remove((happened, who, hours))
            if who == "polled":
                tower.see("polled", happened)
            else:
                tower.see("received", happened, payer=who)
        if restarts:
            tower.start()
        tower.look(now)

    seen = [(who, SINCE + minutes * MINUTE) for who, minutes, _ in drawn]
    assert tower.look(end) == missed(seen, end)


@settings(max_examples=100, deadline=None)
@given(polled=st.lists(st.integers(0, 2 * 24 * 60), max_size=12), most=st.integers(1, 6))
def test_however_few_slots_are_looked_at(polled: list[int], most: int) -> None:
    """At an interval what is missed on end is one exception, also where it began before the slots that are looked at."""
    schedule, known = FLOW.schedules["mailbox is polled"], dict[Key, ExceptionRow]()

    def look(now: datetime, before: Mapping[Key, ExceptionRow], most: int) -> list[ExceptionRow]:
        slots, end = schedule.slots(SINCE, now, most)
        came = answers(slots, end, (Came("", at) for at in steps_at if at <= now), {})
        return changes(FLOW, {POLLED.name: Looked(slots, {"": SINCE}, came)}, Circumstances(), before, now)

    steps_at = [SINCE + minutes * MINUTE for minutes in polled]
    last = SINCE + 2 * DAY
    for now in (SINCE + minutes * MINUTE for minutes in range(0, 2 * 24 * 60 + 1, 10)):
        known |= {row.anchor: row for row in look(now, known, most)}
    at_once = {row.anchor: row for row in look(last, {}, 1000)}
    found = {anchor: row for anchor, row in known.items() if not row.is_deleted}
    assert {anchor: replace(row, version=0) for anchor, row in found.items()} == {
        anchor: replace(row, version=0) for anchor, row in at_once.items()
    }


def test_a_missing_number_may_be_the_answer() -> None:
    """While a number of the source is missing that was told while the slot was open it is not known; of another partner it is no matter."""
    slots, end = FLOW.schedules["file arrives"].slots(SINCE, SIX + 3 * HOUR)
    looked = {"file arrives": Looked(slots, dict.fromkeys(("AETNA", "CIGNA"), SINCE), {})}
    now = SIX + 3 * HOUR

    def told(*missing: Missing) -> list[str]:
        around = Circumstances({"edi": now}, {"remittance": missing})
        return [row.subject for row in changes(FLOW, looked, around, {}, now)]

    gap = Missing(SIX, SIX + HOUR, "edi", "sender", "", "7", "7", "AETNA")
    assert told() == ["AETNA", "CIGNA"]
    assert told(gap) == ["CIGNA"]
    assert told(replace(gap, counterparty="")) == []
    assert told(replace(gap, since=SIX + 3 * HOUR, until=end)) == ["AETNA", "CIGNA"]


def test_the_grain_divides_all_slots() -> None:
    """Steps are read as the first of each grain, so that no grain is in two slots."""
    slots, end = FLOW.schedules["file arrives"].slots(SINCE, SINCE + 30 * DAY)  # the clocks are changed in between
    assert grain(slots, end) == 30 * MINUTE
    slots, end = FLOW.schedules["mailbox is polled"].slots(SINCE, SINCE + DAY)
    assert grain(slots, end) == HOUR
    assert answers(slots, end, [Came("", slots[0].opens - MINUTE), Came("", end)], {}) == {}


def version(number: int, text: str, at: datetime, state: Publication = Publication.PUBLISHED) -> FlowVersion:
    """Return a publication of the flow."""
    return FlowVersion("remittance", number, state, text, "", 0, "ana", at)


def test_since_when_it_is_watched() -> None:
    """Since it was published as it is: another severity or another partner changes nothing, another time begins anew."""
    severe = TEXT.replace("severity: page", "severity: notice").replace("[AETNA, CIGNA]", "[AETNA, HUMANA]")
    changed = severe.replace('"06:00"', '"07:00"')
    first = [version(1, TEXT, SINCE), version(2, severe, SIX), version(3, changed, SIX, Publication.READY)]
    polled = ("remittance", "mailbox is polled", "")

    def since(versions: Iterable[FlowVersion]) -> dict[str, Any]:
        return {f"{place[1]} {place[2]}".strip(): at for place, at in published_since(versions, [FLOW]).items()}

    assert since(first) == {"file arrives AETNA": SINCE, "file arrives HUMANA": SIX, "mailbox is polled": SINCE}
    assert since([*first, version(3, changed, SIX)]) == {
        "file arrives AETNA": SIX,
        "file arrives HUMANA": SIX,
        "mailbox is polled": SINCE,
    }
    assert since([version(1, "no flow", SINCE), *first]) == since(first)
    assert published_since(first, load_packs()) == {}
    assert Watched({polled: SIX}, SINCE).since(FLOW, POLLED, "") == SIX
    assert Watched({polled: SIX}, SINCE).since(FLOW, ARRIVES, "AETNA") == SINCE


EVERY, INTERVAL = 'every: "06:00"', "every: 1 hour"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (INTERVAL, f"{INTERVAL}, from: received", "17: sla[1].from: a schedule asks for no step before"),
        (INTERVAL, f'{INTERVAL}, at: "06:00"', "17: sla[1].at: a schedule asks for no step before"),
        (INTERVAL, f"{INTERVAL}, per: file", "17: sla[1].per: a schedule asks for no step before"),
        (INTERVAL, "every: 0 minutes", "17: sla[1].every: write plain time that is not zero"),
        (INTERVAL, "every: 1 business hour", "17: sla[1].every: write plain time"),
        (INTERVAL, "every: now and then", "17: sla[1].every: 'now and then' is not a limit"),
        (INTERVAL, "every: []", "17: sla[1].every: write one or several times of the day"),
        (INTERVAL, "every: {day: 1}", "17: sla[1].every: write one or several times of the day"),
        (INTERVAL, "every: 2 days, calendar: office", "17: sla[1].every: a calendar counts an interval from each opening"),
        (INTERVAL, "every: 5 minutes", "17: sla[1].within: the next one comes 0:05:00 later"),
        (INTERVAL, f"{INTERVAL}, early: 1 business hour", "17: sla[1].early: write plain time"),
        (INTERVAL, f"{INTERVAL}, calendar: home", "17: sla[1].calendar: home is not one of the calendars"),
        (INTERVAL, f"{INTERVAL}, each: {{values: [a]}}", "17: sla[1].each: say of which context, or of which key"),
        (INTERVAL, f"{INTERVAL}, each: {{key: box, values: [a]}}", "17: sla[1].each.key: box is not one of the keys"),
        (INTERVAL, f"{INTERVAL}, each: {{key: file, values: [a, a]}}", "17: sla[1].each.values: one of them stands there twice"),
        (INTERVAL, f"{INTERVAL}, each: {{key: sender, values: [a, A]}}", "17: sla[1].each.values: one of them stands there twice"),
        (INTERVAL, f"{INTERVAL}, each: {{key: file, values: []}}", "17: sla[1].each.values: "),
        (INTERVAL, "from: received, early: 1 hour", "17: sla[1].early: only a schedule has it"),
        (INTERVAL, "outcome: ok", "17: sla[1].outcome: unknown field"),
        (INTERVAL, "severity: page", "17: sla[1].from: is missing"),
        ("to: polled", "to: read", "17: sla[1].to: read is not one of the stages"),
        (EVERY, "every: 16:00", '15: sla[0].every: write a time of the day in quotes, as "17:00"'),
        (EVERY, 'every: "6:00"', "15: sla[0].every: '6:00' is no cut-off"),
        (EVERY, 'every: ["06:00", close]', "15: sla[0].every: 'close' is no time of the day"),
        (EVERY, 'every: ["06:00", "07:00"]', "15: sla[0].within: the next one comes 1:00:00 later"),
        (EVERY, "every: close", "15: sla[0].every: the calendar office does not say when the books close"),
        (" calendar: office,", "", "15: sla[0].every: a time of the day, and the close, need a calendar"),
    ],
)  # fmt: skip
def test_schedules_that_cannot_be_meant(before: str, after: str, problem: str) -> None:
    """Each is refused with its line and field."""
    assert before in TEXT
    with pytest.raises(FlowError) as refused:
        parse_flow(TEXT.replace(before, after), "remittance.yaml")
    assert problem in str(refused.value)


@pytest.mark.parametrize("every", ['["18:00", "06:00", "18:00"]', "close", "15 minutes", "1 day"])
def test_schedules_that_can(every: str) -> None:
    """Times in any order, the close and an interval."""
    text = TEXT.replace(EVERY, f"every: {every}").replace('hours: "', 'close: {open_day: 3, at: "17:00"}, hours: "')

    assert parse_flow(text.replace("within: 2 hours", "within: 15 minutes"), "remittance.yaml").schedules


REMITTANCE = Path(__file__).parents[2] / "docs" / "examples" / "remittance.yaml"


def test_an_example_says_what_was_missed(tmp_path: Path) -> None:
    """The flow in the documentation comes out as it says; a slot more or less that was missed is told, with its line."""
    assert check_flow(REMITTANCE).schedules

    text = REMITTANCE.read_text()
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("CIGNA: [2026-11-23", "CIGNA: [2026-11-24"))
    line = text[: text.index("missed:")].count("\n") + 1
    with pytest.raises(FlowError) as refused:
        check_flow(changed)
    assert [problem for _, _, problem in refused.value.problems] == [
        "remittance file CIGNA: 2026-11-23 11:00 UTC was missed",
        "remittance file CIGNA: 2026-11-24 11:00 UTC was not missed",
    ]
    assert {place for place, _, _ in refused.value.problems} == {line}


@pytest.mark.parametrize("spelling", ["aetna", "AETNA"])
def test_an_example_with_keys_and_an_interval(spelling: str, tmp_path: Path) -> None:
    """A key counts as its flow writes it, and a step that was refused or of another stage is no answer."""
    each = f"{{key: sender, values: [{spelling}, CIGNA]}}"
    steps = (
        "examples:\n  - name: a morning\n    now: 2026-03-02T13:00:00Z\n    since: 2026-03-02T09:00:00Z\n    steps:\n"
        + "".join(
            f"      - {{step: {code}, at: 2026-03-02T{at}:00Z, keys: {{file: F, sender: {sender}}}{more}}}\n"
            for code, at, sender, more in (
                ("r.file.received", "10:00", "Aetna", ""),
                ("r.file.received", "10:00", "Cigna", ", outcome: duplicate"),
                ("r.mailbox.polled", "10:00", "Cigna", ""),
            )
        )
    )
    expect = (
        "    expect: [{transaction: 'file:F'}]\n"
        "    missed: {file arrives CIGNA: [2026-03-02T11:00:00Z], mailbox is polled: [2026-03-02T11:00:00Z]}\n"
    )
    file = tmp_path / "flow.yaml"
    file.write_text(TEXT.replace("{context: payer, values: [AETNA, CIGNA]}", each) + steps + expect)
    check_flow(file)


def test_shipped_flows_have_none() -> None:
    """What must come when is known to a site alone."""
    assert not [flow.flow for flow in load_packs() if flow.schedules]


def test_an_exception_is_written_once() -> None:
    """A second look at the same changes nothing."""
    slots, _ = FLOW.schedules["file arrives"].slots(SINCE, SIX + 3 * HOUR)
    looked = {"file arrives": Looked(slots, dict.fromkeys(("AETNA", "CIGNA"), SINCE), {})}
    around, now = Circumstances({"edi": SIX + 3 * HOUR}), SIX + 3 * HOUR
    known = {each.anchor: each for each in changes(FLOW, looked, around, {}, now)}

    assert len(known) == 2
    assert changes(FLOW, looked, around, known, now + MINUTE) == []
