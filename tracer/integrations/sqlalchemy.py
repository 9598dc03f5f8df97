"""SQLAlchemy: spans by OpenTelemetry's instrumentation, one for each statement; the tracer takes the SQL text off.

Its instrumentor replaces the functions that make engines, which misses those imported before, and says that it wants a
release below 2.1. What it does for one engine works with both, so each engine that is made is given to that.
"""

from typing import Any, Final

from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import CurrentProvider
from controltower.tracer.integrations.patches import Function, Patches

OPENTELEMETRY: Final = "opentelemetry.instrumentation."
CREATOR: Final = "async_creator_fn"  # how an engine with asyncio makes a connection of its driver


def hook(patches: Patches, used: Used) -> None:
    """Trace the statements of engines that are made from now on."""
    from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
    from opentelemetry.metrics import get_meter
    from sqlalchemy.engine.base import Engine
    from sqlalchemy.engine.default import DefaultDialect

    tracer = CurrentProvider(used).get_tracer("opentelemetry.instrumentation.sqlalchemy")
    connections = get_meter(__name__).create_up_down_counter("db.client.connections.usage", "connections")

    def make(original: Function) -> Function:
        def __init__(engine: Any, *arguments: Any, **named: Any) -> None:
            original(engine, *arguments, **named)
            with used().guard.around("SQLAlchemy hook"):
                EngineTracer(tracer, engine, connections)

        return __init__

    patches.method(Engine, "__init__", make)
    patches.method(DefaultDialect, "connect", _plainly)
    patches.later(EngineTracer.remove_all_event_listeners)


def _plainly(original: Function) -> Function:
    """Connect without the instrumentation of the driver: a statement would have two spans, this one's and the driver's."""

    def connect(dialect: Any, *arguments: Any, **named: Any) -> Any:
        driver = getattr(dialect.loaded_dbapi, "psycopg", None) if dialect.is_async else None
        if driver is not None:
            named.setdefault(CREATOR, _plain(driver.AsyncConnection.connect))
        instrumented = dialect.loaded_dbapi.connect
        plain = _plain(instrumented)
        return original(dialect, *arguments, **named) if plain is instrumented else plain(*arguments, **named)

    return connect


def _plain(function: Any) -> Any:
    """Return *function* without OpenTelemetry's wrapper, if it has one."""
    wrapper = getattr(function, "_self_wrapper", None)
    return function.__wrapped__ if getattr(wrapper, "__module__", "").startswith(OPENTELEMETRY) else function
