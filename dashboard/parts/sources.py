"""How the sources of scrapers stand: state, lag, watermark, and what was rejected."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from controltower.dashboard.format import count, duration, moment, plural, relative, size
from controltower.dashboard.markup import Card, Column, Html, badge, cards, joined, muted, table, toned, two_lines
from controltower.store.read import QueueLevel, SourceState, Standing

# The badges of the other pages by state; those of transactions have the same colours.
BADGES: Final = {
    Standing.FAILING: "breached",
    Standing.SILENT: "breached",
    Standing.PROBLEMS: "exception",
    Standing.BEHIND: "exception",
    Standing.WORKS: "completed",
    Standing.STOPPED: "waived",
}
ORDER: Final = tuple(Standing)


def figures(found: Sequence[SourceState], now: datetime) -> Html:
    """Return the cards at the head of the page."""
    standings = [source.standing(now) for source in found]
    works = standings.count(Standing.WORKS)
    bad = sum(standing in (Standing.FAILING, Standing.SILENT) for standing in standings)
    late = sum(standing in (Standing.PROBLEMS, Standing.BEHIND) for standing in standings)
    rejected = sum(source.rejected for source in found)
    refused = sum(source.refused for source in found)
    return cards(
        (
            Card("Work", count(works), f"of {plural(len(found), 'source')}", "good" if works else ""),
            Card("Fail or are silent", count(bad), "nothing of them comes", "bad" if bad else "good"),
            Card("Behind or with problems", count(late), "some of them does not come", "warn" if late else ""),
            Card("Records rejected", count(rejected), "since their scrapers started", "warn" if rejected else ""),
            Card("Spans refused", count(refused), "by the collector, for good", "bad" if refused else ""),
        )
    )


def states(found: Sequence[SourceState], now: datetime) -> Html:
    """Return how each source stands, the worst first."""
    columns = (
        Column("Source"),
        Column("State"),
        Column("Last success", "right", hint="When it was last looked at, and what had been read was acknowledged"),
        Column("Last record", "right", hint="When a record was last read"),
        Column("Latest time in a record (UTC)", "right", hint="The watermark: how far its own time has come"),
        Column("Lag", "right", hint="Since all that was there had been read"),
        Column("Unread", "right", hint="Bytes that are there and were not read"),
        Column("Records", "right", hint="Since its scraper started; below, how many steps they became"),
        Column("Rejected", "right", hint="Since its scraper started; below, those that no rule fits"),
        Column("Last rejected", hint="Why, when, and the file on the scraper's host where all of them are"),
    )
    worst_first = sorted(found, key=lambda source: (ORDER.index(source.standing(now)), source.source, source.host))
    return table(columns, (_row(source, now) for source in worst_first))


def queues(levels: Sequence[QueueLevel], now: datetime) -> Html:
    """Return how full each queue is, for itself and for each group of its readers."""
    columns = (
        Column("Queue"),
        Column("Group", hint="Of readers, where a broker keeps a place for each"),
        Column("Depth", "right", hint="Messages that are there; of RabbitMQ and SQS, that are ready"),
        Column("Lag", "right", hint="Messages that the group was not given yet, or did not commit"),
        Column("Held", "right", hint="Handed out and not acknowledged"),
        Column("Again", "right", hint="Of those, how many were handed out before"),
        Column("Oldest", "right", hint="Since the oldest one that waits died, or came"),
        Column("Readers", "right"),
        Column("Reported", "right"),
    )
    return table(
        columns,
        (
            (
                two_lines(level.queue, level.source),
                level.readers,
                count(level.depth),
                count(level.lag),
                count(level.held),
                count(level.redelivered),
                duration(None if level.oldest_s is None else timedelta(seconds=level.oldest_s)),
                toned("0", "warn") if level.consumers == 0 else count(level.consumers),
                relative(level.reported_at, now),
            )
            for level in levels
        ),
    )


def _row(source: SourceState, now: datetime) -> tuple[str | Html, ...]:
    standing = source.standing(now)
    return (
        two_lines(source.source, f"{source.kind} at {source.host}"),
        _state(source, standing, now),
        relative(source.worked_at, now) if source.worked_at else "never",
        relative(source.read_at, now) if source.read_at else "never",
        moment(source.watermark, seconds=True),
        _lag(source, standing, now),
        size(source.behind_bytes) if source.behind_bytes else "none",
        two_lines(count(source.records), plural(source.steps, "step")),
        two_lines(_number(source.rejected), f"{count(source.unmatched)} fit no rule"),
        _rejected(source, now),
    )


def _state(source: SourceState, standing: Standing, now: datetime) -> Html:
    shown = badge(BADGES[standing], standing.value)
    if standing is Standing.SILENT:
        return two_lines(shown, f"for {relative(source.reported_at, now).removesuffix(' ago')}")
    why = source.why(now)
    return two_lines(shown, why) if why else shown


def _lag(source: SourceState, standing: Standing, now: datetime) -> str:
    lag = source.lag(now)
    if standing is Standing.STOPPED:
        return ""
    return duration(lag) if lag.total_seconds() >= 60 else "none"


def _number(rejected: int) -> str | Html:
    return toned(count(rejected), "warn") if rejected else "0"


def _rejected(source: SourceState, now: datetime) -> str | Html:
    if source.rejected_at is None:
        return muted("none")
    first = joined((source.reject_reason, ", ", relative(source.rejected_at, now)))
    return two_lines(first, source.reject_file)
