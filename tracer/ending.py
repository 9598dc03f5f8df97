"""What is still to be sent when the process is asked to end: SIGTERM ends Python at once, and runs nothing at exit."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

GRACE_S: Final = 1.0  # beside what the shutdown itself is given


def finish_at_sigterm(finish: Callable[[float], object], timeout_s: float) -> bool:
    """Call *finish* with *timeout_s* before SIGTERM ends the process; return whether that was arranged.

    A host that handles the signal itself is left alone, now and later: it decides how it ends. Python takes handlers
    from its main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False

    def end(number: int, frame: FrameType | None) -> None:
        # In a thread of its own: the signal may have stopped the main thread while it held one of our locks.
        thread = threading.Thread(target=finish, args=(timeout_s,), daemon=True)
        thread.start()
        thread.join(timeout_s + GRACE_S)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    return True
