"""The form of a record, and finding records again in damaged bytes."""

from hypothesis import given
from hypothesis import strategies as st

from controltower.tracer.journal.contents import Line, read_lines
from controltower.tracer.journal.records import Damage, Record, digest_of, encode, envelope, scan, varint
from controltower.tracer.journal.sealing import PLAIN

TENANTS = st.text(max_size=20)
TIMES = st.integers(0, 2**64 - 1)
CONTENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=8)


def body(content: bytes) -> bytes:
    return b"\x0a" + varint(len(content)) + content


def segment(contents: list[bytes]) -> bytes:
    return b"".join(b"".join(encode(body(content) + envelope(7, "t"))[0]) for content in contents)


@given(st.binary(max_size=500), TIMES, TENANTS)
def test_a_record_gives_back_what_was_put_in(content: bytes, received_ns: int, tenant: str) -> None:
    """Receive time, tenant and digest are read from the record itself, without an index."""
    pieces, checksum = encode(body(content) + envelope(received_ns, tenant))
    data = b"".join(pieces)

    line = Line(0, len(data), checksum, received_ns, PLAIN.key(tenant, digest_of(body(content))))
    assert list(scan(data)) == [Record(0, len(data), checksum)]
    assert list(read_lines(data, "any", PLAIN)) == [line]


@given(CONTENTS, st.data())
def test_a_cut_leaves_the_records_before_it(contents: list[bytes], data: st.DataObject) -> None:
    """Wherever a segment is cut, the records that are whole are found, and the rest is one torn tail."""
    whole = segment(contents)
    records = [part for part in scan(whole) if isinstance(part, Record)]
    cut = data.draw(st.integers(0, len(whole) - 1))

    found = list(scan(whole[:cut]))

    kept = [record for record in records if record.end <= cut]
    assert [part for part in found if isinstance(part, Record)] == kept
    assert [part.torn for part in found if isinstance(part, Damage)] == ([True] if kept_end(kept) < cut else [])


def kept_end(kept: list[Record]) -> int:
    return kept[-1].end if kept else 0


@given(CONTENTS, st.data())
def test_a_flipped_bit_costs_one_record(contents: list[bytes], data: st.DataObject) -> None:
    """Every record but the one that holds the flipped bit is found, also when its length was hit."""
    whole = bytearray(segment(contents))
    records = [part for part in scan(bytes(whole)) if isinstance(part, Record)]
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))

    found = list(scan(bytes(whole)))

    assert [part for part in found if isinstance(part, Record)] == [
        record for record in records if not record.offset <= position < record.end
    ]
    assert sum(part.length for part in found) == len(whole)


@given(st.binary(max_size=2_000))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    """Reading covers every byte once, whatever the bytes are."""
    parts = list(scan(data))

    assert sum(part.length for part in parts) == len(data)
    assert [part.offset for part in parts] == [sum(p.length for p in parts[:n]) for n in range(len(parts))]


def test_zeros_are_no_records() -> None:
    """A tail of zeros, as a power cut leaves it, is damage and not a row of empty messages."""
    parts = list(scan(segment([b"a"]) + b"\0" * 4096))

    assert [type(part) for part in parts] == [Record, Damage]


def test_a_declared_length_of_gigabytes_is_refused_before_it_is_read() -> None:
    """A length prefix of 2 GiB is damage; nothing of that size is allocated or waited for."""
    (damage,) = scan(varint(2 << 30) + b"x" * 100)

    assert isinstance(damage, Damage)
    assert "not possible" in damage.reason
