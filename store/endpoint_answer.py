"""The answer to a request: headers as ClickHouse sends them, a body that may be compressed, an error in its middle."""

import asyncio
import secrets
import string
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from controltower.store.endpoint_codecs import Encoder, choose, encoder
from controltower.store.endpoint_engine import Progress
from controltower.store.endpoint_errors import EndpointError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TIMEZONE: Final = "UTC"
CONTENT_TYPES: Final = {
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "XML": "application/xml; charset=UTF-8",
}
BINARY: Final = ("Native", "RowBinary", "Parquet", "Arrow", "ORC", "Avro", "Protobuf", "MsgPack", "Npy", "BSON")
PLAIN: Final = "text/plain; charset=UTF-8"


class Answer:
    """The one answer to a request: started once, then its pieces, then its end."""

    def __init__(self, send: Send, *, head_only: bool, timeout_s: float) -> None:
        self._send = send
        self._head_only = head_only
        self._timeout_s = timeout_s
        self._encoder: Encoder | None = None
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self.started = False
        self.query_id = ""
        self.version = ""

    async def start(self, status: int, headers: dict[str, str], accepted: str = "") -> None:
        """Send status and headers; the body is compressed when *accepted* names an encoding that is known."""
        encoding = choose(accepted)
        self.started = True
        self._encoder = encoder(encoding) if encoding else None
        sent = {
            **headers,
            "X-ClickHouse-Exception-Tag": self._tag,
            "Vary": "Accept-Encoding",
            **({"Content-Encoding": encoding} if encoding else {}),
        }
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in sent.items()]
        await self._tell({"type": "http.response.start", "status": status, "headers": raw})

    async def piece(self, data: bytes) -> None:
        """Send a piece of the body. Raises TimeoutError when the client does not take it."""
        encoded = self._encoder.encode(data) if self._encoder else data
        if encoded and not self._head_only:
            await self._tell({"type": "http.response.body", "body": encoded, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece."""
        encoded = self._encoder.encode(data) + self._encoder.finish() if self._encoder else data
        await self._tell({"type": "http.response.body", "body": b"" if self._head_only else encoded})

    async def whole(self, status: int, headers: dict[str, str], body: bytes, accepted: str = "") -> None:
        """Send an answer that is known as a whole."""
        known = {} if choose(accepted) else {"Content-Length": str(len(body))}
        await self.start(status, {**headers, **known}, accepted)
        await self.end(body)

    async def refuse(self, error: EndpointError) -> None:
        """Send an error: with its status, or, in the middle of a body, in ClickHouse's frame for that."""
        text = self._text(error)
        if not self.started:
            headers = {**self.headers(None), "X-ClickHouse-Exception-Code": str(error.code)}
            await self.whole(error.status, headers, text)
            return
        mark = b"__exception__"
        tag = self._tag.encode()
        length = str(len(text)).encode()
        frame = b"\r\n".join((b"", mark, tag, text + length + b" " + tag, mark, b""))
        await self.piece(frame)
        if self._encoder and not self._head_only:
            await self._tell({"type": "http.response.body", "body": self._encoder.finish(), "more_body": True})

    def headers(self, output_format: str | None, progress: Progress | None = None) -> dict[str, str]:
        """Return what ClickHouse says with every answer to a query; *output_format* when it has a result."""
        said = {
            "Content-Type": content_type(output_format),
            "X-ClickHouse-Summary": (progress or Progress()).summary(),
            "X-ClickHouse-Timezone": TIMEZONE,
        }
        if self.query_id:
            said["X-ClickHouse-Query-Id"] = self.query_id
        if output_format:
            said["X-ClickHouse-Format"] = output_format
        return said

    def _text(self, error: EndpointError) -> bytes:
        version = f" (version {self.version})" if self.version else ""
        return f"{error}{version}\n".encode("utf-8", "replace")

    async def _tell(self, message: MutableMapping[str, Any]) -> None:
        async with asyncio.timeout(self._timeout_s):
            await self._send(message)


def content_type(output_format: str | None) -> str:
    """Return the content type of a result, as ClickHouse names it."""
    if output_format is None:
        return PLAIN
    if output_format.startswith("JSON") and "EachRow" not in output_format:
        return "application/json; charset=UTF-8"
    if "EachRow" in output_format:
        return "application/x-ndjson; charset=UTF-8"
    if output_format.startswith(BINARY):
        return "application/octet-stream"
    return CONTENT_TYPES.get(output_format, PLAIN)
