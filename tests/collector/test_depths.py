"""The cheapest reading that will do is chosen, and one that did not do rests."""

from controltower.collector.depths import RUN, Depths


def test_a_depth_rests_after_a_deeper_value() -> None:
    """The next cheapest is chosen meanwhile; then the cheaper one is tried again."""
    depths = Depths((0, 1, 3))

    assert [depths.next() for _ in range(3)] == [0, 0, 0]
    depths.note_deeper_than(0)
    assert {depths.next() for _ in range(RUN)} == {1}
    assert depths.next() == 0


def test_all_cheaper_depths_can_rest() -> None:
    """What is read deepest is read in any case."""
    depths = Depths((0, 1, 3))
    depths.note_deeper_than(0)
    depths.next()
    depths.note_deeper_than(1)

    assert {depths.next() for _ in range(RUN - 1)} == {3}
    assert [depths.next() for _ in range(2)] == [0, 0]


def test_a_single_depth_is_always_chosen() -> None:
    """Signals with one inbox have no choice."""
    assert Depths((3,)).next() == 3
