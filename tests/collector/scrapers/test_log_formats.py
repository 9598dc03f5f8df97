"""Forms of log lines: what each gives, and that no line breaks one."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.log_formats import FORMATS, csv_parser

ACCESS = '10.1.2.3 - frank [10/Oct/2026:13:55:36 -0700] "POST /orders/17?token=x HTTP/1.1" 201 2326'


@pytest.mark.parametrize(
    ("form", "line", "expected"),
    [
        ("json", '{"a": 1.10, "b": {"c": [true]}}', {"a": "1.10", "b": {"c": [True]}}),
        ("json", '{"n": 123456789012345678901234567890}', {"n": "123456789012345678901234567890"}),
        (
            "logfmt",
            'level=info msg="sent \\"PO\\" 17" po=17 dry',
            {"level": "info", "msg": 'sent "PO" 17', "po": "17", "dry": "true"},
        ),
        ("logfmt", "empty= next=1", {"empty": "", "next": "1"}),
        (
            "syslog_3164",
            "<34>Oct 11 22:14:15 mymachine su[123]: 'su root' failed",
            {
                "priority": "34",
                "facility": "4",
                "severity": "crit",
                "time": "Oct 11 22:14:15",
                "host": "mymachine",
                "app": "su",
                "pid": "123",
                "message": "'su root' failed",
            },
        ),
        (
            "syslog_3164",
            "Oct  1 22:14:15 erp batch: done",
            {"time": "Oct  1 22:14:15", "host": "erp", "app": "batch", "message": "done"},
        ),
        (
            "syslog_5424",
            '<165>1 2026-10-11T22:14:15.003Z erp edi - ID47 [o@1 po="17" note="a \\"b\\" \\]"][p@1 x="y"] \ufeffsent',
            {
                "priority": "165",
                "facility": "20",
                "severity": "notice",
                "time": "2026-10-11T22:14:15.003Z",
                "host": "erp",
                "app": "edi",
                "msgid": "ID47",
                "o@1.po": "17",
                "o@1.note": 'a "b" ]',
                "p@1.x": "y",
                "message": "sent",
            },
        ),
        (
            "syslog_5424",
            "<13>1 - - - - - - just a message",
            {"priority": "13", "facility": "1", "severity": "notice", "message": "just a message"},
        ),
        (
            "syslog",
            "<13>1 - - - - - - new",
            {"priority": "13", "facility": "1", "severity": "notice", "message": "new"},
        ),
        (
            "syslog",
            "Nov  3 13:12:44 erp edi: old",
            {"time": "Nov  3 13:12:44", "host": "erp", "app": "edi", "message": "old"},
        ),
        (
            "access_common",
            ACCESS,
            {
                "client": "10.1.2.3",
                "user": "frank",
                "time": "10/Oct/2026:13:55:36 -0700",
                "request": "POST /orders/17?token=x HTTP/1.1",
                "method": "POST",
                "path": "/orders/17",
                "query": "token=x",
                "protocol": "HTTP/1.1",
                "status": "201",
                "size": "2326",
            },
        ),
    ],
)
def test_what_a_line_gives(form: str, line: str, expected: dict[str, Any]) -> None:
    """Each format gives its fields; numbers stay the texts they are."""
    assert FORMATS[form].parse(line) == expected


def test_the_combined_format_adds_referer_and_agent() -> None:
    """What a server adds behind them is the rest; a request that is none is kept whole."""
    line = ACCESS.replace("POST /orders/17?token=x HTTP/1.1", "\\x16\\x03") + ' "-" "curl/8 \\"x\\"" 0.017'
    found = FORMATS["access_combined"].parse(line)

    assert (found["request"], found["agent"], found["rest"]) == ("\\x16\\x03", 'curl/8 \\"x\\"', " 0.017")
    assert "method" not in found
    assert "referer" not in found


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("json", "{"),
        ("json", "[1]"),
        ("json", "[" * 100_000),
        ("json", '{"a": ' * 5_000),
        ("logfmt", 'a="b'),
        ("logfmt", ""),
        ("syslog_3164", "no syslog at all"),
        ("syslog_3164", "<999>Oct 11 22:14:15 a b: c"),
        ("syslog_5424", "<13>1 - - - - - [a b=c] x"),
        ("syslog_5424", '<13>1 - - - - - [a b="c"]x'),
        ("access_common", "10.1.2.3 - -"),
        ("access_combined", ACCESS),
    ],
)
def test_what_is_not_of_the_format_is_rejected(form: str, line: str) -> None:
    """Such a line has a reason, and does not end the reading."""
    with pytest.raises(Rejection) as rejected:
        FORMATS[form].parse(line)

    assert rejected.value.reason.startswith("not_")


@pytest.mark.parametrize("form", FORMATS)
@given(line=st.one_of(st.text(), st.text('"\\[]=<>1 -:/a', max_size=300)))
def test_no_line_breaks_a_parser(form: str, line: str) -> None:
    """Whatever a line holds is read or rejected."""
    try:
        fields = FORMATS[form].parse(line)
    except Rejection:
        return
    assert isinstance(fields, dict)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("access_combined", ACCESS + ' "' + "\\" * 200_000),
        ("access_common", "a - " + "b " * 200_000),
        ("access_common", 'a - - [10/Oct/2026:13:55:36 -0700] "' + '\\"' * 200_000),
        ("logfmt", "a=" * 200_000 + ' "'),
        ("logfmt", 'a="' + "\\" * 200_000),
        ("syslog_5424", '<13>1 - - - - - [a b="' + "\\" * 200_000),
        ("syslog_3164", "Oct 11 22:14:15 " + "a" * 200_000),
    ],
)
def test_hostile_lines_cost_their_length(form: str, line: str) -> None:
    """Lines made to be tried again and again are rejected; were the time not linear, the suite's limit would end it."""
    with pytest.raises(Rejection):
        FORMATS[form].parse(line)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(st.from_regex(r"[a-z_.]{1,10}", fullmatch=True), TEXTS, min_size=1, max_size=8))
