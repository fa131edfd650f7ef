"""Which addresses of the internet we may be sent to by somebody who types a link.

Refused is everything that is not plainly public: otherwise the server could be made to read its neighbours, itself, or
the metadata service of the cloud it runs in. Sources: the IANA special-purpose address registries for IPv4 and IPv6
(RFC 6890 and its updates); Azure's wire server is a public number and is named here.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

NEVER = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata lives in it
        "169.254.0.0/16",  # link-local; AWS, Google and Azure metadata
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """May we connect to this address on somebody's word? An IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
    if any(address in block for block in NEVER if block.version == address.version):
        return False
    is_special = address.is_private or address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not is_special and not address.is_loopback and not address.is_link_local


def resolve(host: str, port: int) -> Sequence[Address]:
    """All addresses of a host, in the order the system would try them. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
