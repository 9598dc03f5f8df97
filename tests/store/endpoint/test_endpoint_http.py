"""The wire: what any HTTP client sees, on ours and on a real server."""

import base64
import gc
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import lz4.frame  # type: ignore[import-untyped]  # published without types
import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.endpoint import Limits
from controltower.store.endpoint_codecs import zstd
from controltower.store.runtime import INSTANCE_HEADER, RuntimeFile, open_store, running, write_runtime
from tests.store.endpoint.served import Served, served_endpoint

WAIT_S = 20.0


def post(served: Served, sql: str | bytes, **options: object) -> httpx.Response:
    """Send a statement as the body."""
    parameters = {"database": served.database, **dict(options.pop("params", {}))}  # type: ignore[call-overload]  # a mapping
    return httpx.post(f"{served.url}/", params=parameters, content=sql, auth=served.auth, timeout=30, **options)  # type: ignore[arg-type]  # httpx's own options


def get(served: Served, sql: str, **parameters: str) -> httpx.Response:
    """Send a statement in the address."""
    return httpx.get(
        f"{served.url}/", params={"database": served.database, "query": sql, **parameters}, auth=served.auth, timeout=30
    )


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    until = time.monotonic() + WAIT_S
    pause = threading.Event()
    while time.monotonic() < until:
        if holds():
            return True
        pause.wait(0.02)
    return False


