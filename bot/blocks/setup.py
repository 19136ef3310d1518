"""Render the setup questions: where follow-ups go, who sets scores, how contacts come in."""

from collections.abc import Sequence

from bot.blocks.elements import actions, button, context, section
from bot.blocks.fields import channel_menu
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.domain.numbers import show
from storage.domain.people import Choices, Setters
from storage.domain.score_types import ScoreType

_WHO = {
    Setters.MEMBERS: "Every member",
    Setters.ADMINS: "Admins only",
    Setters.NAMED: "Only people with a role; others see nothing",
}


def setup_reply(choices: Choices, types: Sequence[ScoreType], *, note: str = "") -> Reply:
    """Return the setup questions as a message, with the current choices selected. *note* stands above them."""
    blocks = [*([section(note)] if note else []), *setup_blocks(choices, types)]
    return Reply(text=note or _head(choices), blocks=blocks)


def _head(choices: Choices) -> str:
    if choices.set_up_at is None:
        return "Three questions, and Contact Score is ready."
    return "Contact Score is set up. You can change the answers at any time."


def setup_blocks(choices: Choices, types: Sequence[ScoreType]) -> list[Block]:
    """Return the blocks of the setup questions, with the current choices selected."""
    channels = channel_menu("setup_channel") | {"placeholder": {"type": "plain_text", "text": "Choose a channel"}}
    if choices.alert_channel:
        channels["initial_conversation"] = choices.alert_channel
    options = [{"text": {"type": "plain_text", "text": text}, "value": setters.value} for setters, text in _WHO.items()]
    setters_menu: Block = {
        "type": "static_select",
        "action_id": "setup_setters",
        "options": options,
        "initial_option": options[list(_WHO).index(choices.setters)],
    }
    return [
        section(f"*{_head(choices)}*"),
        section(
            f"*1. Where should follow-ups go?* {_explain_follow_ups(types)}{_describe_answer(choices)}",
            accessory=channels,
        ),
        context("To use a private channel, type `/invite @Contact Score` there first."),
        actions([button("Straight to the contact's owner", action="setup_direct", value="-")]),
        section(
            "*2. Who may set scores?* Guests and other organizations never see them."
            " By person and user group: `/score roles`",
            accessory=setters_menu,
        ),
        section(
            "*3. How do contacts come in?*\n"
            "Connect a CRM: `/score sources`\n"
            "Import a file: `contact-score import contacts.csv`\n"
            "Add one: `/score add ada@example.com`"
        ),
    ]


def _describe_answer(choices: Choices) -> str:
    if choices.set_up_at is None:
        return ""
    return f"\n:white_check_mark: Now: {_describe_place(choices.alert_channel)}"


def describe_earlier_place(choices: Choices, channel: str | None) -> str:
    """Return where follow-ups went before they go to *channel*; blank if nothing changes or nothing was chosen yet."""
    if choices.set_up_at is None or choices.alert_channel == channel:
        return ""
    return f" Before: {_describe_place(choices.alert_channel)}."


def _describe_place(channel: str | None) -> str:
    return f"<#{channel}>" if channel else "the contact's owner, else an admin"


def _explain_follow_ups(types: Sequence[ScoreType]) -> str:
    default = types[0]
    if len(default.bands) < 2:
        return ""
    top = default.bands[-1]
    return f"I alert when a contact's {escape(default.label)} reaches {show(top.start)} ({top.name})."


def invited_reply(channel: str) -> Reply:
    """Return the question to the person who invited the app to a channel: send follow-ups there?"""
    text = "Thank you for the invitation. Should follow-ups come to this channel?"
    buttons = [
        button("Send follow-ups here", action="setup_here", value=channel, primary=True),
        button("No, thanks", action="setup_no", value=channel),
    ]
    return Reply(text=text, blocks=[section(text), actions(buttons)])