def test_what_was_written_as_logfmt_is_read(pairs: dict[str, str]) -> None:
    """Values come back as they were, with every quote and line break."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in pairs.items()
    }
    line = " ".join(f'{name}="{value}"' for name, value in escaped.items())

    assert FORMATS["logfmt"].parse(line) == pairs


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9@]{1,12}", fullmatch=True), TEXTS, min_size=1, max_size=8), TEXTS)
def test_what_was_written_as_structured_data_is_read(pairs: dict[str, str], message: str) -> None:
    """Parameters of RFC 5424 come back as they were."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]") for name, value in pairs.items()
    }
    data = " ".join(f'{name}="{value}"' for name, value in escaped.items())
    found = FORMATS["syslog_5424"].parse(f"<13>1 - - - - - [x@1 {data}] {message}")

    assert {name.removeprefix("x@1."): value for name, value in found.items() if name.startswith("x@1.")} == pairs
    assert found["message"] == message.removeprefix("\ufeff")


@given(st.dictionaries(TEXTS, st.one_of(TEXTS, st.booleans(), st.none()), max_size=6))
def test_what_was_written_as_json_is_read(pairs: dict[str, Any]) -> None:
    """Texts and truth come back as they were."""
    assert FORMATS["json"].parse(json.dumps(pairs)) == pairs


@given(st.lists(TEXTS, min_size=2, max_size=6))
def test_what_was_written_as_csv_is_read(values: list[str]) -> None:
    """Values come back as they were, with delimiters, quotes and line breaks."""
    columns = tuple(f"c{number}" for number in range(len(values)))
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(values)

    assert csv_parser(columns, ",")(written.getvalue().removesuffix("\r\n")) == dict(zip(columns, values, strict=True))


def test_rows_of_csv() -> None:
    """A header has no fields, and a row of another length is rejected."""
    parse = csv_parser(("po", "amount"), ";")

    assert parse("po;amount") == {}
    assert parse('"PO;1";10,00') == {"po": "PO;1", "amount": "10,00"}
    for line in ("PO-1", "PO-1;1;2", '"PO-1;1', '"PO-1"x;1'):
        with pytest.raises(Rejection, match="not_csv"):
            parse(line)
