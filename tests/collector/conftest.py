"""A running collector for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.requests import Tower, running


@pytest.fixture
def tower(tmp_path: Path) -> Iterator[Tower]:
    """A collector with default limits on a free port."""
    with running(tmp_path) as started:
        yield started
