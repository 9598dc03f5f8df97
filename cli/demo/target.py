"""Where the demo sends to: a given collector, a running ``serve``, or one that is started for the demo's own time."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from controltower.cli.children import Child, start
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.settings import Settings, store_variables
from controltower.store.address import parse_address
from controltower.store.runtime import RuntimeFile, running

SERVE_TIMEOUT_S: Final = 60.0  # a large journal is read once at the start
LOOK_S: Final = 0.05
ASK_TIMEOUT_S: Final = 5.0
UNAUTHORISED: Final = 401


@dataclass(frozen=True, slots=True)
class Target:
    """A collector, and whether the store behind it is the one of the settings, so that the demo can watch it."""

    endpoint: str
    token: str = field(repr=False)
    watched: bool


@contextmanager
def target(settings: Settings, endpoint: str | None, token: str | None) -> Iterator[Target]:
    """Give the collector to send to. Raises CommandError when it does not take spans."""
    found = running(settings.data)
    if endpoint is not None:
        ours = found is not None and found.collector == endpoint
        yield _checked(Target(endpoint, token or (found.token if found and ours else ""), ours or bool(settings.store)))
    elif found is not None and found.collector:
        # A serve on a server's store does not tell the password: without --store its store cannot be looked into.
        watched = bool(settings.store) or parse_address(found.store).embedded
        yield _checked(Target(found.collector, token or found.token, watched))
    else:
        with _own_serve(settings) as runtime:
            yield _checked(Target(runtime.collector, runtime.token, watched=True))


@contextmanager
def _own_serve(settings: Settings) -> Iterator[RuntimeFile]:
    """Run ``serve`` as a child on free ports for the length of the block."""
    folder = DataFolder(settings.data)
    folder.make()
    options = ["--data", str(settings.data), "--collector-port", "0", "--no-grpc", "--endpoint-port", "0", "--quiet"]
    child = start("serve", ["serve", *options], folder.logs / "serve.err", variables=store_variables(settings))
    try:
        yield _ready(child, settings, folder)
    finally:
        child.stop()


def _ready(child: Child, settings: Settings, folder: DataFolder) -> RuntimeFile:
    deadline = time.monotonic() + SERVE_TIMEOUT_S
    pause = threading.Event()
    while not pause.wait(LOOK_S):
        if child.exit_code is not None:
            raise CommandError(child.last_words() or f"serve ended; {folder.logs / 'serve.log'} says why.")
        found = running(settings.data)
        if found is not None and found.pid == child.process.pid:
            return found
        if time.monotonic() > deadline:
            break
    raise CommandError(f"serve is not ready; {folder.logs / 'serve.log'} says why.")


def _checked(chosen: Target) -> Target:
    """Send an empty request, so that a wrong address or token shows before anything is planned."""
    base = chosen.endpoint.rstrip("/")
    url = base if base.endswith("/v1/traces") else f"{base}/v1/traces"
    headers = {"Content-Type": "application/x-protobuf"}
    if chosen.token:
        headers["Authorization"] = f"Bearer {chosen.token}"
    try:
        request = urllib.request.Request(url, data=b"", headers=headers, method="POST")  # noqa: S310 - the user's own address
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=ASK_TIMEOUT_S):
            return chosen
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code == UNAUTHORISED:
                raise CommandError(
                    f"The collector at {chosen.endpoint} refuses the token; give one with --token."
                ) from exc
            raise CommandError(f"The collector at {chosen.endpoint} answers {exc.code} {exc.reason}.") from exc
    except (OSError, ValueError) as exc:
        raise CommandError(
            f"No collector takes spans at {chosen.endpoint}; start `controltower serve`, or give another --endpoint."
        ) from exc
