"""A file's sidecar: the trace and the keys of who wrote a file, in a small file beside it, as headers are beside a message.

``orders.csv.trace.json`` holds the headers of a message and the checksum of the content, so that what is left of another
file of that name joins nothing. Its reader is linked to the writer; nothing of the file itself, nor its name, is on a span.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind

from controltower.tracer import attributes, propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.integrations.arrival import SENT_AT, Arrival, sender_of
from controltower.tracer.integrations.place import Plain, place_at
from controltower.tracer.integrations.spans import finish, now_ns, start
from controltower.tracer.propagation import with_ring
from controltower.tracer.system import System

SUFFIX: Final = ".trace.json"
CHECKSUM: Final = "sha256"
MAX_BYTES: Final = 8192  # of a sidecar; a longer one is not ours
FILES: Final = place_at("file", "")
NOT_WRITTEN: Final = "sidecar_not_written"
UNREADABLE: Final = "sidecar_unreadable"
ANOTHER_FILE: Final = "sidecar_of_another_file"
SPAN: Final = ("process file", {attributes.STYLE: "file"})

FileName = str | os.PathLike[str]


def write_sidecar(path: FileName, *, content: FileName | None = None) -> Path | None:
    """Write the trace and the keys of the open step beside the file *path*, and return where.

    Where readers take files as soon as they see them, write the sidecar first: *content* is where the bytes are until
    they are renamed to *path*. They are read for their checksum. What the disk refuses is counted, and returns ``None``.
    """
    system = process_system()
    with system.guard.around("writing a sidecar"):
        headers: dict[str, str] = {}
        system.inject(headers)
        try:
            headers |= {SENT_AT: str(now_ns(system) // 1_000_000), CHECKSUM: _checksum(Path(content or path))}
            return _replaced(Path(f"{os.fspath(path)}{SUFFIX}"), json.dumps(headers, indent=1))
        except OSError as error:
            system.guard.count(NOT_WRITTEN)
            system.guard.warn(
                NOT_WRITTEN, f"a file goes without its trace: its sidecar is not written ({error.strerror})"
            )
    return None


@contextmanager
def processing_file(path: FileName) -> Iterator[SpanContext | None]:
    """Work on a file: its writer's keys hold inside, and a span is linked to its writer, with how long the file lay.

    Gives the writer's span; ``None`` without a sidecar, which is no fault, and with one of another file or a broken one,
    which are counted. The file is read for its checksum.
    """
    system, sender, span, token = process_system(), None, None, None
    with system.guard.around("processing a file"):
        arrival = Arrival(FILES, _headers(system, Path(path)))
        sender, ring = sender_of(arrival, system)
        above, inherited = system.parent()
        if inherited.keys:
            ring = inherited.below(ring.keys, ring.scopes, None)
        context = with_ring(ring, above)
        facts: dict[str, Plain] = arrival.facts(now_ns(system))
        span = start(system, SpanKind.INTERNAL, SPAN, ring, facts, [Link(sender)] if sender else (), context)
        token = otel_context.attach(trace.set_span_in_context(span, context))
    failure: BaseException | None = None
    try:
        yield sender
    except BaseException as error:
        failure = error
        raise
    finally:
        with system.guard.around("processing a file"):
            if token is not None and span is not None:
                otel_context.detach(token)
                finish(system, span, failure)


def _headers(system: System, path: Path) -> dict[str, str]:
    """Return the headers in the sidecar of *path*; none when there is none, or none that is to be believed."""
    try:
        with Path(f"{path}{SUFFIX}").open("rb") as file:
            written = file.read(MAX_BYTES + 1)
        found = json.loads(written) if len(written) <= MAX_BYTES else None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("no mapping of texts")
        checksum = _checksum(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        return _disbelieved(system, UNREADABLE, f"a sidecar cannot be read ({type(error).__name__})")
    if found.get(CHECKSUM) != checksum:
        return _disbelieved(system, ANOTHER_FILE, "a sidecar is of a file with another content")
    return {name: found[name] for name in (*propagation.VARIABLES, SENT_AT) if name in found}


def _disbelieved(system: System, kind: str, sentence: str) -> dict[str, str]:
    system.guard.count(kind)
    system.guard.warn(kind, f"{sentence}: the work on the file goes on without its writer's trace")
    return {}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, CHECKSUM).hexdigest()


def _replaced(path: Path, text: str) -> Path:
    """Write a file that a reader sees whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        return part.replace(path)
    finally:
        with suppress(FileNotFoundError):  # it has its name
            part.unlink()