def open_pipes() -> int:
    """Return how many ends of pipes this process holds."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += str(path.readlink()).startswith("pipe:")
    return found


@pytest.mark.parametrize("path", ["/", "/ping", "/replicas_status"])
def test_it_answers_that_it_is_there(served: Served, path: str) -> None:
    """Health needs no password."""
    answer = httpx.get(f"{served.url}{path}")

    assert (answer.status_code, answer.text) == (200, "Ok.\n")


def test_ping_says_which_serve_this_is(endpoint: Served) -> None:
    """A recycled port is told apart by the instance."""
    assert httpx.get(f"{endpoint.url}/ping").headers[INSTANCE_HEADER] == "test-instance"


def test_other_paths_and_methods(served: Served) -> None:
    """There is one address; what is not there says so."""
    assert httpx.get(f"{served.url}/nowhere").status_code == 404
    assert httpx.delete(f"{served.url}/").status_code == 501
    assert httpx.options(f"{served.url}/").status_code == 204
    assert httpx.head(f"{served.url}/", params={"query": "SELECT 1"}, auth=served.auth).content == b""


@pytest.mark.parametrize(
    ("sql", "status", "code", "result_format"),
    [
        ("SELECT 1", 200, None, "TSV"),
        ("SELECT 1 FORMAT JSONCompact", 200, None, "JSONCompact"),
        ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", 200, None, "CSV"),
        ("SHOW TABLES", 200, None, "TSV"),
        ("EXISTS TABLE nowhere", 200, None, "TSV"),
        ("DESCRIBE TABLE system.one FORMAT CSV", 200, None, "CSV"),
        ("EXPLAIN SYNTAX SELECT 1 FORMAT CSV", 200, None, "CSV"),
        ("CREATE TABLE t (x UInt8) ENGINE = Memory", 200, None, None),
        ("SET max_threads = 1", 200, None, None),
        ("USE system", 200, None, None),
        ("SYSTEM FLUSH LOGS", 200, None, None),
        ("KILL QUERY WHERE 0", 200, None, None),
        ("SELECT 1 -- comment", 200, None, "TSV"),
        ("SELECT 1;", 200, None, "TSV"),
        ("SELECT 'FORMAT CSV'", 200, None, "TSV"),
        ("SELECT 1 AS `FORMAT CSV`", 200, None, "TSV"),
        ("WITH 1 AS x SELECT x FORMAT TSV", 200, None, "TSV"),
        ("SELECT * FROM nowhere", 404, 60, None),
        ("SELECT nothing", 404, 47, None),
        ("SELECT (1", 400, 62, None),
        ("", 400, 62, None),
        ("SELECT 1 FORMAT Nonsense", 404, 73, None),
        ("USE nowhere", 404, 81, None),
        ("SET nonsense = 1", 404, 115, None),
        ("SELECT sleep(1) SETTINGS max_execution_time = 0.1", 408, 159, None),
        ("SELECT {x:UInt8}", 500, 456, None),
    ],
)
def test_statuses_codes_and_formats(
    served: Served, sql: str, status: int, code: int | None, result_format: str | None
) -> None:
    """Status, exception code and format are those of ClickHouse."""
    answer = post(served, sql)

    assert answer.status_code == status, answer.text
    assert answer.headers.get("x-clickhouse-exception-code") == (str(code) if code else None)
    if not code:
        assert answer.headers.get("x-clickhouse-format") == result_format
    assert answer.headers["x-clickhouse-timezone"] in ("UTC", "Etc/UTC")
    assert "read_rows" in json.loads(answer.headers["x-clickhouse-summary"])


def test_an_address_is_for_reading(served: Served) -> None:
    """GET does not change anything."""
    answer = get(served, "CREATE TABLE t (x UInt8) ENGINE = Memory")

    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (500, "164")
    assert "GET implies readonly" in answer.text
    assert get(served, "SELECT 1").text == "1\n"


def test_an_insert_may_come_in_two_parts(served: Served) -> None:
    """The statement in the address and its data in the body, or both in the body."""
    assert post(served, "CREATE TABLE t (x UInt32) ENGINE = MergeTree ORDER BY x").status_code == 200
    assert post(served, "1\n2\n", params={"query": "INSERT INTO t FORMAT CSV"}).status_code == 200
    assert post(served, "(3), (4)", params={"query": "INSERT INTO t VALUES"}).status_code == 200
    assert post(served, "INSERT INTO t VALUES (5), (6)").status_code == 200
    assert post(served, 'INSERT INTO t FORMAT JSONEachRow {"x": 7}').status_code == 200
    assert post(served, "INSERT INTO t SELECT number + 8 FROM system.numbers LIMIT 2").status_code == 200
    assert post(served, "INSERT INTO {t:Identifier} (x) VALUES (12)", params={"param_t": "t"}).status_code == 200
    written = post(served, "INSERT INTO t FORMAT CSV\n13\n14\n")

    assert json.loads(written.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert post(served, "SELECT count(), sum(x) FROM t").text == "12\t84\n"
    assert post(served, "INSERT INTO t VALUES (1), (wrong)").status_code in (400, 404)
    assert post(served, "INSERT INTO t FORMAT CSV\nwrong\n").status_code == 400
    assert post(served, "SELECT count() FROM t").text == "12\n"


def test_data_may_begin_with_anything(served: Served) -> None:
    """Bytes of a binary format are not taken for the statement's end."""
    assert post(served, "CREATE TABLE t (x UInt8) ENGINE = MergeTree ORDER BY x").status_code == 200
    data = bytes([10, 13, 32, 59, 0, 255])
    assert post(served, data, params={"query": "INSERT INTO t FORMAT RowBinary"}).status_code == 200
    assert post(served, b"INSERT INTO t FORMAT RowBinary\n" + data).status_code == 200

    assert (
        post(served, "SELECT x, count() FROM t GROUP BY x ORDER BY x FORMAT CSV").text
        == "0,2\n10,2\n13,2\n32,2\n59,2\n255,2\n"
    )


def test_parameters_of_a_query(served: Served) -> None:
    """Values come in the address or in a form, escaped as tab-separated text."""
    sql = "SELECT {n:UInt8} + 1, {s:String}, {a:Array(String)}"
    values = {"param_n": "5", "param_s": "a\\tb", "param_a": "['x','y\\'z']"}

    assert post(served, sql, params=values).text == "6\ta\\tb\t['x','y\\'z']\n"
    form = httpx.post(
        f"{served.url}/", files={"query": (None, sql), **{k: (None, v) for k, v in values.items()}}, auth=served.auth
    )
    assert form.text == "6\ta\\tb\t['x','y\\'z']\n"
    assert post(served, "SELECT {n:UInt8}", params={"param_n": "x"}).status_code == 500


def test_tables_come_with_a_query(served: Served) -> None:
    """Files of a form are tables, named and described by parameters."""
    answer = httpx.post(
        f"{served.url}/",
        params={
            "query": "SELECT sum(a), any(_2) FROM t, u",
            "t_structure": "a UInt32",
            "t_format": "CSV",
            "u_types": "UInt8,String",
        },
        files={"t": ("t.csv", b"1\n2\n"), "u": ("u", b"1\tx\n")},
        auth=served.auth,
    )

    assert answer.text == "3\tx\n"


