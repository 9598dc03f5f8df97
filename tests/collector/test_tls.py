"""TLS and mutual TLS: the stock exporters connect over them, and files that cannot work are told at the start."""

import os
import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from controltower.collector.errors import SettingsError
from controltower.collector.settings import Settings
from controltower.collector.tls import read_tls
from controltower.store.runtime import RuntimeFile
from tests.collector.calls import Code, calling
from tests.collector.certificates import Authority, Identity
from tests.collector.requests import PATIENCE_S, Tower, request_of, running, span
from tests.collector.test_exporter import some_spans


@pytest.fixture(autouse=True)
def _no_authorities_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own list of authorities out: the HTTP library of the exporter puts it before ours."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Who signs the server's certificate and those of known clients."""
    return Authority(folder)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    """The collector's certificate."""
    return authority.sign("collector")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Identity:
    """A client's certificate."""
    return authority.sign("client")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Identity:
    """A certificate that another authority signed."""
    return Authority(folder, "other").sign("stranger")


def settings(server: Identity, authority: Authority | None = None) -> Settings:
    """Return settings for TLS; with an *authority*, clients need its certificates."""
    client_ca = str(authority.certificate) if authority else ""
    return Settings(port=0, tls_certificate=str(server.certificate), tls_key=str(server.key), tls_client_ca=client_ca)


def export_http(runtime: RuntimeFile, authority: Authority, client: Identity | None) -> SpanExportResult:
    """Send a span with the stock exporter over HTTP."""
    exporter = HttpExporter(
        f"{runtime.collector}/v1/traces",
        certificate_file=str(authority.certificate),
        client_certificate_file=str(client.certificate) if client else None,
        client_key_file=str(client.key) if client else None,
        headers={"Authorization": f"Bearer {runtime.token}"},
        timeout=10,
    )
    try:
        return exporter.export(some_spans().get_finished_spans())
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own


def channel_credentials(authority: Authority, client: Identity | None) -> grpc.ChannelCredentials:
    """Return what a gRPC client trusts, and how it shows who it is."""
    own = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    credentials: grpc.ChannelCredentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *own)
    return credentials


def export_grpc(runtime: RuntimeFile, authority: Authority, client: Identity | None) -> SpanExportResult:
    """Send a span with the stock exporter over gRPC."""
    exporter = GrpcExporter(
        f"https://{runtime.grpc}",
        credentials=channel_credentials(authority, client),
        headers={"authorization": f"Bearer {runtime.token}"},
        timeout=10,
    )
    try:
        return exporter.export(some_spans().get_finished_spans())
    finally:
        exporter.shutdown()


Export = Callable[[RuntimeFile, Authority, Identity | None], SpanExportResult]


def runtime_of(tower: Tower) -> RuntimeFile:
    """Return what a process would tell about *tower*, which speaks TLS."""
    url = f"https://127.0.0.1:{tower.port}"
    return RuntimeFile(
        os.getpid(), "one", "clickhouse://db/x", "127.0.0.1", tower.port,
        collector=url, grpc=tower.grpc, token=tower.token,
    )  # fmt: skip


@pytest.mark.parametrize("export", [export_http, export_grpc])
def test_exporters_connect_over_tls(export: Export, tmp_path: Path, authority: Authority, server: Identity) -> None:
    """With the authority's certificate the stock exporters deliver over TLS; the token is asked for all the same."""
    with running(tmp_path, settings(server), grpc=True) as tower:
        assert export(runtime_of(tower), authority, None) is SpanExportResult.SUCCESS
        assert tower.stored_spans() == ["one"]


@pytest.mark.parametrize("export", [export_http, export_grpc])
def test_a_client_certificate_is_needed_where_an_authority_is_set(
    export: Export, tmp_path: Path, authority: Authority, server: Identity, client: Identity, stranger: Identity
) -> None:
    """A known certificate gets in; none, or one that somebody else signed, does not."""
    with running(tmp_path, settings(server, authority), grpc=True) as tower:
        assert export(runtime_of(tower), authority, client) is SpanExportResult.SUCCESS
        assert export(runtime_of(tower), authority, None) is SpanExportResult.FAILURE
        assert export(runtime_of(tower), authority, stranger) is SpanExportResult.FAILURE
        assert tower.stored_spans() == ["one"]


def test_a_certificate_is_no_token(tmp_path: Path, authority: Authority, server: Identity, client: Identity) -> None:
    """Mutual TLS says which machine it is, and the token who sends."""
    credentials = channel_credentials(authority, client)
    with running(tmp_path, settings(server, authority), grpc=True) as tower, calling(tower, credentials) as caller:
        assert caller.call(request_of(span(1)), token="").code is Code.UNAUTHENTICATED
        assert caller.call(request_of(span(1))).code is Code.OK


