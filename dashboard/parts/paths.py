"""The paths of one flow as tables."""

from collections.abc import Mapping
from datetime import timedelta

from controltower.dashboard import links
from controltower.dashboard.format import count, duration, key_text, moment, moneys, nanoseconds
from controltower.dashboard.markup import Column, Html, joined, link, muted, share_bar, table, toned
from controltower.store.read import AnchorRef, Paths

SHOWN = 12  # rows of a table; the command gives all of them
ARROW = muted(" → ")

Titles = Mapping[str, str]


def variants(found: Paths, titles: Titles) -> Html:
    """Return the orders in which stages were first reached, the most frequent first."""
    columns = (
        Column("Transactions", "right"),
        Column("Share"),
        Column("Stages"),
        Column("Completed", "right"),
        Column("First to last", "right", nowrap=True),
        Column("Amount", "right", nowrap=True),
        Column("Longest"),
    )
    total = sum(one.transactions for one in found.variants)
    rows = (
        (
            count(one.transactions),
            share_bar(one.transactions / total),
            joined([titles.get(stage, stage) for stage in one.stages], ARROW),
            count(one.completed),
            _time(one.seconds_p50),
            moneys(one.amounts),
            link(key_text(one.slowest), links.transaction(AnchorRef(found.flow, one.slowest))),
        )
        for one in found.variants[:SHOWN]
    )
    return joined((table(columns, rows), _rest(len(found.variants))))


def passages(found: Paths, titles: Titles) -> Html:
    """Return each stage: who reached it, who did so more than once, and who went past it."""
    columns = (
        Column("Stage"),
        Column("Reached", "right"),
        Column("More than once", "right"),
        Column("Skipped", "right", hint="a later stage was reached without this one"),
        Column("Still ahead", "right"),
    )
    rows = (
        (
            titles.get(one.stage, one.stage),
            count(one.transactions),
            count(one.repeated),
            toned(count(one.skipped), "warn") if one.skipped else "0",
            count(one.ahead),
        )
        for one in found.passages
    )
    return table(columns, rows)


def ways(found: Paths, titles: Titles) -> Html:
    """Return which stage came next after which, and after how long."""
    columns = (
        Column("From"),
        Column("To"),
        Column("Times", "right"),
        Column("Median", "right"),
        Column("9 of 10", "right"),
    )
    rows = (
        (
            titles.get(one.from_stage, one.from_stage),
            joined((titles.get(one.to_stage, one.to_stage), toned(" back", "warn") if one.back else "")),
            count(one.times),
            _time(one.seconds_p50),
            _time(one.seconds_p90),
        )
        for one in found.ways[:SHOWN]
    )
    return joined((table(columns, rows), _rest(len(found.ways))))


def hops(found: Paths) -> Html:
    """Return which system came next after which, and how long nothing happened between them."""
    columns = (
        Column("From"),
        Column("To"),
        Column("Times", "right"),
        Column("Wait, median", "right"),
        Column("Wait, 9 of 10", "right"),
        Column("Overlapping", "right", hint="the next began before the one had ended: no wait"),
    )
    rows = (
        (
            one.from_system,
            one.to_system,
            count(one.times),
            _time(one.wait_p50),
            _time(one.wait_p90),
            count(one.overlapping),
        )
        for one in found.hops[:SHOWN]
    )
    return joined((table(columns, rows), _rest(len(found.hops))))


def work(found: Paths) -> Html:
    """Return each kind of step in each system: how often, how long, and what failed, came twice or was replayed."""
    columns = (
        Column("Step"),
        Column("System"),
        Column("Attempts", "right"),
        Column("Median", "right"),
        Column("9 of 10", "right"),
        Column("Failed", "right"),
        Column(
            "Recovered", "right", hint="transactions in which a failed attempt was followed by one that went through"
        ),
        Column("Given up", "right", hint="transactions in which none did"),
        Column("Duplicates", "right"),
        Column("Replays", "right"),
    )
    rows = (
        (
            one.step,
            one.system,
            count(one.attempts),
            _time(one.work_p50),
            _time(one.work_p90),
            count(one.failed),
            count(one.recovered),
            toned(count(one.given_up), "bad") if one.given_up else "0",
            count(one.duplicates),
            count(one.replays),
        )
        for one in found.work[:SHOWN]
    )
    return joined((table(columns, rows), _rest(len(found.work))))


def double_effects(found: Paths) -> Html:
    """Return the keys under which something was done more than once."""
    columns = (
        Column("Idempotency key"),
        Column("Step"),
        Column("System"),
        Column("Effects", "right"),
        Column("First (UTC)"),
        Column("Last (UTC)"),
        Column("Amount in all", "right"),
    )
    rows = (
        (
            one.idempotency_key,
            one.step,
            one.system,
            toned(count(one.effects), "bad"),
            moment(one.first_at, seconds=True),
            moment(one.last_at, seconds=True),
            moneys(one.amounts, short=False),
        )
        for one in found.double_effects[:SHOWN]
    )
    return joined((table(columns, rows, empty="Nothing was done twice."), _rest(len(found.double_effects))))


def _rest(number: int) -> Html:
    """Say how many rows are not shown, and where they are."""
    return muted(f"{number - SHOWN} more: controltower paths --json") if number > SHOWN else Html("")


def _time(seconds: float) -> str:
    return duration(timedelta(seconds=seconds)) if seconds >= 1 else nanoseconds(round(seconds * 1e9))
