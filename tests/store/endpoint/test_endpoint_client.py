"""clickhouse-connect works against the endpoint as against a server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # published without types
import pytest
from clickhouse_connect.driver import options
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.exceptions import Error as EngineError
from clickhouse_connect.driver.external import ExternalData

from controltower.store.client import Client
from tests.store.endpoint.served import Served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A client as anybody makes it, with a session."""
    client = served.client()
    yield client
    client.close()


@pytest.fixture
def table(client: Client) -> str:
    """A table with types that our rows use."""
    client.command(
        "CREATE TABLE t (id UInt32, name LowCardinality(String), at DateTime64(6, 'UTC'), amount Nullable(Decimal(38, 6)), "
        "keys Array(Tuple(type LowCardinality(String), value String)), context Map(LowCardinality(String), String)) "
        "ENGINE = MergeTree ORDER BY id"
    )
    return "t"


AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ROW = [1, "purchase order", AT, Decimal("12.340000"), [{"type": "po", "value": "PO-1"}], {"vendor": "V-7"}]


def test_a_query_has_rows_names_and_types(client: Client) -> None:
    """The result of a query is complete."""
    result = client.query("SELECT number AS n, toString(number) AS s FROM system.numbers LIMIT 3")

    assert result.result_rows == [(0, "0"), (1, "1"), (2, "2")]
    assert result.column_names == ("n", "s")
    assert [kind.name for kind in result.column_types] == ["UInt64", "String"]


def test_parameters_and_settings(client: Client) -> None:
    """Values are bound by the engine and settings hold for one query."""
    text = 'it\'s a \\ back\tslash\nand "quotes" {x} %s — ü'
    result = client.query(
        "SELECT {text:String}, {list:Array(String)}, {number:UInt64}, {at:DateTime64(6)}, getSetting('max_threads')",
        parameters={"text": text, "list": ["a'b", "c\\d"], "number": 2**63, "at": AT},
        settings={"max_threads": 3},
    )

    assert result.first_row == (text, ["a'b", "c\\d"], 2**63, AT.replace(tzinfo=None), 3)


def test_values_bound_by_the_client(client: Client) -> None:
    """The client's own binding gives the same value."""
    assert client.query("SELECT %(v)s", parameters={"v": "it's\\"}).first_row == ("it's\\",)


def test_commands(client: Client, table: str) -> None:
    """Commands answer as a server's do."""
    assert client.command(f"EXISTS TABLE {table}") == 1
    assert client.command("SELECT 1, 'a'") == ["1", "a"]
    assert str(client.command(f"SHOW CREATE TABLE {table}")).startswith("CREATE TABLE")
    client.command(f"ALTER TABLE {table} ADD COLUMN more UInt8")
    assert "more" in str(client.command(f"DESCRIBE TABLE {table}"))
    client.command(f"DROP TABLE {table}")
    assert client.command(f"EXISTS TABLE {table}") == 0


def test_rows_come_back_as_they_went_in(client: Client, table: str) -> None:
    """Inserting by rows and reading is a round trip."""
    summary = client.insert(table, [ROW], column_names=["id", "name", "at", "amount", "keys", "context"])

    assert summary.written_rows == 1
    assert list(client.query(f"SELECT * FROM {table}").result_rows[0][3:]) == ROW[3:]
    assert client.query(f"SELECT at = {{at:DateTime64(6, 'UTC')}} FROM {table}", parameters={"at": AT}).first_row == (
        1,
    )


def test_columns_come_back_as_they_went_in(client: Client, table: str) -> None:
    """Inserting by columns is a round trip."""
    client.insert(table, [[1, 2], ["a", "b"]], column_names=["id", "name"], column_oriented=True)

    assert client.query(f"SELECT id, name FROM {table} ORDER BY id").result_columns == [[1, 2], ["a", "b"]]