@pytest.mark.parametrize("default_format", ["CSV", "JSONEachRow", "TabSeparatedWithNames"])
def test_the_default_format_is_the_clients(served: Served, default_format: str) -> None:
    """A format that the statement does not name comes from the address or a header."""
    answer = post(served, "SELECT 'a' AS x", params={"default_format": default_format})

    assert answer.headers["x-clickhouse-format"] == default_format
    assert "a" in answer.text
    assert post(served, "SELECT 'a'", headers={"X-ClickHouse-Format": "CSV"}).text == '"a"\n'


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_answers_are_compressed_for_those_who_can_read_it(served: Served, encoding: str) -> None:
    """The answer is encoded as the client accepts it."""
    with httpx.stream(
        "POST",
        f"{served.url}/",
        params={"enable_http_compression": "1"},
        content="SELECT number FROM system.numbers LIMIT 300000",
        headers={"Accept-Encoding": encoding},
        auth=served.auth,
    ) as answer:
        raw = b"".join(answer.iter_raw())
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstd.decompress, "lz4": lz4.frame.decompress}

    assert answer.headers["content-encoding"] == encoding
    assert unpack[encoding](raw).count(b"\n") == 300_000
    assert len(raw) < 1_500_000


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("lz4", lz4.frame.compress)]
)
def test_requests_may_be_compressed(served: Served, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """A body is decoded as it says; one that cannot be is refused."""
    headers = {"Content-Encoding": encoding}

    assert post(served, pack(b"SELECT 1"), headers=headers).text == "1\n"
    assert post(served, b"SELECT 1", headers=headers).status_code >= 400
    assert post(served, pack(b"SELECT 1")[:-5], headers=headers).status_code >= 400


def test_a_result_that_is_waited_for_has_a_true_status(served: Served) -> None:
    """With wait_end_of_query an error late in a long result is a status, not the end of a body."""
    sql = "SELECT number, throwIf(number = 3000000) FROM system.numbers LIMIT 4000000"
    answer = post(served, sql, params={"wait_end_of_query": "1"})

    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (500, "395")
    whole = post(served, "SELECT number FROM system.numbers LIMIT 2000000", params={"wait_end_of_query": "1"})
    assert whole.text.count("\n") == 2_000_000
    assert int(json.loads(whole.headers["x-clickhouse-summary"])["read_rows"]) >= 2_000_000


def test_an_error_in_the_middle_is_marked_and_breaks_the_connection(served: Served) -> None:
    """A client that knows nothing of marks sees a broken body; one that does finds the error."""
    sql = "SELECT number, throwIf(number = 3000000) FROM system.numbers LIMIT 4000000"
    plain = {"Accept-Encoding": "identity"}
    body = bytearray()
    with httpx.stream("POST", f"{served.url}/", content=sql, auth=served.auth, headers=plain) as answer:
        pieces = answer.iter_raw()
        with pytest.raises(httpx.RemoteProtocolError):
            _collect(pieces, body)
    tag = answer.headers["x-clickhouse-exception-tag"].encode()
    frame = bytes(body).partition(b"\r\n__exception__\r\n" + tag + b"\r\n")[2]
    text, _, length = frame.removesuffix(b" " + tag + b"\r\n__exception__\r\n").rpartition(b"\n")

    assert answer.status_code == 200
    assert text.startswith(b"Code: 395. DB::Exception: ")
    assert int(length) == len(text) + 1


def _collect(pieces: Iterator[bytes], into: bytearray) -> None:
    for piece in pieces:
        into += piece


def test_sessions(served: Served) -> None:
    """A session keeps SET and USE, must be named rightly, and can be asked to exist."""
    session = {"session_id": f"s-{served.database}"}
    assert (
        post(served, "SELECT 1", params={**session, "session_check": "1"}).headers["x-clickhouse-exception-code"]
        == "372"
    )
    assert post(served, "SET max_threads = 3", params=session).status_code == 200
    assert post(served, "SELECT getSetting('max_threads')", params={**session, "session_check": "1"}).text == "3\n"
    assert post(served, "SELECT 1", params={"session_id": ""}).headers["x-clickhouse-exception-code"] == "744"
    too_long = post(served, "SELECT 1", params={**session, "session_timeout": "99999"})
    assert too_long.headers["x-clickhouse-exception-code"] == "374"
    assert post(served, "SELECT getSetting('max_threads')").text != "3\n"


def test_a_session_serves_one_request_at_a_time(served: Served) -> None:
    """A second request of a session at the same time is refused, not mixed up."""
    session = {"session_id": f"busy-{served.database}"}
    slow = threading.Thread(
        target=lambda: eventually(lambda: post(served, "SELECT sleep(2)", params=session).is_success)
    )
    slow.start()
    refused = eventually(
        lambda: post(served, "SELECT 1", params=session).headers.get("x-clickhouse-exception-code") == "373"
    )
    slow.join()

    assert refused
    assert post(served, "SELECT 1", params=session).text == "1\n"


def test_a_query_id_is_answered(served: Served) -> None:
    """The client's own id comes back, else one is made."""
    assert post(served, "SELECT 1", params={"query_id": "mine"}).headers["x-clickhouse-query-id"] == "mine"
    assert len(post(served, "SELECT 1").headers["x-clickhouse-query-id"]) == 36


def test_the_ways_to_say_who_one_is(endpoint: Served) -> None:
    """Basic auth, ClickHouse's headers and parameters; two ways at once, and everything else, are refused."""
    url = f"{endpoint.url}/?query=SELECT+1"
    encoded = base64.b64encode(b"reader:r-secret").decode()
    key = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": "r-secret"}

    assert httpx.get(url, headers=key).text == "1\n"
    assert httpx.get(url, headers={"Authorization": f"Basic {encoded}"}).text == "1\n"
    assert httpx.get(f"{url}&user=reader&password=r-secret").text == "1\n"
    for refused in (
        httpx.get(url),
        httpx.get(url, auth=("reader", "w-secret")),
        httpx.get(url, auth=("writer", "")),
        httpx.get(url, auth=("", "r-secret")),
        httpx.get(url, headers={**key, "Authorization": f"Basic {encoded}"}),
        httpx.get(url, headers={"Authorization": "Bearer x"}),
        httpx.get(url, headers={"Authorization": "Basic !"}),
        httpx.get(f"{url}&user=reader"),
    ):
        assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert refused.text.endswith("(AUTHENTICATION_FAILED)\n")


def test_a_wrong_password_is_told_as_a_server_tells_it(served: Served) -> None:
    """Text, code and status agree."""
    answer = httpx.get(f"{served.url}/?query=SELECT+1", auth=("nobody", "x"))

    assert answer.status_code == 403
    assert answer.text.strip() == (
        "Code: 516. DB::Exception: nobody: Authentication failed: password is incorrect, "
        "or there is no user with such name. (AUTHENTICATION_FAILED)"
    )


def test_compressed_blocks_are_refused_with_a_sentence(endpoint: Served) -> None:
    """ClickHouse's own block compression is not there; the answer says what is."""
    answer = post(endpoint, "SELECT 1", params={"compress": "1"})

    assert answer.status_code == 501
    assert "Accept-Encoding" in answer.text


def test_garbage_is_refused(endpoint: Served) -> None:
    """Broken forms and texts end in an error, never in a traceback."""
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x",
        b"--x--",
        b"garbage",
        b"--x\r\n\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: y\r\n\r\n1\r\n--x--",
    ):
        assert post(endpoint, body, headers=form).is_error
    assert post(endpoint, b"SELECT '\xff\xfe'").status_code == 501
    assert post(endpoint, b"\x00\x01\x02").status_code == 400
    assert post(endpoint, "SELECT 1", headers={"Content-Encoding": "nonsense"}).status_code == 501
    assert post(endpoint, "SELECT 1", params={"session_id": "x", "session_timeout": "x"}).status_code == 500
    assert post(endpoint, "SELECT 1", params={"readonly": "x"}).status_code == 400


