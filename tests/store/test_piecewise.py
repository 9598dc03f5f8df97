"""A large segment is decoded piece by piece: it ends where a small one does. Here every message is a piece."""

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.policy import default_policy
from controltower.store import loader, piecewise
from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.errors import DeeperError, LoadError
from controltower.store.loader import LOADED_SIGNALS, Signal, load_segment
from controltower.store.otlp import DEPTH, PLAIN, SHALLOW
from controltower.store.redacting import apply_redaction
from controltower.store.schema import migrate
from tests.collector.redaction.canaries import CANARIES, everywhere
from tests.store.otlp import NOON_NS, Loading, array, record, request, span
from tests.store.wire import Wire

GOOD = record(request(*(span(n, {"controltower.key.order": f"PO-{n}"}) for n in range(20))).SerializeToString())


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every segment is read in pieces, of one message each."""
    monkeypatch.setattr(loader, "ONE_PIECE_BYTES", -1)
    monkeypatch.setitem(piecewise.SETTINGS, "input_format_max_block_size_bytes", 1)
    return monkeypatch


def stored(loading: Loading, signal: Signal, token: str) -> list[tuple[Any, ...]]:
    """Return the rows of a segment in every table of its signal, without what is a load's own."""
    rows: list[tuple[Any, ...]] = []
    for table in loader.WAYS[signal].tables():
        rows.extend(map(tuple, loading.read(table, token, "* EXCEPT (SegmentId, LoadedAt)", order="tuple()")))
    return sorted(rows, key=repr)


@pytest.mark.parametrize("redacted", [False, True], ids=["as it is", "redacted"])
@pytest.mark.parametrize("signal", LOADED_SIGNALS)
def test_pieces_end_where_the_whole_does(
    loading: Loading, pieces: pytest.MonkeyPatch, signal: Signal, redacted: bool
) -> None:
    """All fields of all signals, in time and in quarantine, with and without a policy in force: the same rows."""
    bodies = [everywhere(signal, canary).SerializeToString() for canary in (*CANARIES.values(), "a word")]
    content = b"".join(record(body, NOON_NS) for body in bodies)
    if redacted:
        apply_redaction(loading.client, load_rules(default_policy()))
    in_pieces = stored(loading, signal, loading.put(signal, content))
    pieces.setattr(loader, "ONE_PIECE_BYTES", len(content))
    whole = stored(loading, signal, loading.put(signal, content))

    assert len(whole) >= len(bodies)
    assert in_pieces == whole


def parts_of_traces(loading: Loading) -> int:
    """Return how many parts the table has now."""
    said = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'otel_traces' AND active"
    return int(loading.client.query(said).result_rows[0][0])


def test_it_is_stored_once_and_as_one_block(loading: Loading) -> None:
    """Loaded again nothing is stored, in no table; a thousand pieces are no thousand parts to be merged."""
    loading.client.command("SYSTEM STOP MERGES otel_traces")
    keys, parts = loading.count("span_keys"), parts_of_traces(loading)
    segment = loading.segment(b"".join(record(request(span(n)).SerializeToString()) for n in range(1000)) + GOOD)

    loaded = [load_segment(loading.client, segment, depth=depth) for depth in (SHALLOW, PLAIN, SHALLOW, DEPTH)]

    assert loaded == [1020, 0, 0, 0]
    assert loading.count("span_keys") - keys == 20
    assert parts_of_traces(loading) - parts == 1


@pytest.mark.parametrize("broken", [b"\xff", GOOD[:-5], b"a line of text\n" * 50])
def test_what_cannot_be_read_is_refused_wherever_it_stands(loading: Loading, broken: bytes) -> None:
    """The pieces before it are not stored, and the token is free for the bytes that are right."""
    before = loading.count("otel_traces")
    token = f"mended-{len(broken)}"

    with pytest.raises(LoadError) as refused:
        load_segment(loading.client, loading.segment(GOOD * 3 + broken, token))

    assert refused.value.permanent
    assert loading.count("otel_traces") == before
    assert load_segment(loading.client, loading.segment(GOOD * 3, token)) == 60


@pytest.mark.parametrize("depth", [SHALLOW, PLAIN])
def test_what_lies_deeper_in_a_later_piece_is_told(loading: Loading, depth: int) -> None:
    """The cheaper ways store nothing of a segment whose last message they cannot print."""
    deep = record(request(span(1, {"deep": array(array())})).SerializeToString())
    before = loading.count("otel_traces")

    with pytest.raises(DeeperError):
        load_segment(loading.client, loading.segment(GOOD + deep), depth=depth)

    assert loading.count("otel_traces") == before


@pytest.mark.server
def test_a_lost_answer_is_no_second_load(server_address: StoreAddress, tmp_path: Path) -> None:
    """When the segment was stored and the answer did not arrive, trying again stores nothing again."""
    with Wire(server_address) as wire, connect(wire.address) as client:
        migrate(client)
        loading = Loading(client, tmp_path, count(1))
        segment = loading.segment(GOOD)
        with wire.losing_answers_to(b"INSERT INTO otlp_traces_decoded"), pytest.raises(LoadError) as lost:
            load_segment(client, segment)

        assert not lost.value.permanent
        assert load_segment(client, segment) == 0
        assert loading.count("otel_traces") == 20


def test_another_view_is_not_taken_for_this_one(loading: Loading) -> None:
    """A store whose view reads something else is said, with what to do, and nothing is stored."""
    with pytest.raises(LoadError, match=r"no view otlp_traces_away_decode .* run `controltower migrate`") as refused:
        piecewise.piecewise(loading.client, "traces", "otlp_traces_away")

    assert not refused.value.permanent


def test_where_no_file_is_in_memory_it_is_read_whole(loading: Loading, pieces: pytest.MonkeyPatch) -> None:
    """Other systems than Linux have none for the embedded engine to read: a large segment is loaded there, too."""
    pieces.delattr(os, "memfd_create")

    assert load_segment(loading.client, loading.segment(GOOD)) == 20


def test_a_piece_is_smaller_than_what_is_read_whole(pieces: pytest.MonkeyPatch) -> None:
    """As shipped, a segment that is read in pieces has several."""
    pieces.undo()

    assert piecewise.SETTINGS["input_format_max_block_size_bytes"] < loader.ONE_PIECE_BYTES
