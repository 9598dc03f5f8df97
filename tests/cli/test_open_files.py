"""Open files: as many as the system allows, and connections within them."""

import resource

import pytest

from controltower.cli.open_files import KEPT, MOST, allow_open_files, connections_within


def test_what_the_system_allows_is_used() -> None:
    """The soft limit is raised as far as nobody has to be asked, and never lowered."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = allow_open_files()
    after, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert allowed == after or after == resource.RLIM_INFINITY
    assert after >= before
    assert after >= min(hard if hard != resource.RLIM_INFINITY else MOST, MOST)


@pytest.mark.parametrize(
    ("open_files", "wanted", "transports", "connections"),
    [(65_536, 8_000, 2, 8_000), (5_000, 8_000, 2, (5_000 - KEPT) // 2), (5_000, 8_000, 1, 4_000), (256, 8_000, 2, 1)],
)
def test_connections_leave_files_for_the_journal(
    open_files: int, wanted: int, transports: int, connections: int
) -> None:
    """A crowd of connections never takes the files that storing needs."""
    assert connections_within(open_files, wanted, transports) == connections
