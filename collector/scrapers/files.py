"""Where the files of a folder are: on this machine, or behind an address such as ``sftp://`` or ``s3://``, through fsspec."""

import glob
import importlib.util
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from controltower.collector.errors import CollectorError

MOST_FILES: Final = 10_000  # that the patterns may find
DRIVERS: Final[Mapping[str, tuple[str, str]]] = {  # scheme -> (module, class), which the extra `files` brings
    "sftp": ("sshfs", "SSHFileSystem"),
    "s3": ("s3fs", "S3FileSystem"),
}
_CHANGED: Final = ("mtime", "LastModified", "modified", "last_modified", "created")  # as file systems call it


class FilesError(CollectorError):
    """Files cannot be listed or read now; trying again may help."""

    permanent = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was found."""

    path: str
    size: int
    changed_ns: int


class Files(Protocol):
    """Files that patterns find. For one thread."""

    def found(self, patterns: Sequence[str], exclude: Sequence[str]) -> list[Seen]:
        """Return the files that *patterns* find, at most one more than `MOST_FILES`; FilesError, OSError."""

    def read(self, seen: Seen) -> bytes | None:
        """Return what is in a file; None when it is not what it was any more. OSError."""

    def move(self, path: str, folder: str) -> None:
        """Move a file into a folder under its name, which is made when there is none; OSError."""

    def close(self) -> None:
        """Close what is open."""


def is_installed(module: str) -> bool:
    """Whether a library that the extra `files` brings is there."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def is_address(pattern: str) -> bool:
    """Whether a pattern is behind an address."""
    return "://" in pattern


def scheme_of(patterns: Sequence[str]) -> str:
    """Return the scheme that all *patterns* have, nothing for files of this machine; ValueError when they differ."""
    schemes = {pattern.partition("://")[0] if is_address(pattern) else "" for pattern in patterns}
    hosts = {pattern.partition("://")[2].partition("/")[0] for pattern in patterns if pattern.startswith("sftp://")}
    if len(schemes) > 1 or len(hosts) > 1:
        raise ValueError("all files of a source are in one place")
    scheme = schemes.pop() if schemes else ""
    if scheme and scheme not in DRIVERS:
        raise ValueError(f"{scheme}:// is none of {', '.join(f'{name}://' for name in DRIVERS)}")
    return scheme


def files_of(patterns: Sequence[str], options: Mapping[str, Any]) -> Files:
    """Return the files behind *patterns*. FilesError when what reads them is not installed or does not answer."""
    scheme = scheme_of(patterns)
    return RemoteFiles(scheme, patterns[0], options) if scheme else LocalFiles()


def excluded(path: str, exclude: Sequence[str]) -> bool:
    """Whether a path, or its last name, is of a pattern that is not read."""
    return any(fnmatch(path, each) or fnmatch(PurePosixPath(path).name, each) for each in exclude)


class LocalFiles:
    """Files of this machine."""

    def found(self, patterns: Sequence[str], exclude: Sequence[str]) -> list[Seen]:
        """Return the files that *patterns* find."""
        found: list[Seen] = []
        for path in dict.fromkeys(path for each in patterns for path in sorted(glob.iglob(each, recursive=True))):
            if excluded(path, exclude):
                continue
            try:
                info = os.stat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                found.append(Seen(path, info.st_size, info.st_mtime_ns))
                if len(found) > MOST_FILES:
                    break
        return found

    def read(self, seen: Seen) -> bytes | None:
        """Return what is in a file; None when it is not what it was any more."""
        with Path(seen.path).open("rb") as file:
            content = file.read(seen.size)
            info = os.fstat(file.fileno())
        return content if (info.st_size, info.st_mtime_ns) == (seen.size, seen.changed_ns) else None

    def move(self, path: str, folder: str) -> None:
        """Move a file into a folder; one of its name that is there already is kept, and this one gets a number."""
        os.makedirs(folder, exist_ok=True)
        shutil.move(path, _free(os.path.join(folder, os.path.basename(path)), os.path.lexists))

    def close(self) -> None:
        """Nothing is open."""


