"""A process that dies by kill -9 in the middle of an insert: ``python -m tests.cli.killed_insert DATA``."""

import os
import signal
import sys
from pathlib import Path

from controltower.cli.data import DataFolder
from controltower.store.address import embedded_address
from controltower.store.client import connect


class Deadly(str):
    """A text that ends the process when it is written."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """End the process."""
        os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(encoding, errors)


def main() -> None:
    """Insert many rows, of which the last one kills."""
    folder = DataFolder(Path(sys.argv[1]))
    folder.make()
    folder.own_temporary()
    client = connect(embedded_address(folder.root / "store"))
    client.command("CREATE TABLE patients (name String) ENGINE = MergeTree ORDER BY name")
    client.insert("patients", [["Doe"]] * 1_000_000 + [[Deadly("Roe")]], column_names=["name"])


if __name__ == "__main__":
    main()
