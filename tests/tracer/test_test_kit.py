"""The test kit for users."""

import doctest

import pytest

import controltower.tracer.testing
from controltower import tracer
from controltower.tracer.testing import FIRST_NS, capture


def test_ids_and_times_are_the_same_in_every_run() -> None:
    """Two runs of the same code give the same spans, so that they can be compared as text."""

    def run() -> list[str]:
        with capture() as captured, tracer.step("a.b.outer") as step:
            step.line(line=1)
            with tracer.step("a.b.inner"):
                pass
        return [span.to_json() for span in captured.spans]

    assert run() == run()
    assert f'"trace_id": "0x{1:032x}"' in run()[0]


def test_clock_steps_from_a_fixed_time() -> None:
    """The first step starts at the fixed time, a millisecond passes between readings."""
    with capture() as captured, tracer.step("a.b.c"):
        pass

    [span] = captured.spans
    assert (span.start_time, span.end_time) == (FIRST_NS, FIRST_NS + 1_000_000)


def test_failed_assertion_shows_what_there_was() -> None:
    """The message lists the steps with that code."""
    with capture() as captured, tracer.step("a.b.c", keys={"invoice": "I-1"}):
        pass

    with pytest.raises(AssertionError, match=r"0 steps a\.b\.c(.|\n)*I-1"):
        captured.assert_step("a.b.c", keys={"invoice": "I-2"})


def test_captures_nest_and_restore() -> None:
    """Inside a capture another one takes over for its time."""
    with capture() as outer:
        with capture() as inner, tracer.step("a.b.inner"):
            pass
        with tracer.step("a.b.outer"):
            pass

    assert [span.name for span in inner.spans] == ["a.b.inner"]
    assert [span.name for span in outer.spans] == ["a.b.outer"]


@pytest.mark.parametrize("module", [tracer, controltower.tracer.testing])
def test_examples_in_docstrings_run(module: object) -> None:
    """What the documentation shows works."""
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]  # any module
