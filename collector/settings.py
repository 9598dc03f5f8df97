"""Settings of the collector, read once when it starts: argument beats environment beats default."""

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from dataclasses import field as with_options
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controltower.collector.errors import SettingsError, UnknownSettingError
from controltower.store.times import LONGEST_AHEAD, TimeBounds

PREFIX: Final = "CONTROLTOWER_COLLECTOR_"
FIRST_YEAR: Final = 1971
LAST_YEAR: Final = 2100

_MIB: Final = 1024 * 1024


_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can change. Each field is also ``CONTROLTOWER_COLLECTOR_<FIELD>`` in the environment."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs TLS or ``insecure``."""

    port: int = 4318
    """Port of OTLP/HTTP; 0 takes a free one."""

    grpc: bool = True
    """Take OTLP over gRPC, too."""

    grpc_port: int = 4317
    """Port of OTLP/gRPC; 0 takes a free one."""

    tls_certificate: str = ""
    """File with the certificate chain (PEM); with ``tls_key``, requests are taken over TLS only."""

    tls_key: str = ""
    """File with the private key of the certificate (PEM), without a passphrase."""

    tls_client_ca: str = ""
    """File with the authority (PEM) that signed the certificates of clients; when set, each client needs one."""

    insecure: bool = False
    """Listen beyond loopback without TLS, because a proxy in front of the collector ends it."""

    body_bytes: int = 64 * _MIB
    """Largest body, before and after decompression; larger ones are refused for good (413)."""

    items: int = 100_000
    """Most spans, log records or data points in one request; more are refused for good (413)."""

    record_attributes: int = 128
    """Most attributes of one span, log record or data point, and most events and links; more are cut and counted."""

    record_value_bytes: int = 32 * 1024
    """Longest value of one record; the rest is cut."""

    record_name_bytes: int = 1_024
    """Longest name of one record; the rest is cut."""

    in_flight_bytes: int = 256 * _MIB
    """Bytes of bodies under way at the same time, decompressed; beyond it clients are told to come back (503)."""

    memory_bytes: int = 0
    """Resident memory above which clients are told to come back (503); 0: 85 % of what machine or container have."""

    path_prefix: str = ""
    """In front of the paths of OTLP, ``/otlp`` for example: for a proxy that passes it on."""

    source_items_per_s: float = 0.0
    """Most spans, log records and data points per second of a token without a rate of its own (429); 0: no limit."""

    source_bytes_per_s: float = 0.0
    """Most bytes of bodies per second, as they come over the network, of such a token (429); 0: no limit."""

    source_burst_s: float = 10.0
    """So many seconds' worth of these rates may be sent at once after a pause."""

    connections: int = 8_000
    """Most open connections of each transport; each costs some 15 to 50 kB. Beyond it, idle ones are closed."""

    header_timeout_s: float = 60.0
    """How long a client may take from connecting, or from the first byte of a request, to the end of its headers."""

    body_timeout_s: float = 30.0
    """How long a client may take to send its body."""

    write_timeout_s: float = 30.0
    """How long a client may leave its answers unread."""

    idle_timeout_s: float = 60.0
    """How long a connection may stay open without a request."""

    deadline_s: float = 5.0
    """Time from the whole body to the answer; clients give up after ten seconds and would lose the batch."""

    journal_bytes: int = 10 * 1024 * _MIB
    """Room for what is not loaded yet, of each signal; beyond it clients are told to come back (503), nothing is dropped."""

    journal_reserve_bytes: int = 1024 * _MIB
    """Free space that the journals leave on their volume: loading needs it to make room. Below it clients are told to come
    back (503). 0 leaves none."""

    journal_key: str = with_options(default="", repr=False)
    """Keys that encrypt the journals at rest, base64 of 32 bytes each: the first encrypts, all decrypt."""

    journal_key_file: str = ""
    """File with these keys, one in a line, readable by its owner only."""

    segment_bytes: int = 32 * _MIB
    """Size at which a segment of the journal is closed and loaded."""

    segment_age_s: float = 0.3
    """Age at which a segment that holds anything is closed and loaded."""

    load_workers: int = 2
    """How many segments of a signal are loaded at the same time, when so many are full, or the last one a quarter full; an
    insert works on one core."""

    keep_loaded_s: float = 900.0
    """Loaded segments are kept so long, for a store that loses after a power cut what it had acknowledged; 0 keeps none."""

    keep_loaded_bytes: int = 1024 * _MIB
    """Most bytes of loaded segments that are kept, of each signal; they go first when the journals need room."""

    ready_lag_s: float = 60.0
    """Readiness ends when the oldest body that is not loaded is older than this."""

    earliest_year: int = 2000
    """What is dated before this year was dated by a broken clock: it goes to quarantine."""

    ahead_s: float = 86_400.0
    """What is dated later than this after its receipt was dated by a broken clock: it goes to quarantine."""

    stop_s: float = 10.0
    """How long stopping may take for requests under way, and then for loading what is left."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by the name of their variable."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                _check_number(field.name, value)
        if not FIRST_YEAR <= self.earliest_year <= LAST_YEAR:
            raise SettingsError(
                variable("earliest_year"),
                str(self.earliest_year),
                f"a year from {FIRST_YEAR} to {LAST_YEAR} is expected",
            )
        if timedelta(seconds=self.ahead_s) > LONGEST_AHEAD:
            raise SettingsError(variable("ahead_s"), str(self.ahead_s), f"{LONGEST_AHEAD.days} days are the most")
        if self.path_prefix and not _PATH.fullmatch(self.path_prefix):
            raise SettingsError(variable("path_prefix"), self.path_prefix, "it must be like /otlp")
        if bool(self.tls_certificate) != bool(self.tls_key):
            missing = "tls_key" if self.tls_certificate else "tls_certificate"
            raise SettingsError(variable(missing), "", "a certificate and its key are needed together")
        if self.tls_client_ca and not self.tls_certificate:
            problem = f"clients show certificates over TLS only: set {variable('tls_certificate')}, too"
            raise SettingsError(variable("tls_client_ca"), self.tls_client_ca, problem)
        if not (is_loopback(self.host) or self.tls_certificate or self.insecure):
            raise SettingsError(
                variable("host"),
                self.host,
                f"tokens would cross the network in clear text: set {variable('tls_certificate')} and "
                f"{variable('tls_key')}, or {variable('insecure')}=yes behind a proxy that ends TLS",
            )

    def time_bounds(self) -> TimeBounds:
        """Return which times the load believes."""
        return TimeBounds(datetime(self.earliest_year, 1, 1, tzinfo=UTC), timedelta(seconds=self.ahead_s))


def read_settings(environment: Mapping[str, str], **arguments: Any) -> Settings:
    """Return the settings from *environment*; *arguments* that are not None come first."""
    _refuse_unknown(environment)
    values: dict[str, Any] = {}
    for field in fields(Settings):
        text = environment.get(variable(field.name))
        if arguments.get(field.name) is not None:
            values[field.name] = arguments[field.name]
        elif text:
            values[field.name] = _parse(field.name, field.type, text)
    unknown = arguments.keys() - {field.name for field in fields(Settings)}
    if unknown:
        raise TypeError(f"no such settings: {sorted(unknown)}")
    return Settings(**values)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse a variable with our prefix that is no setting: a misspelt limit must not be no limit."""
    known = [variable(field.name) for field in fields(Settings)]
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, 1, 0.0)[0]
        raise UnknownSettingError(unknown[0], close)


def is_loopback(host: str) -> bool:
    """Whether *host* can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _parse(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return _WORDS[text.strip().lower()]
        return kind(text.strip())
    except (KeyError, ValueError):
        wanted = {bool: "yes or no", int: "a whole number", float: "a number"}[kind]
        raise SettingsError(variable(name), text, f"{wanted} is expected") from None


_MAY_BE_ZERO: Final = frozenset(
    {
        "memory_bytes",
        "journal_reserve_bytes",
        "keep_loaded_s",
        "keep_loaded_bytes",
        "source_items_per_s",
        "source_bytes_per_s",
    }
)


def _check_number(name: str, value: float) -> None:
    if name in {"port", "grpc_port"}:
        if not 0 <= value <= 65_535:
            raise SettingsError(variable(name), str(value), "a port is between 0 and 65535")
    elif name in _MAY_BE_ZERO and value == 0:
        return
    elif not 0 < value < float("inf"):
        raise SettingsError(variable(name), str(value), "it must be greater than zero")


def variable(name: str) -> str:
    """Return the environment variable of the field *name*."""
    return PREFIX + name.upper()
