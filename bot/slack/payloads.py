"""Parse Slack's request payloads: person, channel, entered values, and the key that identifies repeats."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

#: How long (µs) and how many request bodies are remembered; Slack retries at once, after one and after five minutes.
REPEATED, MOST = 600_000_000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackPayload:
    """The parts that every kind of Slack request has in common."""

    user: str  #: Slack user id; blank if the payload has none
    teams: frozenset[str | None]  #: the team ids in the payload
    organizations: frozenset[str | None] = frozenset()  #: the Enterprise Grid ids in the payload
    channel: str | None  #: None: the request has no conversation; blank: Slack did not say which
    key: str = ""  #: identifies repeats of the request; blank: it does nothing that must not be repeated
    trigger: str | None = None  #: Slack's trigger_id, which opens forms
    answer_to: str | None = None  #: Slack's response_url
    view: Mapping[str, Any] | None = None  #: the modal or Home tab of the click
    is_mention: bool = False  #: a message in a channel that mentions the app
    thread: str | None = None  #: the thread of a message to the app


def parse_command(body: Mapping[str, Any]) -> SlackPayload:
    """Parse a slash command."""
    user = str(body.get("user_id") or "")
    return SlackPayload(
        user=user,
        teams=frozenset({body.get("team_id")}),
        organizations=frozenset({body.get("enterprise_id") or None}),
        channel=str(body.get("channel_id") or ""),
        key=request_key(body, user, body.get("text") or ""),
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
    )


def parse_interaction(body: Mapping[str, Any], *parts: str) -> SlackPayload:
    """Parse the common parts of a click, form or menu request; *parts* distinguish requests with the same trigger."""
    user = body.get("user") or {}
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id")
    if channel is None and body.get("view") is None:
        channel = ""  # there is a conversation, but Slack does not say which
    return SlackPayload(
        user=str(user.get("id") or ""),
        teams=frozenset({user.get("team_id"), (body.get("team") or {}).get("id")}),
        organizations=frozenset({(body.get("enterprise") or {}).get("id")}),
        channel=channel,
        key=request_key(body, str(user.get("id") or ""), *parts),
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
        view=body.get("view"),
    )


def parse_message(event: Mapping[str, Any]) -> SlackPayload:
    """Parse the event of a direct message to the app, or of a message that mentions it."""
    user, channel = str(event.get("user") or ""), str(event.get("channel") or "")
    return SlackPayload(
        user=user,
        teams=frozenset({event.get("team"), event.get("user_team"), event.get("source_team")}),
        channel=channel,
        key=request_key({}, user, channel, str(event.get("ts"))),
        is_mention=event.get("type") == "app_mention",
        thread=event.get("thread_ts"),
    )


def parse_form(body: Mapping[str, Any]) -> tuple[SlackPayload, dict[str, str | None], dict[str, Any]]:
    """Parse a submitted form: return the payload, the entered values by block id, and the form's metadata."""
    view = body["view"]
    metadata = read_metadata(view)
    fields = {
        block: entered_value(element)
        for block, elements in ((view.get("state") or {}).get("values") or {}).items()
        for element in elements.values()
    }
    payload = parse_interaction(body)
    # A form submitted twice is the same request, although each submission has its own trigger id.
    parts = [payload.user, view["id"], view.get("private_metadata") or "", json.dumps(fields, sort_keys=True)]
    # The answer goes where the form was opened, so access to that conversation is checked again.
    payload = replace(payload, key=request_key({}, *parts), answer_to=metadata.get("to"), channel=metadata.get("in"))
    return payload, fields, metadata


def is_home(view: Mapping[str, Any] | None) -> bool:
    """Return whether a view is the Home tab."""
    return view is not None and view.get("type") == "home"


def is_from_home(view: Mapping[str, Any] | None) -> bool:
    """Return whether a view is the Home tab, or a modal that was opened from it."""
    return is_home(view) or (view is not None and bool(read_metadata(view).get("home")))


def read_metadata(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that the app stored in a view."""
    metadata: dict[str, Any] = json.loads(view.get("private_metadata") or "{}")
    return metadata


def clicked_message(body: Mapping[str, Any]) -> str | None:
    """Return the ts of the message that was clicked, or None."""
    container = body.get("container") or {}
    return str(container["message_ts"]) if container.get("message_ts") else None


def request_key(body: Mapping[str, Any], *parts: str) -> str:
    """Return a short key: equal for a repeat of the same request, different for every other request."""
    identifiers = [body.get("trigger_id") or "", body.get("response_url") or ""]
    return hashlib.sha256("\0".join([*identifiers, *parts]).encode(errors="surrogatepass")).hexdigest()[:32]


def entered_value(element: Mapping[str, Any]) -> str | None:
    """Return the value entered in a form element of any kind, or None."""
    option = element.get("selected_option") or next(iter(element.get("selected_options") or ()), None)
    if option:
        return str(option["value"])
    keys = ("selected_conversation", "selected_user", "selected_date", "value")
    return next((element[key] for key in keys if element.get(key)), None)


class RecentRequests:
    """The requests that were accepted in the last ten minutes, by their body; at most the latest MOST of them."""

    def __init__(self) -> None:
        self._accepted_at: dict[bytes, int] = {}  # oldest first

    def add(self, body: bytes, *, now: int) -> None:
        """Remember a request."""
        self.discard(body)
        self._accepted_at[hashlib.sha256(body).digest()] = now
        if len(self._accepted_at) > MOST:
            del self._accepted_at[next(iter(self._accepted_at))]

    def discard(self, body: bytes) -> None:
        """Forget a request, so that a retry is handled."""
        self._accepted_at.pop(hashlib.sha256(body).digest(), None)

    def has(self, body: bytes, *, now: int) -> bool:
        """Return whether the request was accepted recently."""
        accepted_at = self._accepted_at.get(hashlib.sha256(body).digest())
        return accepted_at is not None and now - accepted_at < REPEATED
