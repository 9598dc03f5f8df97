"""Fixtures of pytest for instrumented services; pytest finds them when the package is installed.

``@pytest.mark.controltower(mode="production")`` gives a test's capture the options of ``configure``.
"""

from collections.abc import Callable, Iterator
from typing import cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from controltower.tracer.canaries import Canaries, no_canaries
from controltower.tracer.configure import Options
from controltower.tracer.testing import Captured, capture


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "controltower(**options): options of tracer.configure for the capture of a test")


@pytest.fixture
def captured_steps(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """What the test's code sends, with fixed ids and a stepping clock; nothing leaves the process."""
    with capture(**_options(request)) as captured:
        yield captured


@pytest.fixture
def assert_step(captured_steps: Captured) -> Callable[..., ReadableSpan]:
    """``assert_step("p2p.invoice.posted", keys={"invoice": "I-1"})``: one such step was sent, and is returned."""
    return captured_steps.assert_step


@pytest.fixture
def canaries(request: pytest.FixtureRequest) -> Iterator[Canaries]:
    """A patient who does not exist, as ``canaries.patient``; at its end the test fails when data of theirs would be sent."""
    with no_canaries(**_options(request)) as found:
        yield found


def _options(request: pytest.FixtureRequest) -> Options:
    found: dict[str, object] = {}
    for marker in reversed(list(request.node.iter_markers("controltower"))):  # the nearest has the last word
        found.update(marker.kwargs)
    return cast(Options, found)