@pytest.mark.parametrize("side", ["http", "grpc"])
@pytest.mark.parametrize(
    ("version", "works"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_o106_tls_1_2_is_the_least(
    version: ssl.TLSVersion, works: bool, side: str, tmp_path: Path, authority: Authority, server: Identity
) -> None:
    """A client that knows nothing newer than TLS 1.1 does not get in, over neither transport."""
    with running(tmp_path, settings(server), grpc=True) as tower:
        port = tower.port if side == "http" else int(tower.grpc.rpartition(":")[2])

        assert shakes_hands(port, version, authority) is works


def shakes_hands(port: int, version: ssl.TLSVersion, authority: Authority) -> bool:
    """Whether a client of exactly this version gets in."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")  # the client would offer TLS 1.1
    context.set_alpn_protocols(["h2", "http/1.1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which this is about
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                return connection.version() is not None
        except ssl.SSLError:
            return False


@pytest.mark.parametrize("mutual", [False, True])
def test_a_collector_behind_tls_is_known_to_be_there(
    mutual: bool, tmp_path: Path, authority: Authority, server: Identity
) -> None:
    """Commands find the running collector also where they have no certificate to ask it with."""
    with running(tmp_path, settings(server, authority if mutual else None)) as tower:
        there = runtime_of(tower)
        assert there.alive()
    assert not there.alive()


def test_plain_text_gets_no_answer_where_tls_is_set(tmp_path: Path, server: Identity) -> None:
    """A token never crosses in clear text because a client forgot the s in https."""
    with running(tmp_path, settings(server), grpc=True) as tower, calling(tower) as caller:
        assert caller.call(request_of(span(1)), timeout=1).code is Code.UNAVAILABLE
        with pytest.raises(OSError, match=r"reset|closed|without response"):
            tower.send(request_of(span(1)))


@pytest.fixture(scope="module")
def files(folder: Path, authority: Authority, server: Identity, client: Identity) -> dict[str, str]:
    """Files by what is wrong with them."""
    (folder / "text.pem").write_text("not a certificate", encoding="utf-8")
    return {
        "certificate": str(server.certificate),
        "key": str(server.key),
        "missing": str(folder / "missing.pem"),
        "folder": str(folder),
        "text": str(folder / "text.pem"),
        "other key": str(client.key),
        "locked key": str(authority.sign("locked", b"secret").key),
    }


@pytest.mark.parametrize(
    ("certificate", "key", "client_ca", "variable", "problem"),
    [
        ("missing", "key", None, "CERTIFICATE", "cannot be read (No such file or directory)"),
        ("folder", "key", None, "CERTIFICATE", "cannot be read (Is a directory)"),
        ("text", "key", None, "CERTIFICATE", "holds no certificate in PEM form"),
        ("key", "key", None, "CERTIFICATE", "holds no certificate in PEM form"),
        ("certificate", "missing", None, "KEY", "cannot be read (No such file or directory)"),
        ("certificate", "text", None, "KEY", "holds no private key in PEM form"),
        ("certificate", "other key", None, "KEY", "does not belong to the certificate in"),
        ("certificate", "locked key", None, "KEY", "needs no passphrase"),
        ("certificate", "key", "missing", "CLIENT_CA", "cannot be read (No such file or directory)"),
        ("certificate", "key", "text", "CLIENT_CA", "holds no certificate in PEM form"),
    ],
)
def test_files_that_cannot_work_are_told_by_their_setting(
    certificate: str, key: str, client_ca: str | None, variable: str, problem: str, files: dict[str, str]
) -> None:
    """The error is one sentence with the variable, the file, and what is wrong with it."""
    wrong = Settings(
        tls_certificate=files[certificate],
        tls_key=files[key],
        tls_client_ca=files[client_ca] if client_ca else "",
    )
    with pytest.raises(SettingsError) as raised:
        read_tls(wrong)

    said = str(raised.value)
    assert said.startswith(f"CONTROLTOWER_COLLECTOR_TLS_{variable}='")
    assert problem in said
    assert said.endswith(".")
    assert "\n" not in said


def test_certificates_of_clients_need_tls() -> None:
    """An authority for clients without a certificate of our own is a mistake, not something to pass over."""
    with pytest.raises(SettingsError, match=r"TLS_CLIENT_CA='ca\.pem' is refused: .*TLS_CERTIFICATE"):
        Settings(tls_client_ca="ca.pem")
