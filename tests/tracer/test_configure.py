"""Settings: arguments before environment before defaults, and a bad value refuses with its name."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.tracer.configure import resolve

LIGHT = """
import sys
from controltower import tracer
with tracer.step("p2p.invoice.posted", keys={"invoice": "I-1"}) as step:
    step.line(line=1, amount="1.00")
heavy = {"fastapi", "starlette", "httpx", "requests", "flask", "django", "clickhouse_connect", "chdb", "pandas", "grpc",
    "google.protobuf", "pydantic", "yaml", "controltower.store", "controltower.collector", "controltower.tracer.journal"}
print(sorted(heavy & set(sys.modules)))
"""


def test_import_is_light() -> None:
    """Importing and using the tracer loads no web framework, no store and no HTTP client."""
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout == "[]\n"
    assert ran.stderr == ""


HOOKS = """
import sys
sys.modules["opentelemetry.instrumentation." + sys.argv[1]] = None
from controltower import tracer
try:
    getattr(tracer, "instrument_" + sys.argv[1])(object())
except tracer.MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize("framework", ["fastapi", "httpx"])
def test_hook_without_its_extra_says_what_to_install(framework: str) -> None:
    """A missing package is one sentence that names the extra."""
    ran = subprocess.run(
        [sys.executable, "-c", HOOKS, framework], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout.startswith("install controltower[hooks]")
    assert ran.stdout.count("\n") == 1


def test_order_of_precedence(tmp_path: Path) -> None:
    """An argument beats our variable, ours beats OpenTelemetry's, that beats the default; a token may be a file."""
    file = tmp_path / "token"
    file.write_text("from-file\n")
    otel = {"OTEL_SERVICE_NAME": "otel", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318/base/"}
    ours = {
        **otel,
        "CONTROLTOWER_SERVICE": "ours",
        "CONTROLTOWER_ENDPOINT": "https://ours",
        "CONTROLTOWER_QUEUE_SIZE": "7",
    }

    assert resolve(otel).service == "otel"
    assert resolve(otel).endpoint == "http://otel:4318/base/v1/traces"
    assert resolve({"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=res"}).service == "res"
    assert resolve(ours).service == "ours"
    assert resolve(ours).endpoint == "https://ours/v1/traces"
    assert (resolve(ours).queue_size, resolve(ours).batch_size) == (7, 7)
    assert resolve(ours, service="argument").service == "argument"
    assert resolve({}, service="x").endpoint == "http://127.0.0.1:4318/v1/traces"
    assert resolve({"CONTROLTOWER_TOKEN_FILE": str(file)}, service="x").token == "from-file"
    assert resolve({"CONTROLTOWER_PROPAGATE_KEYS": "invoice, voucher"}, service="x").propagate_keys == {
        "invoice",
        "voucher",
    }


def test_variables_of_opentelemetry_are_read_in_their_units() -> None:
    """Its batch processor's variables are in milliseconds, its exporter's in seconds; ours stand before them."""
    otel = {
        "OTEL_SERVICE_NAME": "erp",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    found = resolve(otel)

    assert (found.queue_size, found.batch_size, found.interval_s) == (100, 50, 0.25)
    assert (found.timeout_s, found.compression) == (3, "gzip")
    assert resolve({**otel, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4"}).timeout_s == 4
    assert resolve({**otel, "CONTROLTOWER_TIMEOUT_S": "5"}).timeout_s == 5
    assert [resolve({}, service="x", endpoint=each).compression for each in ("http://tower", "http://[::1]:1")] == [
        "gzip",
        "none",
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_SCHEDULE_DELAY": "soon"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "tower"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "-1"},
        {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "zip"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://tower:4317"},
        {"OTEL_RESOURCE_ATTRIBUTES": "team"},
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_TRACES_SAMPLER_ARG": "1.5"},
        {"CONTROLTOWER_MODE": "test"},
        {"CONTROLTOWER_BATCH_SIZE": "1e3"},
        {"CONTROLTOWER_TOKEN": "two words"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_bad_variable_refuses_with_its_own_name(variables: dict[str, str]) -> None:
    """What was set in the environment is refused by the name that is to be corrected, without the value."""
    with pytest.raises(tracer.SettingError) as refused:
        resolve({"OTEL_SERVICE_NAME": "x", **variables})

    assert refused.value.setting == next(iter(variables))
    assert "two words" not in str(refused.value)


def test_another_protocols_address_does_not_matter_beside_ours() -> None:
    """A host may send its other telemetry over gRPC."""
    env = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4317"}

    assert resolve(env, service="x", endpoint="http://tower:4318").endpoint == "http://tower:4318/v1/traces"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("service", {"service": " "}),
        ("service", {"service": None}),
        ("endpoint", {"endpoint": "tower:4318"}),
        ("endpoint", {"endpoint": "ftp://tower"}),
        ("endpoint", {"endpoint": "http://user:secret@tower"}),
        ("endpoint", {"endpoint": "http://tower:99999"}),
        ("token", {"token": "two words"}),
        ("token", {"token": "line\nbreak"}),
        ("exporter", {"exporter": "otlp"}),
        ("resource", {"resource": "a=b"}),
        ("mode", {"mode": "test"}),
        ("when_full", {"when_full": "wait"}),
        ("queue_size", {"queue_size": 0}),
        ("queue_size", {"queue_size": "many"}),
        ("batch_size", {"batch_size": True}),
        ("interval_s", {"interval_s": -1}),
        ("timeout_s", {"timeout_s": float("nan")}),
        ("propagate_keys", {"propagate_keys": ["patient"]}),
        ("propagate_keys", {"propagate_keys": "invoice"}),
        ("propagate_hosts", {"propagate_hosts": [1]}),
        ("CONTROLTOWER_TOKEN_FILE", {"token": None}),
    ],
)
def test_bad_setting_refuses_with_its_name(name: str, options: dict[str, Any]) -> None:
    """Set-up is the one place that raises in production, with one sentence that starts with the setting."""
    with pytest.raises(tracer.SettingError) as refused:
        resolve({"CONTROLTOWER_TOKEN_FILE": "/nowhere/token"}, **{"service": "x", "token": "t", **options})

    assert refused.value.setting == name
    assert str(refused.value).startswith(f"{name}: ")
    assert "secret" not in str(refused.value)


def test_systems_are_independent() -> None:
    """Several systems in one process have their own service name and, nested, their own traces and keys."""
    exporters = {name: InMemorySpanExporter() for name in ("erp", "edi")}
    erp, edi = (tracer.System(service=name, exporter=exporter) for name, exporter in exporters.items())
    with (
        erp.step("a.b.outer", keys={"purchase_order": "PO-1"}),
        edi.step("a.b.middle"),
        erp.step("a.b.inner"),
        edi.provider.get_tracer("library").start_as_current_span("call"),
        edi.step("a.b.below_library"),
    ):
        pass
    for system in (erp, edi):
        assert system.shutdown()

    spans = {span.name: span for exporter in exporters.values() for span in exporter.get_finished_spans()}
    traces = {name: span.context.trace_id for name, span in spans.items() if span.context}
    assert [span.resource.attributes["service.name"] for span in exporters["edi"].get_finished_spans()] == ["edi"] * 3
    assert len({traces["a.b.outer"], traces["a.b.middle"], traces["a.b.inner"]}) == 3
    assert traces["a.b.below_library"] == traces["call"]
    assert "controltower.key.purchase_order" not in (spans["a.b.middle"].attributes or {})


def test_steps_are_recorded_below_an_unsampled_parent() -> None:
    """Head sampling of a caller or of OTEL_TRACES_SAMPLER never loses a business step."""
    exporter = InMemorySpanExporter()
    system = tracer.System(service="erp", exporter=exporter)
    unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    from opentelemetry import context, propagate

    token = context.attach(propagate.extract(unsampled))
    with system.provider.get_tracer("library").start_as_current_span("technical"), system.step("a.b.c"):
        pass
    context.detach(token)
    assert system.shutdown()

    assert [span.name for span in exporter.get_finished_spans()] == ["a.b.c"]


def test_before_configure_steps_cost_nothing_and_flush_says_no(caplog: pytest.LogCaptureFixture) -> None:
    """A program that never calls configure runs; only flush tells that nothing was sent."""
    with tracer.step("a.b.c", keys={"invoice": "I-1"}) as step:
        step.line(line=1)

    assert not tracer.flush()
    assert "call tracer.configure" in caplog.text


CONFIGURED = """
from controltower import tracer
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
first, second = InMemorySpanExporter(), InMemorySpanExporter()
@tracer.step("a.b.decorated_before")
def work():
    with trace.get_tracer("library").start_as_current_span("SELECT"):
        pass
tracer.configure(service="one", exporter=first)
with tracer.step("a.b.outer", keys={"invoice": "I-1"}):
    work()
tracer.configure(service="two", exporter=second)
work()
assert tracer.flush()
names = lambda exporter: [(s.name, dict(s.attributes).get("controltower.key.invoice")) for s in exporter.get_finished_spans()]
print(names(first)[:3], names(second))
"""


def test_configure_becomes_the_global_provider_and_can_be_called_again() -> None:
    """Spans of libraries go the same way with the step's keys; the second set-up flushes the first and takes over."""
    ran = subprocess.run([sys.executable, "-c", CONFIGURED], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout == (
        "[('SELECT', 'I-1'), ('a.b.decorated_before', 'I-1'), ('a.b.outer', 'I-1')] [('SELECT', None), ('a.b.decorated_before', None)]\n"
    )
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("host", "internal"),
    [
        ("localhost", True), ("127.0.0.1", True), ("::1", True), ("/run/redis.sock", True), ("rabbitmq", True),
        ("10.1.2.3", True), ("172.16.0.9", True), ("172.32.0.9", False), ("192.168.1.1", True), ("fd00::1", True),
        ("8.8.8.8", False), ("2606:4700::1111", False), ("orders.default.svc.cluster.local", True), ("orders.shop.svc", True),
        ("ERP.internal.", True), ("erp.hospital.example", False), ("notlocal", True), ("evil-local.example", False),
        ("internal.example.org", False), ("", False),
    ],
)  # fmt: skip
def test_what_the_network_is_by_the_look_of_a_host(host: str, internal: bool) -> None:
    """Without a list keys go to this machine and its network, and never to a host that is not known."""
    assert resolve({}, service="x").may_receive_keys(host) is internal
    assert resolve({}, service="x", propagate_hosts=["*"]).may_receive_keys(host)
    assert not resolve({}, service="x", propagate_hosts=["other.example.org"]).may_receive_keys(host)


AT_EXIT = """
from controltower import tracer
import sys
tracer.configure(service="job", endpoint=sys.argv[1])
with tracer.step("a.b.last"):
    pass
"""


def test_program_that_ends_sends_what_is_queued() -> None:
    """A script needs no flush at its end."""
    import threading

    from tests.tracer.test_delivery import Collector

    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        subprocess.run([sys.executable, "-c", AT_EXIT, collector.address], check=True, timeout=60)
        collector.shutdown()
        thread.join()

    assert collector.spans == ["a.b.last"]
