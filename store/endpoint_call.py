"""One request to the endpoint, from its first byte to the last of its answer."""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, MutableMapping
from typing import IO, Any, Final
from uuid import uuid4

from controltower.store.endpoint_answer import Answer, Send
from controltower.store.endpoint_body import Body, Disconnected, Receive, statement_of
from controltower.store.endpoint_engine import Inserter, Progress, Statement
from controltower.store.endpoint_errors import NOT_IMPLEMENTED, UNKNOWN_EXCEPTION, EndpointError
from controltower.store.endpoint_gate import Rights
from controltower.store.endpoint_multipart import Part, boundary, own_names, parts, tables
from controltower.store.endpoint_pipe import Pipe
from controltower.store.endpoint_request import Asked, fields, read, sender
from controltower.store.endpoint_service import Service
from controltower.store.endpoint_text import InsertHead
from controltower.store.endpoint_work import Sender, Work

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]

HELD_BYTES: Final = 1024 * 1024  # of a result before its status is sent: an error up to here has its own status
SPOOLED_BYTES: Final = 8 * 1024 * 1024  # of a result that is waited for; above that it goes to a temporary file
INSERT_PIECE: Final = 1024 * 1024  # handed to the engine at once
KILL_AGAIN_S: Final = 0.5


class Call:
    """A request for the engine."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        self._service = service
        self._method = str(scope["method"])
        self._raw_query = bytes(scope.get("query_string", b""))
        self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        head_only = self._method == "HEAD"
        self._answer = Answer(send, head_only=head_only, timeout_s=service.limits.send_timeout_s)

    async def answer(self) -> None:
        """Answer the request; whatever goes wrong is answered, too, unless nobody is there any more."""
        try:
            await self._serve()
        except EndpointError as error:
            await self._refuse(error)
        except (Disconnected, TimeoutError):
            logger.debug("A client went away, or did not go on, in the middle of its request")
        except asyncio.CancelledError:  # the server stops; the connection breaks, which is all that can be said
            logger.debug("A request was cut off because the server stops")
        except Exception as error:
            logger.exception("A request to the store's endpoint failed")
            await self._refuse(EndpointError(UNKNOWN_EXCEPTION, f"{type(error).__name__}: {error}"))

    async def _refuse(self, error: EndpointError) -> None:
        with contextlib.suppress(TimeoutError):
            await self._answer.refuse(error)

    async def _serve(self) -> None:
        user, password = sender(self._headers, self._raw_query)
        role = self._service.credentials.role(user, password)
        body, form = await self._body_and_form()
        files = [part for part in form if part.is_file]
        values = [(part.name, part.content.decode("utf-8", "replace")) for part in form if not part.is_file]
        given = fields(self._raw_query, self._headers, values)
        received = tables(files, given)
        reader = self._service.limits.reader
        caps = reader.caps() if role == "reader" else {}
        asked = read(
            {name: value for name, value in given.items() if name not in own_names(files)},
            role=role,
            database=self._service.engine.database,
            get=self._method in ("GET", "HEAD"),
            caps=caps,
        )
        if given.get("compress") == "1" or given.get("decompress") == "1":
            text = "ClickHouse's own compressed blocks are not supported here; use Accept-Encoding and Content-Encoding"
            raise EndpointError(NOT_IMPLEMENTED, text)
        self._answer.query_id = asked.query_id or str(uuid4())
        await self._service.start(self._service.engine.open)
        self._answer.version = self._service.engine.version
        refused = self._service.engine.functions_refused
        rights = Rights(role, asked.read_only, self._method in ("GET", "HEAD"), caps, refused)
        work = Work(self._service.engine, self._service.sessions, Sender(user, rights, reader), asked, received)
        async with self._service.place(reads=role == "reader"):
            try:
                await self._execute(work, asked, body)
            finally:
                await self._release(work)

    async def _release(self, work: Work) -> None:
        """End the use of the engine: before the answer's end, which the session's next request may follow at once."""
        await asyncio.shield(self._service.start(work.end))

    async def _body_and_form(self) -> tuple[Body | None, list[Part]]:
        """Return the body, or the parts of the form that it is."""
        mark = boundary(self._headers.get("content-type", ""))
        body = Body(self._receive, self._headers.get("content-encoding", ""))
        if mark is None:
            return body, []
        return None, parts(await body.whole(self._service.limits.form_bytes), mark)

    async def _execute(self, work: Work, asked: Asked, body: Body | None) -> None:
        source = body if body is not None else _empty()
        head, text, rest = await statement_of(asked.query, source, self._service.limits.statement_bytes)
        if head is not None:
            await self._insert(work, head, text, rest)
            return
        statement = await self._service.start(work.begin, _decoded(text))
        if statement.reads:
            await self._rows(work, statement, asked)
        else:
            await self._effect(work, statement, asked)

    async def _insert(self, work: Work, head: InsertHead, begun: bytes, rest: AsyncIterator[bytes]) -> None:
        inserter = await self._service.start(work.begin_insert, head)
        try:
            await self._feed(inserter, begun, rest)
            progress = await self._service.start(inserter.finish)
        except BaseException:
            await asyncio.shield(self._service.start(inserter.cancel))
            raise
        await self._release(work)
        await self._answer.whole(200, self._answer.headers(None, progress), b"")

    async def _feed(self, inserter: Inserter, begun: bytes, rest: AsyncIterator[bytes]) -> None:
        held = bytearray(begun)
        async for piece in rest:
            held += piece
            if len(held) >= INSERT_PIECE:
                await self._service.start(inserter.append, bytes(held))
                held.clear()
        if held:
            await self._service.start(inserter.append, bytes(held))

    async def _effect(self, work: Work, statement: Statement, asked: Asked) -> None:
        """Run a statement that changes something; a few of them have a small result."""
        result, progress = await self._service.start(work.run, statement)
        await self._release(work)
        output_format = (statement.format or work.output_format) if result else None
        accepted = self._accepted(asked) if result else ""
        await self._answer.whole(200, self._answer.headers(output_format, progress), result, accepted)

    async def _rows(self, work: Work, statement: Statement, asked: Asked) -> None:
        """Run a statement that reads, and pass its result on while it runs."""
        pipe = Pipe()
        tag = f"/* {uuid4().hex} */"
        running = self._service.start(work.write, statement, pipe, tag)
        gone = asyncio.ensure_future(self._disconnected())
        stopping = asyncio.ensure_future(self._stop_when(gone, running, tag))
        try:
            await self._pass_on(work, pipe, running, gone, statement.format or work.output_format, asked)
        finally:
            gone.cancel()
            await asyncio.shield(self._finish(pipe, running, stopping, tag))

    async def _pass_on(
        self,
        work: Work,
        pipe: Pipe,
        running: "asyncio.Future[Progress]",
        gone: "asyncio.Future[None]",
        output_format: str,
        asked: Asked,
    ) -> None:
        accepted = self._accepted(asked)
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as held:
            while piece := await pipe.read():
                if gone.done():
                    raise Disconnected
                if self._answer.started:
                    await self._answer.piece(piece)
                elif asked.waits or held.tell() + len(piece) <= HELD_BYTES:
                    held.write(piece)
                else:
                    await self._answer.start(200, self._answer.headers(output_format), accepted)
                    await self._pieces(held)
                    await self._answer.piece(piece)
            progress = await running  # raises what the engine says
            await self._release(work)
            if self._answer.started:
                await self._answer.end()
                return
            headers = self._answer.headers(output_format, progress)
            if held.tell() <= HELD_BYTES:
                held.seek(0)
                await self._answer.whole(200, headers, held.read(), accepted)
                return
            await self._answer.start(200, headers, accepted)
            await self._pieces(held)
            await self._answer.end()

    async def _pieces(self, held: IO[bytes]) -> None:
        held.seek(0)
        while piece := held.read(HELD_BYTES):
            await self._answer.piece(piece)

    async def _disconnected(self) -> None:
        """Return when the client went away; its body is read by now."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _stop_when(self, gone: "asyncio.Future[None]", running: "asyncio.Future[Progress]", tag: str) -> None:
        either: set[asyncio.Future[Any]] = {gone, running}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await self._stop(running, tag)

    async def _stop(self, running: "asyncio.Future[Progress]", tag: str) -> None:
        """Ask the engine to stop the query until it did: it may not have begun when it is asked first."""
        while not running.done():
            await self._service.start(self._service.engine.kill, tag)
            await asyncio.wait({running}, timeout=KILL_AGAIN_S)

    async def _finish(
        self, pipe: Pipe, running: "asyncio.Future[Progress]", stopping: "asyncio.Future[None]", tag: str
    ) -> None:
        """See the query end, whatever happened: its thread waits for a reader until then."""
        try:
            if not running.done():
                await asyncio.gather(self._stop(running, tag), pipe.drain())
            both: set[asyncio.Future[Any]] = {running, stopping}
            await asyncio.wait(both)
            running.exception()  # it was raised to the reader, or the reader is gone
        finally:
            pipe.close()

    def _accepted(self, asked: Asked) -> str:
        return self._headers.get("accept-encoding", "") if asked.compresses else ""


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EndpointError(
            NOT_IMPLEMENTED, f"The statement is not UTF-8: {error.reason} at byte {error.start}"
        ) from error


async def _empty() -> AsyncIterator[bytes]:
    for _ in ():
        yield b""
