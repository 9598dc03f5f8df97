"""``time.sleep`` for a process under libfaketime, which refuses the absolute times that Python's own sleeps until."""

import threading
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    threading.Event().wait(float(seconds))


time.sleep = _sleep
