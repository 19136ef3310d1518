"""Verify that a request has a signature that follows a recipe and was made with one of its source's secrets."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from webhooks.read.json_bodies import first_element

SECOND = 1_000_000
MOST = 100  # ed25519 signatures in one request: each is verified separately over the whole body
DELIVERY_ID = re.compile(r"[ -~]{1,256}")
DIGITS = {"s": re.compile(r"[0-9]{1,12}"), "ms": re.compile(r"[0-9]{1,15}")}
UNITS = {"s": SECOND, "ms": 1000}
WORDS = {"s": "whole seconds", "ms": "whole milliseconds"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AuthFailure(StrEnum):
    """Why a delivery is not authentic."""

    MISSING_HEADER = "missing header"
    MALFORMED = "malformed header"
    WRONG_SIGNATURE = "wrong signature"
    CLOCK_TOO_FAR_OFF = "clock too far off"
    NOT_THE_SENDER = "wrong password or token"


class NotAuthentic(Exception):
    """
    The delivery is not authentic.

    The *hint* tells the operator what to fix. It is not part of the message, so that it is never shown to a sender.
    """

    def __init__(self, reason: AuthFailure, hint: str) -> None:
        super().__init__(f"The delivery is not authentic: {reason}.")
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A delivery as it arrived. Header names are in lower case, *url* is as the sender sees it, *query* as sent.

    *lines* are all values of each header; *headers* has the first of them.
    """

    method: str = "POST"
    url: str = ""
    query: str = ""
    headers: Mapping[str, str]
    lines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentic:
    """What the signature proves: the delivery's id, and when this attempt was sent in µs UTC; None if not included."""

    delivery_id: str | None
    sent_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a sender signs, as data. Header names are in lower case.

    *parts* are signed one after the other: `body`, `first` (the first element of a list, as sent, or else the body),
    `method`, `url`, `timestamp`, `id`, `secret`, `header:NAME`, and literals after an apostrophe (`'.`).
    *listed* is the form of several signatures in the header: `one`, with `spaces` between them, or as `pairs` like
    `t=1,v1=…`, where *prefix* is the name before the equals sign and *timestamp* may be `pair:t`.
    """

    header: str
    parts: tuple[str, ...] = ("body",)
    algorithm: Literal["hmac-sha1", "hmac-sha256", "hmac-sha512", "sha256", "ed25519"] = "hmac-sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    listed: Literal["one", "spaces", "pairs"] = "one"
    key: Literal["utf8", "hex", "base64"] = "utf8"
    key_prefix: str = ""
    key_sizes: tuple[int, int] = (1, 1000)  #: in bytes
    timestamp: str | None = None  #: the header with the timestamp
    unit: Literal["s", "ms", "iso"] = "s"
    tolerance: int = 300  #: largest accepted clock difference in seconds, in both directions
    id: str | None = None  #: the header with the delivery's id
    decoded: str = ""  #: characters to percent-decode in the URL before it is signed


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHeaders:
    """
    The parsed headers of a signed request, before its body is read.

    *candidates* are the recipes that the request may be signed by. *signatures* are its signatures by prefix.
    *timestamp* is the text as sent, because that text is signed. *sent_at* is in µs UTC.
    """

    candidates: Sequence[Recipe]
    signatures: Mapping[str, Sequence[bytes]]
    delivery_id: str | None
    timestamp: str | None
    sent_at: int | None


def read_headers(request: SignedRequest, *, recipes: Sequence[Recipe], now: int) -> SignedHeaders:
    """
    Return the parsed headers of a signature; raises *NotAuthentic* if they are missing, malformed or stale.

    Several *recipes* are alternative ways for one sender to sign. The first recipe that has a header of its own in the
    request decides which headers are read. *now* is in µs UTC.
    """
    main_recipe = _choose_recipe(recipes, request)
    candidates = [recipe for recipe in recipes if recipe.header == main_recipe.header]
    if missing := [name for name in _list_headers(main_recipe, needed=True) if not request.headers.get(name)]:
        raise NotAuthentic(AuthFailure.MISSING_HEADER, f"no {', '.join(missing)} header: is the sender signing?")
    delivery_id = _read_delivery_id(request, main_recipe)
    timestamp = _read_timestamp(request, main_recipe)
    # Signatures in further lines of the header are as valid: the standard allows a list, and each signature is tried.
    lines = request.lines.get(main_recipe.header, [request.headers[main_recipe.header]])
    signatures = {
        recipe.prefix: [signature for line in lines for signature in _extract_signatures(line, recipe)]
        for recipe in candidates
    }
    if not any(signatures.values()):
        prefixes = " or ".join(recipe.prefix for recipe in candidates)
        raise NotAuthentic(
            AuthFailure.MALFORMED, f"{main_recipe.header} holds no signature that begins with {prefixes}"
        )
    return SignedHeaders(
        candidates=candidates,
        signatures=signatures,
        delivery_id=delivery_id,
        timestamp=timestamp,
        sent_at=None if timestamp is None else _check_clock(timestamp, main_recipe, now=now),
    )


def verify(request: SignedRequest, *, recipes: Sequence[Recipe], secrets: Sequence[str], now: int) -> Authentic:
    """
    Return what the signature proves; raises *NotAuthentic*, whatever the request contains.

    The caller has validated *secrets* with *check_secret*; a malformed secret raises *ValueError*.
    """
    keys = [
        (recipe, secret, _decode_key(recipe, secret))
        for secret in secrets
        for recipe in recipes_for_secret(recipes, secret)
    ]
    headers = read_headers(request, recipes=recipes, now=now)
    # The list makes sure that every secret is tried: stopping early would reveal by its time which secret matched.
    matches = [
        is_match
        for recipe, secret, key in keys
        if recipe in headers.candidates
        for is_match in _compare_signatures(
            request, recipe, headers.signatures[recipe.prefix], key=key, secret=secret, timestamp=headers.timestamp
        )
    ]
    if not any(matches):
        if not secrets:
            raise NotAuthentic(AuthFailure.WRONG_SIGNATURE, "the source has no secret yet: give it the sender's")
        causes = "another secret, or a changed body?"
        if any("url" in recipe.parts for recipe in headers.candidates):
            causes = "another secret, a changed body, or another address than its --public-url?"
        raise NotAuthentic(
            AuthFailure.WRONG_SIGNATURE,
            f"the signature matches none of this source's secrets ({len(secrets)}): {causes}",
        )
    return Authentic(delivery_id=headers.delivery_id, sent_at=headers.sent_at)


def sign(request: SignedRequest, *, recipe: Recipe, delivery: str, secret: str, now: int) -> SignedRequest:
    """Return the request with the headers that *verify* accepts; raises ValueError for a bad id or a public key."""
    if not DELIVERY_ID.fullmatch(delivery):
        raise ValueError("A delivery's id must be 1 to 256 printable ASCII characters.")
    headers = dict(request.headers)
    if recipe.id:
        headers[recipe.id] = delivery
    timestamp = None
    if recipe.timestamp:
        if recipe.unit == "iso":
            timestamp = (EPOCH + timedelta(microseconds=now)).isoformat()
        else:
            timestamp = str(now // UNITS[recipe.unit])
        if not recipe.timestamp.startswith("pair:"):
            headers[recipe.timestamp] = timestamp
    signed = replace(request, headers=headers)
    key = _decode_key(recipe, secret)
    signature = _encode_digest(
        _compute_digest(_build_content(signed, recipe, secret=secret, timestamp=timestamp), recipe, key), recipe
    )
    if recipe.listed == "pairs":
        stamp = f"{(recipe.timestamp or '').removeprefix('pair:')}={timestamp}," if recipe.timestamp else ""
        headers[recipe.header] = f"{stamp}{recipe.prefix}={signature}"
    else:
        headers[recipe.header] = recipe.prefix + signature
    return replace(request, headers=headers)


def new_secret(recipe: Recipe) -> str:
    """Return a random signing secret."""
    random_bytes = randomness.token_bytes(32)
    return recipe.key_prefix + (
        base64.b64encode(random_bytes).decode() if recipe.key == "base64" else random_bytes.hex()
    )


def check_secret(secret: str, *, recipes: Sequence[Recipe]) -> None:
    """Raise *ValueError*, with a sentence that does not repeat the secret, if it is not a signing secret."""
    for recipe in recipes_for_secret(recipes, secret):
        _decode_key(recipe, secret)


def recipes_for_secret(recipes: Sequence[Recipe], secret: str) -> list[Recipe]:
    """Return the recipes with the secret's prefix, or those with the first recipe's prefix if none matches."""
    matching = [recipe for recipe in recipes if secret.startswith(recipe.key_prefix)]
    return matching or [recipe for recipe in recipes if recipe.key_prefix == recipes[0].key_prefix]


def _choose_recipe(recipes: Sequence[Recipe], request: SignedRequest) -> Recipe:
    """Return the first recipe with a header in the request that not all recipes share, or else the first recipe."""
    if len(recipes) == 1:
        return recipes[0]
    shared = set[str].intersection(*(set(_list_headers(recipe)) for recipe in recipes))
    present = (
        recipe
        for recipe in recipes
        if any(name in request.headers for name in _list_headers(recipe) if name not in shared)
    )
    return next(present, recipes[0])


def _list_headers(recipe: Recipe, *, needed: bool = False) -> list[str]:
    stamp = None if recipe.timestamp is None or recipe.timestamp.startswith("pair:") else recipe.timestamp
    id = recipe.id if not needed or "id" in recipe.parts else None
    return [name for name in (id, stamp, recipe.header) if name]


def _read_delivery_id(request: SignedRequest, recipe: Recipe) -> str | None:
    delivery_id = request.headers.get(recipe.id, "") if recipe.id else ""
    if DELIVERY_ID.fullmatch(delivery_id):
        return delivery_id
    if "id" in recipe.parts:
        raise NotAuthentic(AuthFailure.MALFORMED, f"{recipe.id} must be at most 256 printable ASCII characters")
    return None


def _read_timestamp(request: SignedRequest, recipe: Recipe) -> str | None:
    """Return the timestamp as sent, because that text is signed; raises NotAuthentic if it is malformed."""
    if recipe.timestamp is None:
        return None
    name = recipe.timestamp.removeprefix("pair:")
    if name == recipe.timestamp:
        timestamp = request.headers[name]
    else:
        timestamp = dict(_parse_pairs(request.headers[recipe.header])).get(name, "")
    pattern = DIGITS.get(recipe.unit)
    if pattern is not None and not pattern.fullmatch(timestamp):
        raise NotAuthentic(AuthFailure.MALFORMED, f"{name} must be {WORDS[recipe.unit]} since 1970, in digits alone")
    if pattern is None and _parse_iso(timestamp) is None:
        raise NotAuthentic(AuthFailure.MALFORMED, f"{name} must be a time with a zone, like 2026-01-31T09:30:00Z")
    return timestamp


def _parse_iso(text: str) -> int | None:
    with suppress(ValueError):
        moment = datetime.fromisoformat(text) if text.isascii() and len(text) <= 40 else None
        if moment is not None and moment.tzinfo is not None:
            return (moment - EPOCH) // timedelta(microseconds=1)
    return None


def _check_clock(timestamp: str, recipe: Recipe, *, now: int) -> int:
    sent_at = _parse_iso(timestamp) if recipe.unit == "iso" else int(timestamp) * UNITS[recipe.unit]
    assert sent_at is not None  # _read_timestamp has parsed it already
    if abs(now - sent_at) > recipe.tolerance * SECOND:
        seconds, direction = -(-abs(now - sent_at) // SECOND), "behind" if sent_at < now else "ahead"
        hint = f"the sender's clock differs by {seconds} s ({direction}), or this is a replay"
        raise NotAuthentic(AuthFailure.CLOCK_TOO_FAR_OFF, hint)
    return sent_at


def _parse_pairs(header: str) -> list[tuple[str, str]]:
    return [(name.strip(), value.strip()) for name, _, value in (pair.partition("=") for pair in header.split(","))]


def _extract_signatures(header: str, recipe: Recipe) -> list[bytes]:
    """Return the signatures of a header that have the recipe's prefix, without the prefix."""
    if recipe.listed == "pairs":
        signatures = [value for name, value in _parse_pairs(header) if name == recipe.prefix]
    else:
        entries = header.split(" ") if recipe.listed == "spaces" else [header]
        signatures = [entry.removeprefix(recipe.prefix) for entry in entries if entry.startswith(recipe.prefix)]
    texts = [signature.lower() if recipe.encoding == "hex" else signature for signature in signatures]
    return [text.encode("ascii", "replace") for text in texts]


