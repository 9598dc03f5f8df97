"""Waiting until what was sent is loaded and resolved; every wait has an end and says what it waits for."""

from collections.abc import Callable
from typing import Final

from controltower.cli.errors import CommandError
from controltower.store.truth_reads import Progress

LOOK_S: Final = 0.5
PATIENCE_S: Final = 180.0  # without any progress; one cycle of the engine on a busy machine takes a part of it


def wait_until_resolved(
    look: Callable[[], Progress],
    expected: int,
    *,
    wait: Callable[[float], bool],
    elapsed_s: Callable[[], float],
    say: Callable[[int, int], None],
) -> None:
    """Block until *expected* spans are loaded and the engine has read them all.

    Raises CommandError when nothing has moved for ``PATIENCE_S``.
    """
    last, moved_at = None, elapsed_s()
    while True:
        seen = look()
        say(seen.loaded, expected)
        if seen.loaded >= expected and seen.resolved:
            return
        if seen != last:
            last, moved_at = seen, elapsed_s()
        if elapsed_s() - moved_at > PATIENCE_S:
            raise CommandError(_stuck(seen, expected))
        if wait(LOOK_S):
            raise KeyboardInterrupt


def _stuck(seen: Progress, expected: int) -> str:
    if seen.loaded < expected:
        return (
            f"The collector acknowledged {expected} spans, but only {seen.loaded} are loaded and nothing has moved for "
            f"{PATIENCE_S:.0f} s; look at serve's log and at `controltower doctor`."
        )
    return (
        f"All {expected} spans are loaded, but the engine has not resolved them for {PATIENCE_S:.0f} s; "
        "is `controltower serve` or `engine` running on this store?"
    )
