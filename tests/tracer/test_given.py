"""Settings as they were given: who gave one is named, what it was is not."""

import pytest

from controltower.tracer.errors import SettingError
from controltower.tracer.given import Given, given


def test_an_argument_stands_before_our_variable_and_that_before_others() -> None:
    """The first that is set counts, with the name by which it is to be corrected; blank is not set."""
    variables = {"CONTROLTOWER_QUEUE_SIZE": "7", "OTEL_BSP_MAX_QUEUE_SIZE": "8"}

    assert given("queue_size", 6, variables, "OTEL_BSP_MAX_QUEUE_SIZE") == Given(6, "queue_size")
    assert given("queue_size", None, variables) == Given("7", "CONTROLTOWER_QUEUE_SIZE")
    blank = {**variables, "CONTROLTOWER_QUEUE_SIZE": " "}
    assert given("queue_size", None, blank, "OTEL_BSP_MAX_QUEUE_SIZE") == Given("8", "OTEL_BSP_MAX_QUEUE_SIZE")
    assert given("queue_size", None, {}) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, "text"),
        ("secret", "choice"),
        ("secret", "whole"),
        (True, "whole"),
        ("0", "whole"),
        ("secret", "seconds"),
        (0, "seconds"),
        ("3601", "seconds"),
        (True, "seconds"),
    ],
)
def test_a_refusal_names_the_giver_and_not_the_value(value: object, read: str) -> None:
    """What cannot be used may be a secret in the wrong place."""
    one = Given(value, "CONTROLTOWER_X")
    arguments = {"choice": ("drop", "block"), "whole": (1,)}.get(read, ())
    with pytest.raises(SettingError) as refused:
        getattr(one, read)(*arguments)

    assert refused.value.setting == "CONTROLTOWER_X"
    assert str(refused.value).startswith("CONTROLTOWER_X: give ")
    assert "secret" not in str(refused.value)


def test_seconds_have_the_unit_of_their_variable() -> None:
    """OpenTelemetry's batch processor is set in milliseconds, everything else in seconds."""
    assert Given("500", "OTEL_BSP_SCHEDULE_DELAY").seconds() == 0.5
    assert Given("0.5", "CONTROLTOWER_INTERVAL_S").seconds() == 0.5
    assert Given(" BLOCK ", "x").choice("drop", "block") == "block"
