"""What a request to the endpoint says: who asks, in which session, with which settings and parameters."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from controltower.store.address import FILES_DATABASE
from controltower.store.endpoint_errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    INVALID_SESSION_TIMEOUT,
    READONLY,
    SESSION_ID_EMPTY,
    EndpointError,
)
from controltower.store.endpoint_settings import Role, check_setting

LONGEST_SESSION_S: Final = 3600
MOST_FIELDS: Final = 1000  # of a query string or form, as ClickHouse has it

# Parameters that ClickHouse's HTTP interface takes for itself; every other one is a setting.
OWN: Final = frozenset(
    {
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "compress",
        "decompress",
        "user",
        "password",
        "quota_key",
        "stacktrace",
        "role",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "log_comment",  # for a query log, which the embedded engine does not keep
    }
)
# Settings of the HTTP interface itself, which the engine of the endpoint would not understand or not use.
OF_THE_INTERFACE: Final = frozenset(
    {
        "enable_http_compression",
        "http_zlib_compression_level",
        "http_wait_end_of_query",
        "http_write_exception_in_output_format",
        "http_response_buffer_size",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "add_http_cors_header",
        "http_native_compression_disable_checksumming_on_decompress",
    }
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The endpoint's two users. Passwords never show."""

    writer_user: str
    writer_password: str = field(repr=False)
    reader_user: str
    reader_password: str = field(repr=False)

    def role(self, user: str, password: str) -> Role:
        """Return whose name and password these are. Raises EndpointError; takes the same time in every case."""
        writes = _equal(user, self.writer_user) & _equal(password, self.writer_password)
        reads = _equal(user, self.reader_user) & _equal(password, self.reader_password)
        if writes:
            return "writer"
        if reads:
            return "reader"
        text = "Authentication failed: password is incorrect, or there is no user with such name"
        raise EndpointError(AUTHENTICATION_FAILED, f"{user}: {text}")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that a request belongs to."""

    id: str
    timeout_s: int
    must_exist: bool
    closes: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's own parameters, read and checked."""

    query: str
    database: str
    default_format: str | None
    query_id: str
    session: Session | None
    settings: Mapping[str, str]
    parameters: Mapping[str, str]  # of the query: {name:Type}
    read_only: bool
    waits: bool  # answer when the query is over, with its true status
    compresses: bool  # by HTTP's Content-Encoding, when the client accepts one


def fields(raw_query: bytes, headers: Mapping[str, str], form: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Return the parameters of a request by name; the first of a name counts, the query string before the form."""
    found: dict[str, str] = {}
    pairs = parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    for name, value in [*pairs, *form]:
        found.setdefault(name, value)
    for header, name in (("x-clickhouse-database", "database"), ("x-clickhouse-format", "default_format")):
        if header in headers:
            found.setdefault(name, headers[header])
    return found


def sender(headers: Mapping[str, str], raw_query: bytes) -> tuple[str, str]:
    """Return user and password: from ClickHouse's headers, basic auth or parameters, of which only one may be used."""
    given = dict(parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    ways: list[tuple[str, str]] = []
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        ways.append((headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")))
    if "authorization" in headers:
        ways.append(_basic(headers["authorization"]))
    if "user" in given or "password" in given:
        ways.append((given.get("user", "default"), given.get("password", "")))
    if len(ways) > 1:
        raise EndpointError(
            AUTHENTICATION_FAILED,
            "Invalid authentication: it is not allowed to use X-ClickHouse HTTP headers, the Authorization HTTP header "
            "and authentication via parameters at once",
        )
    return ways[0] if ways else ("default", "")


def read(given: Mapping[str, str], *, role: Role, database: str, get: bool, caps: Mapping[str, float]) -> Asked:
    """Read the parameters of a request. Raises EndpointError for what the sender may not ask."""
    parameters = {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")}
    settings = {name: value for name, value in given.items() if name not in OWN and not name.startswith("param_")}
    read_only = _read_only(settings.pop("readonly", None), role) or get
    for name, value in settings.items():
        check_setting(name, value, caps)
    asked = given.get("database", "")
    return Asked(
        query=given.get("query", ""),
        database=database if asked in ("", FILES_DATABASE) else asked,
        default_format=given.get("default_format") or None,
        query_id=given.get("query_id", ""),
        session=_session(given),
        settings={name: value for name, value in settings.items() if name not in OF_THE_INTERFACE},
        parameters=parameters,
        read_only=read_only,
        waits=_true(given.get("wait_end_of_query", "0")) or _true(given.get("http_wait_end_of_query", "0")),
        compresses=_true(given.get("enable_http_compression", "1")),
    )


def _read_only(wanted: str | None, role: Role) -> bool:
    if wanted not in (None, "0", "1", "2"):
        raise EndpointError(BAD_ARGUMENTS, f"The setting readonly cannot be {wanted!r}")
    if role == "reader" and wanted == "0":
        raise EndpointError(READONLY, "Cannot modify 'readonly' setting in readonly mode")
    return role == "reader" or wanted in ("1", "2")


def _session(given: Mapping[str, str]) -> Session | None:
    if "session_id" not in given:
        return None
    if not given["session_id"]:
        raise EndpointError(SESSION_ID_EMPTY, "Session id query parameter was provided, but it was empty")
    wanted = given.get("session_timeout", "60")
    if not wanted.isdigit():
        raise EndpointError(INVALID_SESSION_TIMEOUT, f"Invalid session timeout: '{wanted}'", "INVALID_SESSION_TIMEOUT")
    if int(wanted) > LONGEST_SESSION_S:
        raise EndpointError(
            INVALID_SESSION_TIMEOUT,
            f"Session timeout '{wanted}' is larger than max_session_timeout: {LONGEST_SESSION_S}. "
            "Maximum session timeout could be modified in configuration file",
        )
    check, closes = _true(given.get("session_check", "0")), _true(given.get("close_session", "0"))
    return Session(given["session_id"], int(wanted), check, closes)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise EndpointError(
            AUTHENTICATION_FAILED, f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported"
        )
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise EndpointError(AUTHENTICATION_FAILED, "Invalid authentication: the header is not base64") from None
    return user, password


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def _true(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on")
