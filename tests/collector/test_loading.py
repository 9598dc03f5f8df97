"""From closed segments to rows, once: also when the engine was restarted and forgot, or lost, what it had been given."""

import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from controltower.collector import loading as loading_module
from controltower.collector.drain import Drain
from controltower.collector.engine_known import KnownFile
from controltower.collector.loading import Loading
from controltower.store.address import StoreAddress, parse_address
from controltower.store.again import fresh_token, is_loading
from controltower.store.client import Client, connect
from controltower.store.errors import LoadError, StoreError
from controltower.store.life import engine_life
from controltower.store.loader import Segment, load_segment
from controltower.store.schema import migrate
from controltower.tracer.journal import Journal, JournalLimits, Quarantine, SegmentFile
from tests.clickhouse_server import free_port, running
from tests.store.otlp import NOON_NS, array, request, span
from tests.tracer.journals import NOW, PATIENCE_S, append, open_journal

KEEPING = JournalLimits(segment_age_s=3600.0, keep_s=900.0)
LATER = NOW + 10**12
SPANS = 5
TABLES = ("otel_traces", "otel_traces_quarantine", "span_keys", "source_watermarks")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal that keeps what was loaded."""
    opened = open_journal(tmp_path / "journal", KEEPING)
    yield opened
    opened.close()


@pytest.fixture
def loading(journal: Journal, any_store: Client, any_address: StoreAddress) -> Loading:
    """The loading of that journal into a store of this test, in a run of the engine that is noticed later than it."""
    restart(any_store)
    return new_loading(journal, any_address)


def new_loading(journal: Journal, address: StoreAddress) -> Loading:
    """Return the loading of a process that was just started."""
    return Loading(lambda: connect(address), journal, "traces", clock=lambda: LATER)


def restart(client: Client) -> None:
    """Let the engine begin another run: what it keeps in memory is gone."""
    client.command("TRUNCATE TABLE engine_life")


def forget_tokens(client: Client) -> None:
    """Let the engine lose its memory of tokens, which it never syncs to the disk."""
    for table in TABLES:
        for window in (0, 10_000):
            client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {window}")


def segment_in(journal: Journal, first: int = 1) -> SegmentFile:
    """Write a segment with spans that have a key each, and one without a start."""
    spans = [
        span(number, {"controltower.key.purchase_order": f"PO-{number}"}) for number in range(first, first + SPANS)
    ]
    undated = span(first + SPANS, start_time_unix_nano=0)
    append(journal, request(*spans, undated).SerializeToString(), received_ns=NOON_NS).result(20)
    journal.rotate()
    return journal.closed_segments()[-1]


def counted(client: Client) -> dict[str, int]:
    """Return how many rows there are, and how many spans the watermarks count."""
    queries = {
        "spans": "count() FROM otel_traces",
        "different": "uniqExact(SpanId) FROM otel_traces",
        "keys": "count() FROM span_keys FINAL",
        "quarantined": "count() FROM otel_traces_quarantine",
        "watermark": "sum(spans) FROM source_watermarks",
    }
    return {name: int(str(client.command(f"SELECT {query}"))) for name, query in queries.items()}


def once(segments: int = 1) -> dict[str, int]:
    """Return what is counted when each segment is stored once."""
    return {
        "spans": SPANS * segments,
        "different": SPANS * segments,
        "keys": SPANS * segments,
        "quarantined": segments,
        "watermark": SPANS * segments,
    }


def test_a_segment_is_loaded_and_kept(loading: Loading, journal: Journal, any_store: Client) -> None:
    """A loaded segment is stored once, leaves the backlog, and is kept a while with the number of its rows."""
    segment = segment_in(journal)
    rows = loading(segment)
    journal.remove(segment, rows)

    assert counted(any_store) == once()
    assert journal.closed_segments() == []
    assert [(kept.id, kept.rows) for kept in journal.kept.files()] == [(segment.id, SPANS + 1)]


@pytest.mark.parametrize(("value", "text"), [(array("x"), '["x"]'), (array(array(1)), "[[1]]")])
def test_a_value_that_lies_deep_costs_no_segment(
    journal: Journal, any_store: Client, any_address: StoreAddress, value: AnyValue, text: str
) -> None:
    """What the cheaper inboxes refuse is loaded by another one, once and whole, and so is what comes behind it."""
    journal.rotate()
    restart(any_store)
    loading = Loading(lambda: connect(any_address), journal, "traces")
    loading.prepare()
    shallow = segment_in(journal, 1)
    deep = span(99, {"deep": value, "controltower.key.purchase_order": "PO-99"})
    append(journal, request(deep, span(100)).SerializeToString(), received_ns=NOON_NS).result(20)
    journal.rotate()
    behind = segment_in(journal, 200)

    assert [loading(segment) for segment in journal.closed_segments()] == [SPANS + 1, 2, SPANS + 1]
    assert shallow.id < journal.closed_segments()[1].id < behind.id
    assert any_store.command("SELECT SpanAttributes['deep'] FROM otel_traces WHERE SpanName = 'span 99'") == text
    assert counted(any_store) == {
        "spans": 2 * SPANS + 2,
        "different": 2 * SPANS + 2,
        "keys": 2 * SPANS + 1,
        "quarantined": 2,
        "watermark": 2 * SPANS + 2,
    }


def test_loading_again_in_one_run_adds_nothing(loading: Loading, journal: Journal, any_store: Client) -> None:
    """F44: while the engine runs, its memory of tokens makes a repeated load harmless, and its rows are known."""
    segment = segment_in(journal)

    assert [loading(segment) for _ in range(3)] == [SPANS + 1] * 3
    assert counted(any_store) == once()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_restarted_engine_gets_a_segment_once(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress, forgets: bool
) -> None:
    """F17: loaded, and not removed before everything died: loaded again it is there once, remembered token or not."""
    segment = segment_in(journal)
    loading(segment)
    restart(any_store)
    if forgets:
        forget_tokens(any_store)
    after = new_loading(journal, any_address)

    assert after(segment) == SPANS + 1
    assert counted(any_store) == once()
    assert KnownFile(journal.folder).read().is_counted


def test_what_is_left_of_a_load_is_completed(loading: Loading, journal: Journal, any_store: Client) -> None:
    """F17: a part of a segment, left by a load that was cut off, is replaced by all of it."""
    segment = segment_in(journal)
    loading(segment)
    any_store.command(
        "ALTER TABLE otel_traces DELETE WHERE SpanName IN ('span 2', 'span 4') SETTINGS mutations_sync = 2"
    )
    any_store.command("TRUNCATE TABLE span_keys")
    restart(any_store)
    forget_tokens(any_store)
    loading._own.client = None  # the connection broke with the engine

    assert loading(segment) == SPANS + 1
    assert counted(any_store) == once()


def test_a_process_that_died_behind_its_insert_does_not_insert_twice(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """In the same run of the engine, too, what an earlier process may have offered is looked for."""
    segment = segment_in(journal)
    loading(segment)
    forget_tokens(any_store)
    another = new_loading(journal, any_address)

    assert another(segment) == SPANS + 1
    assert counted(any_store) == once()


@pytest.mark.server
def test_what_is_still_being_loaded_is_waited_for(
    journal: Journal, server_store: Client, server_address: StoreAddress
) -> None:
    """An insert whose client died may be at work still: until it has ended, its segment is not loaded again."""
    segment = segment_in(journal)
    slow = Thread(target=insert_slowly, args=[server_address, segment.id])
    slow.start()
    with closing(connect(server_address)) as client:
        while not is_loading(client, segment.id):
            assert slow.is_alive()
        with pytest.raises(LoadError, match="still being loaded") as refused:
            new_loading(journal, server_address)(segment)
        client.command(f"KILL QUERY WHERE Settings['insert_deduplication_token'] = '{segment.id}' SYNC")
    slow.join()

    assert not refused.value.permanent
    assert new_loading(journal, server_address)(segment) == SPANS + 1
    assert counted(server_store) == once()


def insert_slowly(address: StoreAddress, token: str) -> None:
    """Insert for as long as nobody ends it."""
    with closing(connect(address)) as client, suppress(Exception):
        client.command(
            "INSERT INTO otel_traces (SpanName) SELECT toString(sleepEachRow(0.01)) FROM numbers(1000000)",
            settings={"insert_deduplication_token": token, "max_block_size": 10, "max_insert_block_size": 2_000_000},
        )


def test_what_the_store_lost_is_loaded_again(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """F46: rows that a restarted engine has no more come back from the kept segments; what is whole is left alone."""
    for first in (1, 100):
        segment = segment_in(journal, first)
        journal.remove(segment, loading(segment))
    any_store.command("ALTER TABLE otel_traces DELETE WHERE SpanName = 'span 102' SETTINGS mutations_sync = 2")
    same_run = new_loading(journal, any_address)
    same_run.prepare()
    before = counted(any_store)["spans"]
    restart(any_store)
    new_loading(journal, any_address).prepare()

    assert before == 2 * SPANS - 1
    assert counted(any_store) == once(2)


def test_what_is_there_twice_after_a_restart_is_put_right(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """Rows that came back, or came late, beside those that were loaded are taken out again."""
    segment = segment_in(journal)
    journal.remove(segment, loading(segment))
    kept = journal.kept_segment(journal.kept.files()[0])
    assert kept is not None
    load_segment(any_store, Segment(kept.id, "traces", kept.path, token=f"{kept.id}#late"))
    before = counted(any_store)["spans"]
    restart(any_store)
    new_loading(journal, any_address).prepare()

    assert before == 2 * SPANS
    assert counted(any_store) == once()


def test_an_offer_that_comes_late_is_noticed(
    loading: Loading, journal: Journal, any_store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An insert that nobody saw at work, and is stored beside the new one, does not stay: the segment is loaded anew."""
    segment = segment_in(journal)
    loading(segment)

    def fresh(id_: str) -> str:
        monkeypatch.setattr(loading_module, "fresh_token", fresh_token)
        load_segment(any_store, Segment(id_, "traces", segment.path, token=f"{id_}#late"))
        return fresh_token(id_)

    monkeypatch.setattr(loading_module, "fresh_token", fresh)
    with pytest.raises(LoadError, match=f"has {SPANS + 1} rows and the store holds {2 * SPANS + 2}") as refused:
        loading(segment)

    assert not refused.value.permanent
    assert loading(segment) == SPANS + 1
    assert counted(any_store) == once()


