"""Nobody gets at the files, the network or the program of the machine through the endpoint."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.endpoint_engine import Engine, Handle
from controltower.store.endpoint_errors import EndpointError
from controltower.store.endpoint_gate import FUNCTIONS_REFUSED, TABLE_FUNCTIONS, Rights, check
from controltower.store.endpoint_settings import ReaderLimits, check_setting
from tests.store.endpoint.served import Served

SECRET = "the secret of the machine"
USERS = [("writer", "w-secret"), ("reader", "r-secret")]


@pytest.fixture(scope="session")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the endpoint's process can read and its users must not."""
    path = tmp_path_factory.mktemp("secret") / "secret.csv"
    path.write_text(f'"{SECRET}"\n')
    return path


def ask(served: Served, sql: str, user: tuple[str, str], **parameters: str) -> httpx.Response:
    """Send a statement as the body of a request."""
    return httpx.post(
        f"{served.url}/", params={"database": served.database, **parameters}, content=sql, auth=user, timeout=30
    )


READING = [
    "SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM FiLe('{path}', 'LineAsString')",
    "select/**/*/**/from/**/file/**/('{path}','LineAsString')",
    "SELECT * FROM `file`('{path}', 'LineAsString')",
    "SELECT * FROM \"f\\x69le\"('{path}', 'LineAsString')",
    "SELECT * FROM -- comment\nfile -- (\n('{path}', 'LineAsString') -- )",
    "SELECT file('{path}')",
    "SELECT 1, (SELECT * FROM file('{path}', 'LineAsString') LIMIT 1)",
    "SELECT 1 WHERE 1 IN (SELECT length(line) FROM file('{path}', 'LineAsString'))",
    "SELECT 'x' IN file('{path}', 'LineAsString')",
    "WITH a AS (SELECT * FROM file('{path}', 'LineAsString')) SELECT * FROM a",
    "WITH (SELECT any(line) FROM file('{path}', 'LineAsString')) AS x SELECT x",
    "SELECT 1 UNION ALL SELECT length(line) FROM file('{path}', 'LineAsString')",
    "SELECT * FROM (SELECT 1) AS a, file('{path}', 'LineAsString') AS b",
    "SELECT * FROM view(SELECT * FROM file('{path}', 'LineAsString'))",
    "SELECT arrayMap(x -> file('{path}'), [1])",
    "SELECT * FROM numbers(1) ORDER BY file('{path}')",
    "SELECT * FROM fileCluster('default', '{path}', 'LineAsString')",
    "SELECT * FROM sqlite('{path}', 't')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM executable('cat {path}', 'LineAsString', 'line String')",
    "SELECT * FROM python('import os')",
    "SELECT * FROM Python(secret)",
    "SELECT * FROM eval('SELECT 1')",
    'SELECT * FROM default."{path}"',
    'SELECT * FROM `default`."{path}"',
    'SELECT * FROM "def\\x61ult"."{path}"',
    'SELECT 1 IN default."{path}"',
    'DESCRIBE default."{path}"',
    "DESCRIBE file('{path}')",
    "DESCRIBE TABLE (SELECT * FROM file('{path}', 'LineAsString'))",
    'SHOW CREATE TABLE default."{path}"',
    'EXISTS default."{path}"',
    'EXPLAIN SELECT * FROM default."{path}"',
    "EXPLAIN ESTIMATE SELECT * FROM file('{path}', 'LineAsString')",
    'SHOW COLUMNS FROM "{path}" FROM default',
    "SELECT hasColumnInTable('default', '{path}', 'c1')",
    "SELECT * FROM url('file://{path}', 'LineAsString')",
    "SELECT * FROM merge('default', '.*')",
    "SELECT * FROM merge('default', '{path}')",
    "SELECT joinGet('default.{path}', 'c1', 1)",
    "SELECT dictGet('default.{path}', 'c1', 1)",
    "SELECT catboostEvaluate('{path}', 1)",
    "SELECT addressToLine(1)",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{path}', format_template_resultset = '{path}'",
    "SELECT 1 SETTINGS format_template_row = '{path}' FORMAT Template",
    "SELECT (SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'file(\\'{path}\\') = 1'}})",
    "SELECT 1 FORMAT Protobuf SETTINGS format_schema_source = 'file', format_schema = '{path}:x'",
    "SELECT 1 SETTINGS dialect = 'kusto'",
    "SELECT 1 SETTINGS dialect = 'prql'",
    "SET dialect = 'prql'",
    "SET additional_result_filter = '1'",
    "SELECT * FROM dictionary('{path}')",
    "SELECT * FROM loop('default', '{path}')",
    "SELECT 1; SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT 1;;SELECT file('{path}')",
    "USE default",
    'SELECT * FROM "{path}"',
    "SELECT * FROM '{path}'",
]


