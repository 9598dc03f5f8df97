"""Reading statements as the engine's lexer does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.statements import normal, split, tokens


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        (" ;; \n; ", []),
        ("-- only words; here", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        (r"SELECT 'it\'s; fine'; SELECT 'a'';b'", [r"SELECT 'it\'s; fine'", "SELECT 'a'';b'"]),
        ('SELECT "a;b", `c;d`; SELECT 2', ['SELECT "a;b", `c;d`', "SELECT 2"]),
        ("SELECT 1 -- a; b\n; SELECT 2", ["SELECT 1 -- a; b", "SELECT 2"]),
        ("SELECT 1 # a; b\n; SELECT 2", ["SELECT 1 # a; b", "SELECT 2"]),
        ("SELECT 1 /* a; ' b */; SELECT 2", ["SELECT 1 /* a; ' b */", "SELECT 2"]),
        ("SELECT $x$ a; b $x$; SELECT $$;$$", ["SELECT $x$ a; b $x$", "SELECT $$;$$"]),
        ("SELECT 'never; closed", ["SELECT 'never; closed"]),
        ("-- first\nSELECT 1;\n-- last;\n", ["-- first\nSELECT 1"]),
        ("SELECT 1 -- ' quote in a comment\n; SELECT 2", ["SELECT 1 -- ' quote in a comment", "SELECT 2"]),
    ],
)
def test_semicolons_end_statements_only_outside_strings_names_and_comments(sql: str, statements: list[str]) -> None:
    """A semicolon in a string, a quoted name, a heredoc or a comment does not end a statement."""
    assert split(sql) == statements


def test_normal_form_ignores_comments_and_spaces() -> None:
    """Two texts that differ in layout only have one normal form; strings keep theirs."""
    assert normal("SELECT  1 -- why\n,\n'a  b'") == normal("SELECT 1, /* x */ 'a  b'") == "SELECT 1 , 'a  b'"


WORDS = st.sampled_from(["SELECT", "1", "'a;b'", "`n;`", '"m;"', "-- c;\n", "/*;*/", "'it\\'s;'", "(", ")", "$$;$$"])


@given(st.lists(st.lists(WORDS, min_size=1).map(" ".join), max_size=6))
def test_what_is_joined_by_semicolons_is_split_again(texts: list[str]) -> None:
    """Splitting undoes joining, whatever stands in strings and comments."""
    meaningful = [normal(text) for text in texts if any(True for _ in tokens(text))]

    assert [normal(statement) for statement in split(" ; ".join(texts))] == meaningful


@given(st.text(alphabet="'\"`;-/*#$\\ \na1"))
def test_any_text_is_read_to_its_end(sql: str) -> None:
    """No text makes the lexer fail, and no token is invented."""
    assert all(sql.startswith(token.text, token.start) for token in tokens(sql))
