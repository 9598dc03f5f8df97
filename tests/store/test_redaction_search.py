"""The one search over many texts: it may find too much, never too little."""

from typing import Any, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from controltower.collector.redaction.linear import ExpressionError, expression
from controltower.collector.redaction.policy import default_policy
from controltower.store.redaction_search import loosened
from tests.collector.redaction.canaries import CANARIES

PIECES = st.sampled_from(
    ["a", "b", r"\{", "[ab]", "[^a]", r"[\]{1,20}]", "[{2,30}]", r"\\", ".", r"\b", "(?:ab|b)", "[[:alpha:]]"]
)
COUNTS = st.sampled_from(["", "{0,12}", "{1,40}", "{2,15}", "{2,3}", "{3}", "{0,20}?", "+"])
EXPRESSIONS = st.lists(st.tuples(PIECES, COUNTS).map("".join), min_size=1, max_size=5).map("".join)
TEXTS = st.text(st.sampled_from("ab{}2,30]1\\ "), max_size=60)
SHIPPED: Final = [pattern.find for pattern in default_policy().patterns.values()]


def compiled(find: str) -> Any:
    """Return an expression of RE2, and none of the cases that it does not take."""
    try:
        return expression(find)
    except ExpressionError:
        assume(False)


@given(EXPRESSIONS, TEXTS)
def test_what_an_expression_finds_its_loosened_form_finds(find: str, text: str) -> None:
    """Only how far it counts differs: not what stands in a class, and not braces that are themselves meant."""
    if compiled(find).search(text.encode()):
        assert compiled(loosened(find)).search(text.encode())


def test_the_shipped_patterns_find_the_same_canaries() -> None:
    """Each canary is found between others as it is alone."""
    text = "\n".join(["before", *CANARIES.values(), "behind"]).encode()
    for find in SHIPPED:
        if any(expression(find).search(canary.encode()) for canary in CANARIES.values()):
            assert expression(f"(?m){loosened(find)}").search(text), find
