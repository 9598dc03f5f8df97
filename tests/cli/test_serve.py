"""``serve`` and its parts as processes: refusals at the start, and what is told while something fails."""

import base64
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from controltower.cli.ports import listen, port_of
from controltower.tracer.tokens import Key, Tokeniser
from tests.clickhouse_server import ClickHouseServer
from tests.collector.certificates import Authority
from tests.collector.requests import request_of, span
from tests.collector.test_tls import export_grpc, export_http
from tests.processes import Tower, tower, until

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Tower]:
    """A data folder in which nothing runs yet."""
    with tower(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """`serve` at work, for all tests that leave it at work."""
    with tower(tmp_path_factory.mktemp("serving") / "data") as made:
        made.serve()
        yield made


def post(running: Tower, body: bytes, token: str | None = None) -> int:
    """Send a body to the collector and return the status."""
    headers = {"authorization": f"Bearer {token or running.runtime.token}", "content-type": "application/x-protobuf"}
    return httpx.post(f"{running.runtime.collector}/v1/traces", content=body, headers=headers, timeout=30).status_code


def test_serve_takes_in_and_refuses_as_the_protocol_says(serving: Tower) -> None:
    """A good request is acknowledged, a wrong token is 401, garbage is 400."""
    assert post(serving, request_of(span(1))) == 200
    assert post(serving, request_of(span(2)), token="wrong") == 401
    assert post(serving, b"\xff\xff\xffgarbage") == 400
    assert serving.get("/healthz") == {"alive": True}
    assert until(lambda: serving.get("/readyz")["metrics"]["segments_loaded"], "the request is loaded") == 1


def test_a_taken_port_is_a_sentence(here: Tower) -> None:
    """A port that somebody uses is told with the option that changes it."""
    with listen("127.0.0.1", 0, "") as taken:
        port = port_of(taken)
        said = here.run("serve", "--quiet", "--collector-port", str(port), "--endpoint-port", "0", code=1)

    assert said == (
        f"Port {port} of 127.0.0.1 is taken; stop what listens there, or choose another with --collector-port.\n"
    )


def test_a_second_serve_on_the_same_folder_is_refused(serving: Tower) -> None:
    """Two processes never write one journal; the second says who holds it, and the first goes on."""
    (first,) = serving.processes
    said = serving.run("serve", "--quiet", "--collector-port", "0", "--endpoint-port", "0", code=1)

    assert said.count("\n") == 1
    assert str(first.pid) in said
    assert post(serving, request_of(span(1))) == 200


def test_what_serve_writes_is_its_owners(serving: Tower) -> None:
    """Credentials, tokens, logs and the journal are not readable by other users."""
    private = [serving.data / name for name in ("serve.json", "tokens.json", "ingest-token", "logs/serve.log")]

    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in private] == [0, 0, 0, 0]
    assert stat.S_IMODE(serving.data.stat().st_mode) & 0o077 == 0


def test_a_bad_setting_refuses_to_start(here: Tower) -> None:
    """A setting that makes no sense is named, and nothing starts."""
    here.environment["CONTROLTOWER_COLLECTOR_BODY_BYTES"] = "many"
    said = here.run("serve", code=1)

    assert said == "CONTROLTOWER_COLLECTOR_BODY_BYTES='many' is refused: a whole number is expected.\n"


