"""Sources of one rule, and what becomes of lines that they read; nothing is sent."""

from collections.abc import Callable
from typing import Any

from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers.definition import LogSource, parse_sources
from controltower.collector.scrapers.log import LogReader
from controltower.collector.scrapers.mapper import Mapped, Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Record, Step
from controltower.tracer.tokens import Key, Tokeniser

KEY = Key(1, b"k" * 32)
NOW_NS = 1_768_000_000 * 10**9


def source_of(text: str) -> LogSource:
    """Return the source called ``app`` of a YAML file, whose rules are *text*."""
    whole = "sources:\n  app:\n    kind: log\n    files: [none]\n" + text
    source = parse_sources(whole, "sources.yaml").sources["app"]
    assert isinstance(source, LogSource)
    return source


class Trial:
    """Maps lines one after the other, at a time that a test sets."""

    def __init__(self, text: str, *, keys: tuple[Key, ...] = (KEY,)) -> None:
        self.source = source_of(text)
        self.now_ns = NOW_NS
        self._reader = LogReader(self.source, self.clock)
        self.mapper = Mapper(self.source, "app", Policies(default_policy(), Tokeniser(keys)), self.clock)
        self._number = 0

    def clock(self) -> int:
        """Return the time of the trial."""
        return self.now_ns

    def lines(self, *lines: str, into: Callable[[Step], object] | None = None) -> Mapped:
        """Return what becomes of some lines; the steps go *into* it when it is given."""
        records = []
        for line in lines:
            records.append(Record(f"x-0:{self._number}", line.encode()))
            self._number += len(line) + 1
        return self.mapper.map(records, self._reader, into)

    def step(self, line: str) -> Step:
        """Return the one step of one line."""
        mapped = self.lines(line)
        assert mapped.rejected == []
        (step,) = mapped.steps
        return step

    def reason(self, line: str) -> str:
        """Return why a line is rejected."""
        mapped = self.lines(line)
        ((_, rejection),) = mapped.rejected
        return str(rejection)

    def restarted(self, saved: dict[str, Any]) -> None:
        """Begin anew with what was saved."""
        self.mapper = Mapper(self.source, "app", Policies(default_policy(), Tokeniser((KEY,))), self.clock)
        self.mapper.restore(saved)
