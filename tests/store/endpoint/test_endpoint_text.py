"""Where data begins, where the result goes, what is quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.endpoint_text import (
    InsertHead,
    as_select,
    escape_parameter,
    insert_head,
    into,
    quote,
    with_output,
)


@pytest.mark.parametrize(
    ("text", "target", "fmt", "data"),
    [
        ("INSERT INTO t VALUES (1), (2)", "INSERT INTO t ", "Values", " (1), (2)"),
        ("insert into t(a, b)values(1)", "insert into t(a, b)", "Values", "(1)"),
        ("INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "CSV", "1,2\n"),
        ("INSERT INTO t FORMAT CSV 1,2\n", "INSERT INTO t ", "CSV", "1,2\n"),
        ("INSERT INTO t FORMAT Native\r\n\n\n", "INSERT INTO t ", "Native", "\n\n"),
        ("INSERT INTO t (format, values) FORMAT JSONEachRow\n{}", "INSERT INTO t (format, values) ", "JSONEachRow", "{}"),
        ("INSERT INTO values VALUES (1)", "INSERT INTO values ", "Values", " (1)"),
        ("INSERT INTO format FORMAT CSV\n1", "INSERT INTO format ", "CSV", "1"),
        ("INSERT INTO d.values FORMAT CSV\n1", "INSERT INTO d.values ", "CSV", "1"),
        ("INSERT INTO TABLE values VALUES (1)", "INSERT INTO TABLE values ", "Values", " (1)"),
        ("/* VALUES */ INSERT INTO `FORMAT CSV` VALUES ('VALUES')", "/* VALUES */ INSERT INTO `FORMAT CSV` ", "Values", " ('VALUES')"),
        ("INSERT INTO t SETTINGS a = 'FORMAT x', b = 1 FORMAT TSV\na\tb\n", "INSERT INTO t SETTINGS a = 'FORMAT x', b = 1 ", "TSV", "a\tb\n"),
    ],
)  # fmt: skip
def test_data_begins_where_the_engine_reads_it(text: str, target: str, fmt: str, data: str) -> None:
    """The statement ends with VALUES or with the format and the rest of its line."""
    head = insert_head(text.encode(), complete=True)

    assert isinstance(head, InsertHead)
    assert (head.target, head.format, text[head.data_at :]) == (target, fmt, data)
    assert text.startswith(head.statement)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT 1 FORMAT CSV",
        "INSERT INTO t SELECT 1 FORMAT CSV",
        "INSERT INTO t WITH 1 AS x SELECT x",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "CREATE TABLE t (x UInt8) ENGINE = Memory",
        "(SELECT 1)",
        "'INSERT INTO t VALUES'",
        "INSERT INTO t",
    ],
)
def test_other_statements_have_no_data(text: str) -> None:
    """Only an INSERT with VALUES or FORMAT and without a query has data."""
    assert insert_head(text.encode(), complete=True) == "none"


@given(st.integers(0, 60), st.binary(max_size=20))
def test_a_head_is_found_however_it_is_cut(cut: int, data: bytes) -> None:
    """More bytes never change what was found, and an incomplete head asks for more."""
    statement = b"INSERT INTO `a b` (x, y) SETTINGS z = 'VALUES' FORMAT RowBinary\n"
    whole = insert_head(statement + data, complete=True)
    part = insert_head((statement + data)[:cut], complete=False)

    assert isinstance(whole, InsertHead)
    assert part in ("more", whole)


@pytest.mark.parametrize(
    ("sql", "written", "expected"),
    [
        ("SELECT 1", None, "SELECT 1\n@ FORMAT TSV"),
        ("SELECT 1 -- end", None, "SELECT 1 -- end\n@ FORMAT TSV"),
        ("SELECT 1 FORMAT CSV", "CSV", "SELECT 1 \n@ FORMAT CSV"),
        ("SELECT 1 format CSV settings a = 1", "CSV", "SELECT 1 \n@ format CSV settings a = 1"),
        ("SELECT 'FORMAT CSV' FORMAT `CSV`", "CSV", "SELECT 'FORMAT CSV' \n@ FORMAT `CSV`"),
        ("SELECT (SELECT 1 FORMAT CSV) FORMAT CSV", "CSV", "SELECT (SELECT 1 FORMAT CSV) \n@ FORMAT CSV"),
    ],
)
def test_the_result_goes_before_its_format(sql: str, written: str | None, expected: str) -> None:
    """The clause stands before the format that the statement names, or at its end."""
    before, after = with_output(sql, written, "TSV")

    assert into(before, "p", after) == expected.replace("@", "INTO OUTFILE 'p' TRUNCATE")


def test_a_format_that_is_not_found_is_an_error() -> None:
    """A tree that names a format that the text does not is not guessed at."""
    with pytest.raises(ValueError, match="no FORMAT CSV"):
        with_output("SELECT 1", "CSV", "TSV")


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ("DESCRIBE TABLE t FORMAT CSV", ("Describe", "SELECT * FROM t FORMAT CSV")),
        ("EXISTS TEMPORARY TABLE t", ("Exists", "SELECT * FROM t")),
        ("SHOW CREATE TABLE a.`b c`", ("ShowCreate", "SELECT * FROM a.`b c`")),
        ("SHOW PROCESSLIST FORMAT CSV", ("ShowProcesslist", "SELECT 1  FORMAT CSV")),
        ("SHOW GRANTS", None),
        ("CREATE USER x", None),
    ],
)
def test_statements_unknown_to_the_parser_are_read_as_queries(canonical: str, expected: tuple[str, str] | None) -> None:
    """What they name is what a query over it would name; anything else stays unknown."""
    assert as_select(canonical) == expected


@given(st.text())
def test_quoted_text_is_one_string(value: str) -> None:
    """Nothing ends a quoted value but its closing quote."""
    quoted = quote(value)
    inner = quoted[1:-1].replace("\\\\", "").replace("\\'", "")

    assert quoted[0] == quoted[-1] == "'"
    assert "'" not in inner
    assert "\t" not in escape_parameter(value)
    assert "\n" not in escape_parameter(value)
