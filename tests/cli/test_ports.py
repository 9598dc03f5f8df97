"""Sockets are bound before anything starts."""

import pytest

from controltower.cli.errors import CommandError
from controltower.cli.ports import listen, port_of


def test_a_taken_port_names_its_option() -> None:
    """A port that somebody listens on is refused with the option that changes it."""
    with listen("127.0.0.1", 0, "--collector-port") as taken:
        number = port_of(taken)

        with pytest.raises(CommandError, match=f"Port {number} of 127.0.0.1 is taken.*--collector-port"):
            listen("127.0.0.1", number, "--collector-port")


def test_an_address_of_another_machine_is_refused() -> None:
    """An address that is not this machine's is a sentence, too."""
    with pytest.raises(CommandError, match=r"Cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0, "--host")
