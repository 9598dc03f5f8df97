"""Reading a request's body: encodings of the content, and decompression with limits."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.collector.otlp import Signal
from controltower.collector.status import Refusal, bad_request, too_large
from controltower.collector.wire import Message

_MIB: Final = 1024 * 1024

# A body may grow to this times its compressed size, once it is larger than the floor: real telemetry reaches 10 to 30.
MOST_RATIO: Final = 100
RATIO_FLOOR_BYTES: Final = 4 * _MIB

_CHUNK_BYTES: Final = _MIB
_GZIP_WINDOW: Final = 31  # 15 bits, with gzip's header and checksum


@dataclass(frozen=True, slots=True)
class Encoding:
    """A media type in which requests come and answers go."""

    media_type: str
    to_protobuf: Callable[[Signal, bytes], bytes | Refusal]
    dump: Callable[[Message], bytes]


def _dump_protobuf(message: Message) -> bytes:
    return message.SerializeToString()


PROTOBUF: Final = Encoding("application/x-protobuf", lambda signal, body: body, _dump_protobuf)
ENCODINGS: Final = {encoding.media_type: encoding for encoding in (PROTOBUF,)}


def encoding_of(content_type: str) -> Encoding | None:
    """Return the encoding of a Content-Type header; parameters and letter case do not count."""
    return ENCODINGS.get(content_type.partition(";")[0].strip().lower())


def content_coding(header: str) -> str | Refusal:
    """Return ``identity`` or ``gzip`` for a Content-Encoding header, or the refusal of any other."""
    coding = header.strip().lower() or "identity"
    return coding if coding in {"identity", "gzip"} else bad_request(f"unsupported Content-Encoding: {coding[:60]}")


def inflate(body: bytes, most_bytes: int) -> bytes | Refusal:
    """Decompress gzip, of one or more members, and stop at a limit; whatever is broken is refused as a whole."""
    pieces: list[bytes] = []
    size = 0
    rest = body
    while True:
        member = zlib.decompressobj(_GZIP_WINDOW)
        while not member.eof:
            try:
                piece = member.decompress(rest, _CHUNK_BYTES)
            except zlib.error:
                return bad_request("The body is not valid gzip.")
            if not piece and not member.unconsumed_tail and not member.eof:
                return bad_request("The gzip body is cut short.")
            size += len(piece)
            refusal = _beyond(size, len(body), most_bytes)
            if refusal:
                return refusal
            pieces.append(piece)
            rest = member.unconsumed_tail
        rest = member.unused_data
        if not rest:
            return b"".join(pieces)


def _beyond(size: int, compressed: int, most_bytes: int) -> Refusal | None:
    if size > most_bytes:
        return too_large(f"The body is larger than {most_bytes} bytes after decompression.")
    if size > RATIO_FLOOR_BYTES and size > compressed * MOST_RATIO:
        return too_large(f"The body is more than {MOST_RATIO} times its compressed size.")
    return None