def test_data_frames(client: Client, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames go in and out."""
    monkeypatch.delitem(vars(options), "pd", raising=False)  # a test before may have forgone them
    frame = pd.DataFrame({"id": [1, 2, 3], "name": ["a", "b", "c"]})
    client.insert_df(table, frame)

    read = client.query_df(f"SELECT id, name FROM {table} ORDER BY id")
    assert read["id"].tolist() == [1, 2, 3]
    assert read["name"].tolist() == ["a", "b", "c"]


def test_arrow_tables(client: Client, table: str) -> None:
    """Arrow tables go in and out."""
    client.insert_arrow(table, pa.table({"id": pa.array([1, 2], pa.uint32()), "name": ["a", "b"]}))

    assert client.query_arrow(f"SELECT id, name FROM {table} ORDER BY id").column("name").to_pylist() == ["a", "b"]


@pytest.mark.parametrize("compression", [None, "gzip", "zstd", "lz4"])
def test_raw_inserts(client: Client, table: str, compression: str | None) -> None:
    """Bytes in a format of the engine's go in, compressed or not."""
    import gzip

    import lz4.frame  # type: ignore[import-untyped]  # published without types

    from controltower.store.endpoint_codecs import zstd

    plain = b"1,a\n2,b\n"
    packers = {"gzip": gzip.compress, "zstd": zstd.compress, "lz4": lz4.frame.compress}
    block = packers[compression](plain) if compression else plain
    client.raw_insert(table, ["id", "name"], block, fmt="CSV", compression=compression)

    assert client.query(f"SELECT name FROM {table} ORDER BY id").result_columns == [["a", "b"]]


@pytest.mark.parametrize("fmt", ["CSV", "JSONEachRow", "Native", "RowBinary", "Parquet", "TSV", "Arrow", "JSON"])
def test_raw_queries_give_what_raw_inserts_take(client: Client, table: str, fmt: str) -> None:
    """Every common format is a round trip."""
    client.insert(table, [[number, str(number)] for number in range(1000)], column_names=["id", "name"])
    raw = client.raw_query(f"SELECT id, name FROM {table} ORDER BY id", fmt=fmt)
    client.command(f"TRUNCATE TABLE {table}")
    client.raw_insert(table, ["id", "name"], raw, fmt=fmt)

    assert client.command(f"SELECT count(), sum(id), uniqExact(name) FROM {table}") == ["1000", "499500", "1000"]


def test_a_stream_goes_in(client: Client, table: str) -> None:
    """A generator is inserted piece by piece, cut anywhere."""
    data = "".join(f"{number},{'x' * (number % 50)}\n" for number in range(200_000)).encode()
    pieces = (data[start : start + 10_007] for start in range(0, len(data), 10_007))
    client.raw_insert(table, ["id", "name"], pieces, fmt="CSV")

    assert client.command(f"SELECT count(), sum(id) FROM {table}") == ["200000", "19999900000"]


def test_streams_come_out(client: Client) -> None:
    """Blocks and rows are read while the query runs."""
    sql = "SELECT number, toString(number) FROM system.numbers LIMIT 500000"
    with client.query_row_block_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    with client.query_rows_stream(sql) as rows:
        assert sum(row[0] for row in rows) == 499_999 * 250_000
    with client.raw_stream(sql, fmt="TSV") as raw:
        assert sum(piece.count(b"\n") for piece in iter(lambda: raw.read(1 << 20), b"")) == 500_000


def test_a_stream_that_is_left_early_leaves_the_client_usable(served: Served) -> None:
    """Closing a stream before its end is no harm."""
    client = served.client(autogenerate_session_id=False)
    with client.query_rows_stream("SELECT number FROM system.numbers LIMIT 100000000") as rows:
        assert next(iter(rows)) == (0,)

    assert client.command("SELECT 1") == 1
    client.close()


def test_empty_results(client: Client) -> None:
    """A result without rows has no rows; LIMIT 0 has names and types."""
    assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
    assert client.query("SELECT 1 AS a LIMIT 0").column_names == ("a",)


def test_long_lists_of_parameters_travel_as_a_form(served: Served) -> None:
    """What is too long for an address goes in a form."""
    client = served.client(form_encode_query_params=True)
    values = [f"PO-{number:08}" for number in range(8_000)]
    counted = client.query("SELECT length({v:Array(String)})", parameters={"v": values}).first_row
    found = client.query(
        "SELECT count() FROM (SELECT 'PO-00007999' AS v) WHERE v IN {v:Array(String)}", parameters={"v": values}
    ).first_row

    assert (counted, found) == ((8_000,), (1,))
    client.close()


def test_external_tables(client: Client) -> None:
    """A table that comes with the query can be joined."""
    external = ExternalData(file_name="wanted", data=b"1,one\n3,three\n", fmt="CSV", structure="id UInt32, word String")
    result = client.query("SELECT word FROM wanted ORDER BY id", external_data=external)

    assert result.result_rows == [("one",), ("three",)]


def test_a_session_keeps_its_state(served: Served) -> None:
    """SET, USE and temporary tables live as long as the session, and not in another one."""
    client, other = served.client(), served.client()
    client.command("CREATE TEMPORARY TABLE mine (x UInt8)")
    client.command("INSERT INTO mine VALUES (7)")
    client.command("SET max_threads = 2")

    assert client.query("SELECT x, getSetting('max_threads') FROM mine").first_row == (7, 2)
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 5}).first_row == (5,)
    assert client.query("SELECT getSetting('max_threads')").first_row == (2,)
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        other.query("SELECT * FROM mine")
    client.close()
    other.close()


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nodb.t", 81, "UNKNOWN_DATABASE"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nonsense(1)", 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FROM (", 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {x:UInt8}", 456, "UNKNOWN_QUERY_PARAMETER"),
        ("SELECT 1 FORMAT Nonsense", 73, "UNKNOWN_FORMAT"),
        ("SELECT 1 SETTINGS nonsense = 1", 115, "UNKNOWN_SETTING"),
        ("DROP TABLE nowhere", 60, "UNKNOWN_TABLE"),
        ("INSERT INTO nowhere VALUES (1)", 60, "UNKNOWN_TABLE"),
        ("SELECT toUInt8('x')", 6, "CANNOT_PARSE_TEXT"),
        ("SELECT 1 INTO OUTFILE '/nowhere/x'", 358, "INTO_OUTFILE_NOT_ALLOWED"),
    ],
)
def test_errors_are_the_engines(client: Client, sql: str, code: int, name: str) -> None:
    """An error arrives with the code and the name that ClickHouse gives it."""
    with pytest.raises(DatabaseError, match=rf"Code: {code}\. DB::Exception: .*\({name}\)") as raised:
        client.command(sql)

    assert raised.value.code == code