def _compare_signatures(
    request: SignedRequest,
    recipe: Recipe,
    signatures: Sequence[bytes],
    *,
    key: bytes,
    secret: str,
    timestamp: str | None,
) -> list[bool]:
    """Return, for each signature, whether it was made with this key. The content is built once, as it may be long."""
    content = _build_content(request, recipe, secret=secret, timestamp=timestamp)
    if recipe.algorithm != "ed25519":
        expected = _encode_digest(_compute_digest(content, recipe, key), recipe).encode()
        return [hmac.compare_digest(expected, signature) for signature in signatures]
    return [_is_signed(content, signature, recipe, key) for signature in signatures[:MOST]]


def _is_signed(content: bytes, signature: bytes, recipe: Recipe, key: bytes) -> bool:
    with suppress(InvalidSignature, ValueError, binascii.Error):
        decoded = (
            base64.b64decode(signature, validate=True)
            if recipe.encoding == "base64"
            else bytes.fromhex(signature.decode())
        )
        Ed25519PublicKey.from_public_bytes(key).verify(decoded, content)
        return True
    return False


def _build_content(request: SignedRequest, recipe: Recipe, *, secret: str, timestamp: str | None) -> bytes:
    """Return the bytes that the recipe signs."""

    def encode_part(part: str) -> bytes:
        match part:
            case "body":
                return request.body
            case "first":
                return first_element(request.body) or request.body
            case "url":
                return _decode_url(request.url, decoded=recipe.decoded)
            case "secret":
                text = secret
            case "method":
                text = request.method
            case "timestamp":
                text = timestamp or ""
            case "id":
                text = request.headers.get(recipe.id or "", "")
            case _ if part.startswith("'"):
                text = part[1:]
            case _:
                text = request.headers.get(part.removeprefix("header:"), "")
        return text.encode("utf-8", "surrogateescape")

    return b"".join(encode_part(part) for part in recipe.parts)


