"""How the sources of scrapers stand, as a table for people and as JSON. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from controltower.cli.logs import printable
from controltower.cli.shapes import Json, time_of
from controltower.cli.text import lasting, table, when
from controltower.store.read import QueueLevel, SourceState, Standing

HEAD: Final = (
    "SOURCE",
    "KIND",
    "STATE",
    "LAST SUCCESS (UTC)",
    "LAST RECORD",
    "LATEST TIME IN A RECORD",
    "LAG",
    "RECORDS",
    "REJECTED",
)
NEVER: Final = "never"


def names_of(sources: Sequence[SourceState]) -> dict[SourceState, str]:
    """Return a name for each, with its host where two have the same one."""
    known = [source.source for source in sources]
    return {each: f"{each.source}@{each.host}" if known.count(each.source) > 1 else each.source for each in sources}


def sources_words(sources: Sequence[SourceState], now: datetime) -> str:
    """Return a row for each source, and below what is wrong and where what was rejected is."""
    names = names_of(sources)
    rows = [
        [
            printable(names[each]),
            each.kind,
            each.standing(now).value,
            when(each.worked_at) or NEVER,
            when(each.read_at) or NEVER,
            when(each.watermark),
            lasting(each.lag(now)) if each.standing(now) is not Standing.STOPPED else "",
            f"{each.records:,}",
            f"{each.rejected:,}",
        ]
        for each in sources
    ]
    lines = [table(rows, head=HEAD, right=(7, 8))]
    for each in sources:
        name = printable(names[each])
        if each.standing(now) is Standing.SILENT:
            lines.append(f"{name}: silent for {lasting(now - each.reported_at)}; is its scraper up on {each.host}?")
        if why := each.why(now):
            lines.append(f"{name}: {printable(why)}")
        if each.refused:
            lines.append(
                f"{name}: the collector refused {each.refused:,} spans for good; the log of the scraper says why"
            )
        if each.rejected_at:
            lines.append(
                f"{name}: last rejected {when(each.rejected_at)}: {printable(each.reject_reason)}; "
                f"see {printable(each.reject_file)} on {each.host}"
            )
    return "\n".join(lines)


def source_shape(source: SourceState, now: datetime) -> Json:
    """Return a source as JSON; seconds of lag, times as RFC 3339."""
    return {
        "source": source.source,
        "host": source.host,
        "kind": source.kind,
        "state": source.standing(now).value,
        "why": source.why(now),
        "reported_at": time_of(source.reported_at),
        "last_success": time_of(source.worked_at),
        "last_record": time_of(source.read_at),
        "watermark": time_of(source.watermark),
        "lag_s": round(source.lag(now).total_seconds()),
        "behind_bytes": source.behind_bytes,
        "open": source.open,
        "counted_since": time_of(source.began_at),
        "records": source.records,
        "steps": source.steps,
        "unmatched": source.unmatched,
        "rejected": source.rejected,
        "refused": source.refused,
        "problems": source.problems,
        "last_reject": {
            "at": time_of(source.rejected_at),
            "reason": source.reject_reason,
            "file": source.reject_file,
        }
        if source.rejected_at
        else None,
    }


def queues_words(levels: Sequence[QueueLevel], now: datetime) -> str:
    """Return a row for each queue and each group of its readers, as each source sees it; what a broker does not tell stays empty."""
    rows = [
        [
            printable(each.queue),
            printable(each.readers),
            printable(each.source),
            *(
                "" if number is None else f"{number:,}"
                for number in (each.depth, each.lag, each.held, each.redelivered)
            ),
            "" if each.oldest_s is None else lasting(timedelta(seconds=each.oldest_s)),
            "" if each.consumers is None else f"{each.consumers:,}",
            f"{lasting(now - each.reported_at)} ago",
        ]
        for each in levels
    ]
    head = ("QUEUE", "GROUP", "SOURCE", "DEPTH", "LAG", "HELD", "REDELIVERED", "OLDEST", "CONSUMERS", "SAID")
    return table(rows, head=head, right=(3, 4, 5, 6, 8)) if rows else ""


def queue_shape(level: QueueLevel) -> Json:
    """Return the levels of a queue as JSON; null for what its broker does not tell."""
    return {
        "source": level.source,
        "host": level.host,
        "queue": level.queue,
        "group": level.readers,
        "reported_at": time_of(level.reported_at),
        "depth": level.depth,
        "lag": level.lag,
        "held": level.held,
        "redelivered": level.redelivered,
        "oldest_s": level.oldest_s,
        "consumers": level.consumers,
    }
