"""The runtime file of a running serve."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.errors import AddressError, StoreUnavailableError
from controltower.store.runtime import (
    INSTANCE_HEADER,
    RuntimeFile,
    open_store,
    read_runtime,
    remove_runtime,
    running,
    runtime_path,
    write_runtime,
)

RUNTIME = RuntimeFile(
    pid=os.getpid(),
    instance="one",
    store="chdb:///data/store",
    host="127.0.0.1",
    port=1,
    database="tower",
    writer_password="w-secret",
    reader_password="r-secret",
    collector="http://127.0.0.1:4318",
    token="t-secret",
    dashboard="http://127.0.0.1:8501",
)


@contextmanager
def pinging(instance: str) -> Iterator[int]:
    """Answer /ping as an endpoint of *instance* does; gives the port."""

    class Ping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(INSTANCE_HEADER, instance)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"Ok.\n")

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Ping) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_the_file_is_complete_and_private(tmp_path: Path) -> None:
    """What is written is read again, and only its owner can read it."""
    write_runtime(tmp_path / "data", RUNTIME)

    assert read_runtime(tmp_path / "data") == RUNTIME
    assert stat.S_IMODE(runtime_path(tmp_path / "data").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["serve.json"]


def test_secrets_do_not_show() -> None:
    """A runtime that gets into a log holds no secret."""
    assert "secret" not in repr(RUNTIME)


def test_writing_again_replaces(tmp_path: Path) -> None:
    """The last serve that started is the one that is found."""
    write_runtime(tmp_path, RUNTIME)
    write_runtime(tmp_path, replace(RUNTIME, instance="two"))

    assert read_runtime(tmp_path) == replace(RUNTIME, instance="two")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "instance": "a"}', "null"])
def test_an_unreadable_file_is_no_runtime(tmp_path: Path, content: str) -> None:
    """A torn or foreign file is as good as none."""
    runtime_path(tmp_path).write_text(content)

    assert read_runtime(tmp_path) is None
    assert running(tmp_path) is None


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    """A serve that stops late does not remove the file of the one that followed it."""
    write_runtime(tmp_path, RUNTIME)
    remove_runtime(tmp_path, "another")
    assert read_runtime(tmp_path) == RUNTIME

    remove_runtime(tmp_path, "one")
    remove_runtime(tmp_path, "one")
    assert read_runtime(tmp_path) is None


def test_alive_means_process_and_instance(tmp_path: Path) -> None:
    """A dead process, a silent port and another instance on the port are all stale."""
    with pinging("one") as port:
        runtime = replace(RUNTIME, port=port)
        write_runtime(tmp_path, runtime)

        assert runtime.alive()
        assert running(tmp_path) == runtime
        assert not replace(runtime, instance="two").alive()
        assert not replace(runtime, pid=2**22 + 1).alive()
    assert not runtime.alive()


def test_without_a_serve_the_folder_is_opened(tmp_path: Path, store_address: StoreAddress) -> None:
    """Nobody runs, so the command opens the folder itself; a stale file does not keep it from that."""
    write_runtime(tmp_path, replace(RUNTIME, pid=2**22 + 1, store=str(store_address)))

    client = open_store(tmp_path, str(store_address))

    assert client.command("SELECT currentDatabase()") == store_address.database
    client.close()


def test_a_server_address_is_used_as_it_is(tmp_path: Path, server_address: StoreAddress) -> None:
    """An explicit server wins over everything that runs here."""
    client = open_store(
        tmp_path, f"clickhouse://default@{server_address.host}:{server_address.port}/{server_address.database}"
    )

    assert client.command("SELECT currentDatabase()") == server_address.database
    client.close()


def test_a_bad_address_is_refused(tmp_path: Path) -> None:
    """The sentence of the address reaches the caller."""
    with pytest.raises(AddressError):
        open_store(tmp_path, "nonsense")


def test_a_serve_that_died_meanwhile_is_unavailable(tmp_path: Path) -> None:
    """An endpoint that stops answering is said in one sentence."""
    with pytest.raises(StoreUnavailableError):
        connect(replace(RUNTIME, port=9).address("reader"))
