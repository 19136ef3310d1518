"""Take every request of Slack the same way: acknowledge, who and where, may they, handle, send the reply."""

import asyncio
import errno
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.access import Need, Verdict, may_see, rights
from bot.actions import ACTIONS
from bot.arriving import ask_for_place, home, score_message
from bot.asking import Asked, Block, Reply
from bot.commands import carry_out
from bot.people import People, error_code
from bot.picturing import BlocksRefused, show
from bot.replies import plain_reply, refusal_reply
from bot.text import clean
from bot.views import OPTIONS, VIEWS
from storage.committer import Committer
from storage.definitions import score_types
from storage.domain.errors import Refusal
from storage.domain.people import Workspace
from storage.workspaces import choices

log = structlog.get_logger(__name__)

Ack = Callable[..., Awaitable[Any]]
#: Slack waits three seconds for the answer to a form; by then it is closed and the rest is a message.
PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is the same in every kind of request."""

    user: str
    teams: frozenset[str | None]  #: the ones that the request says it is from
    channel: str | None
    key: str
    trigger: str | None
    answer_to: str | None  #: Slack's response_url


class Dispatcher:
    """The one way from a request of Slack to a handler."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        enterprise: str | None,
        bot_user: str | None,
        posting: AsyncWebClient,
        people: People,
        committer: Committer,
        wake: Callable[[], None],
        clock: Callable[[], int],
    ) -> None:
        self._workspace = workspace
        self._enterprise = enterprise
        self._bot_user = bot_user
        self._client = posting
        self._committer = committer
        self._clock = clock
        self._wake = wake
        self._people = people
        self._working: set[asyncio.Task[Any]] = set()

    async def command(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Take a slash command."""
        self._count()
        await ack()
        text = body.get("text") or ""
        request = _Request(
            user=body["user_id"],
            teams=frozenset({body.get("team_id")}),
            channel=body["channel_id"],
            key=_key(body, body["user_id"], text),
            trigger=body.get("trigger_id"),
            answer_to=body.get("response_url"),
        )
        await self._send(request, await self._answer(request, carry_out, text=clean(text)))

    async def action(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Take a click."""
        self._count()
        await ack()
        action = body["actions"][0]
        name, value = action["action_id"].partition(":")[0], _entered(action) or ""
        request = _request(body, key=_key(body, body["user"]["id"], action["action_id"], value))
        if name in ACTIONS:
            need, handler = ACTIONS[name]
            await self._send(request, await self._answer(request, handler, need=need, text=value))
        elif name in ("run", "create"):  # the button carries a whole line, to be carried out once
            request = replace(request, key=_key({}, request.user, _message_of(body) or request.key, value))
            await self._send(request, await self._answer(request, _run, text=value, creates=name == "create"))

    async def view(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Take a form that was handed in."""
        self._count()
        view = body["view"]
        if view["callback_id"] not in VIEWS:  # a form of an older version that was still open
            await ack()
            return
        metadata = json.loads(view.get("private_metadata") or "{}")
        fields = {
            block: _entered(element)
            for block, elements in view["state"]["values"].items()
            for element in elements.values()
        }
        request = _request(body, key=_key(body, view["id"], body["user"]["id"], json.dumps(fields, sort_keys=True)))
        # The form answers where it was opened, so it is asked again whether that place is still ours alone.
        request = replace(request, answer_to=metadata.get("to"), channel=metadata.get("in"))
        need, handler = VIEWS[view["callback_id"]]
        answering = asyncio.create_task(self._answer(request, handler, need=need, fields=fields, metadata=metadata))
        done, _ = await asyncio.wait([answering], timeout=PATIENCE)
        if done and answering.result().errors:
            await ack(response_action="errors", errors=dict(answering.result().errors))
            return
        await ack()
        reply = await answering
        if reply.errors:  # too late to be shown in the form, which is closed
            reply = plain_reply(f"Nothing was changed. {' '.join(reply.errors.values())}")
        await self._send(request, reply)

    async def options(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Offer what a menu holds; to those who may not see it, nothing."""
        self._count()
        found: list[Block] = []
        try:
            asked = await self._asked(_request(body, key=""))
            if isinstance(asked, Asked) and body["action_id"] in OPTIONS:
                found = await OPTIONS[body["action_id"]](replace(asked, text=clean(body.get("value") or "")))
        except Refusal as refusal:
            log.warning("menu not filled", because=type(refusal).__name__)
        await ack(options=found)

    async def channel_changed(self, event: Mapping[str, Any]) -> None:
        """Look at a channel anew once it was shared with another organisation, or is no more."""
        self._people.forget_place(str(event.get("channel")))

    async def shortcut(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Take the shortcut in the menu of a message: open the form for whoever the message speaks of."""
        self._count()
        await ack()
        request = _request(body, key=_key(body, body["user"]["id"]))
        said = clean(str((body.get("message") or {}).get("text") or ""))
        await self._send(request, await self._answer(request, score_message, need=Need.SET, text=said))

    async def joined(self, event: Mapping[str, Any]) -> None:
        """Ask whoever invited the app to a channel, alone, whether follow-ups shall go there."""
        self._count()
        self._people.forget_place(str(event.get("channel")))
        inviter = event.get("inviter")
        if event.get("user") != self._bot_user or not inviter:
            return
        request = _Request(
            user=str(inviter),
            teams=frozenset({event.get("team")}),
            channel=str(event["channel"]),
            key="",
            trigger=None,
            answer_to=None,
        )
        asked = await self._asked(request)
        if isinstance(asked, Verdict):  # who may see nothing is told nothing where they did not ask
            return
        reply = ask_for_place(replace(asked, text=str(event["channel"])))
        if reply == Reply():
            return
        try:
            await self._client.chat_postEphemeral(
                channel=str(request.channel), user=request.user, text=reply.text, blocks=list(reply.blocks)
            )
        except Exception as exc:
            log.warning("question not asked", because=type(exc).__name__, error=error_code(exc))

    async def home_opened(self, event: Mapping[str, Any]) -> None:
        """Draw the Home tab."""
        self._count()
        if event.get("tab") != "home":
            return
        request = _Request(
            user=str(event["user"]), teams=frozenset(), channel=None, key="", trigger=None, answer_to=None
        )
        reply = await self._answer(request, home)
        try:
            view = {"type": "home", "blocks": list(reply.blocks)}
            await self._client.views_publish(user_id=request.user, view=view)
        except Exception as exc:
            log.warning("home not drawn", because=type(exc).__name__, error=error_code(exc))

    async def drained(self, *, patience: float) -> None:
        """Wait, but not longer than *patience* seconds, for what was acknowledged and is not answered yet."""
        if self._working:
            await asyncio.wait(self._working, timeout=patience)

    def _count(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _answer(
        self,
        request: _Request,
        handler: Callable[[Asked], Awaitable[Reply]],
        *,
        need: Need = Need.SEE,
        text: str = "",
        creates: bool = False,
        fields: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Reply:
        try:
            asked = await self._asked(request)
            if isinstance(asked, Verdict):
                return plain_reply(asked.value)
            asked.needs(need)
            asked = replace(asked, text=text, creates=creates, fields=fields or {}, metadata=metadata or {})
            return await handler(asked)
        except Refusal as refusal:
            return refusal_reply(refusal)
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("request not answered", reference=reference)
            return plain_reply(f"That did not work, by a fault of ours; it is in our log under {reference}.")

    async def _asked(self, request: _Request) -> Asked | Verdict:
        """Find out who asks and where; a verdict is why they may not."""
        now = self._clock()
        person, place = await asyncio.gather(
            self._people.person(request.user, now=now),
            self._people.place(request.channel, now=now) if request.channel else _nowhere(),
        )
        # Of a click by an outsider only the request itself tells where they belong.
        if person is not None and self._enterprise is None and request.teams - {None, self._workspace.team}:
            person = replace(person, is_outsider=True)
        verdict = may_see(person, place, somewhere=request.channel is not None)
        if verdict is not Verdict.ALLOWED or person is None:
            log.info("refused", because=verdict.name)
            return verdict
        chosen = await choices(self._workspace)
        return Asked(
            workspace=self._workspace,
            choices=chosen,
            rights=rights(person, chosen),
            types=await score_types(self._workspace),
            person=person,
            committer=self._committer,
            key=request.key,
            now=now,
            address_of=self._address_of,
            name_of=self._name_of,
            may_post=self._may_post,
        )

    async def _address_of(self, user: str) -> str | None:
        person = await self._people.person(user, now=self._clock())
        return person.email if person is not None and not person.is_outsider else None

    async def _name_of(self, user: str) -> str | None:
        person = await self._people.person(user, now=self._clock())
        return person.name if person is not None else None

    async def _may_post(self, channel: str) -> Verdict:
        try:
            return await self._people.may_post(channel, now=self._clock())
        except Exception as exc:  # whatever went wrong: it is not known who reads there
            log.warning("members not looked up", because=type(exc).__name__, error=error_code(exc))
            return Verdict.MIXED

    async def _send(self, request: _Request, reply: Reply) -> None:
        """Send a reply to the one who asked, seen by them alone."""
        self._wake()
        try:
            if reply == Reply():
                return  # a request sent again: it was answered the first time
            if reply.modal is not None:
                await self._open(request, reply.modal)
            elif reply.public:
                await self._post(request, reply)
            elif reply.picture is not None:
                await show(reply, reply.picture, client=self._client, tell=partial(self._tell, request))
            else:
                await self._tell(request, reply)
        except Exception as exc:  # what was recorded stays so; only the answer is lost
            log.warning("reply not sent", because=type(exc).__name__)

    async def _tell(self, request: _Request, reply: Reply) -> None:
        """Answer where it was asked, else in direct messages; raises BlocksRefused."""
        if request.answer_to is not None:
            await self._respond(request, request.answer_to, reply)
        else:
            await self._message(request, reply)

    async def _post(self, request: _Request, reply: Reply) -> None:
        """Post for everybody in the conversation, where everybody there may see it."""
        assert request.channel is not None
        if not await self._people.are_all_members(request.channel, now=self._clock()):
            await self._send(request, plain_reply(Verdict.MIXED.value))
            return
        try:
            await self._say(request.channel, reply)
        except SlackApiError as exc:
            log.warning("not posted", error=error_code(exc))
            refused = "Slack did not let me post here. Invite me with `/invite @Contact Score`, then share again."
            await self._send(request, plain_reply(refused))

    async def _open(self, request: _Request, modal: Block) -> None:
        metadata = {**json.loads(modal["private_metadata"]), "to": request.answer_to, "in": request.channel}
        try:
            await self._client.views_open(
                trigger_id=request.trigger, view={**modal, "private_metadata": json.dumps(metadata)}
            )
        except Exception as exc:  # whatever went wrong, there is another way to do it
            code = error_code(exc)
            log.warning("form not opened", because=type(exc).__name__, error=code)
            because = "in time" if code == "expired_trigger_id" else f"({code or 'it did not answer'})"
            typed = "Try again, or type it: `/score set ada@example.com 85`"
            await self._send(request, plain_reply(f"Slack did not open the form {because}. {typed}"))

    async def _respond(self, request: _Request, url: str, reply: Reply) -> None:
        # No handler that repeats after a dropped connection: a repeat would be seen.
        webhook = AsyncWebhookClient(url, retry_handlers=[AsyncRateLimitErrorRetryHandler(max_retry_count=2)])
        message = {
            "response_type": "ephemeral",
            "replace_original": reply.replaces,
            "text": reply.text,
            "blocks": list(reply.blocks),
        }
        try:
            answer = await webhook.send_dict(message)
        except OSError as exc:
            if exc.errno != errno.ECONNREFUSED:
                raise
            # Nobody took it, so it cannot be seen twice.
            await self._message(request, reply)
            return
        if "invalid_blocks" in answer.body:  # whatever the status: 404 was seen, as for an address that is used up
            raise BlocksRefused
        if answer.status_code == 404:  # half an hour has passed, or it was used five times
            await self._message(request, reply)
        elif answer.status_code != 200:
            log.warning("reply not sent", status=answer.status_code)

    async def _message(self, request: _Request, reply: Reply) -> None:
        opened = await self._client.conversations_open(users=request.user)
        try:
            await self._say(opened["channel"]["id"], reply)
        except SlackApiError as exc:
            if error_code(exc) == "invalid_blocks":
                raise BlocksRefused from exc
            raise

    async def _say(self, channel: str, reply: Reply) -> None:
        await self._client.chat_postMessage(
            channel=channel,
            text=reply.text,
            blocks=list(reply.blocks),
            unfurl_links=False,
            unfurl_media=False,
        )


async def _run(asked: Asked) -> Reply:
    """Carry out the line of a button; the answer stands in the place of what was asked."""
    reply = await carry_out(asked)
    return replace(reply, replaces=bool(reply.blocks))


def _request(body: Mapping[str, Any], *, key: str) -> _Request:
    """Read what clicks, forms and menus have in common."""
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id")
    return _Request(
        user=body["user"]["id"],
        teams=frozenset({body["user"].get("team_id"), (body.get("team") or {}).get("id")}),
        channel=channel,
        key=key,
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
    )


def _message_of(body: Mapping[str, Any]) -> str | None:
    container = body.get("container") or {}
    return str(container["message_ts"]) if container.get("message_ts") else None


def _key(body: Mapping[str, Any], *parts: str) -> str:
    """Give the same short key for the same request sent again, and another for every other."""
    own = [body.get("trigger_id") or "", body.get("response_url") or ""]
    return hashlib.sha256("\0".join([*own, *parts]).encode()).hexdigest()[:32]


def _entered(element: Mapping[str, Any]) -> str | None:
    """Give what was entered in an element, whatever kind it is."""
    chosen = element.get("selected_option") or next(iter(element.get("selected_options") or ()), None)
    if chosen:
        return str(chosen["value"])
    return element.get("selected_conversation") or element.get("value")


async def _nowhere() -> None:
    return None
