"""Settings of the tracer: arguments before environment before defaults; a bad value refuses with its name."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack
from urllib.parse import urlsplit

from opentelemetry.sdk.trace.export import SpanExporter

from controltower.tracer.durable.limits import DEFAULT_BYTES, DEFAULT_RESERVE_BYTES
from controltower.tracer.errors import SettingError
from controltower.tracer.exporter import WhenFull
from controltower.tracer.given import Environment, Given, given
from controltower.tracer.guard import under_pytest
from controltower.tracer.key_types import KEY_TYPES, PATIENT_TYPES
from controltower.tracer.propagation import DEFAULT_PROPAGATED, PATIENT_LINKED
from controltower.tracer.tokens import BadKeyError, Key, parse_keys, read_key_file

Mode = Literal["production", "development"]
Compression = Literal["gzip", "none"]

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
TRACES_PATH: Final = "/v1/traces"
KEY_FILE: Final = "CONTROLTOWER_REDACTION_KEY_FILE"
DEFAULT_QUEUE_SIZE: Final = 16_384  # spans; about 60 MB when they are typical steps with a few lines
DEFAULT_BATCH_SIZE: Final = 1_024  # spans per request; larger ones gain nothing measurable
DEFAULT_INTERVAL_S: Final = 0.5  # a step is to be visible within two seconds
INTERNAL_ENDS: Final = (".localhost", ".local", ".internal", ".svc")
EVERY_HOST: Final = "*"
DEFAULT_TIMEOUT_S: Final = 10.0  # of one export with its retries, as in OpenTelemetry
SAMPLERS: Final = (
    "always_on", "always_off", "traceidratio",
    "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
)  # fmt: skip


class Options(TypedDict, total=False):
    """What ``configure`` and ``System`` accept; each also as ``CONTROLTOWER_<NAME>`` where a text can say it."""

    service: str  # name of this system in every path; also OTEL_SERVICE_NAME
    endpoint: str  # collector, base address or full …/v1/traces; also OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT
    token: str  # ingest token; also CONTROLTOWER_TOKEN_FILE
    exporter: SpanExporter  # instead of OTLP over HTTP
    resource: Mapping[str, str]  # more resource attributes; OTEL_RESOURCE_ATTRIBUTES is honoured
    mode: Mode  # development raises on misuse, production counts it; development under pytest by default
    queue_size: int  # spans that may wait; also OTEL_BSP_MAX_QUEUE_SIZE
    batch_size: int  # spans per request; also OTEL_BSP_MAX_EXPORT_BATCH_SIZE
    interval_s: float  # longest wait before a step is sent; also OTEL_BSP_SCHEDULE_DELAY, in milliseconds
    timeout_s: (
        float  # of one export with its retries; also OTEL_EXPORTER_OTLP_(TRACES_)TIMEOUT, OTEL_BSP_EXPORT_TIMEOUT
    )
    compression: (
        Compression  # of requests; gzip to other machines by default; also OTEL_EXPORTER_OTLP_(TRACES_)COMPRESSION
    )
    when_full: WhenFull  # drop (and count) or block (batch programs)
    durable: str | Path  # folder on this machine's disk where spans wait until the collector has them
    durable_bytes: int  # of it that may be used, by all processes of this service on this machine together
    durable_reserve_bytes: int  # free space that is left on its volume
    propagate_keys: Iterable[str]  # key types that may travel in headers
    propagate_hosts: Iterable[
        str
    ]  # hosts that may receive them (``*.example.org`` for those below, ``*`` for all); the own network when not given
    redaction_key: str  # VERSION:BASE64 for tokens of patients' keys, in a rotation the one before it behind a comma
    key_types: Iterable[str]  # key types of your own, beside those of the registry
    token_types: Iterable[str]  # more key types whose values become tokens
    own_traces: bool  # never continue a trace of another System in this process


@dataclass(frozen=True, slots=True)
class Settings:
    """What one tracer works with; see ``Options`` for the meaning of each field."""

    service: str
    endpoint: str
    token: str = field(default="", repr=False)
    exporter: SpanExporter | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "production"
    queue_size: int = DEFAULT_QUEUE_SIZE
    batch_size: int = DEFAULT_BATCH_SIZE
    interval_s: float = DEFAULT_INTERVAL_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    compression: Compression = "none"
    when_full: WhenFull = "drop"
    durable: Path | None = None
    durable_bytes: int = DEFAULT_BYTES
    durable_reserve_bytes: int = DEFAULT_RESERVE_BYTES
    propagate_keys: frozenset[str] = DEFAULT_PROPAGATED
    propagate_hosts: frozenset[str] | None = None
    redaction_key: tuple[Key, ...] = field(default=(), repr=False)
    key_types: frozenset[str] = KEY_TYPES
    token_types: frozenset[str] = PATIENT_TYPES
    own_traces: bool = True

    def may_receive_keys(self, host: str) -> bool:
        """Return whether keys may be sent to *host*."""
        name = host.lower().rstrip(".")
        if self.propagate_hosts is None:
            return is_internal(name)
        return any(name == allowed or _is_below(name, allowed) for allowed in self.propagate_hosts)


def _is_below(name: str, allowed: str) -> bool:
    return allowed == EVERY_HOST or (allowed.startswith("*.") and name.endswith(allowed[1:]))


def resolve(environment: Environment | None = None, **options: Unpack[Options]) -> Settings:
    """Return the settings for *options*, completed from the environment and the defaults."""
    env = os.environ if environment is None else environment
    _check_sampler(env)
    endpoint = _endpoint(options.get("endpoint"), env)
    queue_size = _whole("queue_size", options.get("queue_size"), env, DEFAULT_QUEUE_SIZE, "OTEL_BSP_MAX_QUEUE_SIZE")
    batch_size = _whole(
        "batch_size", options.get("batch_size"), env, DEFAULT_BATCH_SIZE, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )
    token_types = PATIENT_TYPES | (_names("token_types", options.get("token_types"), env) or frozenset())
    return Settings(
        service=_service(options.get("service"), env),
        endpoint=endpoint,
        token=_token(options.get("token"), env),
        exporter=_exporter(options.get("exporter")),
        resource=_resource(options.get("resource")),
        mode=_mode(options.get("mode"), env),
        queue_size=queue_size,
        batch_size=min(batch_size, queue_size),
        interval_s=_seconds(
            "interval_s", options.get("interval_s"), env, DEFAULT_INTERVAL_S, "OTEL_BSP_SCHEDULE_DELAY"
        ),
        timeout_s=_seconds(
            "timeout_s", options.get("timeout_s"), env, DEFAULT_TIMEOUT_S, *_otlp("TIMEOUT"), "OTEL_BSP_EXPORT_TIMEOUT"
        ),
        compression=_compression(options.get("compression"), env, endpoint),
        when_full=_when_full(options.get("when_full"), env),
        durable=_durable(options.get("durable"), options.get("exporter"), env),
        durable_bytes=_whole("durable_bytes", options.get("durable_bytes"), env, DEFAULT_BYTES),
        durable_reserve_bytes=_whole(
            "durable_reserve_bytes", options.get("durable_reserve_bytes"), env, DEFAULT_RESERVE_BYTES, smallest=0
        ),
        propagate_keys=_propagated(options.get("propagate_keys"), env, token_types),
        propagate_hosts=_hosts(options.get("propagate_hosts"), env),
        redaction_key=key_from(options.get("redaction_key"), env),
        key_types=KEY_TYPES | token_types | (_names("key_types", options.get("key_types"), env) or frozenset()),
        token_types=token_types,
        own_traces=bool(options.get("own_traces", True)),
    )


@lru_cache(maxsize=256)  # of one client these are few; it is asked for each request
def is_internal(host: str) -> bool:
    """Return whether *host* is this machine or cannot be reached from outside its network, by the look of it.

    Such are the file of a socket, private addresses (RFC 1918, RFC 4193, RFC 6890), names without a dot, and names that no
    public server answers for (RFC 6761, RFC 6762, ICANN's ``internal``, services of Kubernetes).
    """
    if host.startswith("/"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(INTERNAL_ENDS))
    return address.is_private


def is_loopback(endpoint: str) -> bool:
    """Return whether *endpoint* is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _otlp(name: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _service(argument: str | None, env: Environment) -> str:
    found = given("service", argument, env, "OTEL_SERVICE_NAME")
    fallback = _resource_attribute(env, "service.name")  # read in any case: a bad one is refused
    service = found.text() if found else fallback
    if not service or not service.strip():
        raise SettingError("service", "name this system, with configure(service=...) or CONTROLTOWER_SERVICE")
    return service.strip()


def _resource_attribute(env: Environment, name: str) -> str | None:
    pairs = [pair.partition("=") for pair in env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",") if pair.strip()]
    if not all(key.strip() and separator for key, separator, _ in pairs):
        raise SettingError("OTEL_RESOURCE_ATTRIBUTES", "give name=value pairs, separated by commas")
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _endpoint(argument: str | None, env: Environment) -> str:
    found = given("endpoint", argument, env, *_otlp("ENDPOINT")) or Given(DEFAULT_ENDPOINT, "endpoint")
    if found.name.startswith("OTEL_"):
        _check_protocol(env)
    try:
        parts = urlsplit(found.text().strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise found.refused("give the collector's address, such as http://tower:4318")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix(TRACES_PATH)}{TRACES_PATH}"


def _check_protocol(env: Environment) -> None:
    """Refuse an address that is meant for a protocol that the tracer does not send."""
    names = (each for each in _otlp("PROTOCOL") if env.get(each))
    if (name := next(names, None)) is not None and env[name] != "http/protobuf":
        raise SettingError(name, "the tracer sends http/protobuf; give CONTROLTOWER_ENDPOINT the address for that")


def _check_sampler(env: Environment) -> None:
    """Refuse what OpenTelemetry would replace by its default with no more than a line in the log."""
    if sampler := env.get("OTEL_TRACES_SAMPLER"):
        Given(sampler, "OTEL_TRACES_SAMPLER").choice(*SAMPLERS)
    if argument := env.get("OTEL_TRACES_SAMPLER_ARG"):
        try:
            usable = 0 <= float(argument) <= 1
        except ValueError:
            usable = False
        if not usable:
            raise SettingError("OTEL_TRACES_SAMPLER_ARG", "give a number from 0 to 1")


def _compression(argument: str | None, env: Environment, endpoint: str) -> Compression:
    found = given("compression", argument, env, *_otlp("COMPRESSION"))
    if found is None:
        return "none" if is_loopback(endpoint) else "gzip"
    return "gzip" if found.choice("gzip", "none") == "gzip" else "none"


def _token(argument: str | None, env: Environment) -> str:
    found = given("token", argument, env)
    if found is None and (file := env.get("CONTROLTOWER_TOKEN_FILE")):
        try:
            found = Given(Path(file).read_text(encoding="utf-8"), "CONTROLTOWER_TOKEN_FILE")
        except (OSError, ValueError) as error:
            raise SettingError("CONTROLTOWER_TOKEN_FILE", "the file cannot be read") from error
    if found is None:
        return ""
    token = found.text().strip()
    if not token.isascii() or not (token.isprintable() and " " not in token):
        raise found.refused("a token is printable ASCII without spaces")
    return token


def key_from(argument: str | None, env: Environment) -> tuple[Key, ...]:
    """Return the keys for tokens, the present one first; none when none is given. SettingError never shows one."""
    found = given("redaction_key", argument, env)
    try:
        if found is None and (file := env.get(KEY_FILE)):
            found = Given(file, KEY_FILE)
            found = Given(read_key_file(Path(file)), KEY_FILE)
        by_tenant = parse_keys(found.text()) if found is not None else {}
    except BadKeyError as error:
        raise SettingError(found.name if found else KEY_FILE, str(error)) from None
    if len(by_tenant) > 1:
        raise SettingError(found.name if found else KEY_FILE, "give the keys of this service's tenant alone")
    return next(iter(by_tenant.values()), ())


def _exporter(argument: object) -> SpanExporter | None:
    if argument is not None and not isinstance(argument, SpanExporter):
        raise SettingError("exporter", "give an OpenTelemetry SpanExporter")
    return argument


def _resource(argument: Mapping[str, str] | None) -> Mapping[str, str]:
    if argument is None:
        return {}
    if not isinstance(argument, Mapping):
        raise SettingError("resource", "give a mapping of attribute names to strings")
    return {str(name): str(value) for name, value in argument.items()}


def _mode(argument: str | None, env: Environment) -> Mode:
    found = given("mode", argument, env)
    if found is None:
        return "development" if under_pytest() else "production"
    return "production" if found.choice("production", "development") == "production" else "development"


def _when_full(argument: str | None, env: Environment) -> WhenFull:
    found = given("when_full", argument, env)
    return "block" if found is not None and found.choice("drop", "block") == "block" else "drop"


def _durable(argument: str | Path | None, exporter: object, env: Environment) -> Path | None:
    if exporter is not None:  # an exporter of the host's own is a choice, whatever a variable says
        if argument is not None:
            raise SettingError("durable", "give a folder or an exporter, not both")
        return None
    found = given("durable", str(argument) if isinstance(argument, Path) else argument, env)
    if found is None:
        return None
    try:
        from controltower.tracer.durable.folders import check_folder
    except ModuleNotFoundError as error:  # fcntl
        raise found.refused("durable export needs a POSIX system") from error
    return check_folder(found)


def _whole(name: str, argument: object, env: Environment, default: int, *variables: str, smallest: int = 1) -> int:
    found = given(name, argument, env, *variables)
    return default if found is None else found.whole(smallest)


def _seconds(name: str, argument: object, env: Environment, default: float, *variables: str) -> float:
    found = given(name, argument, env, *variables)
    return default if found is None else found.seconds()


def _names(name: str, argument: Iterable[str] | None, env: Environment) -> frozenset[str] | None:
    if argument is None:
        text = env.get(f"CONTROLTOWER_{name.upper()}")
        return None if text is None else frozenset(part.strip() for part in text.split(",") if part.strip())
    if isinstance(argument, str) or not isinstance(argument, Iterable):
        raise SettingError(name, "give a list of names")
    names = frozenset(argument)
    if not all(isinstance(each, str) and each for each in names):
        raise SettingError(name, "give a list of names")
    return names


def _propagated(argument: Iterable[str] | None, env: Environment, token_types: frozenset[str]) -> frozenset[str]:
    names = _names("propagate_keys", argument, env)
    if names is None:
        return DEFAULT_PROPAGATED - token_types
    if refused := sorted(names & (PATIENT_LINKED | token_types)):
        raise SettingError("propagate_keys", f"{', '.join(refused)} leads to a patient and never travels in a header")
    return names


def _hosts(argument: Iterable[str] | None, env: Environment) -> frozenset[str] | None:
    names = _names("propagate_hosts", argument, env)
    return None if names is None else frozenset(name.lower().rstrip(".") for name in names)
