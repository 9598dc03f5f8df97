"""Compression of bodies by HTTP's Content-Encoding: piece by piece, so that no body is held as a whole."""

import sys
import zlib
from typing import Any, Final, Protocol

import lz4.frame  # type: ignore[import-untyped]  # published without types

from controltower.store.endpoint_errors import NOT_IMPLEMENTED, ZLIB_INFLATE_FAILED, EndpointError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["OFFERED", "Decoder", "Encoder", "choose", "decoder", "encoder", "zstd"]

OFFERED: Final = ("lz4", "gzip", "deflate", "zstd")  # the order in which ClickHouse looks for them
GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
ANY_WINDOW: Final = zlib.MAX_WBITS | 32  # zlib or gzip, as the data says
LARGEST_PIECE: Final = 1024 * 1024  # of what comes out at once: a small body can hold gigabytes


class Encoder(Protocol):
    """Turns the pieces of an answer into compressed pieces."""

    def encode(self, data: bytes) -> bytes:
        """Return what can be sent now."""

    def finish(self) -> bytes:
        """Return the rest."""


class Decoder(Protocol):
    """Turns the pieces of a request into what they hold."""

    def decode(self, data: bytes) -> bytes:
        """Return at most about a megabyte of content; ``b""`` when *data* and what was kept hold no more."""

    def finish(self) -> None:
        """Raise EndpointError when the body ends in the middle."""


def choose(accepted: str) -> str | None:
    """Return the encoding of an answer for a client that accepts *accepted*; None for none."""
    weights = [part.strip().partition(";") for part in accepted.lower().split(",")]
    names = {name.strip() for name, _, weight in weights if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00")}
    return next((name for name in OFFERED if name in names), None)


def encoder(encoding: str) -> Encoder:
    """Return a new encoder."""
    match encoding:
        case "lz4":
            return _Lz4Encoder()
        case "zstd":
            return _ZstdEncoder()
        case _:
            return _ZlibEncoder(GZIP_WINDOW if encoding == "gzip" else zlib.MAX_WBITS)


def decoder(encoding: str) -> Decoder:
    """Return a new decoder. Raises EndpointError for an encoding that is not known."""
    match encoding.strip().lower():
        case "gzip" | "x-gzip" | "deflate":
            return _StepDecoder(_ZlibSteps())
        case "lz4":
            return _StepDecoder(lz4.frame.LZ4FrameDecompressor())
        case "zstd":
            return _StepDecoder(zstd.ZstdDecompressor())
        case "" | "identity":
            return _Identity()
        case other:
            raise EndpointError(NOT_IMPLEMENTED, f"Unknown HTTP Content-Encoding {other}")


class _ZlibEncoder:
    def __init__(self, window: int) -> None:
        self._compressor = zlib.compressobj(level=3, wbits=window)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _ZstdEncoder:
    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=1)

    def encode(self, data: bytes) -> bytes:
        return bytes(self._compressor.compress(data))

    def finish(self) -> bytes:
        return bytes(self._compressor.flush())


class _Lz4Encoder:
    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def encode(self, data: bytes) -> bytes:
        head = b"" if self._begun else self._compressor.begin()
        self._begun = True
        return bytes(head + self._compressor.compress(data))

    def finish(self) -> bytes:
        return self.encode(b"") + bytes(self._compressor.flush())


class _Identity:
    def decode(self, data: bytes) -> bytes:
        return data

    def finish(self) -> None:
        return


class _ZlibSteps:
    """zlib's decompressor in the shape of the others: what is not used yet is kept inside."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(wbits=ANY_WINDOW)

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decompressor.decompress(self._decompressor.unconsumed_tail + data, max_length)


class _StepDecoder:
    """A decoder over the standard shape of incremental decompressors."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps
        self._fed = False

    def decode(self, data: bytes) -> bytes:
        if self._steps.eof:
            if data:
                raise EndpointError(ZLIB_INFLATE_FAILED, "inflate failed: data after the end of the compressed body")
            return b""
        self._fed = self._fed or bool(data)
        try:
            return bytes(self._steps.decompress(data, max_length=LARGEST_PIECE))
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError, ValueError) as error:
            raise EndpointError(ZLIB_INFLATE_FAILED, f"inflate failed: {error}") from error

    def finish(self) -> None:
        if self._fed and not self._steps.eof:
            raise EndpointError(ZLIB_INFLATE_FAILED, "inflate failed: the compressed body ends in the middle")
