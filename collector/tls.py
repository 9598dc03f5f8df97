"""TLS: certificate, key and the authority of the clients, read once, with errors that name the setting."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from controltower.collector.errors import SettingsError
from controltower.collector.settings import Settings, variable


@dataclass(frozen=True, slots=True)
class Tls:
    """What both transports need to take requests over TLS 1.2 or newer."""

    context: ssl.SSLContext
    certificate: bytes
    key: bytes
    client_ca: bytes | None  # clients must have a certificate that it signed

    def credentials(self) -> grpc.ServerCredentials:
        """Return the same for gRPC, which takes no version below 1.2."""
        credentials: grpc.ServerCredentials = grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.client_ca, require_client_auth=self.client_ca is not None
        )
        return credentials


def read_tls(settings: Settings) -> Tls | None:
    """Read the files of *settings*, None when it names none. Raises SettingsError for what cannot work."""
    if not settings.tls_certificate:
        return None
    certificate = _read("tls_certificate", settings.tls_certificate)
    key = _read("tls_key", settings.tls_key)
    client_ca = _read("tls_client_ca", settings.tls_client_ca) if settings.tls_client_ca else None
    return Tls(_context(settings), certificate, key, client_ca)


def _read(field: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(variable(field), path, f"the file cannot be read ({error.strerror})") from None


def _context(settings: Settings) -> ssl.SSLContext:
    _load_authority(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "tls_certificate", settings.tls_certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The empty passphrase keeps the library from asking for one on the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except ssl.SSLError as error:
        problem = (
            f"the key does not belong to the certificate in {settings.tls_certificate}"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "the file holds no private key in PEM form that needs no passphrase"
        )
        raise SettingsError(variable("tls_key"), settings.tls_key, problem) from None
    if settings.tls_client_ca:
        _load_authority(context, "tls_client_ca", settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_authority(context: ssl.SSLContext, field: str, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise SettingsError(variable(field), path, "the file holds no certificate in PEM form") from None
