"""What the expressions of RE2 find by name."""

import re

from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.redaction.linear import Groups

EXPRESSION = "(?P<first>b)?a(?P<behind>[^a]+)(x)?(?:c(?P<last>.)|(?P<none>d))?"


@given(st.lists(st.sampled_from(["ba", *"axcd1\u00fc\u20ac\U0001f600"]), max_size=8).map("".join))
def test_what_is_found_by_name_is_what_python_finds(text: str) -> None:
    """The groups of any text are those that Python finds, without those that are not there, whatever bytes a character has."""
    expected = re.search(EXPRESSION, text)
    named = expected and {name: value for name, value in expected.groupdict().items() if value is not None}

    assert Groups(EXPRESSION).named(text) == named
