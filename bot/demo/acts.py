"""Perform what a person does in Slack, and send the product the requests that Slack sends."""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.demo import answers, payloads
from bot.demo.blocks import Json, find_element
from bot.demo.changes import Changes
from bot.demo.inputs import chosen, complaints, state_of
from bot.demo.sending import Response, post, slack_signature, standard_webhook_signature
from bot.demo.typed import as_sent
from bot.demo.world import Channel, SlackUser, View, World

Values = dict[str, dict[str, Any]]

# The default person and channel of an act.
REP, SALES = "U0REP", "C0SALES"

FORM = "application/x-www-form-urlencoded"
PUSH_SECONDS = 10.0


class Acts:
    """The acts of a person."""

    def __init__(self, *, world: World, app_url: str, signing_secret: str, crm_url: str, crm_secret: str):
        self.world, self.clock, self.changes = world, world.clock, Changes()
        self.app_url, self.signing_secret = app_url, signing_secret
        self.crm_url, self.crm_secret = crm_url, crm_secret
        self.agent_token = ""  # the token with which an agent calls the product's tools
        self.patience = 3.0  # seconds that Slack waits for an answer
        self._choices: dict[tuple[str, str], Values] = {}
        self._session: aiohttp.ClientSession | None = None

    async def say(self, text: str, *, user: str = REP, channel: str = SALES) -> Response:
        """Send *text* as a slash command if it begins with a slash, else post it as a message."""
        person, place = self._find_person_and_channel(user, channel)
        if not text.startswith("/"):
            message = self.world.post(channel=place.id, user=person.id, text=as_sent(text, world=self.world))
            await self.changes.happened()
            if event := payloads.message_event(self.world, message, person=person):
                await self.event(event)
            return Response(status=200)
        command, _, rest = text.partition(" ")
        if command not in {entry["command"] for entry in self.world.commands}:
            return Response(status=0, note=f"{command} is not a valid command.")
        return await self.command(command, as_sent(rest.strip(), world=self.world), user=user, channel=channel)

    async def command(self, command: str, text: str = "", *, user: str = REP, channel: str = SALES) -> Response:
        """Send a slash command with exactly this *text*."""
        person, place = self._find_person_and_channel(user, channel)
        url = self.world.new_response_url(person.id, place.id)
        payload = payloads.slash_command(
            self.world, command=command, text=text, person=person, channel=place, response_url=url
        )
        response = await self.deliver("slash_commands", payload)
        note = f"{command} failed with the error {response.failure}" if response.failure else ""
        return replace(response, note=note)

    async def click(
        self,
        handle: str,
        action_id: str,
        *,
        user: str = REP,
        block_id: str | None = None,
        selected: Any = None,
        values: Values | None = None,
    ) -> Response:
        """Click or choose an element of the message or view *handle*; raises LookupError if there is none.

        An element that the last edit removed can still be clicked, as in Slack if a click crosses the edit. *values*
        are the values chosen in other fields; they are kept for the next click.
        """
        person = self._find_person(user)
        view = self._find_view(handle, user) if self.world.view(handle) else None
        original = None if view else answers.original_of(self.world, handle, user)
        blocks: Iterable[Json] = original.blocks + original.blocks_before if original else view.blocks if view else ()
        block, element = find_element(blocks, action_id, block_id)
        choices = (values or {}, {block["block_id"]: {action_id: selected}})
        entry = payloads.action(self.world, block=block, element=element, choice=selected)
        if original:
            state = self._choices.setdefault((user, handle), {})
            _apply_choices(blocks, state, choices)
            payload = payloads.on_message(
                self.world, original, person=person, kind="block_actions", actions=[entry], values=state
            )
        else:
            filled = self._fill_in(self._find_view(handle, user), *choices)
            payload = payloads.on_view(self.world, filled, person=person, kind="block_actions", actions=[entry])
        return await self._interact(payload)

    async def submit(self, view_id: str, values: Values | None = None, *, user: str = REP) -> Response:
        """Fill in *values* by block and action, submit the form, and apply the answer to the modal.

        A form that Slack would not send, for example with a blank required field, returns status 0 and has errors.
        """
        view = self._fill_in(self._find_view(view_id, user), values or {})
        if errors := complaints(view, state_of(view.blocks, view.values)):
            self.world.keep(replace(view, errors=errors))
            await self.changes.happened()
            return Response(status=0, note="Not sent: a field needs attention.")
        payload = payloads.on_view(self.world, view, person=self._find_person(user), kind="view_submission")
        response = await self.deliver("interactive", payload)
        # The product may have updated the view while it handled the submission.
        current = self.world.view(view_id)
        note = answers.apply_submission(self.world, current, response) if current else ""
        await self.changes.happened()
        return replace(response, note=note)

    async def close_view(self, view_id: str, *, user: str = REP) -> Response:
        """Close a modal."""
        del self.world.modals[self._find_view(view_id, user).user]
        await self.changes.happened()
        return Response(status=200)

    async def options(
        self, handle: str, action_id: str, value: str = "", *, user: str = REP, block_id: str | None = None
    ) -> list[Json]:
        """Return the product's options for the text typed into a menu of a view; empty if it does not answer."""
        view = self._find_view(handle, user)
        block, _ = find_element(view.blocks, action_id, block_id)
        more = {"action_id": action_id, "block_id": block["block_id"], "value": value}
        payload = payloads.on_view(self.world, view, person=self._find_person(user), kind="block_suggestion", **more)
        response = await self.deliver("interactive", payload)
        content = (response.json() if response.ok else None) or {}
        return list(content.get("options", []))

    async def shortcut(self, callback_id: str, *, user: str = REP, message: str) -> Response:
        """Choose a shortcut in the menu of a message."""
        original = answers.original_of(self.world, message, user)
        url = self.world.new_response_url(user, original.channel)
        more = {"callback_id": callback_id, "response_url": url, "message_ts": message}
        person = self._find_person(user)
        return await self._interact(
            payloads.on_message(self.world, original, person=person, kind="message_action", **more)
        )

    async def event(self, event: Json) -> Response:
        """Send an Events API callback."""
        return await self.deliver("events_api", payloads.event_callback(self.world, event))

    async def open_home(self, user: str = REP) -> Response:
        """Open the app's Home tab."""
        event: Json = {"type": "app_home_opened", "user": user, "tab": "home", "channel": self.world.im(user).id}
        if home := self.home(user):
            event["view"] = payloads.view_json(self.world, home)
        return await self.event(event)

    async def push(self, body: str) -> Json:
        """Send *body* as the sample CRM, with a Standard Webhooks signature.

        Return the request, the answer, and the duration in milliseconds.
        """
        content, now = body.encode(), int(self.clock.now())
        message_id = f"msg_{secrets.token_hex(12)}"
        headers = {"Content-Type": "application/json"} | standard_webhook_signature(
            content, secret=self.crm_secret, message_id=message_id, timestamp=now
        )
        began = time.perf_counter()
        answer = await post(self.http, self.crm_url, body=content, headers=headers, patience=PUSH_SECONDS)
        return {
            "request": {"method": "POST", "url": self.crm_url, "headers": headers, "body": body},
            "answer": {"status": answer.status, "headers": dict(answer.headers), "body": answer.body or answer.note},
            "ms": round((time.perf_counter() - began) * 1000),
        }

    @property
    def agent_url(self) -> str:
        """Return the address of the product's tools for agents."""
        return f"{self.app_url.rstrip('/')}/mcp"

    async def ask_as_agent(self) -> list[Json]:
        """Call two tools as an agent does: find the best contacts, and load the first of them.

        Return each call with its answer: the status, the text, and the structured content.
        """
        listing = await self._call_tool("find_contacts", {"filter": "sort:-score", "limit": 3})
        contacts = (listing["content"] or {}).get("contacts", [])
        return [listing, *[await self._call_tool("get_contact", {"contact": str(best["id"])}) for best in contacts[:1]]]

    async def _call_tool(self, tool: str, arguments: Json) -> Json:
        params = {"name": tool, "arguments": arguments}
        answer = await post(
            self.http,
            self.agent_url,
            body=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.agent_token}"},
            patience=PUSH_SECONDS,
        )
        result = (answer.json() or {}).get("result", {})
        texts = [part["text"] for part in result.get("content", [])]
        return {
            "tool": tool,
            "arguments": arguments,
            "status": answer.status,
            "text": texts[0] if texts else answer.body or answer.note,
            "content": result.get("structuredContent"),
        }

    def open_views(self, user: str = REP) -> list[View]:
        """Return the person's open modal, or nothing."""
        return [self.world.modals[user]] if user in self.world.modals else []

    def home(self, user: str = REP) -> View | None:
        return self.world.homes.get(user)

    async def deliver(self, kind: str, payload: Json, *, headers: Mapping[str, str] | None = None) -> Response:
        """Send a signed request to the product; *kind* is slash_commands, interactive or events_api."""
        match kind:
            case "slash_commands":
                content_type, body = FORM, urlencode(payload).encode()
            case "interactive":
                content_type, body = FORM, urlencode({"payload": json.dumps(payload)}).encode()
            case _:
                content_type, body = "application/json", json.dumps(payload).encode()
        signature = slack_signature(body, secret=self.signing_secret, timestamp=int(self.clock.now()))
        response = await post(
            self.http,
            f"{self.app_url.rstrip('/')}/slack/events",
            body=body,
            headers={"Content-Type": content_type, **signature, **(headers or {})},
            patience=self.patience,
        )
        await self.changes.happened()
        return response

    async def _interact(self, payload: Json) -> Response:
        response = await self.deliver("interactive", payload)
        note = f"{self.world.app_name} had a problem: {response.failure}" if response.failure else ""
        return replace(response, note=note)

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("The sandbox has not been started.")
        return self._session

    def _find_person(self, user: str) -> SlackUser:
        if user not in self.world.people:
            raise LookupError(f"There is nobody called {user!r}.")
        return self.world.people[user]

    def _find_person_and_channel(self, user: str, channel: str) -> tuple[SlackUser, Channel]:
        person = self._find_person(user)
        if channel not in self.world.channels and channel == "D" + user[1:]:
            self.world.im(user)
        if channel not in self.world.channels or user not in self.world.channels[channel].members:
            raise LookupError(f"{user} is in no channel {channel!r}.")
        return person, self.world.channels[channel]

    def _find_view(self, view_id: str, user: str) -> View:
        view = self.world.view(view_id)
        if view is None or view.user != user:
            raise LookupError(f"{user} sees no view {view_id!r}.")
        return view

    def _fill_in(self, view: View, *values: Values) -> View:
        state = {block: dict(fields) for block, fields in view.values.items()}
        _apply_choices(view.blocks, state, values)
        return self.world.keep(replace(view, values=state))


def _apply_choices(blocks: Iterable[Json], state: Values, values: Iterable[Values]) -> None:
    for new_values in values:
        for block_id, fields in new_values.items():
            for action_id, choice in fields.items():
                _, element = find_element(blocks, action_id, block_id)
                state.setdefault(block_id, {})[action_id] = chosen(element, choice)
