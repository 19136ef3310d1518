"""Send replies to Slack: a message for the requester alone, a modal, or a public message if all readers may see it."""

import asyncio
import errno
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.blocks.refusals import MOST_NAMED, ask_admins, not_shared_reply, plain_reply
from bot.slack.access import Verdict
from bot.slack.directory import People
from bot.slack.errors import error_code
from bot.slack.handling import Block, Reply
from bot.slack.payloads import SlackPayload, is_home, read_metadata
from bot.slack.poster import NotShown, Poster, Unheard
from bot.slack.upload_image import BlocksRefused, send_with_image
from storage.domain.people import Workspace

log = structlog.get_logger(__name__)

#: the callback id of a modal that shows a message, and the most blocks of a view
ANSWER, MOST_BLOCKS = "answer", 100
PAUSES = (0.5, 1.5)  # seconds before each retry of a response_url, which Slack accepts five times


class Answers:
    """Sends all replies of the app to Slack."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        posting: AsyncWebClient,
        opening: AsyncWebClient,
        people: People,
        clock: Callable[[], int],
    ) -> None:
        self._workspace = workspace
        self._client, self._opening, self._people, self._clock = posting, opening, people, clock
        self._poster = Poster(posting, workspace=workspace, people=people, clock=clock)

    async def send(self, payload: SlackPayload, reply: Reply) -> None:
        """Send a reply: open its modal, post its message publicly, or show the message to the requester alone.

        Errors are logged and not raised.
        """
        try:
            if reply == Reply():
                return  # a repeated request, which was answered the first time
            if reply.modal is not None:
                await self._open_modal(payload, reply.modal, instead=reply.instead)
            elif reply.public:
                await self._post_publicly(payload, reply)
            elif reply.direct:
                await self._send_directly(payload, reply)
                await self.answer(payload, plain_reply("Sent to you: open Contact Score under Apps."))
            elif reply.picture is not None:
                await send_with_image(
                    reply,
                    reply.picture,
                    workspace=self._workspace,
                    client=self._client,
                    send=partial(self.answer, payload),
                )
            else:
                await self.answer(payload, reply)
        except Exception as exc:  # recorded changes stay; only the reply is lost
            log.warning("reply not sent", because=type(exc).__name__)

    async def ask_alone(self, payload: SlackPayload, reply: Reply) -> None:
        """Show a question to one person in a channel; errors are logged and not raised."""
        try:
            await self._show_alone(payload, reply)
        except Exception as exc:
            log.warning("question not asked", because=type(exc).__name__, error=error_code(exc))

    async def draw_home(self, user: str, reply: Reply) -> None:
        """Publish a reply as the Home tab; errors are logged and not raised."""
        try:
            view = {"type": "home", "blocks": list(reply.blocks)[:MOST_BLOCKS]}
            await self._client.views_publish(user_id=user, view=view)
        except Exception as exc:
            log.warning("home tab not published", because=type(exc).__name__, error=error_code(exc))

    async def answer(self, payload: SlackPayload, reply: Reply) -> None:
        """Send a message to the response_url, where the app was mentioned, or by direct message.

        A click in the Home tab, or in a modal that shows a message, is answered in a modal.
        Raises BlocksRefused if Slack rejects the blocks, and other errors of Slack's API.
        """
        if _shows_answers(payload.view):
            await self._show_in_modal(payload, reply)
        elif payload.answer_to is not None:
            await self._use_response_url(payload, payload.answer_to, reply)
        elif payload.is_mention:
            await self._answer_alone(payload, reply)
        elif payload.user:
            await self._send_directly(payload, reply)

    async def _answer_alone(self, payload: SlackPayload, reply: Reply) -> None:
        """Show a reply to the requester alone where the app was mentioned, or by direct message if that fails."""
        try:
            await self._show_alone(payload, reply)
        except SlackApiError as exc:
            code = error_code(exc)
            if code == "invalid_blocks":
                raise BlocksRefused from exc
            log.warning("mention not answered in its channel", because=code)
            await self._send_directly(payload, reply)

    async def _show_alone(self, payload: SlackPayload, reply: Reply) -> None:
        """Show a message to one person in a channel, or in a thread of it."""
        await self._client.chat_postEphemeral(
            channel=str(payload.channel),
            user=payload.user,
            thread_ts=payload.thread,
            text=reply.text,
            blocks=list(reply.blocks),
        )

    async def _show_in_modal(self, payload: SlackPayload, reply: Reply) -> None:
        """Show a message in a modal, or by direct message if Slack does not open it; raises BlocksRefused."""
        view: Block = {
            "type": "modal",
            "callback_id": ANSWER,
            "title": {"type": "plain_text", "text": "Contact Score"},
            "close": {"type": "plain_text", "text": "Close"},
            "private_metadata": "{}",
            "blocks": list(reply.blocks)[:MOST_BLOCKS],
        }
        try:
            await self._show_view(payload, view)
        except Exception as exc:  # whatever the error, tell the person another way
            if error_code(exc) in ("invalid_blocks", "invalid_arguments"):
                raise BlocksRefused from exc
            log.warning("message not shown in a modal", because=type(exc).__name__, error=error_code(exc))
            await self._send_directly(payload, reply)

    async def _show_view(self, payload: SlackPayload, view: Block) -> None:
        """Open a modal, in place of the one that was clicked. Its metadata says where to answer later clicks."""
        metadata = {**json.loads(view["private_metadata"]), "to": payload.answer_to, "in": payload.channel}
        if is_home(payload.view):
            metadata["home"] = True
        elif payload.view is not None:  # keep where the first one was opened, so that the receipt goes there
            opened_with = read_metadata(payload.view)
            metadata |= {name: opened_with.get(name) for name in ("to", "in", "home") if name in opened_with}
        view = {**view, "private_metadata": json.dumps(metadata)}
        if payload.view is not None and not is_home(payload.view):
            await self._opening.views_update(view_id=payload.view["id"], hash=payload.view.get("hash"), view=view)
        else:
            await self._opening.views_open(trigger_id=payload.trigger, view=view)

    async def _post_publicly(self, payload: SlackPayload, reply: Reply) -> None:
        """Post a message for everyone in the conversation, or tell the requester why that is not possible."""
        if payload.channel is None:
            await self.answer(
                payload, plain_reply("There is no channel here. Type the filter in the channel to share it.")
            )
            return
        verdict = await self._people.may_post_now(payload.channel, now=self._clock())
        try:
            if verdict is not Verdict.ALLOWED:
                raise NotShown(verdict)
            await self._poster.send(payload.channel, reply)
        except NotShown as exc:
            outsiders = []
            if exc.verdict is Verdict.MIXED:
                outsiders = await self._people.list_outsiders(payload.channel, most=MOST_NAMED, now=self._clock())
            await self.send(payload, not_shared_reply(exc.verdict, outsiders, value=reply.share_value))
        except (SlackApiError, Unheard) as exc:
            log.warning("not posted", because=type(exc).__name__, error=error_code(exc))
            sentence = "Slack did not let me post here. Invite me with `/invite @Contact Score`, then share again."
            await self.send(payload, plain_reply(sentence))

    async def _open_modal(self, payload: SlackPayload, modal: Block, *, instead: str) -> None:
        if payload.trigger is None and payload.view is None:
            advice = f"Type it: `{instead}`" if instead else "Type `/score` and the command."
            await self.send(payload, plain_reply(f"A message cannot open a form. {advice}"))
            return
        try:
            await self._show_view(payload, modal)
        except Exception as exc:  # whatever the error, tell the person another way
            code = error_code(exc)
            log.warning("form not opened", because=type(exc).__name__, error=code)
            reason = "in time" if code == "expired_trigger_id" else f"({code or 'it did not answer'})"
            alternative = f", or type it: `{instead}`" if instead else "."
            await self.send(payload, plain_reply(f"Slack did not open the form {reason}. Try again{alternative}"))

    async def _use_response_url(self, payload: SlackPayload, url: str, reply: Reply) -> None:
        """Send a reply to the response_url, or by direct message if that fails; raises BlocksRefused."""
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
            except Exception as exc:  # retry, although Slack may have shown the message: twice is better than never
                reason, is_temporary = type(exc).__name__, getattr(exc, "errno", None) != errno.ECONNREFUSED
            else:
                # check the body first: the status may be 404, as for an expired URL
                if "invalid_blocks" in answer.body:
                    raise BlocksRefused
                is_used_up = "expired_url" in answer.body  # may come with status 404: after 30 minutes or five uses
                if answer.status_code == 200 and not is_used_up:
                    return
                reason, is_temporary = f"status {answer.status_code}", answer.status_code >= 500 and not is_used_up
            if pause is None or not is_temporary:
                break
            await asyncio.sleep(pause)
        log.warning("reply refused by the response_url", because=reason)
        await self._send_directly(payload, reply)

    async def _send_directly(self, payload: SlackPayload, reply: Reply) -> None:
        """Send a reply by direct message; a person who may not see scores receives the refusal instead."""
        direct = await self._poster.direct(payload.user)
        verdict = await self._people.may_read_now(payload.user, now=self._clock())
        thread = None if payload.is_mention else payload.thread  # that of a mention is one of its channel
        try:
            if verdict is Verdict.ALLOWED:
                await self._poster.send(direct, reply, thread=thread)
            else:
                await self._poster.send(direct, verdict, advice=await self._advise(verdict), thread=thread)
        except SlackApiError as exc:
            if error_code(exc) == "invalid_blocks":
                raise BlocksRefused from exc
            raise

    async def _advise(self, verdict: Verdict) -> str:
        """Return the people to ask about a refusal; blank if nobody can help."""
        if verdict is not Verdict.NO_ROLE:
            return ""
        admins = await self._people.list_admins(most=MOST_NAMED, now=self._clock())
        return ask_admins([f"<@{admin.id}>" for admin in admins])


def _shows_answers(view: Mapping[str, Any] | None) -> bool:
    """Return whether a click in a view is answered in a modal: the view is the Home tab or shows a message."""
    return is_home(view) or (view is not None and view.get("callback_id") == ANSWER)
