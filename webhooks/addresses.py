"""Decide which IP addresses requests may go to, so that a subscription cannot reach into the operator's network."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

_UNICAST = IPv6Network("2000::/3")  # every other IPv6 address is local, multicast, or reserved
_NAT64 = IPv6Network("64:ff9b::/96")
#: services of a cloud's host, in ranges that count as public: Azure's, Oracle's
_HOST_SERVICES = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))


class AddressRefused(OSError):
    """Requests are not sent to that address. It is an OSError, as a refused connection is."""


@dataclass(frozen=True, slots=True)
class AllowedAddresses:
    """The public addresses, and the networks that the operator allows.

    Only these *networks* get requests without TLS.
    """

    networks: Sequence[IPv4Network | IPv6Network] = ()

    def check(self, text: str, *, has_tls: bool) -> None:
        """Raise AddressRefused if requests may not be sent to an IP address."""
        address = ip_address(text.partition("%")[0])
        if any(_is_in(form, network) for network in self.networks for form in _list_forms(address)):
            return
        if not has_tls:
            raise AddressRefused("it needs https, or a network in CONTACT_SCORE_ALLOW_NETWORKS")
        if not all(_is_public(form) for form in _list_forms(address)):
            raise AddressRefused("the address is not public, and not in CONTACT_SCORE_ALLOW_NETWORKS")

    async def find_problem(self, url: str) -> str | None:
        """Return why no event could be sent to a URL now, or None. A name that is not known now may be known later."""
        parts = urlsplit(url)
        try:
            targets = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return None
        return self.explain_refusal([str(target[0]) for *_, target in targets], has_tls=parts.scheme == "https")

    def explain_refusal(self, addresses: Sequence[str], *, has_tls: bool) -> str | None:
        """Return why events may be sent to none of the IP addresses of a host, or None."""
        problem: str | None = None
        for address in addresses:
            try:
                self.check(address, has_tls=has_tls)
            except AddressRefused as refused:
                problem = str(refused)
            else:
                return None
        return problem


def _is_in(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped is not None or address in _NAT64 or (address in _UNICAST and address.is_global)
    return address.is_global and not address.is_multicast and not any(address in network for network in _HOST_SERVICES)


def _list_forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield an address, and the IPv4 addresses that it stands for: packets to it may end there."""
    yield address
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