def test_an_error_in_the_middle_of_a_stream_is_not_taken_for_its_end(served: Served) -> None:
    """Rows that were sent before an error do not pass for the whole result."""
    client = served.client(autogenerate_session_id=False)
    sql = "SELECT throwIf(number = 9000000), number FROM system.numbers LIMIT 10000000"
    with pytest.raises(EngineError, match="throwIf"), client.query_rows_stream(sql) as rows:
        for _ in rows:
            pass
    client.close()


def test_an_insert_that_fails_says_why(client: Client, table: str) -> None:
    """Bytes that do not parse are refused with the engine's reason, and nothing is stored."""
    with pytest.raises(DatabaseError, match=r"CANNOT_PARSE|INCORRECT_DATA"):
        client.raw_insert(table, ["id", "name"], b"one,two\n", fmt="CSV")

    assert client.command(f"SELECT count() FROM {table}") == 0


def test_a_wrong_password_is_refused(endpoint: Served) -> None:
    """The text and the code are ClickHouse's."""
    with pytest.raises(DatabaseError, match=r"Code: 516\. DB::Exception: writer: Authentication failed"):
        endpoint.client(password="wrong")


def test_threads_work_at_once(served: Served) -> None:
    """Eight threads with their own clients do not disturb each other."""
    served.client().command("CREATE TABLE shared (x UInt64, thread UInt8) ENGINE = MergeTree ORDER BY x")

    def work(thread: int) -> int:
        client = served.client()
        for turn in range(5):
            client.insert("shared", [[turn, thread]], column_names=["x", "thread"])
            client.query("SELECT count() FROM shared")
        client.close()
        return thread

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(work, range(8))) == list(range(8))

    rows = served.client().query("SELECT thread, count() FROM shared GROUP BY thread ORDER BY thread").result_rows
    assert rows == [(thread, 5) for thread in range(8)]
