"""A table of somebody else's database: read in the order of its changes, in bounded queries, by a session that cannot write."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from controltower.collector.scrapers.definition import RowSource
from controltower.collector.scrapers.errors import AddressError, TableError
from controltower.collector.scrapers.log_formats import as_texts

EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - of times without a zone, too: only differences count
MICROSECOND: Final = timedelta(microseconds=1)
CLOCKS_GO_BACK: Final = timedelta(hours=2)  # of local times, once a year
SESSION: Final[Mapping[str, tuple[str, ...]]] = {
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET statement_timeout = '30s'",
        "SET lock_timeout = '5s'",  # ALTER TABLE holds readers up
        "SET timezone = 'UTC'",
    ),
    "mysql": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION lock_wait_timeout = 5",
        "SET SESSION time_zone = '+00:00'",
    ),
}
READ_JSON: Final = {"postgresql", "mysql", "mariadb", "mssql", "sqlite"}  # dialects that let us say how
CONNECT: Final = {"postgresql": {"connect_timeout": 10}, "mysql": {"connect_timeout": 10, "read_timeout": 60}}


class Table:
    """One table at one connection. For one thread; errors are SQLAlchemy's."""

    def __init__(self, source: RowSource, connection: Any, table: Any) -> None:
        """*table* is reflected from the database. TableError when it is not as the source says."""
        import sqlalchemy

        self._sa = sqlalchemy
        self._connection = connection
        self._table = table
        self.name = source.table
        self._zone = source.time_zone
        wanted = source.columns or tuple(column.name for column in table.columns)
        known = {column.name for column in table.columns}
        for name in (*source.key, source.changed, *wanted):
            if name not in known:
                raise TableError(f"{source.table} has no column {name}; there are {', '.join(sorted(known))}.")
        self._key = [table.columns[name] for name in source.key]
        self._changed = table.columns[source.changed]
        self._wanted = [table.columns[name] for name in dict.fromkeys((*source.key, *wanted))]
        self._is_time = isinstance(self._changed.type, sqlalchemy.DateTime)
        if not self._is_time and not isinstance(self._changed.type, sqlalchemy.Integer):
            raise TableError(f"{source.changed} of {source.table} is no time and no whole number: nothing grows in it.")
        self._has_zone = self._is_time and bool(getattr(self._changed.type, "timezone", False))
        self.overlap = self._overlap(source)

    def _overlap(self, source: RowSource) -> int:
        if not self._is_time:
            return int(source.gap)
        local = not self._has_zone and self._zone != "UTC"
        return int((source.overlap.span + (CLOCKS_GO_BACK if local else timedelta())) // MICROSECOND)

    def rows(self, low: int | None, behind: tuple[Any, ...] | None, most: int) -> list[Any]:
        """Return the next rows whose mark is not below *low*, behind the place of another one."""
        sa, order = self._sa, [self._changed, *self._key]
        chosen = sa.select(*dict.fromkeys([*order, *self._wanted])).where(self._changed.is_not(None))
        if low is not None:
            chosen = chosen.where(self._changed >= self._value(low))
        if behind is not None:
            alike = [
                sa.and_(*(order[n] == behind[n] for n in range(at)), order[at] > behind[at]) for at in range(len(order))
            ]
            chosen = chosen.where(self._changed >= behind[0], sa.or_(*alike))
        return list(self._connection.execute(chosen.order_by(*order).limit(most)).mappings())

    def place(self, row: Any) -> tuple[Any, ...]:
        """Return where a row is in the order."""
        return tuple(row[column] for column in (self._changed, *self._key))

    def key(self, row: Any) -> list[str]:
        """Return what tells a row from others."""
        return [str(row[column]) for column in self._key]

    def columns(self, row: Any) -> dict[str, Any]:
        """Return what is read of a row."""
        return {column.name: self._known(column, row[column]) for column in self._wanted}

    def changed_at(self, row: Any) -> str:
        """Return when a row changed; nothing where a number says in which order."""
        value = self._known(self._changed, row[self._changed])
        return value.isoformat() if self._is_time else ""

    def mark(self, row: Any) -> int:
        """Return where a row is in the order of changes, as a number: microseconds where it is a time."""
        value = row[self._changed]
        if not self._is_time:
            return int(value)
        plain: datetime = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (plain - EPOCH) // MICROSECOND

    def mark_of_now(self, now_ns: int) -> int:
        """Return the mark of a row that changes now; for numbers none is too high."""
        if not self._is_time:
            return 2**63 - 1
        zone = UTC if self._has_zone or self._is_utc(self._changed) else ZoneInfo(self._zone)
        now = datetime.fromtimestamp(now_ns / 10**9, zone).replace(tzinfo=None)
        return (now - EPOCH) // MICROSECOND

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._connection.engine.dispose()

    def _value(self, mark: int) -> Any:
        if not self._is_time:
            return mark
        value = EPOCH + mark * MICROSECOND
        return value.replace(tzinfo=UTC) if self._has_zone else value

    def _known(self, column: Any, value: Any) -> Any:
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and self._is_utc(column) else value

    def _is_utc(self, column: Any) -> bool:
        """Whether a column without a zone is in UTC all the same: MariaDB's TIMESTAMP is in the session's zone."""
        return self._connection.dialect.name == "mysql" and isinstance(column.type, self._sa.TIMESTAMP)


def opened(source: RowSource) -> Table:
    """Return the table of *source*, at a connection of its own; AddressError, TableError, or an error of SQLAlchemy's."""
    try:
        import sqlalchemy
        from sqlalchemy.pool import NullPool
    except ImportError:
        raise AddressError("Tables need SQLAlchemy: pip install 'controltower[databases]'.") from None
    try:
        url = sqlalchemy.make_url(source.address())
        options: Mapping[str, int] = CONNECT.get(url.get_backend_name().replace("mariadb", "mysql"), {})
        reads: dict[str, Any] = {"json_deserializer": _read_json} if url.get_backend_name() in READ_JSON else {}
        engine = sqlalchemy.create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=dict(options),
            hide_parameters=True,
            **reads,
        )
    except (sqlalchemy.exc.ArgumentError, ImportError) as exc:
        raise AddressError(f"The address of the database cannot be used: {type(exc).__name__}.") from None
    connection = engine.connect()
    try:
        for statement in SESSION.get(_family(connection), ()):
            connection.execute(sqlalchemy.text(statement))
        schema, _, name = source.table.rpartition(".")
        table = sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema or None, autoload_with=connection)
        return Table(source, connection, table)
    except sqlalchemy.exc.NoSuchTableError:
        connection.close()
        raise TableError(f"There is no table {source.table} that this user can see.") from None
    except BaseException:
        connection.close()
        raise


def _read_json(text: str | bytes) -> Any:
    """Return what a column of JSON holds, with numbers as the texts they are: money is never a float."""
    return as_texts(text.decode() if isinstance(text, bytes) else text)


def _family(connection: Any) -> str:
    name = str(connection.dialect.name)
    return "mysql" if name == "mariadb" else name
