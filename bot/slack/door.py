"""Put Bolt on our own aiohttp application."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.dispatch import Dispatcher
from bot.slack.manifest import CHANNEL_EVENTS, COMMAND, PERSON_EVENTS, SHORTCUT
from bot.slack.payloads import Taken

log = structlog.get_logger(__name__)

ANY = re.compile(".*")


def make_bolt(dispatcher: Dispatcher, *, client: AsyncWebClient, known: AuthorizeResult) -> AsyncApp:
    """Make the Bolt application of one installation; *known* is what auth.test said of its token."""

    async def authorize(**_: Any) -> AuthorizeResult:
        # Given so that Bolt neither asks Slack itself nor turns to OAuth because a client id is in the environment.
        return known

    # Requests are verified before Bolt sees them, on our own clock and without its exceptions for unsigned ones.
    bolt_log = logging.getLogger("slack_bolt")
    bolt_log.setLevel(logging.ERROR)  # it warns at every start that it leaves the token to us, as it is meant to
    bolt = AsyncApp(
        name="contact-score",  # without one it reads the source of everybody who called, which takes 40 ms
        logger=bolt_log,
        client=client,
        authorize=authorize,
        request_verification_enabled=False,
        ssl_check_enabled=False,
    )

    async def changed(event: Mapping[str, Any]) -> None:
        await dispatcher.channel_changed(event)

    async def person_changed(event: Mapping[str, Any]) -> None:
        await dispatcher.person_changed(event)

    async def joined(event: Mapping[str, Any]) -> None:
        await dispatcher.joined(event)

    async def home_opened(event: Mapping[str, Any]) -> None:
        await dispatcher.home_opened(event)

    bolt.command(COMMAND)(dispatcher.command)
    bolt.action(ANY)(dispatcher.action)
    bolt.view(ANY)(dispatcher.view)
    bolt.options(ANY)(dispatcher.options)
    bolt.shortcut(SHORTCUT)(dispatcher.shortcut)
    for event in CHANNEL_EVENTS:
        bolt.event(event)(changed)
    for event in PERSON_EVENTS:
        bolt.event(event)(person_changed)
    bolt.event("member_joined_channel")(joined)
    bolt.event("app_home_opened")(home_opened)
    return bolt


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where Slack's requests come in: Bolt, once we are connected, behind the check of their signature."""

    signing_secret: str
    clock: Callable[[], int]
    current: Callable[[], AsyncApp | None]
    taken: Taken = field(default_factory=Taken)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a request of Slack; 401 for anybody else's."""
        body, now = await request.read(), self.clock()
        if not self._is_signed(body, request.headers):
            return web.Response(status=401)
        bolt = self.current()
        if bolt is None:
            return web.Response(status=503, headers={"Retry-After": "5"})
        # What Slack itself calls a repeat of what we took already is not done again, whatever it is.
        if "X-Slack-Retry-Num" in request.headers and self.taken.has(body, now=now):
            return web.Response()
        self.taken.put(body, now=now)
        try:
            answer = await bolt.async_dispatch(await to_bolt_request(request))
        except (ValueError, AttributeError, TypeError):  # signed, but no text or no document where Bolt needs one
            self.taken.drop(body)
            return web.Response(status=400)
        except RecursionError:  # more lists in lists than the decoder of JSON can follow
            self.taken.drop(body)
            return web.Response(status=400, text="The payload is nested too deep.")
        if answer.status == 200:
            if answer.body:  # Slack waits for what it says, so a repeat is answered the same
                self.taken.drop(body)
            return await to_aiohttp_response(answer)
        # Nobody here waits for that kind of request, or something is missing in it: to send it again changes nothing.
        self.taken.drop(body)
        log.warning("request not understood", status=answer.status)
        return web.Response()

    def _is_signed(self, body: bytes, headers: Mapping[str, str]) -> bool:
        verifier = SignatureVerifier(self.signing_secret, clock=_Seconds(self.clock))
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        try:
            return verifier.is_valid(body, timestamp, headers.get("X-Slack-Signature", ""))
        except (
            ValueError,
            TypeError,
            OverflowError,
        ):  # a timestamp that is no number, or no time, a signature or a body that is no text
            return False


class _Seconds(Clock):
    """Slack's clock, by ours."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock() / 1_000_000
