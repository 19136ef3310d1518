"""Dispatch Slack requests: acknowledge, load person and conversation, check access, call the handler, reply."""

import asyncio
import re
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.refusals import plain_reply, refusal_reply
from bot.slack.access import Admin, Need, NotAllowed, Person, Verdict, is_from_outside, may_see
from bot.slack.client import NotDownloaded, download_file
from bot.slack.directory import People
from bot.slack.feature import Feature, RequestHandler
from bot.slack.handling import MOST_NAMED, Block, OutdatedButton, Reply, Request
from bot.slack.manifest import COMMAND
from bot.slack.payloads import (
    SlackPayload,
    clicked_message,
    entered_value,
    is_from_home,
    is_home,
    parse_command,
    parse_form,
    parse_interaction,
    parse_message,
    request_key,
)
from bot.slack.responder import Answers
from bot.slack.text import clean
from bot.source_admin import Senders
from storage.domain.contacts import check_text
from storage.domain.errors import Refusal, SlackUnavailable
from storage.domain.followups import NotTheirs
from storage.domain.people import Member, Workspace
from storage.scoring.definitions import score_types

log = structlog.get_logger(__name__)

Ack = Callable[..., Awaitable[Any]]
#: Seconds to wait for the handler of a form. Slack waits three; the reply of a slower handler is sent as a message.
PATIENCE = 2.0


