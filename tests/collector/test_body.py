"""Decompression with limits."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.body import inflate
from controltower.collector.status import Refusal

MANY = 1 << 30


@given(st.lists(st.binary(max_size=5_000), min_size=1, max_size=4))
def test_members_are_read_one_after_the_other(parts: list[bytes]) -> None:
    """Whatever the members hold, the body is all of them."""
    assert inflate(b"".join(map(gzip.compress, parts)), MANY) == b"".join(parts)


@given(st.binary(max_size=2_000), st.data())
def test_a_cut_body_is_refused(content: bytes, data: st.DataObject) -> None:
    """Wherever it is cut, it is refused as a whole."""
    whole = gzip.compress(content)
    found = inflate(whole[: data.draw(st.integers(0, len(whole) - 1))], MANY)

    assert isinstance(found, Refusal)
    assert found.http == 400


@given(st.binary(max_size=500))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing is raised, whatever the bytes are."""
    found = inflate(data, MANY)

    assert isinstance(found, (bytes, Refusal))


def test_the_size_limit_is_exact() -> None:
    """As large as the limit is taken, one byte more is not."""
    body = gzip.compress(bytes(range(256)) * 100)

    assert inflate(body, 25_600) == bytes(range(256)) * 100
    refused = inflate(body, 25_599)
    assert isinstance(refused, Refusal)
    assert refused.http == 413


def test_the_ratio_counts_above_the_floor_only() -> None:
    """3 MiB out of 3 KiB is a small body and taken; 5 MiB out of 5 KiB is a bomb."""
    small, bomb = gzip.compress(bytes(3 << 20)), gzip.compress(bytes(5 << 20))

    assert inflate(small, MANY) == bytes(3 << 20)
    assert isinstance(inflate(bomb, MANY), Refusal)


def test_other_formats_of_deflate_are_not_gzip() -> None:
    """zlib's own wrapping is refused, because the header said gzip."""
    assert isinstance(inflate(zlib.compress(b"x"), MANY), Refusal)
