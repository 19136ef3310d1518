"""Authenticate a request by a signature, a password, a token, or a Salesforce organization's id."""

import base64
import binascii
import hmac
import secrets as randomness
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, quote, unquote_plus

from storage.domain.records import replace
from webhooks.authentication import signatures
from webhooks.authentication.signatures import AuthFailure, NotAuthentic, Recipe, SignedRequest
from webhooks.read.bodies import FORM, Unparseable, kind_of
from webhooks.read.xml_bodies import find_xml_text, parse_xml

WITHHELD = "[withheld]"
PLACES = ("bearer", "header", "query", "form")


class Authenticator(Protocol):
    """One way for a sender to authenticate its requests."""

    def check_headers(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> None:
        """Raise NotAuthentic if the headers alone show that the request is not authentic. The body is not read."""

    def authenticate(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> str | None:
        """Return the delivery's id if the proof includes one; raises NotAuthentic, and no other error."""

    def new_secret(self) -> str:
        """Return a random secret for a new source."""

    def check_secret(self, secret: str) -> None:
        """Raise ValueError, with a sentence for the operator, if the secret has the wrong form."""

    def sign(self, request: SignedRequest, *, delivery: str, secret: str, now: int) -> SignedRequest:
        """Return the request as the sender would send it, with the proof added."""

    def redact(self, request: SignedRequest) -> SignedRequest:
        """Return the request without the proof, so that it can be stored."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Authentication by a signature over the request."""

    recipes: Sequence[Recipe]

    def check_headers(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> None:
        """Raise NotAuthentic for a signature that is missing, malformed or stale."""
        signatures.read_headers(request, recipes=self.recipes, now=now)

    def authenticate(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> str | None:
        """Verify the signature, and return the delivery's id if a header has it; raises NotAuthentic."""
        return signatures.verify(request, recipes=self.recipes, secrets=secrets, now=now).delivery_id

    def new_secret(self) -> str:
        """Return a random signing secret."""
        return signatures.new_secret(self.recipes[0])

    def check_secret(self, secret: str) -> None:
        """Raise ValueError if the secret is not a signing secret for these recipes."""
        signatures.check_secret(secret, recipes=self.recipes)

    def sign(self, request: SignedRequest, *, delivery: str, secret: str, now: int) -> SignedRequest:
        """Return the request with the headers that the sender's signature adds."""
        recipe = signatures.recipes_for_secret(self.recipes, secret)[0]
        return signatures.sign(request, recipe=recipe, delivery=delivery, secret=secret, now=now)

    def redact(self, request: SignedRequest) -> SignedRequest:
        """Return the request without its signatures. A plain hash would allow guessing the secret offline."""
        names = {recipe.header for recipe in self.recipes}
        return replace(
            request, headers={name: WITHHELD if name in names else value for name, value in request.headers.items()}
        )


@dataclass(frozen=True, slots=True)
class Basic:
    """Authentication by HTTP Basic: a user name, and a password that may have colons (RFC 7617)."""

    username: str

    def check_headers(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> None:
        """Raise NotAuthentic for a wrong user name or password."""
        self.authenticate(request, secrets=secrets, now=now)

    def authenticate(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> str | None:
        """Verify user name and password, and return None; raises NotAuthentic."""
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise NotAuthentic(
                AuthFailure.MISSING_HEADER, "no Authorization: Basic … header: are user name and password set?"
            )
        credentials = b""
        with suppress(ValueError, binascii.Error):
            credentials = base64.b64decode(encoded.strip(" ").encode("ascii", "replace"), validate=True)
        if not _is_any_of(credentials, [f"{self.username}:{secret}".encode() for secret in secrets]):
            raise NotAuthentic(AuthFailure.NOT_THE_SENDER, "user name or password do not match this source's")
        return None

    def new_secret(self) -> str:
        """Return a random password."""
        return randomness.token_urlsafe(24)

    def check_secret(self, secret: str) -> None:
        """Raise ValueError for a password that is blank, too long or not printable."""
        _check_printable(secret, label="password")

    def sign(self, request: SignedRequest, *, delivery: str, secret: str, now: int) -> SignedRequest:
        """Return the request with user name and password added."""
        encoded = base64.b64encode(f"{self.username}:{secret}".encode()).decode()
        return replace(request, headers={**request.headers, "authorization": f"Basic {encoded}"})

    def redact(self, request: SignedRequest) -> SignedRequest:
        """Return the request unchanged. The Authorization header is withheld from every stored request anyway."""
        return request


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """Authentication by a token: as `bearer`, or in a named header, query parameter or form field."""

    where: str

    @property
    def _place(self) -> tuple[str, str]:
        place, _, name = self.where.partition(":")
        return place, name.lower() if place == "header" else name

    def check_headers(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> None:
        """Raise NotAuthentic for a wrong token, unless a form field of the body may hold it."""
        if not (self._place[0] == "form" and kind_of(request.headers) == FORM):
            self.authenticate(request, secrets=secrets, now=now)

    def authenticate(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> str | None:
        """Verify the token, and return None; raises NotAuthentic."""
        tokens = self._read_tokens(request)
        if not tokens:
            raise NotAuthentic(AuthFailure.MISSING_HEADER, f"no token in the expected place: {self.where}")
        matches = [
            _is_any_of(token.encode("utf-8", "surrogateescape"), [secret.encode() for secret in secrets])
            for token in tokens
        ]
        if not any(matches):
            raise NotAuthentic(AuthFailure.NOT_THE_SENDER, f"the token ({self.where}) does not match this source's")
        return None

    def _read_tokens(self, request: SignedRequest) -> list[str]:
        place, name = self._place
        match place:
            case "bearer":
                kind, _, token = request.headers.get("authorization", "").partition(" ")
                return [token.strip(" ")] if kind.lower() == "bearer" and token.strip(" ") else []
            case "header":
                return [request.headers[name]] if request.headers.get(name) else []
            case "query":
                return _read_values(request.query, name)
            case _:
                is_form = kind_of(request.headers) == FORM
                return _read_values(request.body.decode("utf-8", "surrogateescape"), name) if is_form else []

    def new_secret(self) -> str:
        """Return a random token."""
        return randomness.token_urlsafe(24)

    def check_secret(self, secret: str) -> None:
        """Raise ValueError for a token that is blank, too long or not printable."""
        _check_printable(secret, label="token")

    def sign(self, request: SignedRequest, *, delivery: str, secret: str, now: int) -> SignedRequest:
        """Return the request with the token added."""
        place, name = self._place
        pair = f"{quote(name)}={quote(secret, safe='')}"
        match place:
            case "bearer":
                return replace(request, headers={**request.headers, "authorization": f"Bearer {secret}"})
            case "header":
                return replace(request, headers={**request.headers, name: secret})
            case "query":
                return replace(request, query="&".join(filter(None, [request.query, pair])))
            case _:
                return replace(request, body=b"&".join(filter(None, [request.body, pair.encode()])))

    def redact(self, request: SignedRequest) -> SignedRequest:
        """Return the request with the token withheld. A bearer token is withheld from every stored request anyway."""
        place, name = self._place
        match place:
            case "header":
                headers = {header: WITHHELD if header == name else value for header, value in request.headers.items()}
                return replace(request, headers=headers)
            case "query":
                return replace(request, query=_withhold_values(request.query, name))
            case "form" if kind_of(request.headers) == FORM:
                text = request.body.decode("utf-8", "surrogateescape")
                return replace(request, body=_withhold_values(text, name).encode("utf-8", "surrogateescape"))
            case _:
                return request


@dataclass(frozen=True, slots=True)
class Organization:
    """Authentication by the id of a Salesforce organization in the message, and a token if the source has one.

    The id has 15 case-sensitive characters, or 18 characters that end with a checksum of three:
    https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm
    """

    id: str
    token: TokenCredential | None

    def check_headers(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> None:
        """Raise NotAuthentic for a wrong token. The organization's id is in the body, so it is not checked."""
        if self.token is not None:
            self.token.check_headers(request, secrets=secrets, now=now)

    def authenticate(self, request: SignedRequest, *, secrets: Sequence[str], now: int) -> str | None:
        """Verify token and organization, and return None; raises NotAuthentic."""
        if self.token is not None:
            self.token.authenticate(request, secrets=secrets, now=now)
        organization = _read_organization(request.body)
        if len(organization) not in (15, 18) or not _is_any_of(organization[:15].encode(), [self.id[:15].encode()]):
            raise NotAuthentic(
                AuthFailure.NOT_THE_SENDER, "the message is of another Salesforce organization, or names none"
            )
        return None

    def new_secret(self) -> str:
        """Return a random token."""
        return (self.token or TokenCredential("query:token")).new_secret()

    def check_secret(self, secret: str) -> None:
        """Raise ValueError if the secret has the wrong form for a token."""
        (self.token or TokenCredential("query:token")).check_secret(secret)

    def sign(self, request: SignedRequest, *, delivery: str, secret: str, now: int) -> SignedRequest:
        """Return the request with the token added. The organization's id must be in the body already."""
        if self.token is None:
            return request
        return self.token.sign(request, delivery=delivery, secret=secret, now=now)

    def redact(self, request: SignedRequest) -> SignedRequest:
        """Return the request with the token withheld. The organization's id is not secret."""
        return self.token.redact(request) if self.token is not None else request


def _read_organization(body: bytes) -> str:
    try:
        document: object = parse_xml(body)
    except Unparseable:  # read_items rejects the malformed body later, once the sender is known
        organization = find_xml_text(body, "OrganizationId")
        return organization if organization is not None and organization.isascii() else ""
    for name in ("Envelope", "Body", "notifications", "OrganizationId"):
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, str) and document.isascii() else ""


def _is_any_of(candidate: bytes, expected: Sequence[bytes]) -> bool:
    # The list makes sure that every value is compared: stopping early would reveal by its time which value matched.
    return any([hmac.compare_digest(candidate, value) for value in expected])


def _read_values(pairs: str, name: str) -> list[str]:
    with suppress(ValueError):  # more pairs than any sender has
        fields = parse_qsl(pairs, keep_blank_values=False, max_num_fields=10_000, errors="surrogateescape")
        return [value for key, value in fields if key == name]
    return []


def _withhold_values(pairs: str, name: str) -> str:
    return "&".join(
        f"{pair.partition('=')[0]}={WITHHELD}" if unquote_plus(pair.partition("=")[0]) == name else pair
        for pair in pairs.split("&")
    )


def _check_printable(secret: str, *, label: str) -> None:
    if not secret.strip() or not secret.isprintable() or len(secret) > 1000:
        raise ValueError(f"Give the {label} as 1 to 1,000 printable characters.")
