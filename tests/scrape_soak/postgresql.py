"""A PostgreSQL with a standby: killed, it goes on as its standby, with everything that was committed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clickhouse_server import free_port

PROGRAMS = "usr/lib/postgresql/*/bin"
USER = "postgres"
SETTINGS = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
PATIENCE_S = "60"


def programs() -> Path | None:
    """Return where PostgreSQL's programs are, nothing where there are none."""
    found = shutil.which("initdb")
    here = [Path(found).resolve().parent] if found else []
    here += sorted(Path("/").glob(PROGRAMS), reverse=True)
    return next((folder for folder in here if (folder / "pg_basebackup").exists()), None)


class Cluster:
    """One server: a folder and a port."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin = bin_
        self.folder = folder
        self.port = free_port()

    def make(self) -> None:
        """Make a new one."""
        self.do("initdb", "-D", str(self.folder), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8")
        with (self.folder / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(SETTINGS)

    def copy_of(self, other: "Cluster") -> None:
        """Make it a standby of another one."""
        where = ["-h", "127.0.0.1", "-p", str(other.port), "-U", USER]
        self.do("pg_basebackup", *where, "-D", str(self.folder), "-R", "-c", "fast", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = str(self.folder.with_suffix(".log"))
        self.do("pg_ctl", "-D", str(self.folder), "-l", log, "-o", f"-p {self.port}", "-w", "-t", PATIENCE_S, "start")

    def crash(self) -> None:
        """End it as a power cut does; what has ended stays so."""
        if (self.folder / "postmaster.pid").exists():
            self.do("pg_ctl", "-D", str(self.folder), "-m", "immediate", "stop")

    def promote(self) -> None:
        """Let it write."""
        self.do("pg_ctl", "-D", str(self.folder), "-w", "-t", PATIENCE_S, "promote")

    def execute(self, *statements: str) -> None:
        """Run statements."""
        words = [word for statement in statements for word in ("-c", statement)]
        self.do("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-q", "-v", "ON_ERROR_STOP=1", *words)

    def do(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's programs, which do not run for root."""
        as_user: dict[str, Any] = {"user": USER, "group": USER} if os.geteuid() == 0 else {}
        ran = subprocess.run(
            [str(self._bin / program), *words],
            check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            cwd=self.folder.parent, **as_user,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr


class Pair:
    """A server that writes, and its standby, without which nothing is committed."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin = bin_
        self._folder = folder
        self._made: list[Cluster] = []
        self.primary = self._next()

    def start(self) -> None:
        """Start both."""
        self.primary.make()
        self.primary.start()
        self._standby = self._standby_of(self.primary)

    def failover(self) -> None:
        """End the one that writes; its standby takes over, and gets a standby of its own."""
        self.primary.crash()
        self._standby.promote()
        self.primary = self._standby
        self._standby = self._standby_of(self.primary)

    def close(self) -> None:
        """End all that run."""
        for each in reversed(self._made):
            each.crash()

    def _next(self) -> Cluster:
        self._made.append(Cluster(self._bin, self._folder / f"cluster{len(self._made)}"))
        return self._made[-1]

    def _standby_of(self, primary: Cluster) -> Cluster:
        made = self._next()
        made.copy_of(primary)
        made.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        return made


@contextmanager
def pair(bin_: Path) -> Iterator[Pair]:
    """Give two servers in a folder of their own, which ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="controltower-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    made = Pair(bin_, folder)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
