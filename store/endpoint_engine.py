"""The embedded engine behind the endpoint: one fresh handle per request, or one per session. Everything here blocks."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import chdb

from controltower.store.address import StoreAddress
from controltower.store.client import connect, engine_options
from controltower.store.endpoint_errors import BAD_ARGUMENTS, EndpointError, from_engine
from controltower.store.endpoint_gate import READS, TABLE_FUNCTIONS, Tree
from controltower.store.endpoint_schemas import Schemas
from controltower.store.endpoint_text import as_select, escape_parameter, into, quote, single, with_output

BASE_SETTINGS: Final = {
    "async_insert": "0",
    "implicit_select": "0",  # as a server has it; the library takes any word for a SELECT
    "format_schema_source": "string",  # a schema comes in the request, never from a file
    "allow_python_table_function": "0",
}
PARSE: Final = "SELECT parseQueryToJSON({statement:String})"
REWRITE: Final = "SELECT formatQuerySingleLine({statement:String})"
SETTINGS_NOW: Final = "SELECT name, value, changed FROM system.settings WHERE name IN"
PLACE: Final = "/dev/fd/0"  # stands for the pipe while the text is examined
UNKNOWN_TO_PARSER: Final = "does not support JSON serialization"
CACHED_STATEMENTS: Final = 512  # statements repeat: pages and workers send the same few hundred
LONGEST_CACHED: Final = 8192


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the engine's parser reads it."""

    text: str
    kind: str
    tree: Tree
    format: str | None  # what its FORMAT clause says

    @property
    def reads(self) -> bool:
        """Whether its result can be written to a pipe while it runs."""
        return self.kind in READS


@dataclass(frozen=True, slots=True)
class Progress:
    """What a statement did, in the words of X-ClickHouse-Summary."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def summary(self) -> str:
        """Return the header's value: numbers as texts, as ClickHouse writes them."""
        values = {
            "read_rows": self.read_rows,
            "read_bytes": self.read_bytes,
            "written_rows": self.written_rows,
            "written_bytes": self.written_bytes,
            "total_rows_to_read": self.read_rows,
            "result_rows": self.result_rows or self.written_rows,
            "result_bytes": self.result_bytes or self.written_bytes,
            "elapsed_ns": self.elapsed_ns,
            "memory_usage": 0,
        }
        return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))


class Engine:
    """The engine over one folder, and what is asked of it once."""

    def __init__(self, address: StoreAddress) -> None:
        if address.path is None:
            raise ValueError("the endpoint serves the embedded engine")
        self.address = address
        self.database = address.database
        self.version = ""
        self.functions_refused: frozenset[str] = frozenset()
        self._path: Path = address.path
        self._anchor: Any = None  # an open handle: without one the engine would stop after each request
        self._statements: OrderedDict[str, Statement] = OrderedDict()
        self.schemas = Schemas()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Start the engine and create the database. Raises StoreUnavailableError. Can be called twice."""
        with self._lock:
            if self._anchor is None:
                connect(self.address).close()
                self._anchor = self._connect()
                self.version = self._text("SELECT version()")
                functions = self._text("SELECT DISTINCT lower(name) FROM system.table_functions").split()
                self.functions_refused = frozenset(functions) - TABLE_FUNCTIONS

    def close(self) -> None:
        """Close what is held here; handles of running requests live on until they end. Can be called twice."""
        with self._lock:
            if self._anchor is not None:
                self._anchor.close()
                self._anchor = None
        self.schemas.close()

    def handle(self) -> "Handle":
        """Open a handle that nobody else uses."""
        self.open()
        return Handle(self, self._connect())

    def kill(self, tag: str) -> None:
        """Ask the query that starts with *tag* to stop; does not wait for it."""
        handle = self._connect()
        try:
            middle = len(tag) // 2  # so that this statement does not name itself
            sought = f"concat({quote(tag[:middle])}, {quote(tag[middle:])})"
            handle.query(f"KILL QUERY WHERE startsWith(query, {sought}) ASYNC", "TSV")
        finally:
            handle.close()

    def running(self) -> int:
        """Return how many queries the engine runs, without this one."""
        handle = self._connect()
        try:
            return int(handle.query("SELECT count() - 1 FROM system.processes", "TSV").data())
        finally:
            handle.close()

    def cached(self, text: str) -> Statement | None:
        """Return what is known of a statement's text."""
        with self._lock:
            statement = self._statements.get(text)
            if statement is not None:
                self._statements.move_to_end(text)
            return statement

    def cache(self, statement: Statement) -> None:
        """Remember a statement, and forget the one not seen for longest."""
        if len(statement.text) <= LONGEST_CACHED:
            with self._lock:
                self._statements[statement.text] = statement
                while len(self._statements) > CACHED_STATEMENTS:
                    self._statements.popitem(last=False)

    def _connect(self) -> Any:
        options = "&".join(f"{name}={value}" for name, value in engine_options(self._path).items())
        return chdb.connect(f"{os.path.realpath(self._path)}?{options}")  # type: ignore[no-untyped-call]  # published without types

    def _text(self, sql: str) -> str:
        return str(self._anchor.query(sql, "TSV").data()).strip()


