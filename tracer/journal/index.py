"""The sidecar of a segment: a line for each record, so that a restart need not read the segment itself.

It is never synced, and made again from the segment when it does not cover it exactly.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from controltower.tracer.journal.contents import Line
from controltower.tracer.journal.sealing import KEY_BYTES

SUFFIX: Final = ".index"

_LINE: Final = struct.Struct(f"<QIIQ{KEY_BYTES}s")  # offset, length, checksum, received, key
_CHECK: Final = struct.Struct("<I")
LINE_BYTES: Final = _LINE.size + _CHECK.size


def index_path(segment: Path) -> Path:
    """Return where the index of *segment* is."""
    return segment.with_suffix(SUFFIX)


def encode_lines(lines: Sequence[Line]) -> bytes:
    """Encode *lines*, each with a checksum of its own."""
    return b"".join(map(_encode, lines))


def _encode(line: Line) -> bytes:
    text = _LINE.pack(*line)
    return text + _CHECK.pack(zlib.crc32(text))


def decode_lines(data: bytes) -> list[Line]:
    """Return what an index lists, up to its end or its first damaged line."""
    lines: list[Line] = []
    for offset in range(0, len(data) - LINE_BYTES + 1, LINE_BYTES):
        text = data[offset : offset + _LINE.size]
        if _CHECK.unpack_from(data, offset + _LINE.size)[0] != zlib.crc32(text):
            break
        lines.append(Line(*_LINE.unpack(text)))
    return lines


def listed(segment: Path) -> list[Line]:
    """Return the lines of *segment* by its index; empty when the index does not cover the segment exactly."""
    try:
        lines = decode_lines(index_path(segment).read_bytes())
        size = segment.stat().st_size
    except OSError:
        return []
    end = 0
    for line in lines:
        if line.offset != end:
            return []
        end = line.end
    return lines if end == size else []