@pytest.mark.parametrize("user", USERS, ids=["writer", "reader"])
@pytest.mark.parametrize("sql", READING)
def test_no_file_is_read(endpoint: Served, secret: Path, sql: str, user: tuple[str, str]) -> None:
    """However it is written, a statement does not give the content of a file, nor its columns."""
    answer = ask(endpoint, sql.format(path=secret), user)

    assert SECRET not in answer.text
    assert answer.status_code in (400, 403, 404, 500), answer.text
    assert "c1" not in answer.text.replace("'c1'", "")


WRITING = [
    "SELECT 1 INTO OUTFILE '{path}'",
    "SELECT 1 INTO/**/OUTFILE '{path}' TRUNCATE FORMAT CSV",
    "(SELECT 1) INTO OUTFILE '{path}' APPEND",
    "SHOW TABLES INTO OUTFILE '{path}'",
    "DESCRIBE system.one INTO OUTFILE '{path}'",
    "EXPLAIN SELECT 1 INTO OUTFILE '{path}'",
    "EXISTS system.one INTO OUTFILE '{path}'",
    "SHOW CREATE TABLE system.one INTO OUTFILE '{path}'",
    "SHOW PROCESSLIST INTO OUTFILE '{path}'",
    "SELECT 1 FROM system.one INTO OUTFILE '{path}' AND STDOUT",
    "INSERT INTO FUNCTION file('{path}', 'CSV', 'x UInt8') VALUES (1)",
    "INSERT INTO FUNCTION file('{path}', 'CSV', 'x UInt8') SELECT 1",
    "INSERT INTO TABLE FUNCTION file('{path}', 'CSV', 'x UInt8') FORMAT CSV\n1\n",
    'INSERT INTO default."{path}" VALUES (1)',
    'INSERT INTO default."{path}" SELECT 1',
    "CREATE TABLE f (x UInt8) ENGINE = File(CSV, '{path}')",
    "CREATE TABLE f AS file('{path}', 'CSV', 'x UInt8')",
    "CREATE TABLE default.f (x UInt8) ENGINE = Memory",
    "CREATE DATABASE d ENGINE = Filesystem('/')",
    "CREATE DATABASE d ENGINE = SQLite('{path}')",
    "CREATE TABLE f (x UInt8) ENGINE = MergeTree ORDER BY x SETTINGS disk = disk(type = local, path = '{path}/')",
    "CREATE TABLE f (x UInt8) ENGINE = Executable('cat', CSV)",
    "CREATE TABLE f (x UInt8) ENGINE = URL('http://127.0.0.1:1/', CSV)",
    "CREATE TABLE f (x UInt8, y String DEFAULT file('{path}')) ENGINE = Memory",
    "CREATE MATERIALIZED VIEW f ENGINE = File(CSV, '{path}') AS SELECT 1",
    "CREATE VIEW f AS SELECT * FROM file('{path}', 'LineAsString')",
    "CREATE TABLE f (x String) ENGINE = Buffer('default', '{path}', 1, 10, 100, 10000, 1000000, 10000000, 100000000)",
    "CREATE TABLE f (x String) ENGINE = Merge('default', '.*')",
    "CREATE TABLE f (x String) ENGINE = Alias('default', '{path}')",
    "CREATE MATERIALIZED VIEW f TO default.g AS SELECT 1",
    "CREATE TABLE f AS default.g",
    "ALTER TABLE f REPLACE PARTITION 1 FROM default.g",
    "CREATE DICTIONARY f (x UInt64) PRIMARY KEY x SOURCE(FILE(PATH '{path}' FORMAT CSV)) LIFETIME(1) LAYOUT(FLAT())",
    "CREATE DICTIONARY f (x UInt64) PRIMARY KEY x SOURCE(EXECUTABLE(COMMAND 'id' FORMAT CSV)) LIFETIME(1) LAYOUT(FLAT())",
    "CREATE FUNCTION f AS () -> file('{path}')",
    "ATTACH TABLE f FROM '{path}' (x UInt8) ENGINE = MergeTree ORDER BY x",
    "ATTACH TABLE f (x UInt8) ENGINE = File(CSV, '{path}')",
    "BACKUP TABLE system.one TO File('{path}')",
    "BACKUP DATABASE system TO Disk('default', '{path}')",
    "RESTORE TABLE system.one FROM File('{path}')",
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "SYSTEM RELOAD CONFIG",
    "SYSTEM START LISTEN HTTP",
    "SYSTEM STOP LISTEN HTTP",
    "CREATE USER eve IDENTIFIED WITH no_password",
    "GRANT ALL ON *.* TO eve",
    "CREATE NAMED COLLECTION f AS a = 1",
    "EXECUTE AS default SELECT 1",
    "INSERT INTO f FROM INFILE '{path}' FORMAT CSV",
    "INSERT INTO f (x) FROM INFILE '{path}'",
    "DROP DATABASE default",
    "RENAME TABLE f TO default.g",
]


