"""A journal that is encrypted at rest."""

import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.collector.cipher import AesGcm
from controltower.tracer.journal import Journal, JournalKeyError, Quarantine, Sealing, SegmentFile
from controltower.tracer.journal.records import Record, encode, message_of, scan
from tests.tracer.journals import PATIENCE_S, Steps, append, bodies_in, body, open_journal, store

ONE, TWO = AesGcm([bytes(range(32))]), AesGcm([bytes(range(32, 64))])
BOTH = AesGcm([bytes(range(32, 64)), bytes(range(32))])  # the second in front: it encrypts from now on
SECRETS = ["Erika-Mustermann", "MRN-0815", "tenant-of-hers"]
CONTENTS = [body(f"{SECRETS[0]} {SECRETS[1]} {number}", number * 7) for number in range(6)]


def filled(folder: Path, cipher: AesGcm | None = ONE) -> Path:
    """Return the only segment of a closed journal that holds the contents."""
    journal = open_journal(folder, cipher=cipher)
    store(journal, *CONTENTS)
    journal.close()
    (segment,) = folder.glob("*.otlp")
    return segment


def loaded(journal: Journal) -> list[bytes]:
    """Return the bodies that a loader gets, in order."""
    found: list[bytes] = []
    for segment in journal.closed_segments():
        verified = journal.verify(segment)
        if verified is not None:
            found += read(verified)
    return found


def read(segment: SegmentFile) -> list[bytes]:
    """Return the bodies in what *segment* gives to a loader."""
    with segment.open() as file:
        return bodies_in(file.read())


def bytes_below(folder: Path) -> bytes:
    """Return everything that is in the files of *folder*, with their names."""
    return b"".join(path.name.encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_loader_gets_the_same_bytes(tmp_path: Path) -> None:
    """Whether a segment is encrypted makes no difference to what it opens as."""
    opened = {}
    for name, cipher in (("sealed", ONE), ("plain", None)):
        filled(tmp_path / name, cipher)
        journal = open_journal(tmp_path / name, cipher=cipher)
        (segment,) = journal.closed_segments()
        with segment.open() as file:
            opened[name] = file.read()
        journal.close()

    assert opened["sealed"] == opened["plain"]
    assert bodies_in(opened["plain"]) == CONTENTS


def test_nothing_is_readable_in_any_file(tmp_path: Path) -> None:
    """Segment, index, digests, refused, damaged and undecodable bodies: no text of a request, no tenant."""
    segment = filled(tmp_path)
    data = segment.read_bytes()
    segment.write_bytes(data[:-3])
    journal = open_journal(tmp_path, cipher=ONE)
    append(journal, CONTENTS[-1], tenant=SECRETS[2]).result(PATIENCE_S)
    journal.rotate()
    first, second = journal.closed_segments()
    journal.quarantine(first, "refused")
    journal.set_aside(SECRETS[0].encode(), "cannot be decoded")
    journal.remove(second)
    journal.close()
    everything = bytes_below(tmp_path)

    assert {item.kind for item in Quarantine(tmp_path).listing()} == {"torn", "refused", "raw"}
    assert [secret for secret in SECRETS if secret.encode() in everything] == []


def test_a_digest_does_not_tell_whose_body_it_was(tmp_path: Path) -> None:
    """Without the key nobody can check a guess: index and digests differ from those of another key, and from plain ones."""
    known = []
    for name, cipher in (("one", ONE), ("two", TWO), ("plain", None)):
        filled(tmp_path / name, cipher)
        keys = Sealing(cipher).keys("acme", b"d" * 32)
        known.append(keys[0])
        assert keys[-1] == Sealing().key("acme", b"d" * 32)

    assert len(set(known)) == 3


def test_keys_are_changed_by_putting_a_new_one_in_front(tmp_path: Path) -> None:
    """What the old key encrypted is loaded and recognised, and what is written from now on needs the new one only."""
    filled(tmp_path)
    journal = open_journal(tmp_path, cipher=BOTH)
    again = [append(journal, content).result(PATIENCE_S).duplicate for content in CONTENTS]
    store(journal, body("new"))
    journal.rotate()
    found = loaded(journal)
    old, new = journal.closed_segments()
    journal.remove(old)
    journal.close()
    after = open_journal(tmp_path, cipher=TWO)
    rest = loaded(after)
    after.close()

    assert again == [True] * len(CONTENTS)
    assert found == [*CONTENTS, body("new")]
    assert [segment.id for segment in after.closed_segments()] == [new.id]
    assert rest == [body("new")]


def test_encryption_is_turned_on_over_what_is_there(tmp_path: Path) -> None:
    """Plain segments are loaded, and their bodies recognised."""
    filled(tmp_path, None)
    journal = open_journal(tmp_path, cipher=ONE)
    again = append(journal, CONTENTS[0]).result(PATIENCE_S)
    store(journal, body("new"))
    journal.rotate()
    found = loaded(journal)
    journal.close()

    assert again.duplicate
    assert found == [*CONTENTS, body("new")]


@pytest.mark.parametrize("cipher", [None, TWO], ids=["missing", "wrong"])
@pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])
def test_a_missing_key_is_told_and_nothing_is_touched(tmp_path: Path, cipher: AesGcm | None, index: bool) -> None:
    """The journal does not open, names the key by its id, and leaves every byte where it was."""
    segment = filled(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-3])  # there would be something to mend
    if not index:
        segment.with_suffix(".index").unlink()
    before = bytes_below(tmp_path)
    with pytest.raises(JournalKeyError, match=rf"A segment .* is encrypted with key {ONE.key_ids[0]}.*nothing is lost"):
        open_journal(tmp_path, cipher=cipher)

    assert bytes_below(tmp_path) == before
    journal = open_journal(tmp_path, cipher=ONE)
    assert loaded(journal) == CONTENTS[:-1]
    journal.close()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_flipped_byte_costs_one_record(tmp_path: Path, data: st.DataObject) -> None:
    """Records are recovered one by one, encrypted or not, and what is damaged stays encrypted in quarantine."""
    folder = tmp_path / "journal"
    shutil.rmtree(folder, ignore_errors=True)
    segment = filled(folder)
    whole = bytearray(segment.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    segment.write_bytes(whole)
    journal = open_journal(folder, cipher=ONE)
    found = loaded(journal)
    journal.close()

    assert len(found) == len(CONTENTS) - 1
    assert [content for content in CONTENTS if content in found] == found
    (item,) = Quarantine(folder).listing()
    assert SECRETS[0].encode() not in Quarantine(folder).read(item.name)


def records(segment: Path) -> list[bytes]:
    """Return the records of *segment* as they lie there."""
    data = segment.read_bytes()
    return [data[part.offset : part.end] for part in scan(data)]


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5], [0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 2]])
def test_records_cannot_be_moved_or_repeated(tmp_path: Path, order: list[int]) -> None:
    """Somebody who can write the file but has no key cannot change the order or say something twice."""
    segment = filled(tmp_path)
    pieces = records(segment)
    segment.write_bytes(b"".join(pieces[number] for number in order))
    journal = open_journal(tmp_path, cipher=ONE)
    found = loaded(journal)
    journal.close()

    assert len(found) == len(set(found))
    assert found == [content for content in CONTENTS if content in found]
    assert len(Quarantine(tmp_path).listing()) == 1


