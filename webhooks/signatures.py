"""Verify that a delivery carries a Standard Webhooks signature made with one of its source's secrets."""

import base64
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
FAMILIES = ("webhook", "svix")
PARTS = ("id", "timestamp", "signature")
VERSION = "v1,"
PREFIX = "whsec_"
SECOND = 1_000_000
TOLERANCE = 300 * SECOND
DELIVERY_ID = re.compile(r"[ -~]{1,256}")
SECONDS = re.compile(r"[0-9]{1,12}")


class Reason(StrEnum):
    """Why a delivery is not taken for authentic."""

    MISSING_HEADER = "missing header"
    MALFORMED = "malformed header"
    WRONG_SIGNATURE = "wrong signature"
    CLOCK_TOO_FAR_OFF = "clock too far off"


class Refused(Exception):
    """
    The delivery is not authentic.

    The *hint* tells the operator what to mend.
    It is not part of the message, so that no sender reads it by mistake.
    """

    def __init__(self, reason: Reason, hint: str) -> None:
        super().__init__(f"The delivery is not authentic: {reason}.")
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentic:
    """What the signature vouches for: which delivery it is, and when this attempt of it was made."""

    delivery_id: str
    sent_at: int


def verify(body: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: int) -> Authentic:
    """
    Say which delivery this is, or raise *Refused*, and nothing else, whatever a stranger may have sent.

    The names of *headers* are in lower case, times are microseconds since 1970.
    The *secrets* have passed *check_secret*: one that would not pass is a *ValueError*.
    """
    family = next((name for name in FAMILIES if any(f"{name}-{part}" in headers for part in PARTS)), FAMILIES[0])
    names = [f"{family}-{part}" for part in PARTS]
    if missing := [name for name in names if not headers.get(name)]:
        raise Refused(Reason.MISSING_HEADER, f"no {', '.join(missing)} header: is the sender signing?")
    delivery_id, timestamp, signature = (headers[name] for name in names)
    if not DELIVERY_ID.fullmatch(delivery_id):
        raise Refused(Reason.MALFORMED, f"{family}-id must be at most 256 printable ASCII characters")
    if not SECONDS.fullmatch(timestamp):
        raise Refused(Reason.MALFORMED, f"{family}-timestamp must be whole seconds since 1970, in digits alone")
    given = [entry.encode("ascii", "replace") for entry in signature.split(" ") if entry.startswith(VERSION)]
    if not given:
        raise Refused(Reason.MALFORMED, f"{family}-signature holds no v1 signature, the only kind that is read")

    expected = [_signature(body, delivery_id=delivery_id, timestamp=timestamp, secret=secret) for secret in secrets]
    # A list: stopping at the first match would tell by its time which of the secrets it was.
    if not any([hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]):
        hint = f"the signature fits none of this source's secrets ({len(secrets)}): another secret, or a changed body?"
        raise Refused(Reason.WRONG_SIGNATURE, hint)
    sent_at = int(timestamp) * SECOND
    if abs(now - sent_at) > TOLERANCE:
        seconds, side = -(-abs(now - sent_at) // SECOND), "behind" if sent_at < now else "ahead"
        hint = f"the signature is right, but the sender's clock differs by {seconds} s ({side}), or this is a replay"
        raise Refused(Reason.CLOCK_TOO_FAR_OFF, hint)
    return Authentic(delivery_id=delivery_id, sent_at=sent_at)


def sign(body: bytes, *, delivery_id: str, now: int, secret: str) -> dict[str, str]:
    """Make the headers that *verify* accepts for this *body*."""
    if not DELIVERY_ID.fullmatch(delivery_id):
        raise ValueError("A delivery's id must be 1 to 256 printable ASCII characters.")
    timestamp = str(now // SECOND)
    signature = _signature(body, delivery_id=delivery_id, timestamp=timestamp, secret=secret)
    values = (delivery_id, timestamp, signature.decode())
    return {f"{FAMILIES[0]}-{part}": value for part, value in zip(PARTS, values, strict=True)}


def new_secret() -> str:
    """Make a signing secret."""
    return PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def check_secret(secret: str) -> None:
    """Raise *ValueError*, in words that do not repeat the secret, where it cannot be a signing secret."""
    _key(secret)


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"Give the secret as {PREFIX} followed by 24 to 64 bytes in base64.")
    return key


def _signature(body: bytes, *, delivery_id: str, timestamp: str, secret: str) -> bytes:
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return VERSION.encode() + base64.b64encode(hmac.digest(_key(secret), signed, "sha256"))
