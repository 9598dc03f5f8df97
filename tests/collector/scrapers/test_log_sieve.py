"""Lines that can fit no rule are passed over: what comes of a log is the same as when each line is looked at by itself."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controltower.collector.redaction.linear import Lines
from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers import log as log_module
from controltower.collector.scrapers.definition import LogSource, parse_sources
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.log import LogReader
from controltower.collector.scrapers.log_sieve import sieve_of
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.sources import KEY, NOW_NS

EXPRESSIONS = (
    r"(?P<po>PO-\d+)",
    r"^sent (?P<po>.*)$",
    r"(?P<po>[^,]*),",
    r"^(?P<po>\S*)\s*$",
    r"(?s)a(?P<po>.*)z",
    r"(?i)sent\b(?P<po>.)",
    r"(?P<po>x*)",
    r"\Asent (?P<po>.)",
    r"(?P<po>ü+)",
    r"^sent%{SPACE}%{NOTSPACE:po}$",
)
LINES = st.one_of(
    st.sampled_from([b"sent PO-1", b"PO-2, sent", b"", b"\r", b"a z", b"\xc3\xbc", b"\xff PO-3", b"\0PO-4", b"noise"]),
    st.text(st.sampled_from("aPO-1 x,\t$^zsent\u00fc\u2028"), max_size=12).map(str.encode),
)


def source_of(expressions: Sequence[str], **options: Any) -> LogSource:
    """Return a source with a rule for each of the expressions."""
    rules = [{"match": {"line": each}, "step": "a.b", "keys": {"purchase_order": "po"}} for each in expressions]
    whole = {"sources": {"app": {"kind": "log", "files": ["x"], "rules": rules, **options}}}
    source = parse_sources(json.dumps(whole), "app.yaml").sources["app"]  # JSON is YAML
    assert isinstance(source, LogSource)
    return source


def outcome(source: LogSource, log: Path, *, sifted: bool) -> tuple[Any, ...]:
    """Return what comes of a log: steps with their ids and attributes, rejections, counts."""
    reader = LogReader(source.model_copy(update={"files": (str(log),)}), lambda: NOW_NS)
    if not sifted:
        reader._sieve = None
    mapper = Mapper(source, "app", Policies(default_policy(), Tokeniser((KEY,))), lambda: NOW_NS)
    steps, rejected, caught_up = [], [], False
    while not caught_up:
        records, caught_up = reader.read()
        mapped = mapper.map(records, reader)
        steps += [(step.ids, step.attributes) for step in mapped.steps]
        rejected += [(record.place, rejection.reason) for record, rejection in mapped.rejected]
    state = reader.state()["generations"]
    reader.close()
    return steps, rejected, mapper.totals, [each["offset"] for each in state]


@settings(deadline=None)
@given(
    lines=st.lists(LINES, max_size=30),
    expressions=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=3),
    end=st.booleans(),
    most=st.sampled_from([1, 2, 20_000]),
    only=st.sampled_from([None, "sent", "^[^ ]+$", "x*"]),
)
@example(lines=[b"noise", b"sent 1", b"noise"], expressions=[EXPRESSIONS[1]], end=False, most=1, only="sent")
@example(lines=[b"a", b"z", b"a z"], expressions=[EXPRESSIONS[4]], end=True, most=20_000, only=None)
def test_what_comes_of_a_log_is_the_same(
    lines: list[bytes], expressions: list[str], end: bool, most: int, only: str | None
) -> None:
    """Steps, ids, rejections, counts and the position, whatever the lines and the expressions."""
    source = source_of(expressions, only=only)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "MOST_RECORDS", most)
        log = Path(folder) / "app.log"
        log.write_bytes(b"\n".join(lines) + (b"\n" if end else b""))

        assert outcome(source, log, sifted=True) == outcome(source, log, sifted=False)


def test_lines_that_fit_nothing_are_no_records(tmp_path: Path) -> None:
    """Of a million bytes without interest nothing is made but their number; of a log full of steps lines are read one by one."""
    (tmp_path / "quiet.log").write_bytes(b"noise\n" * 100_000 + b"PO-1\n")
    (tmp_path / "dense.log").write_bytes(b"PO-1\n" * 100_000)
    source = source_of(EXPRESSIONS[:1])

    def read(name: str) -> list[int]:
        reader = LogReader(source.model_copy(update={"files": (str(tmp_path / name),)}), lambda: NOW_NS)
        sizes, caught_up = [], False
        while not caught_up:
            records, caught_up = reader.read()
            sizes.append(len(records))
        return sizes

    assert sum(read("quiet.log")) == 2
    assert sum(read("dense.log")) == 100_000


@pytest.mark.parametrize(
    ("rules", "sifted"),
    [
        ([{"match": {"line": "x"}}], True),
        ([{"when": {"line": "x+"}}, {"match": {"line": "y"}}], True),
        ([{"match": {"line": "x"}}, {}], False),
        ([{"match": {"line": r"x\z"}}], False),
        ([{"match": {"line": "x"}, "by": "line", "end": {"match": {"line": "y"}, "within": "1 hour"}}], True),
    ],
)
def test_which_sources_are_sifted(rules: list[dict[str, Any]], sifted: bool) -> None:
    """Those of which each rule says what must be in its line, by an expression that is about a line."""
    whole = [{**rule, "step": "a.b", "keys": {"purchase_order": "line"}} for rule in rules]
    source = source_of((), rules=whole)

    assert (sieve_of(source) is not None) is sifted
    assert sieve_of(source.model_copy(update={"format": "json"})) is None


def test_only_says_which_lines_are_looked_into(tmp_path: Path) -> None:
    """What is no JSON is rejected where it is of interest, and only counted elsewhere; it is about lines, and says so."""
    rules = [{"when": {"event": "sent"}, "step": "a.b", "keys": {"purchase_order": "po"}}]
    source = source_of((), rules=rules, format="json", only='"sent"')
    log = tmp_path / "app.log"
    log.write_bytes(b'{"event": "sent", "po": "1"}\r\n{"event": "other"}\nnoise\n"sent" {\n')

    steps, rejected, totals, _ = outcome(source, log, sifted=False)
    assert (len(steps), [reason for _, reason in rejected], totals["unmatched"]) == (1, ["not_json"], 2)
    for wrong in ({"only": r"x\z"}, {"only": "x", "start": "^x"}):
        with pytest.raises(SourcesError, match="about"):
            source_of((), rules=rules, format="json", **wrong)


def test_expressions_stay_in_their_lines() -> None:
    """Classes of characters do not reach into the next line, nor do ends of the text."""
    lines = Lines([r"a[^x]b", r"^c$", r"d\s*e"])

    assert lines.find(b"a\nb\ncc\nd\ne\n", 0) == -1
    assert lines.find(b"a\nb\ncc\nc\n", 0) == 7
    for text in (r"\Aa", r"a\z", "(?m-i:a)"):
        with pytest.raises(ValueError, match="whole text"):
            Lines([text])
