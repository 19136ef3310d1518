"""Send a test delivery to the receiver, authenticated as its sender would."""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.domain.errors import Refusal
from storage.domain.sources import Source
from webhooks.authentication.signatures import SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.read.bodies import FORM, JSON, XML
from webhooks.source_settings import awaits_secret, explain_missing_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def kind_of_file(body: bytes) -> str:
    """Return the content type of a file, JSON, XML or a form, guessed from its first characters."""
    match body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]:
        case b"<":
            return XML[0]
        case b"{" | b"[":
            return JSON
        case _:
            return FORM if b"=" in body else JSON


def prepare_request(source: Source, body: bytes, *, url: str, delivery: str, now: int) -> Outgoing:
    """Return the request that the sender would send; raises Refusal if only the sender can sign it."""
    headers = {"content-type": kind_of_file(body)}
    if awaits_secret(source):
        raise Refusal(f"`{source.slug}` has no secret yet; {explain_missing_secret(source)}")
    request = SignedRequest(url=source.settings.public_url or url, headers=headers, body=body)
    if source.secrets:
        try:
            request = (
                PROVIDERS[source.provider]
                .proof(source)
                .sign(request, delivery=delivery, secret=source.secrets[0], now=now)
            )
        except ValueError as exc:
            raise Refusal(str(exc)) from exc
    address = f"{url}?{request.query}" if request.query else url
    return Outgoing(url=address, headers=request.headers, body=request.body)


async def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """Post *body*, and return the status and the text of the answer; raises OSError if there is no answer."""
    # Importing aiohttp takes a tenth of a second, so commands that post nothing skip the import.
    from aiohttp import ClientError, ClientSession, ClientTimeout
    from yarl import URL

    kind = {} if "content-type" in headers else {"content-type": JSON}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=30)) as session,
            session.post(
                URL(url, encoded=True), data=body, headers={**kind, **headers}, allow_redirects=False
            ) as answer,
        ):
            return answer.status, await answer.text()
    except ClientError as exc:
        raise ConnectionError(str(exc)) from exc


async def find_complaint(url: str, *, patience: float) -> str | None:
    """Return why a GET of a URL is not answered 200 within *patience* seconds, or None if it is."""
    from aiohttp import ClientError, ClientSession, ClientTimeout

    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=patience)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return None if answer.status == 200 else f"answers {answer.status}"
    except (ClientError, OSError):  # also a time-out
        return "does not answer"