def test_records_cannot_be_put_into_another_segment(tmp_path: Path) -> None:
    """Nor rewritten with a checksum that is right."""
    other = filled(tmp_path / "other")
    segment = filled(tmp_path / "own")
    whole = segment.read_bytes()
    forged = bytearray(message_of(whole, next(part for part in scan(whole) if isinstance(part, Record))))
    forged[-1] ^= 1
    segment.write_bytes(whole + records(other)[0] + b"".join(encode(bytes(forged))[0]))
    journal = open_journal(tmp_path / "own", cipher=ONE)
    found = loaded(journal)
    journal.close()

    assert found == CONTENTS
    assert ["where it was not written" in item.reason for item in Quarantine(tmp_path / "own").listing()] == [
        True,
        True,
    ]


def test_halves_and_retried_segments_can_be_read(tmp_path: Path) -> None:
    """Looking for a refused record gives segments other names; their records stay what they are."""
    steps = Steps()
    filled(tmp_path)
    journal = open_journal(tmp_path, cipher=ONE, monotonic=steps)
    journal.split(journal.closed_segments()[0])
    halves = journal.closed_segments()
    journal.split(halves[0])
    first = journal.closed_segments()[0]
    name = journal.quarantine(first, "refused").name
    quarantine = Quarantine(tmp_path, sealing=Sealing(ONE))
    kept = bodies_in(quarantine.read(name))
    quarantine.retry(name)
    steps.now_s += 60.0
    found = loaded(journal)
    journal.close()

    assert len(halves) == 2
    assert kept == CONTENTS[: len(kept)]
    assert found == CONTENTS


def test_undecodable_bodies_can_be_read_with_the_key_only(tmp_path: Path) -> None:
    """They come back as they came; without the key the refusal names it."""
    journal = open_journal(tmp_path, cipher=ONE)
    name = journal.set_aside(b"\xff raw", "cannot be decoded", signal="traces").name
    journal.set_aside(b"\xff raw", "cannot be decoded", signal="traces")
    journal.close()
    (item,) = Quarantine(tmp_path).listing()

    assert (item.name, item.kind, dict(item.details)) == (name, "raw", {"signal": "traces"})
    assert Quarantine(tmp_path, sealing=Sealing(ONE)).read(name) == b"\xff raw"
    with pytest.raises(JournalKeyError, match=ONE.key_ids[0]):
        Quarantine(tmp_path).read(name)


def test_a_retry_without_the_key_stays_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A running journal without the key leaves the segment in quarantine and says why."""
    filled(tmp_path)
    journal = open_journal(tmp_path, cipher=ONE)
    name = journal.quarantine(journal.closed_segments()[0], "refused").name
    journal.close()
    steps = Steps()
    other = open_journal(tmp_path, cipher=TWO, monotonic=steps)
    Quarantine(tmp_path).retry(name)
    steps.now_s += 60.0
    with caplog.at_level(logging.ERROR):
        waiting = other.wait_closed(0)
    other.close()

    assert waiting is None
    assert ONE.key_ids[0] in caplog.text
    assert [item.retrying for item in Quarantine(tmp_path).listing()] == [True]