def _open_socket(served: Served, sql: str) -> socket.socket:
    raw = socket.create_connection((served.host, served.port))
    auth = base64.b64encode(f"{served.user}:{served.password}".encode()).decode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\nContent-Length: {len(sql)}\r\n\r\n"
    raw.sendall(head.encode() + sql.encode())
    return raw


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(1000000000000)",  # computes and says nothing
        "SELECT number FROM numbers(1000000000000)",  # sends without an end
        "SELECT number FROM numbers(1000000000000) FORMAT JSON",
    ],
)
def test_a_killed_client_leaves_nothing_behind(endpoint: Served, sql: str) -> None:
    """The query of a client that went away stops; its handle, its place and its pipe are given back."""
    assert endpoint.endpoint is not None
    engine = endpoint.endpoint.service.engine
    assert post(endpoint, "SELECT 1").text == "1\n"
    before = open_pipes()
    clients = [_open_socket(endpoint, sql) for _ in range(4)]
    assert eventually(lambda: engine.running() >= 4)
    for client in clients:
        client.close()

    assert eventually(lambda: engine.running() == 0)
    assert eventually(lambda: open_pipes() <= before)
    assert post(endpoint, "SELECT 1").text == "1\n"


def test_a_client_that_leaves_in_the_middle_of_an_insert_inserts_nothing(endpoint: Served) -> None:
    """What was sent of an insert that never ends is not stored."""
    assert post(endpoint, "CREATE TABLE t (x UInt32) ENGINE = MergeTree ORDER BY x").status_code == 200
    raw = socket.create_connection((endpoint.host, endpoint.port))
    auth = base64.b64encode(b"writer:w-secret").decode()
    address = f"/?database={endpoint.database}&query=INSERT+INTO+t+FORMAT+CSV"
    raw.sendall(
        f"POST {address} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\nContent-Length: 1000000\r\n\r\n1\n2\n".encode()
    )
    raw.close()

    assert post(endpoint, "INSERT INTO t VALUES (7)").status_code == 200
    assert post(endpoint, "SELECT groupArray(x) FROM t").text == "[7]\n"


