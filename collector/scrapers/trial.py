"""Sources tried out without sending: what a check shows, and the tests that a file of sources holds."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from glob import iglob
from pathlib import Path
from typing import Any, Final

from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import (
    AnySource,
    Expected,
    FileSource,
    ListedSource,
    QueueSource,
    ScheduleSource,
    SourceTest,
    SyslogSource,
)
from controltower.collector.scrapers.errors import words_of
from controltower.collector.scrapers.files import is_address
from controltower.collector.scrapers.given import Given
from controltower.collector.scrapers.kind import Reader, kind_of
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Level, Step
from controltower.collector.scrapers.schedule import ScheduleReader
from controltower.collector.scrapers.times import Clock, rfc3339, time_reader, zone_of
from controltower.tracer import attributes
from controltower.tracer.tokens import Key, Tokeniser

SHOWN: Final = 10
NOT_READ: Final = "it cannot be read"
GIVEN: Final[dict[str, Any]] = {
    "begin": "beginning",
    "trigger": "",
    "exclude": (),
    "manifest": None,
    "archive": None,
    "storage": {},
    "listen": (),
}
MOST_READ: Final = 1_000_000  # records that a check looks at to find so many steps
TEST_KEY: Final = Key(1, b"controltower scrape test: a key for tests only")


@dataclass(slots=True)
class Checked:
    """What a source would give."""

    source: str
    records: int = 0
    unmatched: int = 0
    steps: list[Step] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    levels: tuple[Level, ...] = ()


def check(name: str, source: AnySource, redaction: Redaction, clock: Clock) -> Checked:
    """Read a source from its beginning and return its first steps; nothing is sent, and no position is saved.

    What cannot be read is a problem of the source. KeyMissingError when it maps patients' numbers and there is no key.
    """
    policies = Policies(redaction.policy, Tokeniser(redaction.keys.of(source.tenant)))
    mapper = Mapper(source, name, policies, clock)
    if isinstance(source, SyslogSource):  # its addresses may be in use; what was received is there to be read
        source = source.model_copy(update={"listen": ()})
    reader = kind_of(source)(source, clock)
    checked = Checked(name)
    try:
        caught_up = False
        while len(checked.steps) < SHOWN and checked.records < MOST_READ and not caught_up:
            records, caught_up = reader.read()
            mapped = mapper.map(records, reader)
            checked.records += mapped.records
            checked.unmatched += mapped.unmatched
            checked.steps += mapped.steps[: SHOWN - len(checked.steps)]
            checked.rejected.update(str(rejection) for _, rejection in mapped.rejected)
        checked.problems, checked.levels = {**reader.problems, **dict(_nothing_there(source))}, reader.levels
    except Exception as exc:  # noqa: BLE001 - whatever a library raises, as in a worker: it stops no other source
        checked.problems[NOT_READ] = words_of(exc)
    finally:
        reader.close()
    return checked


def _nothing_there(source: AnySource) -> Iterator[tuple[str, str]]:
    """Yield the patterns of files of this machine when none of them finds anything."""
    patterns = getattr(source, "files", ())
    if not any(map(is_address, patterns)) and not any(True for each in patterns for _ in iglob(each, recursive=True)):
        for each in patterns:
            yield each, "there is no such file"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test went: the differences, none when it passed."""

    source: str
    test: str
    differences: tuple[str, ...]


def run_tests(name: str, source: ListedSource, redaction: Redaction, clock: Clock) -> Iterator[Outcome]:
    """Run the tests of a source."""
    policies = Policies(redaction.policy, Tokeniser(redaction.keys.of(source.tenant) or (TEST_KEY,)))
    for test in source.tests:
        yield Outcome(name, test.name, tuple(_differences(name, source, test, policies, clock)))