class RemoteFiles:
    """Files behind an address. Connects when it is made, and is made anew after an error."""

    def __init__(self, scheme: str, pattern: str, options: Mapping[str, Any]) -> None:
        """FilesError when what reads them is not installed or does not answer."""
        self._scheme = scheme
        module, name = DRIVERS[scheme]
        try:
            driver = getattr(importlib.import_module(module), name)
        except ImportError as exc:
            raise FilesError(f"{scheme}:// needs the extra `files`: pip install 'controltower[files]'") from exc
        given = dict(options)
        if scheme == "sftp":
            host, _, port = pattern.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")
            # The library believes any server unless it is told what is known; nothing stands for the user's own file.
            given = {"host": host, **({"port": int(port)} if port else {}), "known_hosts": (), **given}
        else:
            given = {"use_listings_cache": False, **given}
        try:
            self._system: Any = driver(skip_instance_cache=True, **given)
        except Exception as exc:
            raise FilesError(f"{scheme}:// cannot be opened: {_words(exc)}") from exc

    def found(self, patterns: Sequence[str], exclude: Sequence[str]) -> list[Seen]:
        """Return the files that *patterns* find."""
        return [seen for seen in self._listed(patterns) if not excluded(seen.path, exclude)][: MOST_FILES + 1]

    def _listed(self, patterns: Sequence[str]) -> Iterator[Seen]:
        known: set[str] = set()
        for pattern in patterns:
            try:
                self._system.invalidate_cache()
                found = self._system.glob(self._inside(pattern), detail=True)
            except Exception as exc:
                raise FilesError(f"{self._scheme}:// cannot be listed: {_words(exc)}") from exc
            for path, info in sorted(found.items()):
                if info.get("type") == "file" and path not in known:
                    known.add(path)
                    yield Seen(path, int(info.get("size") or 0), _changed_ns(info))

    def read(self, seen: Seen) -> bytes | None:
        """Return what is in a file; None when it is not what it was any more."""
        try:
            with self._system.open(seen.path, "rb") as file:
                content: bytes = file.read(seen.size + 1)
            self._system.invalidate_cache()
            info = self._system.info(seen.path)
        except FileNotFoundError:
            return None
        except OSError:
            raise
        except Exception as exc:
            raise FilesError(f"{self._scheme}:// cannot be read: {_words(exc)}") from exc
        same = len(content) == seen.size == info.get("size") and _changed_ns(info) == seen.changed_ns
        return content if same else None

    def move(self, path: str, folder: str) -> None:
        """Move a file into a folder; one of its name that is there already is kept, and this one gets a number."""
        folder = self._inside(folder)
        try:
            self._system.makedirs(folder, exist_ok=True)
            self._system.mv(path, _free(f"{folder.rstrip('/')}/{PurePosixPath(path).name}", self._system.exists))
        except Exception as exc:
            raise OSError(f"cannot be moved: {_words(exc)}") from exc

    def close(self) -> None:
        """End the connection, where there is one."""
        client = getattr(self._system, "client", None)
        if client is not None and hasattr(client, "close"):
            client.close()

    def _inside(self, pattern: str) -> str:
        """Return a pattern without its scheme, and without the host where that is no part of a path."""
        inside = pattern.partition("://")[2] if is_address(pattern) else pattern
        return f"/{inside.partition('/')[2]}" if self._scheme == "sftp" and is_address(pattern) else inside


def _changed_ns(info: Mapping[str, Any]) -> int:
    """Return when a file changed last, 0 where the file system does not say it."""
    value = next((info[name] for name in _CHANGED if info.get(name) is not None), 0)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000) * 1_000_000
    return int(float(value)) * 10**9


def _free(path: str, taken: Any) -> str:
    number = 1
    free = path
    while taken(free):
        number += 1
        free = f"{path}.{number}"
    return free


def _words(error: Exception) -> str:
    """Return what went wrong, without addresses and secrets that a library may put into its words."""
    return f"{type(error).__name__}{f' ({error.errno})' if isinstance(error, OSError) and error.errno else ''}"