@pytest.fixture
def narrow(embedded: Callable[[str], StoreAddress]) -> Iterator[Served]:
    """An endpoint with room for little."""
    limits = Limits(queries=2, reader_queries=1, wait_s=0.2, statement_bytes=1000, form_bytes=2000, send_timeout_s=1)
    with served_endpoint(embedded("endpoint_narrow"), limits) as served:
        yield served


def test_too_many_queries_at_once_are_refused(narrow: Served) -> None:
    """When there is no place for too long the answer is ClickHouse's; a reader cannot take the writer's place."""
    assert narrow.endpoint is not None
    engine = narrow.endpoint.service.engine
    reader = Served(narrow.host, narrow.port, narrow.database, "reader", "r-secret", None, narrow.endpoint)
    raw = _open_socket(reader, "SELECT count() FROM numbers(1000000000000)")
    assert eventually(lambda: engine.running() == 1)

    refused = post(reader, "SELECT 1")
    assert refused.headers["x-clickhouse-exception-code"] == "202"
    assert "Maximum: 1" in refused.text
    assert post(narrow, "SELECT 1").text == "1\n"
    raw.close()
    assert eventually(lambda: post(reader, "SELECT 1").status_code == 200)


def test_texts_are_bounded_and_data_is_not(narrow: Served) -> None:
    """A statement has a limit; the data of an insert, which is streamed, has none."""
    assert post(narrow, "SELECT '" + "x" * 2000 + "'").status_code == 413
    form = httpx.post(f"{narrow.url}/", files={"query": (None, "SELECT '" + "x" * 3000 + "'")}, auth=narrow.auth)
    assert form.status_code == 413
    assert post(narrow, "CREATE TABLE IF NOT EXISTS t (x UInt32) ENGINE = Memory").status_code == 200
    assert post(narrow, "INSERT INTO t FORMAT CSV\n" + "1\n" * 10_000).status_code == 200
    assert post(narrow, "DROP TABLE t").status_code == 200


