"""Sockets to listen on, bound before anything else starts."""

import errno
import socket

from controltower.cli.errors import CommandError


def listen(host: str, port: int, option: str) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises CommandError naming *option* when the port is taken, which uvicorn and Streamlit would tell too late.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(1024)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} of {host} is taken; stop what listens there, or choose another with {option}."
            ) from exc
        raise CommandError(f"Cannot listen on {host}:{port}: {exc.strerror}; choose another with {option}.") from exc
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> int:
    """Return the port that a socket listens on."""
    return int(listener.getsockname()[1])
