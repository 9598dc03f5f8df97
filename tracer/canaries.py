"""Canaries: the data of a patient who does not exist, to be sent through a service, and a search for it in what leaves.

What is searched is what would be sent: the captured spans as OTLP, what the tracer and OpenTelemetry logged meanwhile, and
the files that are named, such as the journal of durable export.
"""

import base64
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Unpack
from urllib.parse import quote, quote_plus, urlencode

from opentelemetry.sdk.trace import ReadableSpan

from controltower.tracer.configure import Options
from controltower.tracer.testing import Captured, capture

LOGGERS: Final = ("controltower", "opentelemetry")
SHORTEST: Final = 6  # characters; a shorter value stands in any text by accident
HASHES: Final = ("md5", "sha1", "sha256")  # without a key, of values that can all be tried out: as good as the value


@dataclass(frozen=True, slots=True)
class Patient:
    """The data of one patient; everything here is made up. Give values of your own where a service checks their form."""

    given_name: str = "Zebulon"
    family_name: str = "Quackenbush"
    date_of_birth: str = "1931-07-19"  # ISO 8601; the forms 19310719, 07/19/1931 and 19.07.1931 are looked for, too
    mrn: str = "MRN00927364"
    account: str = "8800417733"
    ssn: str = "078-05-1120"
    phone: str = "555-010-4477"
    email: str = "zq.canary@patients.example"
    street: str = "4711 Canarywharf Road"
    device: str = "SN-ZQ-99417733"

    def __post_init__(self) -> None:
        """Refuse what could not be told from other text."""
        if short := [each.name for each in fields(self) if len(getattr(self, each.name)) < SHORTEST]:
            raise ValueError(f"a canary has {SHORTEST} characters or more: {', '.join(short)}")

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.given_name} {self.family_name}"

    def payload(self) -> dict[str, str]:
        """Return everything, for a body in JSON or a form."""
        return {"name": self.name, **{each.name: getattr(self, each.name) for each in fields(self)}}

    def query(self) -> str:
        """Return everything as the query string of an address."""
        return urlencode(self.payload())

    def headers(self) -> dict[str, str]:
        """Return headers of a request or a message, with those that libraries look at."""
        return {
            "x-patient": self.name,
            "x-mrn": self.mrn,
            "cookie": f"mrn={self.mrn}",
            "user-agent": f"portal ({self.name})",
            "referer": f"https://portal.example/{self.mrn}?born={self.date_of_birth}",
            "tracestate": f"vendor={self.account}",
            "baggage": f"patient={quote(self.name)},controltower.key.mrn={self.mrn}",
        }

    def sentence(self) -> str:
        """Return what an exception of a service might say."""
        return f"no bed for {self.name}, born {self.date_of_birth}, {self.mrn}, account {self.account}, {self.phone}"

    def sql(self) -> str:
        """Return an expression of SQL in which values stand instead of parameters."""
        return " || ".join(f"'{value}'" for value in self.payload().values())

    def found_in(self, data: bytes | str) -> list[str]:
        """Return the names of the fields that stand in *data*, in any form that is looked for."""
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        folded = raw.lower()
        return [
            each.name
            for each in fields(self)
            if any(form.encode() in raw or form.lower().encode() in folded for form in _forms(getattr(self, each.name)))
        ]


class Canaries:
    """What a service was given, and what it sent."""

    def __init__(self, captured: Captured, patient: Patient, paths: Sequence[Path]) -> None:
        self.captured = captured
        self.patient = patient
        self.logged: list[str] = []
        self._paths = paths

    def leaks(self) -> list[str]:
        """Return where something of the patient is, each place with the names of the fields; values are not shown."""
        places = [*_places(self.captured.spans), *(("log of the tracer", line) for line in self.logged)]
        places += [(f"file {path}", path.read_bytes()) for path in self._files()]
        return [f"{place}: {', '.join(found)}" for place, data in places if (found := self.patient.found_in(data))]

    def assert_none_left(self) -> None:
        """Fail when something of the patient would leave the process, or when nothing was recorded at all."""
        if not self.captured.spans:
            raise AssertionError("no span was captured: instrument the service and call it inside the block")
        if leaks := self.leaks():
            raise AssertionError("patient data would leave the process:\n" + "\n".join(leaks))

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            yield from (each for each in sorted(path.rglob("*")) if each.is_file()) if path.is_dir() else (path,)


@contextmanager
def no_canaries(*paths: Path, patient: Patient | None = None, **options: Unpack[Options]) -> Iterator[Canaries]:
    """Capture what the code inside sends, and fail at the end when something of the patient is in it.

    *paths* are files and folders that are searched as well; *options* are those of ``capture``.
    """
    with capture(**options) as captured:
        canaries = Canaries(captured, patient or Patient(), paths)
        with _logged_to(canaries.logged):
            yield canaries
        canaries.assert_none_left()


@contextmanager
def _logged_to(lines: list[str]) -> Iterator[None]:
    """Add what the tracer and OpenTelemetry log, at every level and with the text of exceptions, to *lines*."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    handler, levels = _Lines(lines), [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._lines.append(self.format(record))


def _forms(value: str) -> set[str]:
    """Return how *value* may be written: plain, in addresses, as digits alone, a date in other orders, coded, hashed."""
    forms = {value, quote(value, safe=""), quote_plus(value)}
    if len(digits := "".join(filter(str.isdigit, value))) >= 8:
        forms.add(digits)
    year, _, rest = value.partition("-")
    month, _, day = rest.partition("-")
    if (len(year), len(month), len(day)) == (4, 2, 2):
        forms |= {
            f"{month}/{day}/{year}",
            f"{int(month)}/{int(day)}/{year}",
            f"{day}.{month}.{year}",
            f"{day}/{month}/{year}",
        }
    forms |= {hashlib.new(name, value.encode()).hexdigest() for name in HASHES}
    # In base64 a value looks different at each of three offsets; the ends, which depend on what is around, are left off.
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + value.encode()).decode().rstrip("=")
        forms.add(coded[(0, 2, 3)[offset] : -2])
    return {form for form in forms if len(form) >= SHORTEST}


def _places(spans: Sequence[ReadableSpan]) -> Iterator[tuple[str, bytes | str]]:
    """Yield every part of the spans with a name for it, and at last all of them as they would be sent."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    for span in spans:
        where = f"span of {span.instrumentation_scope.name if span.instrumentation_scope else 'nobody'}"
        yield f"{where}, its name", span.name
        yield f"{where}, its status", span.status.description or ""
        yield f"{where}, its trace state", str(span.context.trace_state) if span.context else ""
        yield from _attributes(where, span.attributes)
        yield from _attributes(f"{where}, resource", span.resource.attributes)
        for event in span.events:
            yield f"{where}, name of an event", event.name
            yield from _attributes(f"{where}, event", event.attributes)
        for link in span.links:
            yield from _attributes(f"{where}, link", link.attributes)
            yield f"{where}, trace state of a link", str(link.context.trace_state)
    yield "the request to the collector", encode_spans(spans).SerializeToString()


def _attributes(where: str, given: Mapping[str, object] | None) -> Iterator[tuple[str, str]]:
    for name, value in (given or {}).items():
        yield f"{where}, name of an attribute", name
        yield f"{where}, {name}", str(value)