def test_a_client_that_does_not_read_is_given_up(narrow: Served) -> None:
    """A reader that stops reading does not hold its place for ever."""
    assert narrow.endpoint is not None
    engine = narrow.endpoint.service.engine
    raw = _open_socket(narrow, "SELECT number FROM numbers(1000000000000)")
    assert eventually(lambda: engine.running() == 1)

    assert eventually(lambda: engine.running() == 0)
    raw.close()


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # the server ends its loop before the broken connections are closed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_stops_does_not_wait_for_queries(embedded: Callable[[str], StoreAddress]) -> None:
    """Queries without an end are stopped when the server is, and their handles are given back."""
    with served_endpoint(embedded("endpoint_stopping")) as served:
        assert served.endpoint is not None
        engine = served.endpoint.service.engine
        clients = [
            _open_socket(served, "SELECT count() FROM numbers(1000000000000)"),
            _open_socket(served, "SELECT number FROM numbers(1000000000000)"),
        ]
        assert eventually(lambda: engine.running() == 2)
        stopped = time.monotonic()
    took_s = time.monotonic() - stopped
    for client in clients:
        client.close()
    gc.collect()

    assert took_s < 10
    assert engine.running() == 0


def test_the_runtime_file_leads_to_the_endpoint(endpoint: Served, store_address: StoreAddress, tmp_path: Path) -> None:
    """A command of another process opens the store through the endpoint, as writer and as reader."""
    import os

    runtime = RuntimeFile(
        pid=os.getpid(),
        instance="test-instance",
        store=str(store_address),
        host=endpoint.host,
        port=endpoint.port,
        database=store_address.database,
        writer_password="w-secret",
        reader_password="r-secret",
    )
    write_runtime(tmp_path, runtime)
    assert running(tmp_path) == runtime

    with (
        open_store(tmp_path, str(store_address)) as writer,
        open_store(tmp_path, str(store_address), role="reader") as reader,
    ):
        assert str(writer.uri).startswith("http://")
        writer.command("CREATE TABLE t (x UInt8) ENGINE = Memory")
        assert reader.query("SELECT count() FROM t", settings={"max_threads": 1}).first_row == (0,)
        assert reader.command("SELECT currentDatabase()") == store_address.database


def test_the_store_client_works_through_the_endpoint(endpoint: Served) -> None:
    """The client of every part is the same over the endpoint: settings, times, deduplication."""
    address = StoreAddress("clickhouse", None, endpoint.host, endpoint.port, "writer", "w-secret", endpoint.database)
    with connect(address) as client:
        client.command(
            "CREATE TABLE t (x UInt8, at DateTime64(3)) ENGINE = MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 10"
        )
        for token in ("a", "a", "b"):
            client.insert("t", [[1, 0]], column_names=["x", "at"], settings={"insert_deduplication_token": token})

        assert client.command("SELECT count() FROM t") == 2
        assert client.query("SELECT at FROM t LIMIT 1").result_rows[0][0].utcoffset() is not None


SCHEMA = 'syntax = "proto3"; message M { uint32 x = 1; string name = 2; }'


def test_messages_with_their_schema(endpoint: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protobuf goes in with the schema in the address, and no file is left where the process works."""
    monkeypatch.chdir(tmp_path)
    assert post(endpoint, "CREATE TABLE t (x UInt32, name String) ENGINE = Memory").status_code == 200
    schema = {"format_schema_source": "string", "format_schema": SCHEMA, "format_schema_message_name": "M"}
    messages = b"\x05\x08\x07\x12\x01a" * 2
    assert post(endpoint, messages, params={"query": "INSERT INTO t FORMAT Protobuf", **schema}).text == ""

    assert post(endpoint, "SELECT x, name FROM t").text == "7\ta\n7\ta\n"
    assert post(endpoint, "SELECT x, name FROM t FORMAT Protobuf", params=schema).content == messages
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "schema",
    [
        "/etc/hostname",
        "x:M",
        SCHEMA + ' import "/etc/hostname";',
        '@0x1; struct M { a @0 :Text = embed "/etc/hostname"; }',
    ],
)
def test_schemas_that_look_elsewhere_are_refused(endpoint: Served, schema: str) -> None:
    """A schema is a text, and it names no file."""
    answer = post(endpoint, "SELECT 1 AS x FORMAT Protobuf", params={"format_schema": schema})

    assert answer.status_code in (400, 403)
    assert post(endpoint, f"SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{schema}'").status_code in (400, 403)
