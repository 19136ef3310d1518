"""Perform what a person does in Slack, and send the product the requests that Slack sends."""

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.demo import answers, payloads
from bot.demo.changes import Changes
from bot.demo.clock import Clock
from bot.demo.inputs import chosen, complaints, find_element, state_of
from bot.demo.sending import Response, post, slack_signature, standard_webhook_signature
from bot.demo.socket_mode import Sockets
from bot.demo.typed import as_sent
from bot.demo.world import Channel, Json, Message, SlackUser, View, World

Values = dict[str, dict[str, Any]]

# The default person and channel of an act.
REP, SALES = "U0REP", "C0SALES"

FORM = "application/x-www-form-urlencoded"
PUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request sent to the product and its response; *kind* is slash_commands, interactive or events_api."""

    kind: str
    payload: Json
    response: Response


class Acts:
    """The acts of a person, for the page and for tests."""

    def __init__(self, *, world: World, clock: Clock, app_url: str, signing_secret: str, crm_url: str, crm_secret: str):
        self.world, self.clock, self.changes = world, clock, Changes()
        self.app_url, self.signing_secret = app_url, signing_secret
        self.crm_url, self.crm_secret = crm_url, crm_secret
        self.patience = 3.0
        self.sent: list[Sent] = []
        self.sockets = Sockets(app_id=world.app_id, changed=self.changes.happened)
        self._choices: dict[tuple[str, str], Values] = {}
        self._session: aiohttp.ClientSession | None = None

    async def say(self, text: str, *, user: str = REP, channel: str = SALES) -> Response:
        """Send *text* as a slash command if it begins with a slash, else post it as a message."""
        person, place = self._find_person_and_channel(user, channel)
        if not text.startswith("/"):
            self.world.post(channel=place.id, user=person.id, text=as_sent(text, world=self.world))
            await self.changes.happened()
            return Response(status=200)
        command, _, rest = text.partition(" ")
        if command not in {entry["command"] for entry in self.world.commands}:
            return Response(status=0, note=f"{command} is not a valid command.")
        return await self.command(command, as_sent(rest.strip(), world=self.world), user=user, channel=channel)

    async def command(self, command: str, text: str = "", *, user: str = REP, channel: str = SALES) -> Response:
        """Send a slash command with exactly this *text*, and show the answer."""
        person, place = self._find_person_and_channel(user, channel)
        url = self.world.new_response_url(person.id, place.id)
        payload = payloads.slash_command(
            self.world, command=command, text=text, person=person, channel=place, response_url=url
        )
        response = await self._deliver("slash_commands", payload)
        note = answers.show_command_answer(self.world, response, command=command, person=person, channel=place)
        await self.changes.happened()
        return replace(response, note=note)

    async def click(
        self,
        message: str,
        action_id: str,
        *,
        user: str = REP,
        block_id: str | None = None,
        selected: Any = None,
        values: Values | None = None,
    ) -> Response:
        """Click or choose an element of a message with this timestamp; raises LookupError if there is none.

        An element that the last edit removed can still be clicked, as in Slack if a click crosses the edit. *values*
        are the values chosen in other fields of the message; they are kept for the next click.
        """
        original = answers.original_of(self.world, message, user)
        pressable = original.blocks + original.blocks_before
        block, element = find_element(pressable, action_id, block_id)
        state = self._choices.setdefault((user, message), {})
        _apply_choices(pressable, state, (values or {}, {block["block_id"]: {action_id: selected}}))
        entry = payloads.action(self.world, block=block, element=element, choice=selected)
        person = self._find_person(user)
        return await self._interact(
            payloads.on_message(
                self.world, original, person=person, kind="block_actions", actions=[entry], values=state
            )
        )

    async def view_click(
        self,
        view_id: str,
        action_id: str,
        *,
        user: str = REP,
        block_id: str | None = None,
        selected: Any = None,
        values: Values | None = None,
    ) -> Response:
        """Click or choose an element in a modal or a Home tab, with *values* in its other fields."""
        view = self._find_view(view_id, user)
        block, element = find_element(view.blocks, action_id, block_id)
        view = self._fill_in(view, values or {}, {block["block_id"]: {action_id: selected}})
        entry = payloads.action(self.world, block=block, element=element, choice=selected)
        person = self._find_person(user)
        return await self._interact(
            payloads.on_view(self.world, view, person=person, kind="block_actions", actions=[entry])
        )

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
        response = await self._deliver("interactive", payload)
        # The product may have updated the view while it handled the submission.
        current = self.world.view(view_id)
        note = answers.apply_submission(self.world, current, response) if current else ""
        await self.changes.happened()
        return replace(response, note=note)

    async def close_view(self, view_id: str, *, user: str = REP) -> Response:
        """Close a modal; the product is notified if the view requests it."""
        view = self._find_view(view_id, user)
        clears_all = view.content.get("clear_on_close", False)
        self.world.modals[user] = [modal for modal in self.world.modals[user] if modal.id != view_id and not clears_all]
        await self.changes.happened()
        if not view.content.get("notify_on_close"):
            return Response(status=200)
        return await self._interact(
            payloads.on_view(self.world, view, person=self._find_person(user), kind="view_closed")
        )

    async def options(
        self, handle: str, action_id: str, value: str = "", *, user: str = REP, block_id: str | None = None
    ) -> list[Json]:
        """Return the product's options for the text typed into an external select; empty if it does not answer."""
        person = self._find_person(user)
        view = self.world.view(handle)
        blocks = view.blocks if view else answers.original_of(self.world, handle, user).blocks
        block, _ = find_element(blocks, action_id, block_id)
        more = {"action_id": action_id, "block_id": block["block_id"], "value": value}
        if view:
            payload = payloads.on_view(self.world, view, person=person, kind="block_suggestion", **more)
        else:
            original = answers.original_of(self.world, handle, user)
            payload = payloads.on_message(self.world, original, person=person, kind="block_suggestion", **more)
        response = await self._deliver("interactive", payload)
        content = (response.json() if response.ok else None) or {}
        return [
            *content.get("options", []),
            *(option for group in content.get("option_groups", []) for option in group["options"]),
        ]

    async def shortcut(self, callback_id: str, *, user: str = REP, message: str | None = None) -> Response:
        """Choose a global shortcut, or with *message* a shortcut in the menu of that message."""
        person = self._find_person(user)
        if message is None:
            return await self._interact(payloads.shortcut(self.world, callback_id=callback_id, person=person))
        original = answers.original_of(self.world, message, user)
        url = self.world.new_response_url(user, original.channel)
        more = {"callback_id": callback_id, "response_url": url, "message_ts": message}
        return await self._interact(
            payloads.on_message(self.world, original, person=person, kind="message_action", **more)
        )

    async def event(self, event: Json, *, user: str | None = None) -> Response:
        """Send an Events API callback, with *user* as the acting person if given."""
        return await self._deliver(
            "events_api", payloads.event_callback(self.world, ({"user": user} if user else {}) | event)
        )

    async def open_home(self, user: str = REP) -> Response:
        """Open the app's Home tab."""
        event: Json = {"type": "app_home_opened", "tab": "home", "channel": self.world.im(user).id}
        if home := self.world.homes.get(user):
            event["view"] = payloads.view_json(self.world, home)
        return await self.event(event, user=user)

    async def again(self, sent: Sent | None = None, *, retry: int = 1, reason: str = "http_timeout") -> Response:
        """Send a request again, by default the last one, as Slack retries a request without an answer in time."""
        request = sent or self.sent[-1]
        return await self._deliver(request.kind, request.payload, retry=(retry, reason))

    async def raw(self, path: str = "/slack/events", *, body: bytes, headers: dict[str, str]) -> Response:
        """Send a request without a signature, as anyone on the network can."""
        return await post(
            self._http, self.app_url.rstrip("/") + path, body=body, headers=headers, patience=self.patience
        )

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
        answer = await post(self._http, self.crm_url, body=content, headers=headers, patience=PUSH_SECONDS)
        return {
            "request": {"method": "POST", "url": self.crm_url, "headers": headers, "body": body},
            "answer": {"status": answer.status, "headers": dict(answer.headers), "body": answer.body or answer.note},
            "ms": round((time.perf_counter() - began) * 1000),
        }

    def messages(self, channel: str = SALES, user: str = REP) -> list[Message]:
        """Return the messages in *channel* that *user* sees, newest last."""
        return self.world.seen_by(user, channel)

    def open_views(self, user: str = REP) -> list[View]:
        """Return the person's open modals, the topmost last."""
        return list(self.world.modals.get(user, []))

    def home(self, user: str = REP) -> View | None:
        return self.world.homes.get(user)

    async def _deliver(self, kind: str, payload: Json, *, retry: tuple[int, str] | None = None) -> Response:
        if self.sockets.connected:
            retry_fields = {"retry_attempt": retry[0], "retry_reason": retry[1]} if retry else None
            response = await self.sockets.send(kind, payload, patience=self.patience, retry=retry_fields)
        else:
            response = await self._deliver_http(kind, payload, retry)
        self.sent.append(Sent(kind=kind, payload=payload, response=response))
        await self.changes.happened()
        return response

    async def _deliver_http(self, kind: str, payload: Json, retry: tuple[int, str] | None) -> Response:
        match kind:
            case "slash_commands":
                content_type, body = FORM, urlencode(payload).encode()
            case "interactive":
                content_type, body = FORM, urlencode({"payload": json.dumps(payload)}).encode()
            case _:
                content_type, body = "application/json", json.dumps(payload).encode()
        headers = {"Content-Type": content_type} | slack_signature(
            body, secret=self.signing_secret, timestamp=int(self.clock.now())
        )
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry[0]), "X-Slack-Retry-Reason": retry[1]}
        return await self.raw(body=body, headers=headers)

    async def _interact(self, payload: Json) -> Response:
        response = await self._deliver("interactive", payload)
        note = f"{self.world.app_name} had a problem: {response.failure}" if response.failure else ""
        return replace(response, note=note)

    @property
    def _http(self) -> aiohttp.ClientSession:
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
