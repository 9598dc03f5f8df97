"""The cheapest reading that will do is chosen, and one that did not do rests."""

from controltower.collector.readings import RUN, Readings
from controltower.store.otlp import DEEP, FLAT, SHALLOW


def test_a_reading_rests_after_it_was_too_cheap() -> None:
    """The next cheapest is chosen meanwhile; then the cheaper one is tried again."""
    readings = Readings((FLAT, SHALLOW, DEEP))

    assert [readings.next() for _ in range(3)] == [FLAT] * 3
    readings.note_too_cheap(FLAT)
    assert {readings.next() for _ in range(RUN)} == {SHALLOW}
    assert readings.next() == FLAT


def test_all_cheaper_readings_can_rest() -> None:
    """What reads everything is left."""
    readings = Readings((FLAT, SHALLOW, DEEP))
    readings.note_too_cheap(FLAT)
    readings.next()
    readings.note_too_cheap(SHALLOW)

    assert {readings.next() for _ in range(RUN - 1)} == {DEEP}
    assert [readings.next() for _ in range(2)] == [FLAT, FLAT]


def test_a_single_reading_is_always_chosen() -> None:
    """Signals with one inbox have no choice."""
    assert Readings((DEEP,)).next() == DEEP
