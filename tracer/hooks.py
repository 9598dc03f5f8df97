"""The hooks into other libraries: which there are, which are on, and how to turn them on and off."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from controltower.tracer import default
from controltower.tracer.errors import MissingExtraError, SettingError, TracerError
from controltower.tracer.integrations.extract import Rules, rules_from, use
from controltower.tracer.integrations.patches import Patches

if TYPE_CHECKING:
    from controltower.tracer.system import System

Kind = Literal["messages", "http server", "http client", "sql", "jobs"]


@dataclass(frozen=True, slots=True)
class Hook:
    """One library that can be hooked."""

    name: str  # for ``instrument``; also of the module in ``tracer.integrations``, with _ for -
    kind: Kind
    module: str  # of the library; looked for, and not imported before it is hooked
    distribution: str
    oldest: str  # version that it is made for
    tested: str  # version that its tests ran with last
    rival: str = ""  # instrumentation of OpenTelemetry's that does the same: only one of the two can be on
    needs: str = ""  # instrumentation of OpenTelemetry's that it builds on


_ALL: Final = (
    Hook("pika", "messages", "pika", "pika", "1.3", "1.4.4", rival="pika.PikaInstrumentor"),
    Hook("aio-pika", "messages", "aio_pika", "aio-pika", "9.4", "10.2.1", rival="aio_pika.AioPikaInstrumentor"),
    Hook("redis", "messages", "redis", "redis", "5", "8.1.0"),
    Hook("nats", "messages", "nats", "nats-py", "2.2", "2.16.0"),
    Hook("paho", "messages", "paho.mqtt", "paho-mqtt", "2", "2.2.0"),
    Hook(
        "confluent-kafka",
        "messages",
        "confluent_kafka",
        "confluent-kafka",
        "2",
        "2.16.1",
        rival="confluent_kafka.ConfluentKafkaInstrumentor",
    ),
    Hook("aiokafka", "messages", "aiokafka", "aiokafka", "0.10", "0.14.0", rival="aiokafka.AIOKafkaInstrumentor"),
    Hook("sqs", "messages", "boto3", "boto3", "1.35", "1.43.117", rival="boto3sqs.Boto3SQSInstrumentor"),
    Hook("fastapi", "http server", "fastapi", "fastapi", "0.92", "0.165.0", needs="fastapi"),
    Hook("starlette", "http server", "starlette", "starlette", "0.13", "1.10.0", needs="starlette"),
    Hook("flask", "http server", "flask", "flask", "2", "3.1.3", needs="flask"),
    Hook("django", "http server", "django", "django", "4", "5.2.19", needs="django"),
    Hook("httpx", "http client", "httpx", "httpx", "0.18", "0.28.1", needs="httpx"),
    Hook("requests", "http client", "requests", "requests", "2", "2.34.2", needs="requests"),
    Hook("aiohttp-client", "http client", "aiohttp", "aiohttp", "3", "3.14.5", needs="aiohttp_client"),
    Hook("urllib3", "http client", "urllib3", "urllib3", "2", "2.8.0", needs="urllib3"),
    Hook(
        "sqlalchemy",
        "sql",
        "sqlalchemy",
        "sqlalchemy",
        "1.4",
        "2.1.9",
        "sqlalchemy.SQLAlchemyInstrumentor",
        "sqlalchemy",
    ),
    Hook("psycopg", "sql", "psycopg", "psycopg", "3.1", "3.3.9", needs="psycopg"),
    Hook("celery", "jobs", "celery", "celery", "5", "5.7.0", needs="celery"),
    Hook("rq", "jobs", "rq", "rq", "3", "3.0.0"),
    Hook("apscheduler", "jobs", "apscheduler", "apscheduler", "3.9", "3.11.3"),
)
HOOKS: Final = {hook.name: hook for hook in _ALL}
INSTRUMENTATION: Final = "opentelemetry.instrumentation."


@dataclass(frozen=True, slots=True)
class Hooked:
    """What ``instrument`` did."""

    on: tuple[str, ...]  # hooks that are on now
    off: Mapping[str, str] = field(default_factory=dict)  # hook -> why it is not on


class _Refused(Exception):
    """A hook cannot be turned on, for the reason given."""


class _On:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.hooks: dict[str, Patches] = {}


_on = _On()


def instrument(
    *names: str, system: "System | None" = None, accept_keys: bool = True, extract: Rules | None = None
) -> Hooked:
    """Hook the libraries that are installed, or those of *names*; what is hooked already stays as it is.

    Call it before connections are opened and handlers are registered. Without names a hook that cannot be turned on is
    left out with its reason; a named one raises ``MissingExtraError``. Spans go to *system*, or to the one that is
    configured when a message or a request comes. With *accept_keys* off, servers do not take keys from their callers:
    headers can be forged. *extract* are rules by which keys are taken from messages and requests, instead of those in
    the file that ``CONTROLTOWER_EXTRACT`` names; a bad one raises ``SettingError``.
    """
    rules = rules_from(extract)
    for name in names:
        if name not in HOOKS:
            raise SettingError("instrument", f"there is no hook {name[:40]!r}; there are {', '.join(HOOKS)}")
    off: dict[str, str] = {}
    with _on.lock:
        if rules or extract is not None:
            use(rules)
        for name in names or HOOKS:
            if name not in _on.hooks:
                try:
                    _on.hooks[name] = _turned_on(HOOKS[name], system, accept_keys)
                except _Refused as refused:
                    off[name] = str(refused)
    if names and off:
        raise MissingExtraError("; ".join(f"{name}: {why}" for name, why in off.items()))
    return Hooked(tuple(name for name in names or HOOKS if name in _on.hooks), off)


def uninstrument(*names: str) -> None:
    """Take the hooks off again, all of them or those of *names*; handlers that run already go on without spans."""
    with _on.lock:
        for name in names or tuple(_on.hooks):
            if (patches := _on.hooks.pop(name, None)) is not None:
                patches.undo()
        if not _on.hooks:
            use(())


def _turned_on(hook: Hook, system: "System | None", accept_keys: bool) -> Patches:
    _look(hook)
    used: Callable[[], System] = default.system if system is None else lambda: system
    patches = Patches()
    try:
        module = import_module(f"controltower.tracer.integrations.{hook.name.replace('-', '_')}")
        module.hook(patches, used, **({"accept_keys": accept_keys} if hook.kind == "http server" else {}))
    except TracerError as error:
        patches.undo()
        raise _Refused(str(error)) from error
    except Exception as error:
        # A release of the library that is built in another way: the host must start all the same.
        patches.undo()
        used().guard.count("hook_failed")
        raise _Refused(f"hooking {hook.distribution} {_version(hook)} failed with {type(error).__name__}") from error
    return patches


def _look(hook: Hook) -> None:
    """Raise the reason why *hook* cannot be turned on, if there is one."""
    if not is_there(hook.module):
        raise _Refused(f"{hook.distribution} is not installed")
    found = _version(hook)
    if numbers(found) < numbers(hook.oldest):
        raise _Refused(f"{hook.distribution} {found} is older than {hook.oldest}")
    if hook.rival and _is_instrumented(hook.rival):
        raise _Refused(f"OpenTelemetry's {hook.rival} is on: everything would have two spans")
    if hook.needs and not is_there(INSTRUMENTATION + hook.needs):
        raise _Refused("install controltower[hooks]")


def _version(hook: Hook) -> str:
    from importlib.metadata import PackageNotFoundError, version  # it brings forty modules

    try:
        return version(hook.distribution)
    except PackageNotFoundError:
        return "of unknown version"


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version; a very large one for a version that has none, which is then not too old."""
    found = []
    for part in text.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found) or (2**31,)


def is_there(module: str) -> bool:
    """Return whether a module is installed, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _is_instrumented(rival: str) -> bool:
    """Return whether an instrumentation of OpenTelemetry's is on; one that nobody imported is not."""
    import sys

    name, _, kind = rival.partition(".")
    module = sys.modules.get(INSTRUMENTATION + name)
    instrumentor = getattr(module, kind, None)
    return instrumentor is not None and bool(instrumentor().is_instrumented_by_opentelemetry)
