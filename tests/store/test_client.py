"""Clients behave the same for every address."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from threading import Thread

import pytest
from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.address import StoreAddress, embedded_address, parse_address
from controltower.store.client import Client, connect
from controltower.store.errors import StoreUnavailableError

AT = datetime(2026, 3, 2, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-7)))


@pytest.fixture
def client(any_address: StoreAddress) -> Client:
    """A writer on a fresh database without tables."""
    return connect(any_address)


def test_the_database_is_created(client: Client, any_address: StoreAddress) -> None:
    """Connecting makes the database when it is missing, and statements run in it."""
    assert client.command("SELECT currentDatabase()") == any_address.database


def test_times_are_aware_and_utc(client: Client) -> None:
    """A time comes back as the same moment, aware, in UTC."""
    client.command(
        "CREATE TABLE t (at DateTime64(6), zoned DateTime64(6, 'UTC'), s DateTime) ENGINE = MergeTree ORDER BY at"
    )
    client.insert("t", [[AT, AT, AT]], column_names=["at", "zoned", "s"])

    at, zoned, second = client.query("SELECT * FROM t").result_rows[0]

    assert at == zoned == AT
    assert second == AT.replace(microsecond=0)
    assert all(value.utcoffset() == timedelta(0) for value in (at, zoned, second))
    assert client.query("SELECT toString(at), toDate(at) FROM t").first_row == (
        "2026-03-03 06:30:00.123456",
        AT.astimezone(UTC).date(),
    )


def test_tuples_maps_and_decimals_come_back_as_values(client: Client) -> None:
    """The types that our rows use survive a round trip."""
    client.command(
        "CREATE TABLE t (key Tuple(type LowCardinality(String), value String), amount Nullable(Decimal(38, 6)), "
        "context Map(String, String)) ENGINE = MergeTree ORDER BY key.value"
    )
    client.insert("t", [[("po", "1"), Decimal("1.25"), {"a": "b"}]], column_names=["key", "amount", "context"])

    assert client.query("SELECT * FROM t").first_row == ({"type": "po", "value": "1"}, Decimal("1.250000"), {"a": "b"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("async_insert", 0), ("insert_deduplicate", 1), ("session_timezone", "UTC")],
)
def test_settings_do_not_depend_on_the_engines_defaults(client: Client, name: str, value: object) -> None:
    """Inserts are synchronous and deduplicated, whatever the engine would do."""
    assert str(client.command(f"SELECT value FROM system.settings WHERE name = '{name}'")) in (
        str(value),
        str(bool(value)).lower(),
    )


def test_a_token_inserts_once_also_behind_views(client: Client) -> None:
    """The same insert token loads once, in the table and in the tables behind its views."""
    window = "SETTINGS non_replicated_deduplication_window = 100"
    client.command(f"CREATE TABLE a (x Int64) ENGINE = MergeTree ORDER BY x {window}")
    client.command(f"CREATE TABLE b (x Int64) ENGINE = MergeTree ORDER BY x {window}")
    client.command("CREATE MATERIALIZED VIEW v TO b AS SELECT x % 2 AS x FROM a")
    for token in ("one", "one", "two"):
        client.insert("a", [[1], [2]], column_names=["x"], settings={"insert_deduplication_token": token})

    assert client.query("SELECT (SELECT count() FROM a), (SELECT count() FROM b)").first_row == (4, 4)


def test_a_reader_reads_and_cannot_write(client: Client, any_address: StoreAddress) -> None:
    """A reader may query with settings, and may not write."""
    client.command("CREATE TABLE t (x Int64) ENGINE = MergeTree ORDER BY x")
    reader = connect(any_address, role="reader")

    assert reader.query("SELECT count() FROM t", settings={"max_threads": 1}).first_row == (0,)
    for statement in ("INSERT INTO t VALUES (1)", "DROP TABLE t", "CREATE TABLE u (x Int8) ENGINE = Memory"):
        with pytest.raises(EngineError, match="readonly"):
            reader.command(statement)
    if any_address.embedded:  # on a server the rights of the user decide
        with pytest.raises(EngineError, match="readonly"):
            reader.command("DROP TABLE t", settings={"readonly": 0})
    assert client.command("EXISTS TABLE t") == 1
    reader.close()


def test_each_thread_has_its_own_client(any_address: StoreAddress) -> None:
    """Clients of several threads work at once."""
    sums: list[int] = []

    def work() -> None:
        client = connect(any_address)
        sums.append(int(str(client.command("SELECT sum(number) FROM numbers(100000)"))))
        client.close()

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sums == [4999950000] * 8


def test_a_folder_of_another_process_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A held folder names its holder; the engine's noise does not reach the user."""
    code = (
        "import sys; from pathlib import Path; from controltower.store.address import embedded_address; "
        "from controltower.store.client import connect; client = connect(embedded_address(Path(sys.argv[1]))); "
        "print('open', flush=True); sys.stdin.readline()"
    )
    folder = tmp_path / "store"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreUnavailableError, match=rf"held by process {holder.pid};"):
            connect(embedded_address(folder))
        holder.communicate("\n")


def test_a_folder_that_cannot_be_made_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A file in the way is said, not raised."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailableError, match="cannot be made"):
        connect(embedded_address(tmp_path / "file" / "store"))


def test_a_server_that_does_not_answer_is_a_sentence() -> None:
    """Nobody listening is said in one sentence that may be tried again."""
    with pytest.raises(StoreUnavailableError, match=r"^The store at clickhouse://127.0.0.1:9/db ") as refused:
        connect(parse_address("clickhouse://127.0.0.1:9/db"))

    assert not refused.value.permanent
    assert "\n" not in str(refused.value)


def test_a_reader_does_not_create_a_servers_database(server_address: StoreAddress) -> None:
    """A reader of a server without the database is told so."""
    with pytest.raises(StoreUnavailableError, match="has no database"):
        connect(server_address, role="reader")


def test_an_insert_imports_no_pandas_when_frames_are_forgone(tmp_path: Path) -> None:
    """A process of ours writes its rows without waiting for pandas, neither for the client's sake nor for the engine's."""
    code = (
        "import sys; from pathlib import Path;"
        "from controltower.store.address import embedded_address;"
        "from controltower.store.client import connect, forgo_frames;"
        "forgo_frames();"
        f"client = connect(embedded_address(Path({str(tmp_path / 'store')!r})));"
        "client.command('CREATE TABLE t (x Int64) ENGINE = MergeTree ORDER BY x');"
        "client.insert('t', [[1], [2]], column_names=['x']);"
        "print(client.query('SELECT x FROM t').result_rows, 'pandas' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=120)

    assert ran.stdout.strip() == "[(1,), (2,)] False"
