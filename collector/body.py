"""Reading a request's body: encodings of the content, and decompression with limits."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.collector.json_answer import dump as dump_json
from controltower.collector.otlp import Signal
from controltower.collector.otlp_json import Converted, to_protobuf
from controltower.collector.status import Refusal, bad_request, too_large
from controltower.collector.wire import Message

_MIB: Final = 1024 * 1024

# A body may grow to this times its compressed size, once it is larger than the floor: real telemetry reaches 10 to 30.
MOST_RATIO: Final = 100
RATIO_FLOOR_BYTES: Final = 4 * _MIB

_CHUNK_BYTES: Final = _MIB


@dataclass(frozen=True, slots=True)
class Encoding:
    """A media type in which requests come and answers go."""

    media_type: str
    convert: Callable[[Signal, bytes], Converted | Refusal]
    dump: Callable[[Message], bytes]


def _dump_protobuf(message: Message) -> bytes:
    return message.SerializeToString()


PROTOBUF: Final = Encoding("application/x-protobuf", lambda signal, body: Converted(body), _dump_protobuf)
JSON: Final = Encoding("application/json", lambda signal, body: to_protobuf(signal.plan, body), dump_json)
ENCODINGS: Final = {encoding.media_type: encoding for encoding in (JSON, PROTOBUF)}


def encoding_of(content_type: str) -> Encoding | None:
    """Return the encoding of a Content-Type header; parameters and letter case do not count."""
    return ENCODINGS.get(content_type.partition(";")[0].strip().lower())


# The window of each content coding: 15 bits, of gzip with its header and checksum. The exporter for Python can send
# deflate, which is zlib's format (RFC 9110).
_WINDOWS: Final = {"gzip": 31, "deflate": 15}


def content_coding(header: str) -> str | Refusal:
    """Return the one coding of a Content-Encoding header, ``identity`` when it has none, or the refusal of any other."""
    coding = header.strip().lower() or "identity"
    if coding == "identity" or coding in _WINDOWS:
        return coding
    return bad_request(f"unsupported Content-Encoding: {coding[:60]}")


def inflate(
    body: bytes,
    most_bytes: int,
    coding: str = "gzip",
    grow: Callable[[int], Refusal | None] = lambda size: None,
) -> bytes | Refusal:
    """Decompress *body* and stop at a limit; whatever is broken is refused as a whole.

    gzip may have several members. *grow* is told of every piece, and may end it.
    """
    pieces: list[bytes] = []
    size = 0
    rest = body
    while True:
        member = zlib.decompressobj(_WINDOWS[coding])
        while not member.eof:
            try:
                piece = member.decompress(rest, _CHUNK_BYTES)
            except zlib.error:
                return bad_request(f"The body is not valid {coding}.")
            if not piece and not member.unconsumed_tail and not member.eof:
                return bad_request(f"The {coding} body is cut short.")
            size += len(piece)
            refusal = _beyond(size, len(body), most_bytes) or grow(len(piece))
            if refusal:
                return refusal
            pieces.append(piece)
            rest = member.unconsumed_tail
        rest = member.unused_data
        if not rest:
            return b"".join(pieces)
        if coding != "gzip":
            return bad_request(f"There is something behind the {coding} body.")


def _beyond(size: int, compressed: int, most_bytes: int) -> Refusal | None:
    if size > most_bytes:
        return too_large(f"The body is larger than {most_bytes} bytes after decompression.")
    if size > RATIO_FLOOR_BYTES and size > compressed * MOST_RATIO:
        return too_large(f"The body is more than {MOST_RATIO} times its compressed size.")
    return None