def test_trouble_while_looking_for_losses_is_tried_again(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """Until everything kept was looked for, the next attempt goes on with it."""
    segment = segment_in(journal)
    journal.remove(segment, loading(segment))
    any_store.command("TRUNCATE TABLE otel_traces")
    restart(any_store)
    kept = journal.kept.files()[0]
    away = kept.path.rename(kept.path.with_suffix(".away"))
    kept.path.mkdir()  # it cannot be read
    after = new_loading(journal, any_address)
    with pytest.raises((LoadError, StoreError, OSError)):
        after.prepare()
    kept.path.rmdir()
    away.rename(kept.path)
    after.prepare()

    assert counted(any_store)["spans"] == SPANS
    assert KnownFile(journal.folder).read().is_checked


def test_a_kept_segment_that_was_damaged_does_not_stop_loading(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """What the store lost and the disk damaged: the intact rest comes back, the damage is in quarantine, others are loaded."""
    segment = segment_in(journal)
    append(journal, request(span(900)).SerializeToString(), received_ns=NOON_NS).result(20)
    journal.remove(segment, loading(segment))
    any_store.command("TRUNCATE TABLE otel_traces")
    restart(any_store)
    (kept,) = journal.kept.files()
    kept.path.write_bytes(kept.path.read_bytes() + b"\xff" * 9)
    journal.rotate()
    after = new_loading(journal, any_address)
    after.prepare()
    while (offered := journal.wait_closed(0)) is not None:
        verified = journal.verify(offered)
        assert verified is not None
        journal.remove(verified, after(verified))

    assert counted(any_store)["spans"] == counted(any_store)["different"] == SPANS + 1
    assert [item.bytes for item in Quarantine(journal.folder).listing()] == [9]


@pytest.mark.parametrize("content", ["nonsense", '{"life": 1}'])
def test_a_file_that_cannot_be_read_says_nothing(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress, content: str
) -> None:
    """Without the notes everything is looked for in the store, and still stored once."""
    segment = segment_in(journal)
    loading(segment)
    (journal.folder / "engine.json").write_text(content)

    assert new_loading(journal, any_address)(segment) == SPANS + 1
    assert counted(any_store) == once()


def test_the_engine_has_a_name_for_each_run(any_store: Client) -> None:
    """The name stays while the engine runs, for everybody, and is another one afterwards."""
    restart(any_store)
    first, again = engine_life(any_store), engine_life(any_store)
    restart(any_store)

    assert first == again != engine_life(any_store)


@pytest.mark.slow
@pytest.mark.server
def test_a_server_that_lost_a_part_gets_it_again(tmp_path: Path) -> None:
    """F46, F17: a server is killed, one of its parts is destroyed and its memory of tokens deleted: all rows come back."""
    data, port = tmp_path / "server", free_port()
    journal = open_journal(tmp_path / "journal", KEEPING)
    with running(data, port) as server:
        address = parse_address(server.address("restarted"))
        with closing(connect(address)) as client:
            migrate(client)
        loading = new_loading(journal, address)
        for first in (1, 100):
            segment = segment_in(journal, first)
            rows = loading(segment)
            if first == 1:
                journal.remove(segment, rows)  # the other one is loaded, and everything died before it was removed
        with closing(connect(address)) as client:
            part = client.command(
                "SELECT argMin(path, name) FROM system.parts WHERE database = 'restarted' AND table = 'otel_traces' AND active"
            )
    folder = Path(str(part)) if Path(str(part)).is_absolute() else data / str(part)
    for file in folder.iterdir():
        file.write_bytes(b"")
    for memory in data.glob("store/*/*/deduplication_logs"):
        shutil.rmtree(memory)
    with running(data, port), closing(connect(address)) as client:
        before = counted(client)
        after = new_loading(journal, address)
        after.prepare()
        (left,) = journal.closed_segments()
        journal.remove(left, after(left))
        found = counted(client)
    journal.close()

    assert before["spans"] < 2 * SPANS
    assert found == once(2)


def test_two_workers_load_every_segment_once(
    loading: Loading, journal: Journal, any_store: Client, any_address: StoreAddress
) -> None:
    """Segments of before the engine's run, which are looked for alone, and later ones go in at the same time, each once."""
    segments = [segment_in(journal, first) for first in range(1, 50, 10)]
    loading(segments[0])
    restart(any_store)
    drain = Drain(journal, new_loading(journal, any_address), workers=2)
    drain.start()
    state = drain.stop(PATIENCE_S)

    assert (state.segments, state.problem) == (0, None)
    assert counted(any_store) == {
        "spans": SPANS * len(segments),
        "different": SPANS * len(segments),
        "keys": SPANS * len(segments),
        "quarantined": len(segments),
        "watermark": SPANS * len(segments),
    }
