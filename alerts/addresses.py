"""Which addresses notifications may go to; pure.

Public addresses over https, and what the allow-list names. The rules follow the server-side request forgery cheat sheet
of OWASP; number forms of addresses (decimal, hexadecimal, octal, short) are refused rather than understood.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from controltower.alerts.errors import RefusedAddressError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"https": 443, "http": 80}
# What Python calls global, and a notification must still not reach: multicast, carrier networks, and the ranges that
# carry an IPv4 address inside an IPv6 one (mapped, NAT64, 6to4), because what stands inside is not looked at.
BLOCKED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "fec0::/10",
        "ff00::/8",
    )
)
PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "localdomain", "home.arpa")
HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z"
)
NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL, taken apart. The path and the query may hold a secret, so neither shows."""

    scheme: Literal["https", "http"]
    host: str  # lower case, without brackets and without a final dot
    port: int
    path: str = field(repr=False)  # with the query, as it goes on the wire

    @property
    def authority(self) -> str:
        """Return the value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return the URL for people: without path and query."""
        return f"{self.scheme}://{self.authority}/…"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is allowed beyond public https: host names (with or without a port) and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPNetwork, ...] = ()

    def names(self, host: str, port: int) -> bool:
        """Whether *host* is listed by its name (or by its address, written as in the URL)."""
        return host in self.hosts or f"{host}:{port}" in self.hosts

    def covers(self, address: IPAddress) -> bool:
        """Whether *address* is in a listed network."""
        return any(address in network for network in self.networks)


def parse_allowance(entries: Iterable[str]) -> Allowance:
    """Parse entries such as ``hooks.intra.example``, ``localhost:8080``, ``10.1.0.0/16``; raise ValueError on others."""
    hosts: set[str] = set()
    networks: list[IPNetwork] = []
    for entry in filter(None, (entry.strip().lower() for entry in entries)):
        network = _network(entry)
        if network is not None:
            networks.append(network)
        elif re.fullmatch(r"[a-z0-9_.-]+(:[0-9]{1,5})?", entry) and not _is_number_form(entry.partition(":")[0]):
            hosts.add(entry)
        else:
            raise ValueError(entry)
    return Allowance(frozenset(hosts), tuple(networks))


def parse_target(url: str, allow: Allowance) -> Target:
    """Check everything about *url* that needs no look-up; raise RefusedAddressError with the reason."""
    parts = _split(url)
    if parts.scheme not in ("https", "http"):
        raise RefusedAddressError("must start with https://")
    if "@" in parts.netloc:
        raise RefusedAddressError("must not hold a user name or password")
    host = (parts.hostname or "").rstrip(".")
    port = _port(parts)
    target = Target("https" if parts.scheme == "https" else "http", host, port, _path(parts))
    address = _literal(host)
    listed = allow.names(host, port) or (address is not None and allow.covers(address))
    if address is None:
        _check_name(host, listed)
    elif not listed and not is_public(address):
        raise RefusedAddressError(f"points to {host}, which is not a public address; list it in the allow-list")
    # A name may lie in a listed network: that is known only when it is resolved, so ``vet`` asks again.
    if not listed and not (address is None and allow.networks):
        _check_public_use(target)
    return target


def vet(target: Target, answers: Sequence[str], allow: Allowance) -> list[IPAddress]:
    """Return the addresses to connect to; raise RefusedAddressError when any answer is one that must not be reached."""
    addresses = [ipaddress.ip_address(answer.partition("%")[0]) for answer in dict.fromkeys(answers)]
    if not addresses:
        raise RefusedAddressError(f"{target.host} has no address")
    if allow.names(target.host, target.port):
        return addresses
    for address in addresses:
        if not (is_public(address) or allow.covers(address)):
            raise RefusedAddressError(f"{target.host} resolves to {address}, which is not a public address")
    if not all(allow.covers(address) for address in addresses):
        _check_public_use(target)
    return addresses


def is_public(address: IPAddress) -> bool:
    """Whether *address* is one of the open internet."""
    if any(address in network for network in BLOCKED):
        return False
    return address.is_global and (address.version == 4 or address in PUBLIC_IPV6)


def _split(url: str) -> SplitResult:
    # Spaces, control characters, backslashes and other alphabets are read differently by different parsers.
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        raise RefusedAddressError("holds characters that do not belong in a URL; write them percent-encoded")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises when it is no port
    except ValueError:
        raise RefusedAddressError("is not a URL") from None
    if not parts.hostname:
        raise RefusedAddressError("names no host")
    return parts


def _port(parts: SplitResult) -> int:
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    if not port:
        raise RefusedAddressError("names port 0")
    return port


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if ":" in host or _is_number_form(host):
        raise RefusedAddressError("writes its address in a form that is not understood everywhere; use four decimals")
    return None


def _is_number_form(host: str) -> bool:
    """Whether resolvers may take *host* for an IPv4 address: its last label is a number, but it is not four decimals."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(NUMBER.match(host.rstrip(".").rpartition(".")[2]))
    return False


def _check_name(host: str, listed: bool) -> None:
    if not HOST_NAME.match(host):
        raise RefusedAddressError("names a host that is none")
    local = any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES)
    if local and not listed:
        raise RefusedAddressError(f"points to {host}, which is a local name; list it in the allow-list")


def _check_public_use(target: Target) -> None:
    if target.scheme != "https":
        raise RefusedAddressError(f"must be https; http is for hosts in the allow-list, and {target.host} is not in it")
    if target.port != DEFAULT_PORTS["https"]:
        raise RefusedAddressError(f"uses port {target.port}; ports other than 443 are for hosts in the allow-list")


def _network(entry: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None