class Handle:
    """A handle of the engine with its own settings, database and temporary tables; one call at a time."""

    def __init__(self, engine: Engine, connection: Any) -> None:
        self._engine = engine
        self._connection = connection

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        """Choose the database and the settings. Raises EndpointError as the engine refuses them."""
        self.change(settings)
        self._query(f"USE {_name(database)}")

    def change(self, settings: Mapping[str, str]) -> None:
        """Change settings."""
        if settings:
            self._query("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in settings.items()))

    def state(self, names: Iterable[str]) -> tuple[str, dict[str, str]]:
        """Return the current database and what gives the settings *names* their present values again."""
        database = self._query("SELECT currentDatabase()").strip()
        wanted = ", ".join(map(quote, names))
        if not wanted:
            return database, {}
        rows = self._query(f"{SETTINGS_NOW} ({wanted})", "JSONEachRow")
        before = [json.loads(row) for row in rows.splitlines()]
        return database, {row["name"]: _literal(row["value"]) if row["changed"] else "DEFAULT" for row in before}

    def restore(self, database: str, literals: Mapping[str, str]) -> None:
        """Put back what ``state`` returned; an empty *database* leaves the present one."""
        for name, literal in literals.items():
            self._query(f"SET {name} = {literal}")
        if database:
            self._query(f"USE {_name(database)}")

    def parse(self, text: str) -> Statement:
        """Read one statement. Raises EndpointError with the engine's words when it is none, or more than one."""
        statement = self._engine.cached(text)
        if statement is None:
            statement = self._parse(single(text))
            self._engine.cache(Statement(text, statement.kind, statement.tree, statement.format))
        return Statement(single(text), statement.kind, statement.tree, statement.format)

    def _parse(self, text: str) -> Statement:
        try:
            tree = self._tree(text)
            kind = str(tree["type"])
        except EndpointError as error:
            if error.code != BAD_ARGUMENTS or UNKNOWN_TO_PARSER not in str(error):
                raise
            found = as_select(self._query(REWRITE, parameters={"statement": text}))
            if found is None:
                return Statement(text, "of the engine's administration", {}, None)
            kind, tree = found[0], self._tree(found[1])
        return Statement(text, kind, tree, _format(tree))

    def output(self, statement: Statement, default_format: str) -> tuple[str, str]:
        """Return what stands before and after the clause that sends the result away.

        That text is ours, not the client's, so the engine reads it again: it must be the statement that passed the gate,
        with that clause and nothing else. Raises EndpointError when it is not.
        """
        refused = EndpointError(BAD_ARGUMENTS, "The statement's FORMAT clause is not understood")
        try:
            before, after = with_output(statement.text, statement.format, default_format)
        except ValueError:
            raise refused from None
        tree = dict(self.parse(into(before, PLACE, after)).tree)
        clause = tree.pop("out_file", None)
        if statement.format is None:
            tree.pop("format_ast", None)
        expected = {**statement.tree, "is_outfile_truncate": True}
        if clause != {"type": "Literal", "value": {"field_type": "String", "value": PLACE}} or tree != expected:
            raise refused
        return before, after

    def write(
        self, statement: Statement, parameters: Mapping[str, str], path: str, default_format: str, tag: str
    ) -> Progress:
        """Run a statement that reads, and write its result to *path* while it runs; blocks until both are done."""
        before, after = self.output(statement, default_format)
        sql = f"{tag} {into(before, path, after)}"
        try:
            return _progress(self._connection.query(sql, default_format, params=dict(parameters)))
        except Exception as error:
            raise from_engine(error) from error

    def run(self, statement: Statement, parameters: Mapping[str, str], default_format: str) -> tuple[bytes, Progress]:
        """Run any other statement and return its result, which is small."""
        try:
            result = self._connection.query(statement.text, default_format, params=dict(parameters))
        except Exception as error:
            raise from_engine(error) from error
        return bytes(result.bytes() or b""), _progress(result)

    def same_insert(self, statement: Statement, target: str, data_format: str) -> bool:
        """Whether *target* is *statement* without its format: what passed the gate is what will run."""
        return self.parse(f"{target}\nFORMAT {data_format}").tree == statement.tree

    def insert(self, target: str, data_format: str, parameters: Mapping[str, str]) -> "Inserter":
        """Begin an insert of data that follows piece by piece."""
        self.change({f"param_{name}": value for name, value in parameters.items()})
        try:
            return Inserter(self._connection.send_insert(target, data_format))
        except Exception as error:
            raise from_engine(error) from error

    def add_table(self, name: str, structure: str, data_format: str, data: bytes) -> None:
        """Make a temporary table of data that came with the request."""
        self._query(f"CREATE TEMPORARY TABLE {_name(name)} ({structure})")
        inserter = self.insert(f"INSERT INTO {_name(name)}", data_format, {})
        inserter.append(data)
        inserter.finish()

    def drop_table(self, name: str) -> None:
        """Drop a temporary table."""
        self._query(f"DROP TEMPORARY TABLE IF EXISTS {_name(name)}")

    def close(self) -> None:
        """Close the handle; what runs on it is cancelled. Can be called twice."""
        self._connection.close()

    def _tree(self, text: str) -> Tree:
        tree: Tree = json.loads(self._query(PARSE, "TSVRaw", parameters={"statement": text}))
        return tree

    def _query(self, sql: str, output_format: str = "TSVRaw", parameters: Mapping[str, str] | None = None) -> str:
        escaped = {name: escape_parameter(value) for name, value in (parameters or {}).items()}
        try:
            return str(self._connection.query(sql, output_format, params=escaped).data())
        except Exception as error:
            raise from_engine(error) from error


class Inserter:
    """An insert whose data comes piece by piece; nothing of an open block is stored before ``finish``."""

    def __init__(self, inserter: Any) -> None:
        self._inserter = inserter

    def append(self, data: bytes) -> None:
        """Hand over the next piece, cut anywhere."""
        try:
            self._inserter.append(data)
        except Exception as error:
            raise from_engine(error) from error

    def finish(self) -> Progress:
        """Store what was handed over."""
        try:
            result = self._inserter.finish()
        except Exception as error:
            raise from_engine(error) from error
        rows, size = int(result.rows_written), int(result.bytes_written)
        return Progress(rows, size, rows, size, elapsed_ns=int(result.elapsed * 1e9))

    def cancel(self) -> None:
        """Give up; can be called after an error and twice."""
        self._inserter.cancel()


def _progress(result: Any) -> Progress:
    return Progress(
        read_rows=int(result.storage_rows_read()),
        read_bytes=int(result.storage_bytes_read()),
        written_rows=int(result.rows_written()),
        written_bytes=int(result.bytes_written()),
        result_rows=int(result.rows_read()),
        result_bytes=int(result.bytes_read()),
        elapsed_ns=int(result.elapsed() * 1e9),
    )


def _format(tree: Tree) -> str | None:
    """Return the format that a statement names: at its root, or at the query that an EXPLAIN explains."""
    for node in (tree, tree.get("query"), tree.get("explained_query")):
        if isinstance(node, dict) and isinstance(node.get("format_ast"), dict):
            return str(node["format_ast"].get("name"))
    return None


def _name(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    """Return a setting's value as SQL; one that is already quoted, as ``'auto(4)'``, stays as it is."""
    quoted = len(value) >= 2 and value.startswith("'") and value.endswith("'")
    return value if quoted else quote(value)
