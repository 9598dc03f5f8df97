"""The bytes of one file of a log, plain or compressed: read from any place, in bounded memory."""

import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from backports import zstd

SUFFIXES: Final = {".gz": "gzip", ".zst": "zstd"}
SKIP_BYTES: Final = 1024 * 1024  # decompressed at once on the way to a place


class DamagedError(Exception):
    """A compressed file cannot be read on: it is damaged, or it is not whole yet."""


class Content(Protocol):
    """An open file. Methods raise OSError."""

    def read_at(self, offset: int, most: int) -> bytes:
        """Return up to *most* bytes from *offset*; fewer, or none, at the end. DamagedError for a compressed file."""

    def close(self) -> None:
        """Close it."""


def open_content(path: Path, compression: str) -> tuple[Content, os.stat_result]:
    """Open a file that `compression_of` told the form of, and return it with what the system says about it."""
    # Opening a pipe without this flag would wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise IsADirectoryError(f"{path} is not a file")
    return (_Packed(descriptor, compression) if compression else _Plain(descriptor)), found


def compression_of(path: str) -> str:
    """Return how a file is compressed, by its name; nothing for a plain one."""
    return SUFFIXES.get(os.path.splitext(path)[1].lower(), "")


class _Plain:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read_at(self, offset: int, most: int) -> bytes:
        return os.pread(self.descriptor, most, offset)

    def close(self) -> None:
        os.close(self.descriptor)


class _Packed:
    """Decompresses in order; going back begins anew."""

    def __init__(self, descriptor: int, compression: str) -> None:
        self._descriptor = descriptor
        self._compression = compression
        self._raw: BinaryIO | None = None
        self._stream: BinaryIO | None = None
        self._at = 0
        self._rest = b""  # read ahead by the last call, so that a place shortly before the end costs nothing

    def read_at(self, offset: int, most: int) -> bytes:
        try:
            return self._read_at(offset, most)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as exc:
            self._forget()
            raise DamagedError(type(exc).__name__) from exc

    def _read_at(self, offset: int, most: int) -> bytes:
        kept_from = self._at - len(self._rest)
        if self._stream is None or offset < kept_from:
            self._begin()
            kept_from = 0
        while self._at < offset:
            data = self._read(min(SKIP_BYTES, offset - self._at))
            if not data:
                return b""
        begin = offset - (self._at - len(self._rest))
        kept = self._rest[begin:] if begin >= 0 else b""
        while len(kept) < most:
            data = self._read(most - len(kept))
            if not data:
                break
            kept += data
        self._rest = kept
        return kept[:most]

    def _begin(self) -> None:
        self._forget()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._raw = os.fdopen(os.dup(self._descriptor), "rb")
        packed = gzip.GzipFile(fileobj=self._raw) if self._compression == "gzip" else zstd.ZstdFile(self._raw)
        self._stream = cast(BinaryIO, packed)

    def _read(self, most: int) -> bytes:
        assert self._stream is not None  # begun
        data = self._stream.read(most)
        self._at += len(data)
        self._rest = data
        return data

    def _forget(self) -> None:
        for opened in (self._stream, self._raw):
            if opened is not None:
                opened.close()
        self._stream, self._raw, self._at, self._rest = None, None, 0, b""

    def close(self) -> None:
        self._forget()
        os.close(self._descriptor)
