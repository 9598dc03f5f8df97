"""Methods of other people's libraries that a hook replaced, and the way back."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

Function = Callable[..., Any]
NOT_ITS_OWN: Final = object()  # the attribute came from a base class, and goes back there


class Patches:
    """What one hook replaced. ``undo`` puts it back; what others wrapped around ours meanwhile stays, ours goes quiet."""

    def __init__(self) -> None:
        self.active = True
        self._undo: list[Callable[[], None]] = []

    def method(self, owner: Any, name: str, make: Callable[[Function], Function]) -> None:
        """Replace ``owner.name`` by ``make(original)``; raises ``AttributeError`` when the library has no such method."""
        own = vars(owner).get(name, NOT_ITS_OWN)
        original = getattr(owner, name)
        self.value(owner, name, self.function(original, make(original)), own)

    def function(self, original: Function, ours: Function) -> Function:
        """Return *ours* while the hook is on and *original* after it, with the looks of *original*."""

        @functools.wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            return ours(*arguments, **named) if self.active else original(*arguments, **named)

        @functools.wraps(original)
        async def call_async(*arguments: Any, **named: Any) -> Any:
            return await (ours(*arguments, **named) if self.active else original(*arguments, **named))

        return call_async if inspect.iscoroutinefunction(original) else call

    def value(self, owner: Any, name: str, new: object, own: object = NOT_ITS_OWN) -> None:
        """Set ``owner.name`` to *new*; ``undo`` sets it to *own* again, or takes it away when it was inherited."""
        setattr(owner, name, new)

        def back() -> None:
            if vars(owner).get(name) is not new:
                return
            if own is NOT_ITS_OWN:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

        self._undo.append(back)

    def later(self, undo: Callable[[], None]) -> None:
        """Call *undo* with the others."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Put everything back, last first; can be called twice."""
        self.active = False
        while self._undo:
            self._undo.pop()()
