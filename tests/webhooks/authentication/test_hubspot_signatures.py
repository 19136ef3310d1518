"""HubSpot's own package and this verifier accept the same requests, in all three versions of the signature."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import quote

import pytest
from hubspot.exceptions import InvalidSignatureTimestampError
from hubspot.utils.signature import Signature

from tests.counts import report_counts
from webhooks.authentication import signatures
from webhooks.authentication.recipes import RECIPES
from webhooks.authentication.signatures import NotAuthentic, SignedRequest

MANY = 1000
HEADERS = {"v1": "x-hubspot-signature", "v2": "x-hubspot-signature", "v3": "x-hubspot-signature-v3"}
TIMESTAMP = "x-hubspot-request-timestamp"
#: characters that HubSpot decodes from escapes before it signs in version 3; its package leaves this to the caller
DECODED = ":/?@!$'()*,;"


def text_of(noise: bytes, most: int) -> str:
    """Return a text with letters, symbols and many characters of more than one byte."""
    return "".join(chr((0x20, 0x60, 0x400, 0x1F600)[number % 4] + number // 4) for number in noise[: noise[0] % most])


#: changes to a request on its way: (body, address, signature, timestamp) → the same, changed
JOURNEYS: list[Callable[[str, str, str, str], tuple[str, str, str, str]]] = [
    lambda body, url, signature, at: (body, url, signature, at),
    lambda body, url, signature, at: (body, url, signature, at),
    lambda body, url, signature, at: (body + " ", url, signature, at),
    lambda body, url, signature, at: (body, url + "x", signature, at),
    lambda body, url, signature, at: (body, url, signature, str(int(at) - 1)),
    lambda body, url, signature, at: (body, url, signature[:-1], at),
    lambda body, url, signature, at: (body, url, "", at),
    lambda body, url, signature, at: (body, url, signature[::-1], at),
]


def verdicts_on(version: str, number: int) -> tuple[bool, bool, int]:
    """Build a request from a number; return whether the package and the verifier accept it, and its age."""
    noise = hashlib.sha512(f"{version} {number}".encode()).digest()
    secret, body = text_of(noise[40:], 24) + "s", text_of(noise[8:], 60)
    method = ("POST", "GET")[noise[1] % 2]
    query = f"who={quote(text_of(noise[30:], 8), safe='')}" if noise[2] % 2 else "at=%3A%2F%40%2C"
    address = f"https://scores.example.com/webhooks/T1/hub%20{noise[3]}?{query}"
    off = (0, 0, -280, 280, -320, 320)[noise[4] % 6]  # seconds; far enough from 300 for a slow machine
    now = time.time_ns() // 1000  # the package offers no other clock
    at = str(now // 1000 + off * 1000)
    signature = Signature.get_signature(secret, body, version, signed(address, version), method, at)
    arrived, url, sent, timestamp = JOURNEYS[noise[5] % len(JOURNEYS)](body, address, signature, at)
    headers = {HEADERS[version]: sent, TIMESTAMP: timestamp}
    request = SignedRequest(method=method, url=url, headers=headers, body=arrived.encode())
    by_hubspot = accepts(
        lambda: Signature.is_valid(sent, secret, arrived, signed(url, version), method, version, timestamp)
    )
    by_us = accepts(
        lambda: bool(signatures.verify(request, recipes=RECIPES[f"hubspot-{version}"], secrets=[secret], now=now))
    )
    return by_hubspot, by_us, off


def signed(address: str, version: str) -> str:
    """Return an address as HubSpot signs it."""
    for character in DECODED if version == "v3" else "":
        address = address.replace(f"%{ord(character):02X}", character)
    return address


def accepts(call: Callable[[], bool]) -> bool:
    """Return whether a verifier accepts a request."""
    try:
        return call()
    except (NotAuthentic, InvalidSignatureTimestampError):
        return False


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_package_agrees(version: str) -> None:
    """The package agrees, except for requests from the future, which only the package accepts."""
    counts: Counter[str] = Counter()
    for number in range(MANY):
        by_hubspot, by_us, off = verdicts_on(version, number)
        from_the_future = version == "v3" and off > 300
        assert by_us == (by_hubspot and not from_the_future), (version, number)
        counts["from the future" if by_hubspot > by_us else "let in" if by_us else "refused"] += 1

    report_counts(f"HubSpot's package, {version}", counts)
    assert counts["let in"] > MANY // 8
    assert counts["refused"] > MANY // 3
    assert (counts["from the future"] > MANY // 50) == (version == "v3")


def test_what_its_package_fails_at_is_refused_by_ours() -> None:
    """A non-ASCII signature, an invalid timestamp and a missing header are refused; the package raises."""
    at = str(time.time_ns() // 1_000_000)
    spoiled: list[Mapping[str, str]] = [
        {HEADERS["v3"]: "é", TIMESTAMP: at}, {HEADERS["v3"]: "a", TIMESTAMP: "soon"}, {HEADERS["v3"]: "a"},
        {TIMESTAMP: at},
    ]  # fmt: skip  # headers
    for headers in spoiled:
        with pytest.raises(NotAuthentic):
            signatures.verify(
                SignedRequest(headers=headers, body=b"[]"),
                recipes=RECIPES["hubspot-v3"],
                secrets=["s"],
                now=int(at) * 1000,
            )
    with pytest.raises(TypeError):
        Signature.is_valid("é", "s", "[]", "https://a.example", "POST", "v3", at)