@pytest.mark.parametrize("user", USERS, ids=["writer", "reader"])
@pytest.mark.parametrize("sql", WRITING)
def test_no_file_is_written(endpoint: Served, tmp_path: Path, sql: str, user: tuple[str, str]) -> None:
    """Neither a file outside of the tables is made, nor is the engine reconfigured."""
    target = tmp_path / "written"
    answer = ask(endpoint, sql.format(path=target), user)

    assert answer.status_code in (400, 403, 404, 500), answer.text
    assert not target.exists()
    assert ask(endpoint, "SELECT 1", user).text == "1\n"


def test_names_in_parameters_are_names_too(endpoint: Served, secret: Path) -> None:
    """An identifier that comes as a parameter is looked at like one in the text."""
    for values in (
        {"param_d": "default", "param_t": str(secret)},
        {"param_d": "`default`", "param_t": str(secret)},
        {"param_d": "def\\x61ult", "param_t": str(secret)},
        {"param_d": "def\\u0061ult", "param_t": str(secret)},
    ):
        answer = ask(endpoint, "SELECT * FROM {d:Identifier}.{t:Identifier}", USERS[1], **values)

        assert answer.status_code in (400, 403, 404), answer.text
        assert SECRET not in answer.text


def test_the_files_database_means_the_served_one(endpoint: Served) -> None:
    """Clients name the database default when they know no other; they get the one that is served."""
    for named in ({"database": "default"}, {"database": ""}):
        answer = httpx.get(f"{endpoint.url}/", params={"query": "SELECT currentDatabase()", **named}, auth=USERS[1])

        assert answer.text == "endpoint_default\n"


@pytest.mark.parametrize("parameters", [
    {"format_schema_source": "file"},
    {"dialect": "prql"},
    {"additional_table_filters": "{'a': 'b'}"},
    {"format_template_row": "x"},
    {"allow_python_table_function": "1"},
    {"x y": "1"},
    {"max_threads = 1, dialect": "1"},
])  # fmt: skip
@pytest.mark.parametrize("user", USERS, ids=["writer", "reader"])
def test_settings_of_the_address_are_looked_at_too(
    endpoint: Served, parameters: dict[str, str], user: tuple[str, str]
) -> None:
    """What a statement may not set, a parameter of the address may not set either."""
    answer = ask(endpoint, "SELECT 1", user, **parameters)

    assert answer.status_code in (403, 404), answer.text


def test_a_reader_cannot_write(endpoint: Served) -> None:
    """Every statement that changes something is refused to the reader, also in a session."""
    assert ask(endpoint, "CREATE TABLE t (x UInt8) ENGINE = Memory", USERS[0]).status_code == 200
    for sql in (
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT 1",
        "INSERT INTO t FORMAT CSV\n1\n",
        "CREATE TABLE u (x UInt8) ENGINE = Memory",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "ALTER TABLE t ADD COLUMN y UInt8",
        "ALTER TABLE t DELETE WHERE 1",
        "DELETE FROM t WHERE 1",
        "RENAME TABLE t TO u",
        "OPTIMIZE TABLE t",
        "KILL QUERY WHERE 1",
        "SYSTEM FLUSH LOGS",
        "CREATE DATABASE other",
        "DROP DATABASE system",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "EXECUTE AS writer SELECT 1",
    ):
        for extra in ({}, {"session_id": f"reader {hash(sql)}"}):
            assert ask(endpoint, sql, USERS[1], **extra).status_code in (400, 403, 404, 500), sql
    assert ask(endpoint, "DROP TABLE t", USERS[1], readonly="0").status_code == 500
    assert ask(endpoint, "SELECT count() FROM t", USERS[1]).text == "0\n"