def _decode_url(url: str, *, decoded: str) -> bytes:
    codes = "|".join(f"{ord(character):02X}" for character in decoded)
    if codes:
        url = re.sub(f"%({codes})", lambda code: chr(int(code[1], 16)), url, flags=re.IGNORECASE)
    return url.encode("utf-8", "surrogateescape")


def _compute_digest(content: bytes, recipe: Recipe, key: bytes) -> bytes:
    kind, _, digest = recipe.algorithm.rpartition("-")
    if recipe.algorithm == "ed25519":
        raise ValueError("Only the sender can make this signature: the source has its public key alone.")
    return hmac.digest(key, content, digest) if kind else hashlib.new(digest, content).digest()


def _encode_digest(digest: bytes, recipe: Recipe) -> str:
    return digest.hex() if recipe.encoding == "hex" else base64.b64encode(digest).decode()


def _decode_key(recipe: Recipe, secret: str) -> bytes:
    encoded = secret.removeprefix(recipe.key_prefix)
    key = b""
    with suppress(ValueError):
        match recipe.key:
            case "utf8":
                key = encoded.encode()
            case "hex":
                key = bytes.fromhex(encoded) if encoded.isalnum() else b""
            case "base64":
                key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    least, most = recipe.key_sizes
    # A base64 secret may lack its prefix: the prefix has a character that base64 lacks, so it is never part of a key.
    if not (secret.startswith(recipe.key_prefix) or recipe.key == "base64") or not least <= len(key) <= most:
        prefix = f"{recipe.key_prefix} followed by " if recipe.key_prefix else ""
        size = f"{least} to {most} bytes" if least < most else f"{least} bytes"
        encoding = {"utf8": " as text", "hex": " in hexadecimal digits", "base64": " in base64"}[recipe.key]
        raise ValueError(f"Give the secret as {prefix}{size}{encoding}.")
    return key
