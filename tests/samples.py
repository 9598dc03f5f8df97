"""Telemetry that others wrote: evaluation data beside the checkout, which is never part of it."""

from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs ../shared/data (evaluation data beside the checkout)"
)