class Dispatcher:
    """Routes each Slack request of one workspace to its handler.

    *features* has the handlers by id. *run_line* handles the text after `/score`, and *draw_home* renders the Home tab.
    *ask_inviter* handles the invitation of the app to a channel; the request's text is the id of the channel.
    """

    def __init__(
        self,
        *,
        features: Feature,
        run_line: RequestHandler,
        draw_home: RequestHandler,
        ask_inviter: RequestHandler,
        workspace: Workspace,
        enterprise: str | None,
        bot_user: str | None,
        posting: AsyncWebClient,
        opening: AsyncWebClient,
        people: People,
        senders: Senders,
        clock: Callable[[], int],
    ) -> None:
        self._features = features
        self._run_line, self._draw_home, self._ask_inviter = run_line, draw_home, ask_inviter
        self._workspace = workspace
        self._enterprise = enterprise
        self._bot_user = bot_user
        self._answers = Answers(workspace=workspace, posting=posting, opening=opening, people=people, clock=clock)
        self._downloading = posting
        self._clock = clock
        self._senders = senders
        self._people = people
        self._tasks: set[asyncio.Task[Any]] = set()

    async def handle_command(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Handle a slash command."""
        self._track_task()
        await ack()
        text = body.get("text") or ""
        payload = parse_command(body)
        await self._send(payload, await self._handle(payload, self._run_line, text=clean(text)))

    async def handle_action(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Handle a click on a button or a choice in a menu."""
        self._track_task()
        await ack()
        action = body["actions"][0]
        name, value = action["action_id"].partition(":")[0], entered_value(action) or ""
        payload = parse_interaction(body, action["action_id"], value)
        if name in self._features.buttons:
            need, handler = self._features.buttons[name]
            reply = await self._handle(payload, handler, need=need, text=value)
            if is_home(payload.view) and reply.modal is None:
                await self._publish_home(payload.user, above=reply)
                return
            await self._send(payload, reply)
        elif name in ("run", "create"):  # the button's value is a whole command, to run only once
            payload = replace(payload, key=request_key({}, payload.user, clicked_message(body) or payload.key, value))
            creates = name == "create"
            await self._send(payload, await self._handle(payload, self._run_button_line, text=value, creates=creates))
        elif payload.view is None:  # an older version of the app posted the message with the button
            await self._send(payload, await self._handle(payload, _refuse_outdated))
        if is_from_home(payload.view):
            await self._publish_home(payload.user)

    async def handle_form(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Handle a submitted form."""
        self._track_task()
        entry = self._features.forms.get(body["view"]["callback_id"])
        if entry is None:  # an older version of the app opened the form
            await ack()
            return
        payload, fields, metadata = parse_form(body)
        need, handler = entry
        answer_task = asyncio.create_task(self._handle(payload, handler, need=need, fields=fields, metadata=metadata))
        done, _ = await asyncio.wait([answer_task], timeout=PATIENCE)
        if done and answer_task.result().errors:
            await ack(response_action="errors", errors=dict(answer_task.result().errors))
            return
        await ack()
        reply = await answer_task
        if reply.errors:  # too late for the form, which is already closed
            reply = plain_reply(f"Nothing was changed. {' '.join(reply.errors.values())}")
        if is_from_home(payload.view) and reply.modal is None:
            await self._publish_home(payload.user, above=reply)
            return
        await self._send(payload, reply)

    async def handle_menu(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Answer a request for the options of a menu. The menu stays empty for a person who may not see scores."""
        self._track_task()
        choices: list[Block] = []
        try:
            request = await self.authorize(parse_interaction(body))
            if isinstance(request, Request) and body["action_id"] in self._features.options:
                request.needs(Need.SEE)
                check_text(body.get("value"), "what you typed")
                lister = self._features.options[body["action_id"]]
                choices = await lister(replace(request, text=clean(body.get("value") or "")))
        except Refusal as refusal:
            log.warning("menu not filled", because=type(refusal).__name__)
        await ack(options=choices)

    async def handle_channel_change(self, event: Mapping[str, Any]) -> None:
        """Remove a channel from the cache: it was shared or unshared, or a person left it."""
        self._people.forget_place(str(event.get("channel")))

    async def handle_person_change(self, event: Mapping[str, Any]) -> None:
        """Remove a person from the cache: the person joined the workspace, or the account changed."""
        user = event.get("user")
        if isinstance(user, Mapping):
            self._people.person_changed(user)

    async def handle_group_change(self, event: Mapping[str, Any]) -> None:
        """Remove a user group from the cache: its members changed, or the group itself."""
        self._people.forget_group(str(event.get("subteam_id") or (event.get("subteam") or {}).get("id")))

    async def handle_shortcut(self, body: Mapping[str, Any], ack: Ack) -> None:
        """Handle a message shortcut."""
        self._track_task()
        await ack()
        payload = parse_interaction(body)
        message_text = clean(str((body.get("message") or {}).get("text") or ""))
        need, handler = self._features.shortcuts[body["callback_id"]]
        await self._send(payload, await self._handle(payload, handler, need=need, text=message_text))

    async def handle_message(self, event: Mapping[str, Any]) -> None:
        """Run a direct message to the app, or a message that mentions it, as a line after `/score`."""
        self._track_task()
        is_mention = event.get("type") == "app_mention"
        is_direct = str(event.get("channel")).startswith("D")
        is_from_person = not (event.get("subtype") or event.get("bot_id")) and event.get("user") != self._bot_user
        if not is_from_person or is_mention is is_direct:  # Slack also reports edits, and messages of apps
            return
        text = str(event.get("text") or "")
        line = clean(re.sub(rf"<@{self._bot_user}(\|[^<>]*)?>", " ", text)).removeprefix(COMMAND).strip()
        payload = parse_message(event)
        await self._send(payload, await self._handle(payload, self._run_line, text=line))

    async def handle_file(self, event: Mapping[str, Any]) -> None:
        """Handle a file in a direct message to the app: the first one, whatever else the message says."""
        self._track_task()
        sent = next(iter(event.get("files") or ()), None)
        if event.get("channel_type") != "im" or event.get("bot_id") or self._features.file is None or sent is None:
            return
        need, handler = self._features.file
        name = str(sent.get("name") or "file")

        async def download(request: Request) -> Reply:
            with tempfile.TemporaryDirectory(prefix="contact-score-") as folder:
                path = Path(folder) / "file.csv"
                try:
                    await download_file(self._downloading, str(sent.get("url_private_download") or ""), path)
                except NotDownloaded as exc:
                    return plain_reply(str(exc))
                return await handler(replace(request, metadata={"path": str(path), "name": name}))

        payload = parse_message(event)
        await self._send(payload, await self._handle(payload, download, need=need))

    async def handle_join(self, event: Mapping[str, Any]) -> None:
        """Ask the person who invited the app to a channel, and nobody else, whether to post follow-ups there."""
        self._track_task()
        self._people.forget_place(str(event.get("channel")))
        inviter = event.get("inviter")
        if event.get("user") != self._bot_user or not inviter:
            return
        payload = SlackPayload(user=str(inviter), teams=frozenset({event.get("team")}), channel=str(event["channel"]))
        request = await self.authorize(payload)
        if isinstance(request, Verdict) or Need.SEE not in request.rights:
            return  # the person did not ask for anything, so a refusal would only confuse
        reply = await self._ask_inviter(replace(request, text=str(event["channel"])))
        if reply != Reply():
            await self._answers.ask_alone(payload, reply)

    async def handle_home(self, event: Mapping[str, Any]) -> None:
        """Publish the Home tab that a person opened."""
        self._track_task()
        if event.get("tab") != "home":
            return
        await self._publish_home(str(event.get("user") or ""))

    async def _publish_home(self, user: str, *, above: Reply | None = None) -> None:
        """Publish the Home tab of a person, with the answer to their last action *above* it."""
        payload = SlackPayload(user=user, teams=frozenset(), channel=None)
        home = await self._handle(payload, self._draw_home)
        if above is not None and above.blocks and above.blocks != home.blocks:
            home = replace(home, blocks=[*above.blocks, {"type": "divider"}, *home.blocks])
        await self._answers.draw_home(user, home)

    async def answer_late(self, *, user: str, answer_to: str | None, reply: Reply) -> None:
        """Answer an earlier request: in the conversation of the request, or else by direct message."""
        payload = SlackPayload(user=user, teams=frozenset(), channel=None, answer_to=answer_to)
        await self._answers.answer(payload, reply)

    async def find_member(self, workspace: Workspace, user: str) -> Member | None:
        """Return an active member of a workspace, or None; raises SlackUnavailable."""
        if workspace.id != self._workspace.id:
            raise SlackUnavailable
        try:
            person = await self._people.colleague(user, now=self._clock())
        except Exception as exc:  # whatever went wrong, the person is unknown
            log.warning("person not looked up", because=type(exc).__name__)
            raise SlackUnavailable from exc
        if person is None:
            return None
        access = await self._people.find_access(person, now=self._clock())
        return Member(id=person.id, address=person.email, is_admin=Need.ADMINISTER in access.rights)

    async def drain(self, *, patience: float) -> None:
        """Wait at most *patience* seconds for requests that were acknowledged but not answered yet."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    def _track_task(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(
        self,
        payload: SlackPayload,
        handler: Callable[[Request], Awaitable[Reply]],
        *,
        need: Need = Need.SEE,
        text: str = "",
        creates: bool = False,
        fields: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Check access and call a handler. Return its reply, or one that explains a refusal or a failure."""
        try:
            request = await self.authorize(payload)
            if isinstance(request, Verdict):
                return plain_reply(request.value)
            request.needs(need)
            check_text([text, *(fields or {}).values()], "What you sent")
            request = replace(request, text=text, creates=creates, fields=fields or {}, metadata=metadata or {})
            return await handler(request)
        except (NotAllowed, NotTheirs) as refusal:
            admins = await self._people.list_admins(most=MOST_NAMED, now=self._clock())
            return refusal_reply(refusal, asker=payload.user, admins=[admin.id for admin in admins])
        except Refusal as refusal:
            return refusal_reply(refusal, asker=payload.user)
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("request not answered", reference=reference)
            return plain_reply(f"Contact Score could not do that. The cause is in its log under {reference}.")

    async def _run_button_line(self, request: Request) -> Reply:
        """Run the command in a button's value; the answer replaces the message with the button."""
        reply = await self._run_line(request)
        return replace(reply, replaces=bool(reply.blocks))

    async def authorize(self, payload: SlackPayload) -> Request | Verdict:
        """Return the request if the person may see scores in this conversation, else the verdict."""
        now = self._clock()
        person, conversation = await asyncio.gather(
            self._people.person(payload.user, now=now) if payload.user else _return_none(),
            self._people.place(payload.channel, now=now) if payload.channel else _return_none(),
        )
        # If a person from another workspace clicks, only the payload shows to which workspace the person belongs.
        team, organization = self._workspace.team, self._enterprise
        if person is not None and is_from_outside(payload.teams, payload.organizations, team, organization):
            person = replace(person, is_outsider=True)
        verdict = may_see(person, conversation, somewhere=payload.channel is not None)
        if verdict is not Verdict.ALLOWED or person is None:
            log.info("refused", because=verdict.name)
            return verdict
        access = await self._people.find_access(person, now=now)
        return Request(
            workspace=self._workspace,
            choices=access.choices,
            rights=access.rights,
            types=await score_types(self._workspace),
            person=person,
            senders=self._senders,
            key=payload.key,
            now=now,
            clock=self._clock,
            answer_to=payload.answer_to,
            address_of=self._find_address,
            user_of=self._find_user,
            name_of=self._find_name,
            find_person=self._find_person,
            is_colleague=self._is_colleague,
            may_post=self._may_post,
            list_admins=self._list_admins,
            has_unnamed_admin=self._has_unnamed_admin,
            list_groups=self._people.list_groups,
        )

    async def _find_address(self, user: str) -> str | None:
        person = await self._people.person(user, now=self._clock())
        return person.email if person is not None and not person.is_outsider else None

    async def _find_user(self, address: str) -> str | None:
        """Return the Slack user id of the colleague with an address; None also if Slack does not answer."""
        try:
            return await self._people.by_address(address, now=self._clock())
        except Exception as exc:  # the answer names the address instead
            log.warning("address not looked up", because=type(exc).__name__)
            return None

    async def _find_name(self, user: str) -> str | None:
        person = await self._people.person(user, now=self._clock())
        return person.name if person is not None else None

    async def _find_person(self, user: str) -> Person | None:
        return await self._people.person(user, now=self._clock())

    async def _is_colleague(self, user: str) -> bool:
        return await self._people.may_read_now(user, now=self._clock()) is Verdict.ALLOWED

    async def _may_post(self, channel: str) -> Verdict:
        return await self._people.may_post_now(channel, now=self._clock())

    async def _list_admins(self, most: int) -> list[Admin]:
        return await self._people.list_admins(most=most, now=self._clock())

    async def _has_unnamed_admin(self, besides: str) -> bool:
        return await self._people.has_unnamed_admin(besides=besides, now=self._clock())

    async def _send(self, payload: SlackPayload, reply: Reply) -> None:
        await self._answers.send(payload, reply)


async def _refuse_outdated(_: Request) -> Reply:
    raise OutdatedButton


async def _return_none() -> None:
    return None
