"""The host goes on, whatever it gives us and whatever fails."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.tracer.guard import Guard
from controltower.tracer.testing import capture


class Hostile:
    """An object whose every reading fails."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")

    __repr__ = __str__
    __iter__ = __str__
    __bool__ = __str__
    __len__ = __str__
    __eq__ = __str__  # type: ignore[assignment]
    __hash__ = object.__hash__


def failing_values() -> Iterator[str]:
    """Give one key and fail."""
    yield "I-1"
    raise RuntimeError("no more")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(st.characters()),  # with surrogates
    st.binary(),
    st.datetimes(),
    st.builds(Hostile),
    st.builds(object),
    st.just(failing_values),
    st.sampled_from(["1e999999", "-0", "٣", "NaN", "p2p.invoice.posted", "ok", "x" * 10_000, 2**70, -1, 2**63]),
)
garbage = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.builds(failing_values),
    st.dictionaries(st.one_of(st.text(max_size=5), st.integers(), st.just("invoice")), scalars, max_size=3),
)
OPTIONS = sorted(tracer.StepOptions.__annotations__)
LINE = ["line", "item", "quantity", "uom", "unit_price", "amount", "keys", "scopes"]


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Return where the spans go."""
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def production(exporter: InMemorySpanExporter) -> Iterator[tracer.System]:
    """Return a system as it runs in production, except that failures of our own code are raised under pytest."""
    system = tracer.System(service="host", mode="production", exporter=exporter)
    yield system
    system.shutdown()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=garbage,
    options=st.dictionaries(st.sampled_from(OPTIONS), garbage),
    line=st.dictionaries(st.sampled_from(LINE), garbage),
    value=garbage,
    other=garbage,
)
def test_no_value_ever_raises(
    production: tracer.System,
    exporter: InMemorySpanExporter,
    code: Any,
    options: dict[str, Any],
    line: dict[str, Any],
    value: Any,
    other: Any,
) -> None:
    """In production a step takes any garbage without raising, the block runs, and what is sent can be encoded."""
    ran = False
    with production.step(code, **options) as step:
        step.line(**line).key(value, other, scope=value).key("invoice", value).context({"vendor": value})
        step.context(value).amount(value, other).quantity(value, other).outcome(value, other)
        step.business_time(value).replay_of(value).link(value, other)
        ran = True
    with production.keys(value), production.keys({"invoice": value}), production.received({"baggage": "x"}):
        pass
    with production.batch(value, expected=other, expected_total=value, run_id=other, keys=value) as run:
        run.count(value, amount=other, currency=value)
        run.reject(value)
        with run.record(code, **options):
            pass

    assert ran
    assert production.flush()
    spans = exporter.get_finished_spans()
    exporter.clear()
    assert len(spans) == 4
    assert encode_spans(spans).ByteSize() > 0


MISUSES: list[tuple[str, Callable[[tracer.System], object]]] = [
    ("float_amount", lambda system: system.step("a.b.c", amount=12.5)),  # type: ignore[arg-type]
    ("bad_amount", lambda system: system.step("a.b.c", amount="12,50")),
    ("naive_time", lambda system: system.step("a.b.c", business_time=datetime(2026, 3, 1))),  # noqa: DTZ001
    ("naive_time", lambda system: system.step("a.b.c", start_time=datetime(2026, 3, 1))),  # noqa: DTZ001
    ("bad_step_code", lambda system: system.step("Send 850")),
    ("bad_type_name", lambda system: system.step("a.b.c", keys={"purchase_order.line": "1"})),
    ("unknown_key_type", lambda system: system.step("a.b.c", keys={"purchase_ordre": "1"})),
    ("unknown_key_type", lambda system: system.step("a.b.c").key("purchase_ordre", "1")),
    ("unknown_key_type", lambda system: system.step("a.b.c").line(keys={"purchase_ordre": "1"})),
    ("unknown_key_type", lambda system: system.keys(purchase_ordre="1").__enter__()),
    ("free_text_reason", lambda system: system.step("a.b.c", reason="no bed for Jane Doe")),
    ("free_text_reason", lambda system: system.step("a.b.c").outcome("rejected", "no bed for Jane Doe")),
    ("free_text_reason", lambda system: system.batch("load").outcome("rejected", "no bed for Jane Doe")),
    ("free_text_reason", lambda system: system.batch("load").reject("no bed for Jane Doe")),
    ("bad_currency", lambda system: system.step("a.b.c", currency="dollars")),
    ("bad_key", lambda system: system.step("a.b.c", keys={"invoice": 12.0})),  # type: ignore[dict-item]
    ("too_many_keys", lambda system: system.step("a.b.c", keys={"invoice": map(str, range(1001))})),
    ("unknown_outcome", lambda system: system.step("a.b.c", outcome="fine")),  # type: ignore[arg-type]
    ("bad_link", lambda system: system.step("a.b.c", links=["nonsense"])),
    ("bad_time", lambda system: system.step("a.b.c", start_time=2, end_time=1)),
]


@pytest.mark.parametrize(("kind", "misuse"), MISUSES)
def test_misuse_raises_in_development_and_counts_in_production(
    kind: str, misuse: Callable[[tracer.System], object]
) -> None:
    """A developer is told in one sentence; in production the same call is counted and the step goes out."""
    with capture(mode="development") as developed:
        with pytest.raises(tracer.MisuseError) as raised:
            misuse(developed.system)
        assert raised.value.kind == kind
    with capture(mode="production") as produced:
        misuse(produced.system)
        assert produced.system.health().misuse == {kind: 1}


def test_values_of_a_misuse_are_kept_as_well_as_possible() -> None:
    """A float becomes the decimal that it shows as, a naive time is UTC, and every key of a long list is kept."""
    with capture(mode="production") as captured:
        amount: Any = 0.1
        at = datetime(2026, 3, 1)  # noqa: DTZ001 - the misuse
        many = {"invoice": map(str, range(1500)), "purchase_ordre": "PO-1"}
        with tracer.step("a.b.c", amount=amount, business_time=at, keys=many, reason="no bed for Jane", currency="usd"):
            pass

    step = captured.assert_step(
        "a.b.c", amount="0.1", business_time="2026-03-01T00:00:00+00:00", reason="free_text", currency="usd"
    )
    assert (step.attributes or {})["controltower.key.purchase_ordre"] == "PO-1"
    assert (step.attributes or {})["controltower.key.invoice"] == tuple(map(str, range(1500)))


@pytest.mark.parametrize("amount", ["1250.00", 12, Decimal("0.000001"), "-3.5", "1E+3", 0, "007.10"])
def test_decimals_keep_their_value(amount: Any) -> None:
    """Strings, ints and decimals are written as plain decimals of the same value."""
    with capture() as captured, tracer.step("a.b.c", amount=amount):
        pass

    written = (captured.assert_step("a.b.c").attributes or {})["controltower.amount"]
    assert Decimal(str(written)) == Decimal(amount)
    assert "E" not in str(written)


class BrokenExporter(SpanExporter):
    """Raises on every call."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raise."""
        raise RuntimeError("broken")

    def shutdown(self) -> None:
        """Do nothing."""


def test_broken_exporter_is_counted() -> None:
    """An exporter that raises loses its batch, which is counted, and the host does not notice."""
    system = tracer.System(service="host", mode="production", exporter=BrokenExporter())
    with system.step("a.b.c"):
        pass

    assert not system.flush()
    assert system.health().failed == 1
    system.shutdown()


def test_our_own_failure_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    """A failure of our code is counted, logged once a minute without its message, and not raised; pytest sees it."""
    readings = iter([0.0, 30.0, 61.0])
    guard = Guard(development=True, reraise=False, clock=lambda: next(readings))
    for _ in range(3):
        with guard.around("a test"):
            raise KeyError("patient Jane Doe")

    assert guard.counts() == {"internal_errors": 3}
    assert len(caplog.records) == 2
    assert "Jane" not in caplog.text
    with pytest.raises(KeyError), Guard(development=False).around("a test"):
        raise KeyError


def test_interrupt_is_never_swallowed() -> None:
    """Ctrl-C inside our code ends the program as anywhere else."""
    with pytest.raises(KeyboardInterrupt), Guard(development=False, reraise=False).around("a test"):
        raise KeyboardInterrupt
