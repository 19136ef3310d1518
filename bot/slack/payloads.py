"""Read what Slack sends: who asks, where, with what in which fields, and what makes a request the same as another."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

#: Slack sends a request again at once, after a minute and after five; µs, and how many are remembered.
REPEATED, MOST = 600_000_000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackPayload:
    """What is the same in every kind of request."""

    user: str  #: blank where it does not say
    teams: frozenset[str | None]  #: the ones that it says it is from
    organisations: frozenset[str | None] = frozenset()  #: of several workspaces, likewise
    channel: str | None  #: none: it is from no conversation; blank: it does not say which
    key: str
    trigger: str | None
    answer_to: str | None  #: Slack's response_url
    view: Mapping[str, Any] | None = None  #: the form that was clicked in


def parse_command(body: Mapping[str, Any]) -> SlackPayload:
    """Read a slash command."""
    user = str(body.get("user_id") or "")
    return SlackPayload(
        user=user,
        teams=frozenset({body.get("team_id")}),
        organisations=frozenset({body.get("enterprise_id") or None}),
        channel=str(body.get("channel_id") or ""),
        key=request_key(body, user, body.get("text") or ""),
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
    )


def parse_interaction(body: Mapping[str, Any], *parts: str) -> SlackPayload:
    """Read what clicks, forms and menus have in common; *parts* tell one such request from another."""
    user = body.get("user") or {}
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id")
    if channel is None and body.get("view") is None:
        channel = ""  # it is from somewhere, and Slack does not say where
    return SlackPayload(
        user=str(user.get("id") or ""),
        teams=frozenset({user.get("team_id"), (body.get("team") or {}).get("id")}),
        organisations=frozenset({(body.get("enterprise") or {}).get("id")}),
        channel=channel,
        key=request_key(body, str(user.get("id") or ""), *parts),
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
        view=body.get("view"),
    )


def parse_form(body: Mapping[str, Any]) -> tuple[SlackPayload, dict[str, str | None], dict[str, Any]]:
    """Read a form that was handed in: the request, what was entered by block, and what the form carried along."""
    view = body["view"]
    metadata = json.loads(view.get("private_metadata") or "{}")
    fields = {
        block: entered_value(element)
        for block, elements in ((view.get("state") or {}).get("values") or {}).items()
        for element in elements.values()
    }
    payload = parse_interaction(body)
    # A form that is handed in twice is one request, though each time has a trigger of its own.
    parts = [payload.user, view["id"], view.get("private_metadata") or "", json.dumps(fields, sort_keys=True)]
    # It answers where it was opened, so it is asked again whether that place is still ours alone.
    payload = replace(payload, key=request_key({}, *parts), answer_to=metadata.get("to"), channel=metadata.get("in"))
    return payload, fields, metadata


def clicked_message(body: Mapping[str, Any]) -> str | None:
    """Give the time stamp of the message that was clicked, which is its name."""
    container = body.get("container") or {}
    return str(container["message_ts"]) if container.get("message_ts") else None


def request_key(body: Mapping[str, Any], *parts: str) -> str:
    """Give the same short key for the same request sent again, and another for every other."""
    identifiers = [body.get("trigger_id") or "", body.get("response_url") or ""]
    return hashlib.sha256("\0".join([*identifiers, *parts]).encode(errors="surrogatepass")).hexdigest()[:32]


def entered_value(element: Mapping[str, Any]) -> str | None:
    """Give what was entered in an element, whatever kind it is."""
    option = element.get("selected_option") or next(iter(element.get("selected_options") or ()), None)
    if option:
        return str(option["value"])
    return element.get("selected_conversation") or element.get("selected_user") or element.get("value")


class Taken:
    """Remember for a while which requests were taken, by what they say."""

    def __init__(self) -> None:
        self._taken_at: dict[bytes, int] = {}

    def put(self, body: bytes, *, now: int) -> None:
        """Remember one."""
        if len(self._taken_at) >= MOST:
            self._taken_at = {key: at for key, at in self._taken_at.items() if now - at < REPEATED}
        if len(self._taken_at) < MOST:
            self._taken_at[hashlib.sha256(body).digest()] = now

    def drop(self, body: bytes) -> None:
        """Forget one that could not be taken after all."""
        self._taken_at.pop(hashlib.sha256(body).digest(), None)

    def has(self, body: bytes, *, now: int) -> bool:
        """Tell whether it was taken lately."""
        at = self._taken_at.get(hashlib.sha256(body).digest())
        return at is not None and now - at < REPEATED
