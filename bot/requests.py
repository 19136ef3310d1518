"""Read what Slack sends: who asks, where, with what in which fields, and what makes a request the same as another."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is the same in every kind of request."""

    user: str
    teams: frozenset[str | None]  #: the ones that the request says it is from
    channel: str | None
    key: str
    trigger: str | None
    answer_to: str | None  #: Slack's response_url
    view: Mapping[str, Any] | None = None  #: the form that was clicked in


def of_command(body: Mapping[str, Any]) -> Request:
    """Read a slash command."""
    return Request(
        user=body["user_id"],
        teams=frozenset({body.get("team_id")}),
        channel=body["channel_id"],
        key=key_of(body, body["user_id"], body.get("text") or ""),
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
    )


def of_interaction(body: Mapping[str, Any], *, key: str) -> Request:
    """Read what clicks, forms and menus have in common."""
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id")
    return Request(
        user=body["user"]["id"],
        teams=frozenset({body["user"].get("team_id"), (body.get("team") or {}).get("id")}),
        channel=channel,
        key=key,
        trigger=body.get("trigger_id"),
        answer_to=body.get("response_url"),
        view=body.get("view"),
    )


def of_form(body: Mapping[str, Any]) -> tuple[Request, dict[str, str | None], dict[str, Any]]:
    """Read a form that was handed in: the request, what was entered by block, and what the form carried along."""
    view = body["view"]
    carried = json.loads(view.get("private_metadata") or "{}")
    fields = {
        block: entered(element) for block, elements in view["state"]["values"].items() for element in elements.values()
    }
    key = key_of(body, view["id"], body["user"]["id"], json.dumps(fields, sort_keys=True))
    # The form answers where it was opened, so it is asked again whether that place is still ours alone.
    request = replace(of_interaction(body, key=key), answer_to=carried.get("to"), channel=carried.get("in"))
    return request, fields, carried


def message_of(body: Mapping[str, Any]) -> str | None:
    """Give the time stamp of the message that was clicked, which is its name."""
    container = body.get("container") or {}
    return str(container["message_ts"]) if container.get("message_ts") else None


def key_of(body: Mapping[str, Any], *parts: str) -> str:
    """Give the same short key for the same request sent again, and another for every other."""
    own = [body.get("trigger_id") or "", body.get("response_url") or ""]
    return hashlib.sha256("\0".join([*own, *parts]).encode()).hexdigest()[:32]


def entered(element: Mapping[str, Any]) -> str | None:
    """Give what was entered in an element, whatever kind it is."""
    chosen = element.get("selected_option") or next(iter(element.get("selected_options") or ()), None)
    if chosen:
        return str(chosen["value"])
    return element.get("selected_conversation") or element.get("selected_user") or element.get("value")
