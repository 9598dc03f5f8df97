"""The gate: many share, one is alone."""

import threading

from controltower.collector.gate import Gate

PATIENCE_S = 30.0


def test_those_who_share_are_inside_together() -> None:
    """Two who share can wait for each other inside."""
    gate, meeting = Gate(), threading.Barrier(2, timeout=PATIENCE_S)

    def share() -> None:
        with gate.shared():
            meeting.wait()

    threads = [threading.Thread(target=share) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in threads)


def test_who_is_alone_meets_nobody() -> None:
    """Whoever is alone begins when the others have left, and comes before those who come later."""
    gate, order = Gate(), []
    entered, may_leave = threading.Event(), threading.Event()

    def share() -> None:
        with gate.shared():
            order.append("sharing")
            entered.set()
            may_leave.wait(PATIENCE_S)
            order.append("shared")

    def be_alone() -> None:
        with gate.alone():
            order.append("alone")

    def share_later() -> None:
        with gate.shared():
            order.append("later")

    first, second = threading.Thread(target=share), threading.Thread(target=be_alone)
    first.start()
    assert entered.wait(PATIENCE_S)
    second.start()
    with gate._changed:
        assert gate._changed.wait_for(lambda: gate._waiting == 1, PATIENCE_S)
    third = threading.Thread(target=share_later)
    third.start()
    may_leave.set()
    for thread in (first, second, third):
        thread.join(PATIENCE_S)

    assert order == ["sharing", "shared", "alone", "later"]
