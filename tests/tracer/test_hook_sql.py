"""SQLAlchemy and psycopg against a real PostgreSQL: one span for each statement, with keys and without values or text."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import PO, attribute, broker, hooked, needs

needs("psycopg", "sqlalchemy", instrumentations=("psycopg", "sqlalchemy"))
import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

QUERY = "SELECT 'Jane Doe' || %s"


def where() -> str:
    """Where the database is, without its kind."""
    host, port = broker("PostgreSQL", "POSTGRESQL_ADDRESS", 5432)
    user, database = os.environ.get("PGUSER", "postgres"), os.environ.get("PGDATABASE", "test")
    return f"{user}@{host}:{port}/{database}"


@pytest.fixture(params=["psycopg", "sqlalchemy"])
def name(request: pytest.FixtureRequest) -> str:
    """Each of the two hooks."""
    return str(request.param)


@pytest.fixture
def captured(name: str) -> Iterator[Captured]:
    """The spans of a process with the hook."""
    where()
    with hooked(name) as found:
        yield found


def run(name: str, query: str = QUERY) -> None:
    """Run one statement with a value."""
    if name == "psycopg":
        with psycopg.connect(f"postgresql://{where()}") as connection:
            connection.execute(query, ("12345",)).fetchall()
        return
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{where()}")
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(query.replace("%s", ":number")), {"number": "12345"}).fetchall()
    finally:
        engine.dispose()


async def run_async(name: str) -> None:
    """Run one statement over a connection with asyncio."""
    if name == "psycopg":
        async with await psycopg.AsyncConnection.connect(f"postgresql://{where()}") as connection:
            await connection.execute(QUERY, ("12345",))
        return
    engine = create_async_engine(f"postgresql+psycopg://{where()}")
    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text("SELECT 1"))
    await engine.dispose()


def statements(captured: Captured) -> list[ReadableSpan]:
    """Return the spans of statements."""
    return [span for span in captured.spans if span.kind.name == "CLIENT" and span.name.startswith("SELECT")]


def test_a_statement_has_keys_and_no_values(name: str, captured: Captured) -> None:
    """The span of a statement belongs to the step around it and holds neither its text nor its values."""
    with tracer.step("p2p.invoice.posted", keys=PO) as step:
        run(name)

    (span,) = statements(captured)
    assert span.context is not None
    assert span.context.trace_id == step.span_context.trace_id
    assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    for each in captured.spans:
        assert "12345" not in each.to_json()
        assert "Jane" not in each.to_json()


def test_a_statement_that_fails(name: str, captured: Captured) -> None:
    """The host gets the database's own exception; the span has no text of it, which names values."""
    with pytest.raises((psycopg.Error, sqlalchemy.exc.DBAPIError)):
        run(name, "SELECT CAST(%s || 'Jane' AS integer)")

    (span,) = statements(captured)
    assert span.status.status_code.name == "ERROR"
    assert "Jane" not in span.to_json()


def test_a_database_that_is_gone(name: str, captured: Captured) -> None:
    """Without a connection there is the library's own exception."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://127.0.0.1:1/test")
    with pytest.raises((psycopg.OperationalError, sqlalchemy.exc.OperationalError)):
        _ = psycopg.connect("postgresql://127.0.0.1:1/test") if name == "psycopg" else engine.connect()

    assert captured.system.health().internal_errors == 0


def test_asyncio(name: str, captured: Captured) -> None:
    """Connections with asyncio have the same spans."""

    with tracer.step("p2p.invoice.posted", keys=PO):
        asyncio.run(run_async(name))

    (span,) = statements(captured)
    assert attribute(span, "controltower.key.purchase_order") == "PO-1042"


@pytest.mark.parametrize("first", ["psycopg", "sqlalchemy"])
def test_one_span_for_a_statement_through_both(first: str) -> None:
    """SQLAlchemy calls psycopg: with both hooked, in any order, a statement has one span, and psycopg alone still has."""
    other = "sqlalchemy" if first == "psycopg" else "psycopg"
    with hooked(first) as captured:
        tracer.instrument(other)
        try:
            run("sqlalchemy")
            asyncio.run(run_async("sqlalchemy"))
            assert len(statements(captured)) == 2
            run("psycopg")
            assert len(statements(captured)) == 3
        finally:
            tracer.uninstrument(other)


def test_nothing_is_left_after_uninstrument(name: str, captured: Captured) -> None:
    """The library is its own again."""
    tracer.uninstrument(name)
    run(name)

    assert captured.spans == ()
