"""Authorize API requests by their token and its scopes, and answer every refusal in one format."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from aiohttp import web

from storage.alerts.followups import UnknownFollowUp
from storage.domain.contacts import find_broken_text
from storage.domain.errors import (
    BadItem,
    Changed,
    Conflict,
    ContactChanged,
    OffStep,
    OutcomeUnknown,
    OutOfRange,
    Refusal,
    SlackUnavailable,
    StorageUnavailable,
    TooSlow,
    UnknownContact,
    UnknownScoreType,
    UnknownSegment,
    UnknownSubscription,
)
from storage.domain.followups import BadNote, NotTheirs, TooLate
from storage.domain.people import Workspace
from storage.tokens import TokenUses, find_token
from webhooks.limits import MAX_BODY, FailureRate, TokenRate, TooLarge, read_body
from webhooks.problems import problem


class Mistake(Exception):
    """The request cannot be done as sent. *status* and *detail* are the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """An authorized request. *now* is in µs UTC."""

    workspace: Workspace
    request: web.Request
    token: int  #: the token's row id, because names of tokens are not unique
    token_name: str
    key: str  #: unique to this request
    now: int

    @property
    def actor(self) -> str:
        """The actor that changes are recorded for."""
        return f"token {self.token_name}"

    async def body(self) -> bytes:
        """Return the body; raises TooLarge."""
        return await read_body(self.request, limit=MAX_BODY)


class Api:
    """The authorization and error handling that all API handlers share."""

    def __init__(self, *, clock: Callable[[], int], uses: TokenUses) -> None:
        self._clock = clock
        self._uses = uses
        self._failures = FailureRate()
        self._rate = TokenRate()

    def needs(
        self, scope: str, handler: Callable[[ApiRequest], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return a handler that calls *handler* for requests with a token that has each scope in *scope*."""

        async def answer(request: web.Request) -> web.Response:
            headers: dict[str, str] = {}
            response = await answer_refusals(request, headers)
            response.headers.update(headers)
            return response

        async def answer_refusals(request: web.Request, headers: dict[str, str]) -> web.Response:
            try:
                return await self._authorize_and_handle(request, scope, handler, headers)
            except Mistake as mistake:
                return problem(mistake.status, mistake.detail)
            except TooLarge as exc:
                return problem(413, str(exc), headers={"Connection": "close"})
            except UnknownSubscription:
                return problem(404, "There is no such subscription: GET /api/v1/subscriptions lists them.")
            except (UnknownContact, UnknownFollowUp, UnknownScoreType, UnknownSegment) as exc:
                return problem(404, _format_sentence(exc))
            except (BadItem, BadNote, OutOfRange, OffStep) as exc:
                return problem(422, _format_sentence(exc))
            except TooLate as exc:
                holder = f" by {exc.holder}" if exc.holder else ""
                return problem(409, f"The follow-up is {exc.state.value} already{holder}.")
            except NotTheirs as exc:
                return problem(409, f"{exc.holder} claimed it: only the contact's owner or an admin may do this.")
            except Conflict:
                return problem(422, "This Idempotency-Key was used before with another body: use a new one.")
            except Changed:
                return problem(412, "The score has changed since you read it: read it again.")
            except ContactChanged:
                return problem(412, "The contact has changed since you read it: read it again.")
            except OutcomeUnknown:
                detail = "This may have been recorded. Send it again, with the same Idempotency-Key if it had one."
                return problem(503, detail, headers={"Retry-After": "5"})
            except TooSlow as exc:
                return problem(422, str(exc))
            except StorageUnavailable:
                return problem(503, "Nothing was recorded. Send it again.", headers={"Retry-After": "5"})
            except SlackUnavailable as exc:
                return problem(503, str(exc), headers={"Retry-After": "60"})
            except Refusal as exc:
                return problem(400, _format_sentence(exc))

        return answer

    async def _authorize_and_handle(
        self,
        request: web.Request,
        scope: str,
        handler: Callable[[ApiRequest], Awaitable[web.Response]],
        headers: dict[str, str],
    ) -> web.Response:
        """Answer a request; *headers* gets the headers of the answer, whatever it is."""
        now = self._clock()
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        token = await find_token(secret.strip(), now=now) if kind.casefold() == "bearer" and secret.isascii() else None
        if token is None:
            wait = self._failures.failed(request.remote or "", now=now)
            if wait:
                return problem(429, headers={"Retry-After": str(wait)})
            return problem(401, headers={"WWW-Authenticate": "Bearer"})
        self._uses.note(token, now=now)
        allowance = self._rate.count(token.id, now=now)
        headers["RateLimit-Policy"] = f'"token";q={self._rate.most};w=60'
        headers["RateLimit"] = f'"token";r={allowance.remaining};t={allowance.resets_in}'
        if allowance.wait:
            return problem(429, "This token sends too many requests.", headers={"Retry-After": str(allowance.wait)})
        for needed in scope.split():
            if needed not in token.scopes:
                return problem(403, f"This token lacks the scope `{needed}`.")
        _check_address(request)
        return await handler(
            ApiRequest(
                workspace=token.workspace,
                request=request,
                token=token.id,
                token_name=token.name,
                key=secrets.token_hex(16),
                now=now,
            )
        )


def _check_address(request: web.Request) -> None:
    """Raise Mistake if the URL has bytes that cannot be stored as text. aiohttp would pass them on as `%ED%A0%80`."""
    raw = unquote_to_bytes(request.raw_path.encode("utf-8", "surrogateescape"))
    try:
        broken = find_broken_text(raw.decode())
    except UnicodeDecodeError:
        broken = "is not UTF-8"
    if broken:
        raise Mistake(400, f"The address of the request {broken}.")


def _format_sentence(refusal: Refusal) -> str:
    text = str(refusal)
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
