"""One request's use of the engine: a handle, its settings, and what is run on it. Its methods block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controltower.store.endpoint_engine import BASE_SETTINGS, Engine, Handle, Inserter, Progress, Statement
from controltower.store.endpoint_errors import BAD_ARGUMENTS, EndpointError
from controltower.store.endpoint_gate import Rights, check
from controltower.store.endpoint_multipart import Table
from controltower.store.endpoint_pipe import Pipe
from controltower.store.endpoint_request import Asked
from controltower.store.endpoint_sessions import Sessions
from controltower.store.endpoint_settings import ReaderLimits
from controltower.store.endpoint_text import DEFAULT_FORMAT, InsertHead

READ_ONLY: Final = {"readonly": "2"}  # settings stay possible


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks, and what the user may do."""

    user: str
    rights: Rights
    limits: ReaderLimits

    @property
    def reads(self) -> bool:
        """Whether the user is the reader."""
        return self.rights.role == "reader"


class Work:
    """A request's handle from ``begin`` to ``end``; one call at a time, from any thread."""

    def __init__(
        self, engine: Engine, sessions: Sessions, sender: Sender, asked: Asked, tables: Sequence[Table]
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._sender = sender
        self._asked = asked
        self._tables = tables
        self._handle: Handle | None = None
        self._before: tuple[str, dict[str, str]] | None = None  # of a session: what the request must not change

    @property
    def output_format(self) -> str:
        """The format of a result whose statement names none."""
        return self._asked.default_format or DEFAULT_FORMAT

    def begin(self, text: str) -> Statement:
        """Open the handle, read the statement and let it through the gate. Raises EndpointError."""
        handle = self._prepared()
        statement = handle.parse(text)
        check(statement.kind, statement.tree, self._asked.parameters, self._sender.rights)
        if self._before is not None and statement.kind == "UseQuery":
            self._before = ("", self._before[1])  # the request is there to change it
        return statement

    def begin_insert(self, head: InsertHead) -> Inserter:
        """Open the handle and an insert whose data follows. Raises EndpointError."""
        statement = self.begin(head.statement)
        if not self._open().same_insert(statement, head.target, head.format):
            raise EndpointError(BAD_ARGUMENTS, "The statement's FORMAT clause is not understood")
        return self._open().insert(head.target, head.format, self._asked.parameters)

    def write(self, statement: Statement, pipe: Pipe, tag: str) -> Progress:
        """Run a statement that reads, its result going through *pipe*, which is closed at its end."""
        try:
            return self._open().write(statement, self._asked.parameters, pipe.path, self.output_format, tag)
        finally:
            pipe.close_writer()

    def run(self, statement: Statement) -> tuple[bytes, Progress]:
        """Run any other statement."""
        return self._open().run(statement, self._asked.parameters, self.output_format)

    def end(self) -> None:
        """Close the handle, or give it back to its session as it was. Can be called twice."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if self._asked.session is None:
            handle.close()
            return
        broken = True
        try:
            self._restore(handle)
            broken = False
        finally:
            self._sessions.give_back(self._sender.user, self._asked.session, broken=broken)

    def _open(self) -> Handle:
        assert self._handle is not None, "begin comes first"
        return self._handle

    def _prepared(self) -> Handle:
        asked = self._asked
        settings = self._engine.schemas.as_files(asked.settings)
        if asked.session is None:
            self._handle = handle = self._engine.handle()
            handle.prepare(asked.database, {**self._of_the_user(), **settings})
        else:
            self._handle = handle = self._sessions.take(self._sender.user, asked.session, self._opened)
            self._before = handle.state(settings)
            handle.prepare(asked.database if asked.database != self._engine.database else self._before[0], settings)
        for table in self._tables:
            handle.add_table(table.name, table.structure, table.format, table.data)
        if asked.session is None and self._sender.rights.read_only:
            handle.change(READ_ONLY)
        return handle

    def _opened(self) -> Handle:
        """Open the handle of a new session."""
        handle = self._engine.handle()
        handle.prepare(self._engine.database, self._of_the_user())
        if self._sender.reads:
            handle.change(READ_ONLY)
        return handle

    def _of_the_user(self) -> dict[str, str]:
        return {**BASE_SETTINGS, **(self._sender.limits.defaults() if self._sender.reads else {})}

    def _restore(self, handle: Handle) -> None:
        for table in self._tables:
            handle.drop_table(table.name)
        if self._before is not None:
            handle.restore(*self._before)
