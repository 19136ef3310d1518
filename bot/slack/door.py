"""Receive Slack's HTTP requests on the service's aiohttp application and pass them to Bolt."""

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
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.dispatch import Dispatcher
from bot.slack.manifest import CHANNEL_EVENTS, COMMAND, GROUP_EVENTS, PERSON_EVENTS, SHORTCUT
from bot.slack.payloads import RecentRequests
from bot.slack.signatures import is_signed

log = structlog.get_logger(__name__)

ANY = re.compile(".*")


def make_bolt(dispatcher: Dispatcher, *, client: AsyncWebClient, known: AuthorizeResult) -> AsyncApp:
    """Return the Bolt application of one installation; *known* is the result of auth.test for its token."""

    async def authorize(**_: Any) -> AuthorizeResult:
        # A fixed result keeps Bolt from calling Slack itself, and from using OAuth if the environment has a client id.
        return known

    # `Door` verifies requests before Bolt sees them: with the injected clock, and without Bolt's unsigned exceptions.
    bolt_log = logging.getLogger("slack_bolt")
    bolt_log.setLevel(logging.ERROR)  # Bolt warns at every start about the intended use of `authorize`
    bolt = AsyncApp(
        name="contact-score",  # without a name Bolt inspects the callers' source, which takes 40 ms
        logger=bolt_log,
        client=client,
        authorize=authorize,
        request_verification_enabled=False,
        ssl_check_enabled=False,
    )

    async def handle_file(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_file(event)

    async def handle_channel_change(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_channel_change(event)

    async def handle_person_change(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_person_change(event)

    async def handle_group_change(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_group_change(event)

    async def handle_message(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_message(event)

    async def handle_join(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_join(event)

    async def handle_home(event: Mapping[str, Any]) -> None:
        await dispatcher.handle_home(event)

    bolt.command(COMMAND)(dispatcher.handle_command)
    bolt.action(ANY)(dispatcher.handle_action)
    bolt.view(ANY)(dispatcher.handle_form)
    bolt.options(ANY)(dispatcher.handle_menu)
    bolt.shortcut(SHORTCUT)(dispatcher.handle_shortcut)
    bolt.event({"type": "message", "subtype": "file_share"})(handle_file)
    for event in CHANNEL_EVENTS:
        bolt.event(event)(handle_channel_change)
    for event in PERSON_EVENTS:
        bolt.event(event)(handle_person_change)
    for event in GROUP_EVENTS:
        bolt.event(event)(handle_group_change)
    for event in ("app_mention", "message"):
        bolt.event(event)(handle_message)
    bolt.event("member_joined_channel")(handle_join)
    bolt.event("app_home_opened")(handle_home)
    return bolt


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The HTTP entry point for Slack: verifies signatures, drops repeats, dispatches to Bolt once connected."""

    signing_secret: str
    clock: Callable[[], int]
    current: Callable[[], AsyncApp | None]
    recent: RecentRequests = field(default_factory=RecentRequests)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a request from Slack; 401 without a valid signature, 503 while Bolt is not connected."""
        body, now = await request.read(), self.clock()
        if not is_signed(body, request.headers, secret=self.signing_secret, clock=self.clock):
            return web.Response(status=401)
        bolt = self.current()
        if bolt is None:
            return web.Response(status=503, headers={"Retry-After": "5"})
        # A request that Slack marks as a retry is not handled again if the first attempt was accepted.
        if "X-Slack-Retry-Num" in request.headers and self.recent.has(body, now=now):
            return web.Response()
        self.recent.add(body, now=now)
        try:
            answer = await bolt.async_dispatch(await to_bolt_request(request))
        except (ValueError, AttributeError, TypeError):  # signed, but the body is not in the form that Bolt needs
            self.recent.discard(body)
            return web.Response(status=400)
        except RecursionError:  # nested too deep for the JSON decoder
            self.recent.discard(body)
            return web.Response(status=400, text="The payload is nested too deep.")
        if answer.status == 200:
            if answer.body:  # Slack needs the body of the answer, so a retry must be handled again
                self.recent.discard(body)
            return await to_aiohttp_response(answer)
        # Bolt has no handler for this kind of request, or a field is missing: a retry would not help.
        self.recent.discard(body)
        log.warning("request not understood", status=answer.status)
        return web.Response()
