"""A gate for work that may be done at the same time, and for work that must be done alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets many in who share, or one who is alone. Who wants to be alone comes before those who come later to share."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._waiting = 0  # to be alone
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside with others for the length of the block; waits until nobody is or wants to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._is_alone or self._waiting))
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside alone for the length of the block; waits until everybody else has left. Not to be entered twice."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._is_alone or self._sharing))
            self._waiting -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