def test_both_ways_of_redaction_make_the_same_token_of_a_tenant_and_no_other(tmp_path: Path) -> None:
    """A patient's number has one token in a tenant, whether it was made before the journal or in the load."""
    secrets = {"north": b"n" * 32, "south": b"s" * 32}
    keys = ",".join(f"{tenant}=1:{base64.b64encode(secret).decode()}" for tenant, secret in secrets.items())
    senders = [("north", "--phi"), ("north",), ("south", "--phi"), ("south",), ("nobody",)]
    with tower(tmp_path / "data", environment={"CONTROLTOWER_REDACTION_KEY": keys}) as running:
        running.serve()
        for number, (tenant, *words) in enumerate(senders, start=1):
            token = running.run("token", "create", f"s{number}", "--tenant", tenant, *words).strip()
            sent = span(number)
            sent.attributes.add(key="controltower.key.case").value.string_value = "C-1"
            assert post(running, request_of(sent), token) == 200
        with running.client() as client:
            found = "SELECT TenantId, SpanAttributes['controltower.key.case'] FROM otel_traces ORDER BY SpanId"
            rows = until(lambda: len(rows := client.query(found).result_rows) == len(senders) and rows, "all are there")

    of = {
        tenant: Tokeniser((Key(1, secret),)).tokens("case", b"", b"C-1")[0].decode()
        for tenant, secret in secrets.items()
    }
    assert rows == [(tenant, of.get(tenant, "")) for tenant, *_ in senders]


@pytest.mark.server
def test_spans_are_taken_in_while_the_server_is_away(tmp_path: Path) -> None:
    """With an unreachable ClickHouse server `serve` starts, acknowledges, keeps, and says what is wrong."""
    with tower(tmp_path / "data", "clickhouse://127.0.0.1:1/away") as running:
        running.serve()
        status = post(running, request_of(span(1)))
        problems = until(lambda: running.get("/readyz")["problems"], "the problem is told")

        assert status == 200
        assert any("does not answer: Connection refused" in problem for problem in problems)
        assert running.get("/readyz")["journals"]["traces"]["segments"] == 1


def test_serve_takes_both_transports_over_mutual_tls_and_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an authority for clients, the stock exporters deliver over HTTP and gRPC; SIGTERM loses none of it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # the exporter's library puts them before ours
        monkeypatch.delenv(name, raising=False)
    authority = Authority(tmp_path)
    own, known = authority.sign("collector"), authority.sign("client")
    files = {"CERTIFICATE": own.certificate, "KEY": own.key, "CLIENT_CA": authority.certificate}
    variables = {f"CONTROLTOWER_COLLECTOR_TLS_{name}": str(path) for name, path in files.items()}
    with tower(tmp_path / "data", environment=variables) as here:
        serve = here.serve()
        sent = [export(here.runtime, authority, known) for export in (export_http, export_grpc)]
        here.stop(serve)
        here.serve()
        with here.client() as client:
            count = "SELECT count() FROM otel_traces"
            until(lambda: client.query(count).result_rows == [(2,)], "both are loaded, once")

    assert sent == [SpanExportResult.SUCCESS] * 2


@pytest.mark.server
def test_the_parts_run_one_by_one_on_a_server(
    tmp_path: Path, clickhouse_server: ClickHouseServer, database: str
) -> None:
    """`collect`, `engine` and `alert` in processes of their own do together what `serve` does."""
    with tower(tmp_path / "data", clickhouse_server.address(database)) as running:
        running.run("migrate")
        running.start("engine")
        running.start("alert")
        collect = running.start("collect", "--collector-port", "0")
        running.wait_for(collect)
        sent = span(1)
        sent.attributes.add(key="controltower.step").value.string_value = "p2p.purchase_order.created"
        sent.attributes.add(key="controltower.key.purchase_order").value.string_value = "PO-5"

        assert post(running, request_of(sent)) == 200
        assert until(lambda: running.placed("PO-5"), "the order is there")


@pytest.mark.server
def test_parts_wait_for_a_store_that_is_set_up(
    tmp_path: Path, clickhouse_server: ClickHouseServer, database: str
) -> None:
    """A part that runs alone does not set the store up; it says what to do and goes on when that is done."""
    with tower(tmp_path / "data", clickhouse_server.address(database)) as running:
        collect = running.start("collect", "--collector-port", "0")
        running.wait_for(collect)
        post(running, request_of(span(1)))
        until(lambda: "run `controltower migrate`" in str(running.get("/readyz")["problems"]), "the advice is told")
        running.run("migrate")

        assert until(lambda: running.get("/readyz")["metrics"]["segments_loaded"], "the request is loaded") == 1