def test_the_reader_has_limits_that_it_cannot_lift(endpoint: Served) -> None:
    """Time and memory of one query are bounded, whatever the query says."""
    given = ask(endpoint, "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')", USERS[1]).text
    assert given == f"30\t{2 * 1024**3}\n"
    for sql in (
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS max_execution_time = 100000",
        "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
        "SELECT 1 SETTINGS max_memory_usage = '100G'",
        "SET max_execution_time = 0",
        "SET max_execution_time = DEFAULT",
        "SELECT 1 SETTINGS max_execution_time = -1",
    ):
        answer = ask(endpoint, sql, USERS[1])
        assert answer.headers["x-clickhouse-exception-code"] == "452", answer.text
    assert ask(endpoint, "SELECT 1", USERS[1], max_execution_time="0").status_code == 500
    assert ask(endpoint, "SELECT 1 SETTINGS max_execution_time = 60", USERS[1]).text == "1\n"
    assert (
        ask(endpoint, "SELECT count() FROM numbers(100000000000)", USERS[1], max_execution_time="0.2").status_code
        == 408
    )


def test_every_function_that_sounds_dangerous_is_decided(embedded_engine: Engine) -> None:
    """A newer engine with more functions that read files or ask servers fails here first, and is looked at."""
    handle = embedded_engine.handle()
    listed = handle._query(
        "SELECT lower(name) FROM system.functions WHERE categories IN ('AI') OR match(name, '(?i)^(file($|[^s])|ai)')"
    )
    tables = handle._query("SELECT lower(name) FROM system.table_functions").split()
    handle.close()

    assert set(listed.split()) <= FUNCTIONS_REFUSED
    assert set(tables) >= TABLE_FUNCTIONS - {"viewexplain"}
    assert {"file", "url", "remote", "s3", "executable", "python"} <= embedded_engine.functions_refused


@pytest.fixture
def embedded_engine(endpoint: Served) -> Engine:
    """The engine behind the endpoint."""
    assert endpoint.endpoint is not None
    return endpoint.endpoint.service.engine


HOLES = st.sampled_from(
    [
        "file('/etc/hostname', 'LineAsString')",
        "FILE('/etc/hostname')",
        "url('http://127.0.0.1:1/', 'LineAsString')",
        "remote('127.0.0.1', 'system.one')",
        'default."/etc/hostname"',
        "executable('id', 'CSV', 'x String')",
    ]
)
SPACES = st.sampled_from([" ", "\n", "/* ' */", '-- "\n', "\t", "/*;*/"])


@st.composite
def nested(draw: st.DrawFn) -> str:
    """Return a SELECT with one of the holes somewhere deep inside."""
    space = draw(SPACES)
    sql = f"SELECT{space}1 FROM{space}{draw(HOLES)}"
    for _ in range(draw(st.integers(0, 4))):
        shape = draw(
            st.sampled_from(
                [
                    "SELECT * FROM ({})",
                    "WITH a AS ({}) SELECT * FROM a",
                    "SELECT 1 WHERE 1 IN ({})",
                    "SELECT ({})",
                    "SELECT 1 UNION ALL ({})",
                    "SELECT EXISTS({})",
                    "EXPLAIN {}",
                    "SELECT * FROM view({})",
                    "SELECT 'it''s (', ({}) -- )",
                    "SELECT arrayMap(x -> (x, ({})), [1])",
                ]
            )
        )
        if not sql.startswith("EXPLAIN"):
            sql = shape.format(f"{sql}\n")
    return sql


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sql=nested())
def test_no_depth_and_no_layout_hides_a_hole(embedded_engine: Engine, sql: str) -> None:
    """Wherever it stands, what reaches outside is refused by the gate or is no statement at all."""
    handle = embedded_engine.handle()
    rights = Rights("reader", True, False, ReaderLimits().caps(), embedded_engine.functions_refused)
    try:
        with pytest.raises(EndpointError) as refused:
            _pass_the_gate(handle, sql, rights)
        assert refused.value.code in (62, 497), str(refused.value)
    finally:
        handle.close()


def _pass_the_gate(handle: Handle, sql: str, rights: Rights) -> None:
    statement = handle.parse(sql)
    check(statement.kind, statement.tree, {}, rights)


def test_a_setting_of_the_engine_is_only_a_name() -> None:
    """What is no name cannot be a setting: it would become part of a statement."""
    for name in ("", "a b", "a=1, b", "a`", "ä-", "a;"):
        with pytest.raises(EndpointError, match="UNKNOWN_SETTING"):
            check_setting(name, "1", {})


def test_the_gate_needs_no_engine_to_be_imported() -> None:
    """The rules are pure: they load neither the engine nor a web framework."""
    code = "import sys, controltower.store.endpoint_gate; print([m for m in ('chdb', 'uvicorn', 'fastapi') if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
