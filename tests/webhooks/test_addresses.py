"""Events are sent to public addresses, and to networks that the operator allows; to nothing else, however written."""

import socket
from ipaddress import IPv4Address, ip_network

import pytest

from webhooks.addresses import AddressRefused, AllowedAddresses

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "2001:4860:4860::8888", "::ffff:8.8.8.8")
#: private, loopback, link-local with metadata services, shared, reserved, multicast, documentation, and all of them
#: inside IPv6
REFUSED = (
    str(IPv4Address(0)), "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.1.2.3", "0.0.0.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "::127.0.0.1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
)  # fmt: skip  # by kind


def is_refused(allowed: AllowedAddresses, address: str, *, has_tls: bool = True) -> bool:
    """Return whether events are not sent to an address."""
    try:
        allowed.check(address, has_tls=has_tls)
    except AddressRefused:
        return True
    return False


def test_only_public_addresses_are_called() -> None:
    """Without a setting no address inside a network is called, in any form; without TLS no address at all."""
    allowed = AllowedAddresses()

    assert [address for address in REFUSED if not is_refused(allowed, address)] == []
    assert [address for address in PUBLIC if is_refused(allowed, address)] == []
    assert [address for address in PUBLIC if not is_refused(allowed, address, has_tls=False)] == []


def test_an_allowed_network_is_called_with_and_without_tls() -> None:
    """A network of the operator is called in each of its forms; its neighbors are not."""
    allowed = AllowedAddresses([ip_network("10.1.0.0/16"), ip_network("fd12::/16")])

    for address in ("10.1.0.1", "10.1.255.255", "::ffff:10.1.2.3", "fd12::5"):
        assert not is_refused(allowed, address)
        assert not is_refused(allowed, address, has_tls=False)
    for address in ("10.2.0.1", "10.0.255.255", "fd13::1", "127.0.0.1", "169.254.169.254"):
        assert is_refused(allowed, address)


async def test_an_address_is_judged_before_the_first_event() -> None:
    """What would be refused at the first event is known when the address is added; an unknown name is left open."""
    private = "the address is not public, and not in CONTACT_SCORE_ALLOW_NETWORKS"
    insecure = "it needs https, or a network in CONTACT_SCORE_ALLOW_NETWORKS"
    problems = {
        "https://8.8.8.8/hook": None, "https://[2001:4860:4860::8888]:8443/": None, "https://10.0.0.5/": private,
        "https://localhost:9/": private, "https://[::1]/": private, "http://8.8.8.8/": insecure,
        "http://127.0.0.1:9/hook": insecure, "https://example.invalid/": None,
    }  # fmt: skip  # by address
    assert {url: await AllowedAddresses().find_problem(url) for url in problems} == problems
    allowed = AllowedAddresses([ip_network("127.0.0.0/8")])
    assert await allowed.find_problem("http://127.0.0.1:9/hook") is None
    assert allowed.explain_refusal(["10.0.0.5", "127.0.0.1", "10.0.0.6"], has_tls=False) is None
    assert allowed.explain_refusal(["10.0.0.5", "10.0.0.6"], has_tls=True) == private


@pytest.mark.parametrize("host", ["localhost", socket.gethostname()])
def test_the_names_of_this_machine_are_local(host: str) -> None:
    """What the names of this machine resolve to is refused, so that the test of a name in a URL means something."""
    for *_, target in socket.getaddrinfo(host, 80):
        assert is_refused(AllowedAddresses(), str(target[0]))
