"""What was restored is written out before the engine rewrites it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store import backup
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from tests.conftest import database_for


def test_nothing_merges_until_all_that_was_restored_is_on_the_disk(
    embedded: Callable[[str], StoreAddress],
    store_client: Client,
    store_address: StoreAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part merged meanwhile would take files away, and its own would be of no restored row that was written out."""
    name = database_for("backup")
    for version in (1, 2):
        store_client.command(f"INSERT INTO engine_state (name, value, version) VALUES ('a', '', {version})")
    backup.back_up(store_client, store_address, name)
    target = embedded(database_for("restored"))
    with connect(target) as client:
        write_out = backup._sync

        def merging(folder: Path) -> None:
            with pytest.raises(EngineError, match="Cancelled merging"):
                client.command("OPTIMIZE TABLE engine_state FINAL")
            write_out(folder)
            written.append(folder)

        written: list[Path] = []
        monkeypatch.setattr(backup, "_sync", merging)
        restored = backup.restore(client, target, name)
        client.command("OPTIMIZE TABLE engine_state FINAL")

    assert written == [target.path]
    assert restored.rows["engine_state"] >= 2


def test_a_file_that_the_engine_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its temporary files and its own logs come and go; all others are written out."""
    for file in ("a", "b", "c"):
        (tmp_path / file).touch()
    write_out, written = backup._write_out, []

    def removing(path: Path) -> None:
        if path.name == "b":
            path.unlink()
        write_out(path)
        written.append(path.name)

    monkeypatch.setattr(backup, "_write_out", removing)
    backup._sync(tmp_path)

    assert sorted(written) == sorted(["a", "c", tmp_path.name])
