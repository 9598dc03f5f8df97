"""``controltower scrape status``: how each source is doing, and why one is not well."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controltower.cli.sources import queues_words, source_shape, sources_words
from controltower.store.address import StoreAddress
from controltower.store.read import QueueLevel, SourceState
from tests.cli.conftest import Run
from tests.databases import migrated
from tests.scraped import say, source_state

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def shape_of(state: SourceState) -> Any:
    """Return a source as JSON."""
    return source_shape(state, AT)


def test_what_was_rejected_has_its_reason_and_file() -> None:
    """The last reason, when, and where all of them are."""
    lines = sources_words([source_state(AT)], AT).splitlines()
    shape = shape_of(source_state(AT))

    assert lines[1].split() == ["erp", "log", "works", "2026-01-02", "03:04:05", "never", "0", "s", "1,200", "3"]
    assert lines[2:] == [
        "erp: last rejected 2026-01-02 03:04:05: bad_amount; see /data/scrape/erp/rejects.jsonl on edi-1"
    ]
    assert (shape["state"], shape["records"], shape["rejected"], shape["watermark"]) == ("works", 1_200, 3, None)
    assert shape["last_reject"] == {
        "at": "2026-01-02T03:04:05Z",
        "reason": "bad_amount",
        "file": "/data/scrape/erp/rejects.jsonl",
    }


def test_what_is_wrong_is_said() -> None:
    """Why one fails, since when one is silent, what a collector refused; nothing of it acts on a terminal."""
    fails = replace(source_state(AT), source="jobs", failing=True, reason="OSError: \x1b[31mno room", rejected_s=0)
    lost = replace(source_state(AT - timedelta(hours=2)), source="lost", rejected_s=0, refused=4)
    shown = sources_words([fails, lost], AT)

    assert "jobs: OSError: \\x1b[31mno room" in shown
    assert "lost: silent for 2 h; is its scraper up on edi-1?" in shown
    assert "lost: the collector refused 4 spans for good" in shown


def test_two_of_one_name_are_told_apart() -> None:
    """By the host of their scraper."""
    shown = sources_words([source_state(AT), replace(source_state(AT), host="edi-2")], AT)

    assert [line.split()[0] for line in shown.splitlines()[1:3]] == ["erp@edi-1", "erp@edi-2"]


def test_how_full_queues_are() -> None:
    """A row for each queue and each group of its readers, with the source that says so; what a broker does not tell stays empty."""
    queue = QueueLevel("mq", "edi-1", "orders.dead", "", AT, 1_200, None, None, None, 7_500, 0)
    group = QueueLevel("mq", "edi-1", "orders", "billing", AT, None, 12, 3, 1, None, 2)
    lines = queues_words([queue, group], AT + timedelta(seconds=9)).splitlines()

    assert lines[1].split() == ["orders.dead", "mq", "1,200", "2", "h", "5", "min", "0", "9", "s", "ago"]
    assert lines[2].split() == ["orders", "billing", "mq", "12", "3", "1", "2", "9", "s", "ago"]


def test_the_command_ends_with_one_when_a_source_is_not_well(
    store_address: StoreAddress, run_on: Callable[[StoreAddress], Run]
) -> None:
    """Those that are named count alone, and one that nobody knows is refused; without any it says how to begin."""
    run = run_on(store_address)
    with migrated(store_address) as client:
        none = run("scrape", "status")
        say(client, "well", datetime.now(UTC))
        say(client, "late", datetime.now(UTC), {"lag": 900})
        all_of_them, well = run("scrape", "status"), run("scrape", "status", "well")
        late = run("scrape", "status", "late", "--json")
        wrong = run("scrape", "status", "lat")

    assert (none.code, "start `controltower scrape" in none.out) == (0, True), none.out + none.err
    assert (all_of_them.code, well.code, late.code, wrong.code) == (1, 0, 1, 1)
    assert [each["state"] for each in late.json["sources"]] == ["behind"]
    assert late.json["queues"] == []
    assert "No source lat reported within 30 days; there are: late, well." in wrong.err
