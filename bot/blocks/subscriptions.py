"""Render subscriptions to events: the list, the forms, a new secret, and the message that one was turned off."""

from collections.abc import Sequence

from bot.blocks.elements import actions, button, confirm, context, moment, section, truncate
from bot.blocks.fields import form, text_field, tick_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code, escape_entities, escape_sentence
from storage.domain.events import SEGMENT_EVENTS, EventType
from storage.sources.subscriptions import LONGEST_URL, Subscription

SUBSCRIPTION_FORM, EDIT_FORM = "subscription", "subscription_edit"
PER_PAGE = 7
LONGEST_SHOWN, LONGEST_PROBLEM = 120, 300  # characters of a URL, and of a problem or a list
IMPORTS = "imports"  #: the value of the ticked box
_EVERY_EVENT = tuple(type.value for type in EventType if type not in SEGMENT_EVENTS)


def subscriptions_reply(subscriptions: Sequence[Subscription], *, first: int = 0, note: str = "") -> Reply:
    """Return a page of the subscriptions, oldest first, starting at index *first*. *note* stands above them."""
    title = "*Subscriptions:* the programs that get events"
    if not subscriptions:
        title = "*No program gets events yet.* Add a subscription: the address that is called when a score changes."
    blocks = [*([section(note)] if note else []), section(title)]
    for subscription in subscriptions[first : first + PER_PAGE]:
        blocks += [section(_describe(subscription)), actions(_render_buttons(subscription, first))]
    buttons = [button("Add a subscription", action="subscription_form", value="-", primary=not subscriptions)]
    if first + PER_PAGE < len(subscriptions):
        buttons.append(button("More subscriptions", action="subscriptions", value=str(first + PER_PAGE)))
    count = "1 subscription" if len(subscriptions) == 1 else f"{len(subscriptions):,} subscriptions"
    return Reply(text=note or count, blocks=[*blocks, actions(buttons)])


def _render_buttons(subscription: Subscription, first: int) -> list[Block]:
    place = f"{subscription.id} {first}"
    rotate = button("New secret", action="subscription_rotate", value=str(subscription.id))
    rotate |= confirm("New secret?", "For a day each request has a signature of both secrets.", "Make it")
    remove = button("Remove", action="subscription_remove", value=place)
    remove |= confirm("Remove it?", "Events that wait are not sent any more. This cannot be undone.", "Remove")
    is_well = subscription.disabled_at is None and subscription.failing_since is None
    return [
        *([] if is_well else [_redeliver_button(subscription, place)]),
        button("Edit", action="subscription_edit", value=str(subscription.id)),
        rotate,
        remove,
    ]


def _redeliver_button(subscription: Subscription, place: str) -> Block:
    label = "Send again" if subscription.disabled_at is None else "Turn on and send again"
    return button(label, action="subscription_redeliver", value=place, primary=True)


def subscription_form(subscription: Subscription | None = None) -> Block:
    """Return the form for a new subscription, or the one that changes a subscription."""
    url, events, segments, imports = "", "", "", False
    if subscription is not None:
        # The events of segments follow from the segments, unless the subscription has only one of the two.
        is_implied = {*SEGMENT_EVENTS} <= {*subscription.events}
        shown = [type for type in subscription.events if not is_implied or type not in SEGMENT_EVENTS]
        url, imports = subscription.url, subscription.imports
        events, segments = "\n".join(shown), "\n".join(subscription.segments)
    blocks = [
        text_field(
            "url", "Address that gets the events", initial=url, most=LONGEST_URL,
            hint="Such as https://n8n.example.com/webhook/scores",
        ),
        text_field(
            "events", "Events", initial=events, optional=True, multiline=True,
            hint=f"One per line. Without events and segments all are sent: {', '.join(_EVERY_EVENT)}",
        ),
        text_field(
            "segments", "Segments", initial=segments, optional=True, multiline=True,
            hint="Names, one per line. An event is sent when a contact enters or leaves the segment.",
        ),
        tick_field(
            "imports", "Imports", "Also send what the import of a file changes", value=IMPORTS, is_ticked=imports,
            optional=True,
        ),
    ]  # fmt: skip  # one field per line
    if subscription is None:
        return form(SUBSCRIPTION_FORM, "Subscription", blocks, submit="Add")
    title = truncate(f"Subscription {subscription.id}", 24)
    return form(EDIT_FORM, title, blocks, submit="Save", metadata={"id": subscription.id})


def secret_reply(subscription: Subscription, note: str, problem: str | None = None) -> Reply:
    """Return the only message that shows a new secret. *problem*: why no event would be sent to the address now."""
    lines = [f"{note} Events are sent to `{escape_code(truncate(subscription.url, LONGEST_SHOWN))}`"]
    lines.append(f"They are signed as Standard Webhooks, with the secret `{escape_entities(subscription.secrets[0])}`")
    hint = context("Copy the secret now: it is not shown again.")
    return Reply(text=note, blocks=[section("\n".join(lines)), *_warn(problem), hint])


def changed_reply(before: Subscription, after: Subscription, problem: str | None) -> Reply:
    """Return what a form changed. *problem*: why no event would be sent to the address now."""
    lines = [
        f"{label}: {escape(truncate(old, 500)) or 'none'} → {escape(truncate(new, 500)) or 'none'}"
        for label, old, new in zip(
            ("Address", "Events", "Segments", "Imports"), _list_settings(before), _list_settings(after), strict=True
        )
        if old != new
    ]
    note = f"Changed subscription {after.id}." if lines else f"Nothing changed in subscription {after.id}."
    return Reply(text=note, blocks=[section("\n".join([f"*{note}*", *lines])), *_warn(problem)])


def _list_settings(subscription: Subscription) -> tuple[str, ...]:
    return (
        subscription.url,
        ", ".join(subscription.events),
        ", ".join(subscription.segments),
        "also sent" if subscription.imports else "not sent",
    )


def _warn(problem: str | None) -> list[Block]:
    if problem is None:
        return []
    return [section(f":warning: No event will be sent to this address: {escape_sentence(problem)}")]


def subscription_disabled_reply(subscription: Subscription) -> Reply:
    """Return the message that tells an admin that a subscription was turned off."""
    text = (
        f"{_name(subscription)} was turned off: {escape(subscription.problem or 'it failed')}. Its events of the last"
        f" seven days are kept. When it works again, press the button, or type"
        f" `contact-score subscription redeliver {subscription.id}` in a terminal."
    )
    return Reply(text=text, blocks=[section(text), actions([_redeliver_button(subscription, f"{subscription.id} 0")])])


def _describe(subscription: Subscription) -> str:
    events = ["every event"] if subscription.events == _EVERY_EVENT else subscription.events
    wanted = ", ".join([*events, *(f"segment {name}" for name in subscription.segments)])
    wanted += " · also what imports change" if subscription.imports else ""
    problem = escape(truncate(subscription.problem or "", LONGEST_PROBLEM))
    if subscription.disabled_at is not None:
        state = f"*off* since {moment(subscription.disabled_at)}: {problem}"
    elif subscription.failing_since is not None:
        state = f"*failing* since {moment(subscription.failing_since)}: {problem}"
    else:
        state = "works"
    return f"{_name(subscription)} · {state}\n{escape(truncate(wanted, LONGEST_PROBLEM))}"


def _name(subscription: Subscription) -> str:
    return f"Subscription {subscription.id}, `{escape_code(truncate(subscription.url, LONGEST_SHOWN))}`"
