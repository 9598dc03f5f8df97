"""Who is at the other end of a request."""

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Transport: TypeAlias = Literal["http", "grpc"]
TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)

# A provider gives each customer such a network at least: counting single addresses would count nothing.
IPV6_NETWORK: Final = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A client by its address, as the socket tells it, and the protocol it speaks."""

    transport: Transport = "http"
    address: str = ""

    @property
    def network(self) -> str:
        """What is counted as one client: an IPv4 address, or the network of an IPv6 address."""
        try:
            address = ipaddress.ip_address(self.address.partition("%")[0])
        except ValueError:
            return ""  # a socket without an address: all of these are one
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False))
