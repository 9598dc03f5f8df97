"""Files of other machines: an SFTP server in a process of its own, and a server of S3; listed, read when whole, moved."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.files import FilesError
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.scraper import Scraper
from tests.aws_server import aws_server
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.test_folder import orders, text_of, write
from tests.collector.scrapers.x12_writer import encoded, interchange, order

OK: Answer = (200, {}, b"")
SERVER = """
import asyncio, sys, asyncssh

class Server(asyncssh.SSHServer):
    def begin_auth(self, username): return True
    def password_auth_supported(self): return True
    def validate_password(self, username, password): return (username, password) == ("edi", "word")

async def main():
    folder, key = sys.argv[1:]
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder),
    )
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def sftp(folder: Path, keys: Path) -> Iterator[int]:
    """Run an SFTP server in a process of its own, and yield its port; its key is known in ``known_hosts``."""
    asyncssh = pytest.importorskip("asyncssh")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(keys / "key"))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), str(keys / "key")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        public = key.export_public_key().decode().strip()
        (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n", encoding="utf-8")
        yield port
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def source_of(folder: Path, **options: Any) -> FolderSource:
    source = parse_sources(text_of(folder, **options), "edi.yaml").sources["edi"]
    assert isinstance(source, FolderSource)
    return source


def storage_of(keys: Path, port: int) -> dict[str, Any]:
    return {
        "port": port,
        "username": "edi",
        "password": {"file": str(keys / "word")},
        "known_hosts": str(keys / "known_hosts"),
    }


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folder of a server, with ``in``, and one for keys."""
    served, keys = tmp_path / "served", tmp_path / "keys"
    (served / "in").mkdir(parents=True)
    keys.mkdir()
    (keys / "word").write_text("word", encoding="utf-8")
    return served, keys


def test_files_of_an_sftp_server(places: tuple[Path, Path]) -> None:
    """A half-written file waits until it is whole; it is read once, and put away when it was acknowledged."""
    served, keys = places
    passed_s = [0.0]
    content = write(served / "in" / "a.edi", "PO-1", "PO-2")
    (served / "in" / "half.edi").write_bytes(encoded(interchange([[order("PO-3")]], number=2))[:150])
    with sftp(served, keys) as port:
        reader = FolderReader(
            source_of(
                served,
                files=["sftp://127.0.0.1/in/*.edi"],
                storage=storage_of(keys, port),
                archive={"to": "sftp://127.0.0.1/done"},
            ),
            time.time_ns,
            lambda: passed_s[0],
        )
        try:
            assert orders(reader, reader.read().records) == ["PO-1", "PO-2"]
            assert reader.behind() == 150

            with (served / "in" / "half.edi").open("ab") as half:
                half.write(encoded(interchange([[order("PO-3")]], number=2))[150:])
            assert reader.read() == ([], True)
            passed_s[0] += 10
            assert orders(reader, reader.read().records) == ["PO-3"]
            reader.acknowledged(reader.state())
            assert reader.read() == ([], True)
        finally:
            reader.close()

    assert sorted(file.name for file in (served / "done").iterdir()) == ["a.edi", "half.edi"]
    assert (served / "done" / "a.edi").read_bytes() == content


def test_a_file_that_changes_while_it_is_read(places: tuple[Path, Path]) -> None:
    """It was not whole: nothing of it is taken."""
    served, keys = places
    content = write(served / "in" / "a.edi", "PO-1")
    with sftp(served, keys) as port:
        source = source_of(served, files=["sftp://127.0.0.1/in/*"], storage=storage_of(keys, port))
        reader = FolderReader(source, time.time_ns)
        try:
            files = reader._opening()
            (seen,) = files.found(source.files, ())
            assert files.read(seen) == content
            (served / "in" / "a.edi").write_bytes(content + b"\n")
            assert files.read(seen) is None
            (served / "in" / "a.edi").unlink()
            assert files.read(seen) is None
        finally:
            reader.close()


def test_a_server_that_is_not_known_is_not_believed(places: tuple[Path, Path]) -> None:
    """Its key must be one of the known hosts; the word is never shown."""
    served, keys = places
    with sftp(served, keys) as port:
        (keys / "known_hosts").write_text("", encoding="utf-8")
        storage = storage_of(keys, port)
        for known in (storage, {name: value for name, value in storage.items() if name != "known_hosts"}):
            reader = FolderReader(source_of(served, files=["sftp://127.0.0.1/in/*"], storage=known), time.time_ns)
            with pytest.raises(FilesError, match="HostKeyNotVerifiable") as caught:
                reader.read()

            assert "word" not in str(caught.value)


def test_a_server_that_goes_away_and_comes_back(places: tuple[Path, Path], tmp_path: Path) -> None:
    """Through all of the scraper: what goes wrong is shown, tried again, and every document is sent once."""
    served, keys = places
    write(served / "in" / "a.edi", "PO-1")
    with sftp(served, keys) as port, answering(lambda *_: OK) as server:
        file = tmp_path / "sources.yaml"
        text = text_of(served, files=["sftp://127.0.0.1/in/*"], storage=storage_of(keys, port))
        file.write_text(text, encoding="utf-8")

        def run() -> None:
            scraper = Scraper(file, tmp_path / "scrape", Collector(server.url), Redaction(default_policy()))
            try:
                scraper.run_once()
            finally:
                scraper.close()

        run()
        (keys / "word").write_text("wrong", encoding="utf-8")
        write(served / "in" / "b.edi", "PO-2", control=2)
        with pytest.raises(FilesError, match="sftp:// cannot be opened"):
            run()
        (keys / "word").write_text("word", encoding="utf-8")
        run()
        traces = [body for body, path in zip(server.bodies, server.paths, strict=True) if path == "/v1/traces"]

    assert [sum(body.count(number) for body in traces) for number in (b"PO-1", b"PO-2")] == [1, 1]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def s3() -> Iterator[str]:
    """Run a server of S3 in a process of its own, and yield its address."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with aws_server() as address:
        yield address


def test_objects_of_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when they are there for a while, announced by a manifest, put away in another place."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTROLTOWER_TEST_SECRET", "secret")
    with s3() as address:
        storage = {"key": "id", "secret": {"env": "CONTROLTOWER_TEST_SECRET"}, "endpoint_url": address}
        source = source_of(
            tmp_path,
            files=["s3://edi/in/*.edi"],
            storage=storage,
            trigger=".done",
            archive={"to": "s3://edi/done"},
        )
        reader = FolderReader(source, lambda: time.time_ns() + 60 * 10**9)
        try:
            system: Any = reader._opening()._system  # type: ignore[attr-defined]  # what the files are put with
            system.mkdir("edi")
            system.pipe("edi/in/a.edi", encoded(interchange([[order("PO-1")]])))
            system.pipe("edi/in/b.edi", encoded(interchange([[order("PO-2")]], number=2)))
            assert reader.read() == ([], True)
            system.pipe("edi/in/a.edi.done", b"")
            assert orders(reader, reader.read().records) == ["PO-1"]
            assert reader.read() == ([], True)
            system.pipe("edi/in/b.edi.done", b"")
            assert orders(reader, reader.read().records) == ["PO-2"]
            reader.acknowledged(reader.state())
            assert reader.read() == ([], True)
            assert sorted(system.ls("edi/done")) == ["edi/done/a.edi", "edi/done/b.edi"]
        finally:
            reader.close()


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "sshfs", None)
    with pytest.raises(FilesError, match=r"pip install 'controltower\[files\]'"):
        FolderReader(source_of(tmp_path, files=["sftp://127.0.0.1/*"]), time.time_ns).read()
