"""Redis streams, blocking, with asyncio and in pipelines: entries added, read by a group or alone, and claimed.

An entry has no headers: they are fields beside the host's own, and taken out again for readers that are hooked.
"""

import inspect
from collections.abc import Awaitable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from controltower.tracer.integrations.arrival import SENT_AT, Arrival, is_travelling, noted, read_headers
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.messaging import Sending, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place, place_at
from controltower.tracer.system import System

SYSTEM: Final = "redis"
GROUP: Final = "messaging.consumer.group.name"
PENDING: Final = "_controltower_pending"  # of a pipeline: what it will send when it is executed
NEW: Final = (">", b">")  # entries that no consumer of the group was given before


def hook(patches: Patches, used: Used) -> None:
    """Replace the commands of streams, which all clients share, and the execution of pipelines."""
    from redis import asyncio, client
    from redis.commands.core import StreamCommands

    hooks = _Hooks(patches, used, pipelines=(client.Pipeline, asyncio.client.Pipeline))
    patches.method(StreamCommands, "xadd", hooks.xadd)
    patches.method(StreamCommands, "xread", hooks.xread)
    patches.method(StreamCommands, "xreadgroup", hooks.xreadgroup)
    patches.method(StreamCommands, "xclaim", hooks.xclaim)
    patches.method(StreamCommands, "xautoclaim", hooks.xautoclaim)
    patches.method(client.Pipeline, "execute", hooks.execute)
    patches.method(asyncio.client.Pipeline, "execute", hooks.execute_later)
    for pipeline in (client.Pipeline, asyncio.client.Pipeline):
        patches.method(pipeline, "reset", hooks.reset)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for our fields."""

    def __init__(self, patches: Patches, used: Used, *, pipelines: tuple[type, ...]) -> None:
        self._patches = patches
        self._used = used
        self._pipelines = pipelines

    # -- sending

    def xadd(self, original: Function) -> Function:
        def xadd(client: Any, name: Any, fields: Any, *rest: Any, **named: Any) -> Any:
            if not isinstance(fields, dict) or not fields:
                return original(client, name, fields, *rest, **named)  # it says what is wrong with them
            with Sending(self._used(), _place(client, _text(name)), "xadd", given=fields.items()) as sending:
                marked = dict(sending.headers(fields.items()))
                answer = original(client, name, marked, *rest, **named)
                if answer is client:
                    held: bool = isinstance(client, self._pipelines)
                    if held:
                        sending.hold()
                        vars(client).setdefault(PENDING, []).append((len(client.command_stack) - 1, sending))
                elif inspect.isawaitable(answer):
                    sending.hold()
                    answer = _answered(sending, answer)
                else:
                    sending.delivered(_text(answer))
                return answer

        return xadd

    def execute(self, original: Function) -> Function:
        def execute(pipeline: Any, *arguments: Any, **named: Any) -> Any:
            with _Pending(pipeline) as pending:
                return pending.answered(original(pipeline, *arguments, **named))

        return execute

    def execute_later(self, original: Function) -> Function:
        async def execute(pipeline: Any, *arguments: Any, **named: Any) -> Any:
            with _Pending(pipeline) as pending:
                return pending.answered(await original(pipeline, *arguments, **named))

        return execute

    def reset(self, original: Function) -> Function:
        def reset(pipeline: Any) -> Any:
            vars(pipeline).pop(PENDING, None)  # never sent, so there is no span of it
            return original(pipeline)

        return reset

    # -- receiving

    def xread(self, original: Function) -> Function:
        def xread(client: Any, *rest: Any, **named: Any) -> Any:
            return self._read(client, "xread", original(client, *rest, **named), None, None)

        return xread

    def xreadgroup(self, original: Function) -> Function:
        def xreadgroup(client: Any, groupname: Any, consumername: Any, streams: Any, *rest: Any, **named: Any) -> Any:
            answer = original(client, groupname, consumername, streams, *rest, **named)
            seen = {_text(stream): id_ not in NEW for stream, id_ in streams.items()}
            return self._read(client, "xreadgroup", answer, _text(groupname), seen)

        return xreadgroup

    def xclaim(self, original: Function) -> Function:
        return self._claim("xclaim", original)

    def xautoclaim(self, original: Function) -> Function:
        return self._claim("xautoclaim", original)

    def _claim(self, command: str, original: Function) -> Function:
        def claim(client: Any, name: Any, groupname: Any, *rest: Any, **named: Any) -> Any:
            answer = original(client, name, groupname, *rest, **named)
            stream = _text(name)
            return self._read(client, command, answer, _text(groupname), {stream: True}, stream)

        return claim

    def _read(
        self,
        client: Any,
        command: str,
        answer: Any,
        group: str | None,
        seen: Mapping[str, bool] | None,
        stream: str = "",
    ) -> Any:
        """Return *answer*, now or when it comes, with its entries noted; *seen* is whether a stream's are old ones."""
        if answer is client:  # a pipeline: its answer is not told apart from those of its other commands
            return answer
        if inspect.isawaitable(answer):
            return self._read_later(client, command, answer, group, seen, stream)
        with self._used().guard.around("Redis hook"):
            arrivals: list[Arrival] = []
            for name, entries in _lists(answer, stream):
                place = _place(client, name, group)
                arrivals += _note(self._used(), entries, place, None if seen is None else seen.get(name))
            pulled(self._used(), command, arrivals, batch=True)
        return answer

    async def _read_later(self, client: Any, command: str, answer: Any, *rest: Any) -> Any:
        return self._read(client, command, await answer, *rest)


