"""The one HTTP door to the outside: no redirects, no proxies, vetted addresses only, bounded in time and in bytes.

A host is resolved once per request, every answer is vetted, and the connection goes to a vetted address while ``Host``
and the TLS server name stay those of the URL. A name that resolves differently a moment later changes nothing.
"""

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import httpx

from controltower.alerts.addresses import Allowance, IPAddress, Target, parse_target, vet
from controltower.alerts.errors import OutboundError

TIMEOUT_S = 15.0  # of a whole attempt, name look-up included: the specification's lower recommendation
GRACE_S = 1.0  # for the thread to report; one that hangs in a name look-up is left behind
BODY_LIMIT = 4 * 1024  # of an answer; enough to say what is wrong
ADDRESSES_TRIED = 3
AGENT = f"controltower/{version('controltower')}"

THREAD = "webhook"  # the name of the threads that send
# What the HTTP library says about each request holds whole addresses, and answers: not from this door.
TALKERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")

T = TypeVar("T")

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said: its status, when to come back, and the start of its text."""

    status: int
    retry_after: str
    excerpt: str


def _is_not_ours(record: logging.LogRecord) -> bool:
    return record.threadName != THREAD


for talker in TALKERS:
    logging.getLogger(talker).addFilter(_is_not_ours)


class Door:
    """Sends requests to the outside. Safe from several threads."""

    def __init__(
        self,
        allow: Allowance,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._allow = allow
        self._resolve = resolve
        self._tls = tls
        self._timeout_s = timeout_s

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post *body*; any answer with a status is one. Raises OutboundError without one. Blocks at most 16 s.

        Runs in a thread of its own, so that the bound holds whatever hangs, also where an event loop runs already.
        """
        result: Future[Answer] = Future()
        attempt = threading.Thread(
            target=_settle, args=(result, lambda: self._post(url, headers, body)), name=THREAD, daemon=True
        )
        attempt.start()
        try:
            return result.result(timeout=self._timeout_s + GRACE_S)
        except TimeoutError:
            raise OutboundError("no answer in time: the attempt hangs") from None

    def check(self, url: str) -> Target:
        """Resolve and vet *url* without connecting; raise OutboundError with the reason. For ``doctor``."""
        target = parse_target(url, self._allow)
        result: Future[list[IPAddress]] = Future()
        threading.Thread(target=_settle, args=(result, lambda: self._vetted(target)), name=THREAD, daemon=True).start()
        try:
            result.result(timeout=self._timeout_s)
        except TimeoutError:
            raise OutboundError(f"{target.host} cannot be resolved in time") from None
        return target

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        target = parse_target(url, self._allow)
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._vetted(target)
                return await self._try_each(target, addresses[:ADDRESSES_TRIED], headers, body)
        except TimeoutError:
            raise OutboundError(f"{target} gave no answer within {self._timeout_s:g} s") from None

    async def _vetted(self, target: Target) -> list[IPAddress]:
        try:
            answers = await self._look_up(target.host, target.port)
        except (OSError, UnicodeError) as exc:
            raise OutboundError(f"{target.host} cannot be resolved: {exc}") from None
        return vet(target, answers, self._allow)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        if self._resolve is not None:
            return await asyncio.to_thread(self._resolve, host, port)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    async def _try_each(
        self, target: Target, addresses: Sequence[IPAddress], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        # No environment: a proxy from there would connect to addresses that nobody vetted.
        async with httpx.AsyncClient(
            verify=self._context(), trust_env=False, follow_redirects=False, timeout=self._timeout_s
        ) as client:
            for last, address in ((address is addresses[-1], address) for address in addresses):
                try:
                    return await _send(client, target, address, headers, body)
                except httpx.ConnectError as exc:
                    if last:
                        raise _in_words(target, exc) from None
                except httpx.HTTPError as exc:
                    raise _in_words(target, exc) from None
        raise OutboundError(f"{target} has no address")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context()  # SSL_CERT_FILE and SSL_CERT_DIR count
        return self._tls


async def _send(
    client: httpx.AsyncClient, target: Target, address: IPAddress, headers: Mapping[str, str], body: bytes
) -> Answer:
    host = f"[{address}]" if address.version == 6 else str(address)
    request = client.build_request(
        "POST",
        httpx.URL(scheme=target.scheme, host=host, port=target.port, raw_path=target.path.encode("ascii")),
        headers={**headers, "host": target.authority, "user-agent": AGENT, "accept-encoding": "identity"},
        content=body,
        extensions={"sni_hostname": target.host},
    )
    response = await client.send(request, stream=True)
    try:
        excerpt = "" if response.is_success else await _excerpt(response)
        return Answer(response.status_code, response.headers.get("retry-after", ""), excerpt)
    finally:
        await response.aclose()


async def _excerpt(response: httpx.Response) -> str:
    """Return the start of the body. The status has arrived by now, so a body that breaks or hangs takes nothing away."""
    read = b""
    try:
        async with asyncio.timeout(2):
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) >= BODY_LIMIT:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass  # what was read so far is the excerpt
    return read[:BODY_LIMIT].decode(errors="replace")


def _in_words(target: Target, error: httpx.HTTPError) -> OutboundError:
    root: BaseException = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    # The innermost error says "Connection refused" where the outer one says that all attempts failed.
    plain = root.errno if isinstance(root, OSError) and not isinstance(root, ssl.SSLError) else None
    why = os.strerror(plain) if plain else " ".join(str(error).split())
    return OutboundError(f"{target} cannot be reached: {why or type(error).__name__}")


def _settle(result: "Future[T]", attempt: Callable[[], Coroutine[Any, Any, T]]) -> None:
    """Run *attempt* in an event loop of this thread and put its outcome, whatever it is, where the caller waits."""
    try:
        result.set_result(asyncio.run(attempt()))
    except BaseException as exc:  # noqa: BLE001  # raised again by the caller, who waits for it
        result.set_exception(exc)
