"""What the loader says when a segment cannot be loaded, and whether trying again may help."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controltower.store import loader
from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.errors import LoadError
from controltower.store.loader import Segment, load_segment
from controltower.store.schema import migrate
from tests.store.otlp import Loading, record, request, span, value
from tests.store.wire import Wire

GOOD = record(request(*(span(n) for n in range(20))).SerializeToString())


@pytest.fixture
def wire(server_address: StoreAddress) -> Iterator[Wire]:
    """A way to a real server that can fail."""
    with Wire(server_address) as made:
        yield made


def both_members() -> bytes:
    """Return a record with a value that is a text and a number at once."""
    both = value("text").SerializeToString() + value(7).SerializeToString()
    stand_in = value(b"\0" * (len(both) - 2))
    body = request(span(have={"k": stand_in})).SerializeToString().replace(stand_in.SerializeToString(), both)
    return record(body)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00" * 50, record(b"")], ids=["no byte", "0", "00", "envelope"])
def test_nothing_in_a_segment_is_no_error(loading: Loading, content: bytes) -> None:
    """A segment without spans loads none."""
    assert load_segment(loading.client, loading.segment(content)) == 0


@pytest.mark.parametrize(
    "content",
    [
        GOOD[:-5],
        GOOD + GOOD[:-7],
        b"\xff",
        random.Random(1).randbytes(2000),
        GOOD + random.Random(2).randbytes(50),
        b"this is the text of a log file and not a segment\n" * 20,
        b"\x08\x0a\x06\x12\x04\x12\x02\x38\x05",  # a span whose start is no fixed64
        GOOD + both_members(),
    ],
    ids=["cut", "second cut", "half a length", "random", "random tail", "text", "wire type", "two members"],
)
def test_bytes_that_cannot_be_read_are_refused_for_good(loading: Loading, content: bytes) -> None:
    """A cut, foreign or contradictory segment is refused with the engine's reason in one line, and stores nothing."""
    before = loading.count("otel_traces")
    segment = loading.segment(content)

    with pytest.raises(LoadError) as refused:
        load_segment(loading.client, segment)

    message = str(refused.value)
    assert refused.value.permanent
    assert message.startswith(f"Segment {segment.id} was not loaded: ")
    assert "\n" not in message
    assert len(message) < 500
    assert "DB::Exception" not in message
    assert str(loading.folder) not in message
    assert loading.count("otel_traces") == before


def test_a_refused_segment_leaves_its_token_free(loading: Loading) -> None:
    """What was refused can be loaded under the same id once its bytes are right."""
    with pytest.raises(LoadError):
        load_segment(loading.client, loading.segment(GOOD[:-5], "mended"))

    assert load_segment(loading.client, loading.segment(GOOD, "mended")) == 20


def test_more_memory_than_is_allowed_is_refused_for_good(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb does not take the engine: the load has a limit, and the segment is to blame."""
    monkeypatch.setitem(loader.SETTINGS, "max_memory_usage", 1_000_000)
    bomb = record(request(*(span(n, {"k": "x" * 1000}) for n in range(5000))).SerializeToString())

    with pytest.raises(LoadError, match=r"(?i)memory limit") as refused:
        load_segment(loading.client, loading.segment(bomb))

    assert refused.value.permanent


def test_a_load_that_takes_too_long_may_be_tried_again(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load has a time limit; a slow moment is not the segment's fault."""
    monkeypatch.setitem(loader.SETTINGS, "max_execution_time", 0.001)
    content = record(request(*(span(n, {"k": "x" * 100}) for n in range(20_000))).SerializeToString())

    with pytest.raises(LoadError) as refused:
        load_segment(loading.client, loading.segment(content))

    assert not refused.value.permanent


def test_a_store_without_tables_may_get_them(any_address: StoreAddress, tmp_path: Path) -> None:
    """A store that is not migrated refuses, and not for good."""
    client = connect(any_address)
    (tmp_path / "segment").write_bytes(GOOD)

    with pytest.raises(LoadError) as refused:
        load_segment(client, Segment("one", "traces", tmp_path / "segment"))

    assert not refused.value.permanent
    client.close()


def test_a_missing_file_is_said(loading: Loading, tmp_path: Path) -> None:
    """A segment that is not there is an error of its own, not a traceback."""
    with pytest.raises(LoadError, match="cannot be read") as refused:
        load_segment(loading.client, Segment("gone", "traces", tmp_path / "gone"))

    assert not refused.value.permanent


@pytest.mark.server
def test_a_server_that_went_away_may_come_back(wire: Wire, tmp_path: Path) -> None:
    """Trouble with the connection is not the segment's fault."""
    client = connect(wire.address)
    migrate(client)
    (tmp_path / "segment").write_bytes(GOOD)
    wire.refuse()

    with pytest.raises(LoadError) as refused:
        load_segment(client, Segment("one", "traces", tmp_path / "segment"))

    assert not refused.value.permanent
    client.close()


@pytest.mark.server
def test_a_lost_answer_is_no_second_load(wire: Wire, tmp_path: Path) -> None:
    """When the segment was stored and the answer did not arrive, trying again stores nothing again."""
    client = connect(wire.address)
    migrate(client)
    (tmp_path / "segment").write_bytes(GOOD)
    segment = Segment("one", "traces", tmp_path / "segment")
    with wire.losing_answers_to(b"otlp_traces_inbox"), pytest.raises(LoadError) as lost:
        load_segment(client, segment)

    again = load_segment(client, segment)

    assert not lost.value.permanent
    assert again == 0
    assert client.query("SELECT count() FROM otel_traces").result_rows == [(20,)]
    client.close()
