"""Which addresses are not on the internet, however they are written."""

from __future__ import annotations

import ipaddress
import socket

from buildopt.oci.reference import is_loopback

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def private(host: str) -> bool:
    """Whether a host is, or resolves to, an address that is not on the internet. An unknown name is not."""
    return any(not _on_the_internet(address) for address in _resolved(host))


def link_local(host: str) -> bool:
    """Whether a host is, or resolves to, an address of its own link: where machines of clouds keep their secrets."""
    return any(inner.is_link_local for address in _resolved(host) for inner in _meant(address))


def numeric_private(host: str) -> bool:
    """Whether a host is this machine, or an address that is not on the internet: nothing is looked up for it."""
    return is_loopback(host) or any(not _on_the_internet(address) for address in _resolved(host, numeric=True))


def _resolved(host: str, *, numeric: bool = False) -> list[Address]:
    # Addresses in other writings too, such as 2130706433 and 0x7f.1, are read by whoever will read them to connect.
    flags = socket.AI_NUMERICHOST if numeric else 0
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]


def _on_the_internet(address: Address) -> bool:
    return all(inner.is_global and not inner.is_multicast for inner in _meant(address))


def _meant(address: Address) -> list[Address]:
    """An address, or that of version 4 which it stands for (or, with both of its ends in view, carries)."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _TRANSLATED:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, address.sixtofour] if address.sixtofour is not None else [address]