def _differences(name: str, source: ListedSource, test: SourceTest, policies: Policies, clock: Clock) -> Iterator[str]:
    if test.now is not None:
        now_ns = time_reader("iso", zone_of("UTC"), clock)(test.now)
        clock = _fixed(now_ns)
    if isinstance(source, QueueSource):
        return  # it makes no steps
    if isinstance(source, ScheduleSource):
        yield from _of_schedule(name, source, test, policies)
        return
    if not isinstance(source, FileSource):
        yield from _compared(name, source, test, Given(source, test.given), policies, clock)
        return
    with tempfile.TemporaryDirectory(prefix="controltower-scrape-") as folder:
        given = Path(folder) / "given.log"
        given.write_text(test.given, encoding=source.encoding)
        os.utime(given, (0, 0))  # it was not changed for long, so that its last line is whole
        reader = kind_of(source)(_reading(source, given), clock)
        try:
            yield from _compared(name, source, test, reader, policies, clock)
        finally:
            reader.close()


def _of_schedule(name: str, source: ScheduleSource, test: SourceTest, policies: Policies) -> Iterator[str]:
    """Compare what is expected between two times, which are the lines that the test gives."""
    read = time_reader("iso", zone_of("UTC"), _fixed(0))
    after, until = test.given.split()
    reader = ScheduleReader(source, _fixed(read(until)))
    reader.restore({"after": rfc3339(read(after))})
    yield from _compared(name, source, test, reader, policies, _fixed(read(until)))


def _reading(source: FileSource, file: Path) -> Any:
    """Return a source of one file alone, which is read whatever else the source says."""
    changes = {name: value for name, value in GIVEN.items() if name in type(source).model_fields}
    return source.model_copy(update={**changes, "files": (str(file),)})


def _compared(
    name: str, source: AnySource, test: SourceTest, reader: Reader, policies: Policies, clock: Clock
) -> Iterator[str]:
    mapper = Mapper(source, name, policies, clock)
    steps: list[Step] = []
    rejected: list[str] = []
    unmatched = 0
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        mapped = mapper.map(records, reader)
        steps += mapped.steps
        rejected += [rejection.reason for _, rejection in mapped.rejected]
        unmatched += mapped.unmatched
    steps += mapper.due(caught_up=True)
    if len(steps) != len(test.steps):
        yield f"{len(test.steps)} steps are expected, and there are {len(steps)}"
    for number, (expected, step) in enumerate(zip(test.steps, steps, strict=False), 1):
        for what, wanted, got in _fields(expected, step, policies, clock):
            if wanted != got:
                yield f"step {number}: {what} is {got!r}, expected {wanted!r}"
    if list(test.rejected) != rejected:
        yield f"rejected is {rejected}, expected {list(test.rejected)}"
    if test.unmatched is not None and test.unmatched != unmatched:
        yield f"unmatched is {unmatched}, expected {test.unmatched}"


def _fields(expected: Expected, step: Step, policies: Policies, clock: Clock) -> Iterator[tuple[str, Any, Any]]:
    yield "step", expected.step, step.code
    taken = step.attributes
    for what, wanted in (
        ("outcome", expected.outcome),
        ("reason", expected.reason),
        ("amount", expected.amount),
        ("currency", expected.currency),
        ("quantity", expected.quantity),
    ):
        if wanted is not None:
            yield what, wanted, taken.get(attributes.PREFIX + what)
    read = time_reader("iso", zone_of("UTC"), clock)
    for what, text, got_ns in (("time", expected.time, step.at_ns), ("end_time", expected.end_time, step.end_ns)):
        if text is not None:
            yield what, _moment(read(text)), _moment(got_ns)
    for type_, value in expected.keys.items():
        values = (value,) if isinstance(value, str) else value
        if type_ in policies.policy.keys.token:
            scope = str(taken.get(attributes.SCOPE + type_, "")).encode()
            values = tuple(
                token.decode() for each in values for token in policies.tokeniser.tokens(type_, scope, each.encode())
            )
        got = taken.get(attributes.KEY + type_, ())
        yield f"key {type_}", values, (got,) if isinstance(got, str) else got
    for type_, text in expected.context.items():
        if type_ in policies.policy.contexts.token:
            text = policies.tokeniser.tokens(type_, b"", text.encode())[0].decode()
        yield f"context {type_}", text, taken.get(attributes.CONTEXT + type_)
    if expected.lines is not None:
        yield "lines", expected.lines, len(step.lines)


def _moment(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{at_ns % 10**9:09d}Z"


def _fixed(now_ns: int) -> Clock:
    return lambda: now_ns
