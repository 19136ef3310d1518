"""Send a reply to the one who asked: a message for them alone, a form, or one for everybody where all may see it."""

import asyncio
import errno
import json
from collections.abc import Callable
from functools import partial

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.blocks import set_modal
from bot.blocks.refusals import plain_reply
from bot.slack.access import Verdict, may_see
from bot.slack.directory import People, error_code
from bot.slack.handling import Block, Reply
from bot.slack.payloads import SlackPayload
from bot.slack.poster import NotShown, Poster, Unheard
from bot.upload_image import BlocksRefused, send_with_image

log = structlog.get_logger(__name__)

PAUSES = (0.5, 1.5)  # seconds before a response_url is tried again, which may be used five times


class Answers:
    """The one way back to Slack."""

    def __init__(
        self, *, posting: AsyncWebClient, opening: AsyncWebClient, people: People, clock: Callable[[], int]
    ) -> None:
        self._client, self._opening, self._people, self._clock = posting, opening, people, clock
        self._poster = Poster(posting, people=people, clock=clock)

    async def send(self, request: SlackPayload, reply: Reply) -> None:
        """Send a reply to the one who asked, seen by them alone."""
        try:
            if reply == Reply():
                return  # a request sent again: it was answered the first time
            if reply.modal is not None:
                await self._open(request, reply.modal)
            elif reply.public:
                await self._post(request, reply)
            elif reply.picture is not None:
                await send_with_image(reply, reply.picture, client=self._client, tell=partial(self._tell, request))
            else:
                await self._tell(request, reply)
        except Exception as exc:  # what was recorded stays so; only the answer is lost
            log.warning("reply not sent", because=type(exc).__name__)

    async def ask_alone(self, request: SlackPayload, reply: Reply) -> None:
        """Ask something that nobody waits for, seen by one person alone."""
        try:
            await self._client.chat_postEphemeral(
                channel=str(request.channel), user=request.user, text=reply.text, blocks=list(reply.blocks)
            )
        except Exception as exc:
            log.warning("question not asked", because=type(exc).__name__, error=error_code(exc))

    async def draw_home(self, user: str, reply: Reply) -> None:
        """Draw a reply as the Home tab."""
        try:
            view = {"type": "home", "blocks": list(reply.blocks)}
            await self._client.views_publish(user_id=user, view=view)
        except Exception as exc:
            log.warning("home not drawn", because=type(exc).__name__, error=error_code(exc))

    async def _tell(self, request: SlackPayload, reply: Reply) -> None:
        """Answer where it was asked, else in direct messages; raises BlocksRefused."""
        if request.answer_to is not None:
            await self._respond(request, request.answer_to, reply)
        elif request.user:
            await self._message(request, reply)

    async def _post(self, request: SlackPayload, reply: Reply) -> None:
        """Post for everybody in the conversation, where everybody there may see it."""
        assert request.channel is not None
        verdict = await self._people.may_post_now(request.channel, now=self._clock())
        try:
            if verdict is not Verdict.ALLOWED:
                raise NotShown(verdict)
            await self._poster.send(request.channel, reply)
        except NotShown:
            await self.send(request, plain_reply(Verdict.MIXED.value))
        except (SlackApiError, Unheard) as exc:
            log.warning("not posted", because=type(exc).__name__, error=error_code(exc))
            refused = "Slack did not let me post here. Invite me with `/invite @Contact Score`, then share again."
            await self.send(request, plain_reply(refused))

    async def _open(self, request: SlackPayload, modal: Block) -> None:
        metadata = {**json.loads(modal["private_metadata"]), "to": request.answer_to, "in": request.channel}
        if request.view is not None:  # what was entered stays, and it answers where the form was opened
            carried = json.loads(request.view.get("private_metadata") or "{}")
            metadata |= {"to": carried.get("to"), "in": carried.get("in")}
        view = {**modal, "private_metadata": json.dumps(metadata)}
        try:
            if request.view is not None:
                await self._opening.views_update(view_id=request.view["id"], hash=request.view.get("hash"), view=view)
                return
            await self._opening.views_open(trigger_id=request.trigger, view=view)
        except Exception as exc:  # whatever went wrong, there is another way to do it
            code = error_code(exc)
            log.warning("form not opened", because=type(exc).__name__, error=code)
            because = "in time" if code == "expired_trigger_id" else f"({code or 'it did not answer'})"
            typed = (
                ", or type it: `/score set ada@example.com 85`" if modal["callback_id"] == set_modal.CALLBACK else "."
            )
            await self.send(request, plain_reply(f"Slack did not open the form {because}. Try again{typed}"))

    async def _respond(self, request: SlackPayload, url: str, reply: Reply) -> None:
        """Send a reply to the response_url, else to the direct messages of the person; raises BlocksRefused."""
        webhook = AsyncWebhookClient(url, retry_handlers=[AsyncRateLimitErrorRetryHandler(max_retry_count=2)])
        message = {
            "response_type": "ephemeral",
            "replace_original": reply.replaces,
            "text": reply.text,
            "blocks": list(reply.blocks),
        }
        for pause in (*PAUSES, None):
            try:
                answer = await webhook.send_dict(message)
            except Exception as exc:  # whatever was cut off may have been shown: an answer twice is better than none
                because, may_pass = type(exc).__name__, getattr(exc, "errno", None) != errno.ECONNREFUSED
            else:
                if "invalid_blocks" in answer.body:  # whatever the status: 404 was seen, as for a used-up address
                    raise BlocksRefused
                is_used_up = "expired_url" in answer.body  # as 404 is: half an hour has passed, or five uses
                if answer.status_code == 200 and not is_used_up:
                    return
                because, may_pass = f"status {answer.status_code}", answer.status_code >= 500 and not is_used_up
            if pause is None or not may_pass:
                break
            await asyncio.sleep(pause)
        log.warning("reply not taken where it was asked", because=because)
        await self._message(request, reply)

    async def _message(self, request: SlackPayload, reply: Reply) -> None:
        """Answer in direct messages; a person who may not see scores gets the refusal instead."""
        direct = await self._poster.direct(request.user)
        verdict = may_see(await self._people.person(request.user, now=self._clock()), None, somewhere=False)
        try:
            await self._poster.send(direct, reply if verdict is Verdict.ALLOWED else verdict)
        except SlackApiError as exc:
            if error_code(exc) == "invalid_blocks":
                raise BlocksRefused from exc
            raise
