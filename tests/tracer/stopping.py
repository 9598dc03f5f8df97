"""A disk on which the process ends at a chosen call, and what a power cut then leaves of it."""

import os
import threading
from pathlib import Path

from controltower.tracer.journal.disk import Disk


class StoppingDisk(Disk):
    """A disk whose process ends before the call number *stop_at*, or in the middle of it when that is a write.

    From then on every call that would change something raises SystemExit. Syncing is only
    noted down: a process that ends takes nothing with it that was written.
    """

    def __init__(self, stop_at: int = 0, *, torn: bool = False) -> None:
        self.calls: list[str] = []
        self.dead = False
        self._stop_at = stop_at
        self._torn = torn
        self._lock = threading.Lock()
        self._open: set[int] = set()

    def _step(self, call: str) -> bool:
        """Count a call; returns whether it is to be done by half."""
        with self._lock:
            if self.dead:
                raise SystemExit
            self.calls.append(call)
            self.dead = len(self.calls) == self._stop_at
            if self.dead and not (self._torn and call == "write"):
                raise SystemExit
            return self.dead

    def create(self, path: Path) -> int:
        self._step("create")
        return self._opened(super().create(path))

    def append_to(self, path: Path) -> int:
        self._step("append_to")
        return self._opened(super().append_to(path))

    def _opened(self, descriptor: int) -> int:
        self._open.add(descriptor)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        half = self._step("write")
        super().write(descriptor, data[: len(data) // 2] if half else data)
        if half:
            raise SystemExit

    def sync(self, descriptor: int) -> None:
        self._step("sync")

    def sync_folder(self, folder: Path) -> None:
        self._step("sync_folder")

    def truncate(self, path: Path, length: int) -> None:
        self._step("truncate")
        super().truncate(path, length)

    def rename(self, path: Path, target: Path) -> None:
        self._step("rename")
        super().rename(path, target)

    def unlink(self, path: Path) -> None:
        if path.exists():  # else the call changes nothing, and ending before it is ending before the next one
            self._step("unlink")
            super().unlink(path)

    def make_folder(self, folder: Path) -> None:
        self._step("make_folder")
        super().make_folder(folder)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        super().close(descriptor)

    def let_go(self) -> None:
        """Close what the process that ended had open."""
        for descriptor in list(self._open):
            self.close(descriptor)


class PowerDisk(StoppingDisk):
    """A stopping disk that knows what was synced: files by their content, folders by their names."""

    def __init__(self, root: Path, stop_at: int = 0) -> None:
        super().__init__(stop_at)
        files = [path for path in root.rglob("*") if path.is_file()] if root.exists() else []
        self._files = dict(enumerate(files))  # a number for each file that ever was -> its path
        self._number = {path: number for number, path in self._files.items()}
        self._content = {number: path.read_bytes() for number, path in self._files.items()}
        self._names: dict[Path, dict[str, int]] = {}
        for path, number in self._number.items():
            self._names.setdefault(path.parent, {})[path.name] = number
        self._by_descriptor: dict[int, int] = {}

    def _note(self, path: Path) -> int:
        if path not in self._number:
            number = len(self._files)
            self._files[number] = path
            self._number[path] = number
        return self._number[path]

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._number.pop(path, None)
        self._by_descriptor[descriptor] = self._note(path)
        return descriptor

    def append_to(self, path: Path) -> int:
        descriptor = super().append_to(path)
        self._by_descriptor[descriptor] = self._note(path)
        return descriptor

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            self._content[self._by_descriptor[descriptor]] = file.read()

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._names[folder] = {path.name: number for path, number in self._number.items() if path.parent == folder}

    def rename(self, path: Path, target: Path) -> None:
        super().rename(path, target)
        self._number[target] = self._number.pop(path)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._number.pop(path, None)

    def cut(self, root: Path) -> None:
        """Leave of the files below *root* what was synced, under the names that were."""
        for path in [path for path in root.rglob("*") if path.is_file()]:
            path.unlink()
        for folder, names in self._names.items():
            for name, number in names.items():
                path = folder / name
                path.write_bytes(self._content.get(number, b""))
                os.chmod(path, 0o600)