class _Pending:
    """The sends that a pipeline holds until it is executed."""

    def __init__(self, pipeline: Any) -> None:
        self._sends: list[tuple[int, Sending]] = vars(pipeline).pop(PENDING, [])

    def __enter__(self) -> Self:
        return self

    def answered(self, answers: Any) -> Any:
        """Return *answers*, of which each tells the id of an entry or why it was refused."""
        for place, sending in self._sends:
            answer = answers[place] if isinstance(answers, list) and place < len(answers) else None
            if answer is not None and not isinstance(answer, BaseException):
                sending.delivered(_text(answer))
            sending.end(answer if isinstance(answer, BaseException) else None)
        return answers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        for _, sending in self._sends:
            sending.end(error)


async def _answered(sending: Sending, answer: Awaitable[Any]) -> Any:
    try:
        id_ = await answer
    except BaseException as error:
        sending.end(error)
        raise
    sending.delivered(_text(id_))
    sending.end()
    return id_


def _lists(answer: Any, stream: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield each stream with its list of entries, in the shape of any protocol version; a claim names its stream."""
    if stream:
        lists = [answer, *answer] if isinstance(answer, (list, tuple)) else []
        yield from ((stream, each) for each in lists if isinstance(each, list))
        return
    for name, entries in answer.items() if isinstance(answer, dict) else answer or ():
        nested = bool(entries) and isinstance(entries[0], list)
        for each in entries if nested else [entries]:
            yield _text(name), each


def _note(system: System, entries: list[Any], place: Place, redelivered: bool | None) -> Iterator[Arrival]:
    """Replace the fields of each entry by the sender's own ones, noted with how they arrived."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, tuple) or len(entry) < 2 or not isinstance(entry[1], dict):
            continue  # claimed by id alone, or deleted meanwhile
        id_, fields = entry[0], entry[1]
        headers = read_headers(fields.items())
        arrival = Arrival(
            place,
            headers,
            message_id=_text(id_),
            sent_ns=_sent_ns(_text(id_)),
            redelivered=redelivered,
            keys=keys_in(system, place.name, fields.items(), None),  # its fields are its headers
        )
        if SENT_AT in headers:  # a hook wrote them; by hand they are the host's own
            fields = {field: value for field, value in fields.items() if not is_travelling(field)}
        entries[index] = (id_, noted(fields, arrival), *entry[2:])
        yield arrival


def _sent_ns(id_: str) -> int | None:
    """Return when Redis made the id of an entry; hosts can give ids of their own, which tell no time."""
    milliseconds, _, _ = id_.partition("-")
    return int(milliseconds) * 1_000_000 if milliseconds.isdigit() and 12 <= len(milliseconds) <= 13 else None


def _place(client: Any, stream: str, group: str | None = None) -> Place:
    parameters = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    host = parameters.get("host") or parameters.get("path") or ""  # the file of a socket
    return place_at(SYSTEM, stream, host, parameters.get("port"), () if group is None else ((GROUP, group),))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
