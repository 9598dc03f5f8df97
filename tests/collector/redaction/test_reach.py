"""What an expression can be found in: certain when it says never."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controltower.collector.redaction.linear import expression
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.reach import reaches
from controltower.store.redaction import PLAIN

PIECES = st.sampled_from(
    [
        "a",
        "B",
        "7",
        r"\.",
        r"\s",
        r"\d",
        r"\w",
        r"\S",
        ".",
        "[a-c]",
        "[^x]",
        "[A-Z0-9]",
        r"[\s@]",
        r"\b",
        "^",
        "$",
        "é",
        "_",
        "[:=]",
        "[[:alpha:]]",
    ]
)
COUNTS = st.sampled_from(["", "", "?", "*", "+", "{2}", "{0,3}", "{1,2}?"])
FORMS = st.sampled_from(["{}", "({})", "(?:{})", "(?i:{})", "(?P<n>{})"])


def _alternatives(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = st.tuples(FORMS.filter(lambda form: "n" not in form), st.lists(inner, min_size=1, max_size=3), COUNTS)
    return st.one_of(
        parts.map(lambda made: made[0].format("".join(made[1])) + (made[2] if made[0] != "{}" else "")),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"(?:{'|'.join(each)})"),
    )


EXPRESSIONS = st.recursive(st.tuples(PIECES, COUNTS).map("".join), _alternatives, max_leaves=8)
NAMES = st.text(st.sampled_from(sorted(PLAIN)), max_size=12)


@given(EXPRESSIONS, st.sampled_from(["", "(?i)"]), NAMES)
@example("[[:alpha:]]", "", "a")
@example("[A-C]", "(?i)", "b")
def test_what_never_matches_is_never_found(find: str, flags: str, name: str) -> None:
    """Whatever RE2 finds in a text, the expression was said to be able to."""
    try:
        compiled = expression(flags + find)
    except ValueError:
        return
    if compiled.search(name.encode()) is not None:
        assert reaches(flags + find, PLAIN)


def test_no_shipped_pattern_is_looked_for_in_plain_names() -> None:
    """Names of lower-case words hold nothing that the shipped policy knows, so they cost nothing."""
    assert [name for name, pattern in default_policy().patterns.items() if reaches(pattern.find, PLAIN)] == []


@pytest.mark.parametrize(
    ("find", "may"),
    [
        ("zebulon", True),
        ("Zebulon", False),
        ("(?i)ZEB", True),
        (r"\pL", True),
        ("[0-9]*", True),
        ("a|[0-9]", True),
        (r"a\s", False),
    ],
)
def test_examples(find: str, may: bool) -> None:
    """Case counts as the expression says, and what is not understood may be found."""
    assert reaches(find, PLAIN) is may
