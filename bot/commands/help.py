"""Say what can be typed after `/score`."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from bot.blocks.elements import context, section, sections, short_name
from bot.blocks.refusals import plain_reply
from bot.commands.contract import Command
from bot.slack.access import Need
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType


def help_reply(asked: Request, commands: Mapping[str, Command]) -> Reply:
    """Answer with every verb, or with one of them and its examples."""
    one = commands.get(asked.text.casefold())
    if one is not None:
        examples = "\n".join(f"`/score {line}`" for line in one.examples)
        return Reply(text=one.what, blocks=[section(f"`/score {one.usage}`: {one.what}\n{examples}")])
    if asked.text:
        near = get_close_matches(asked.text.casefold(), list(commands), n=1)
        meant = f"Did you mean `/score help {near[0]}`? " if near else ""
        return plain_reply(f"There is no `{short_name(asked.text)}` to type. {meant}What there is: `/score help`")
    verbs = [f"`/score {one.usage}`: {one.what}" for one in commands.values()]
    first = "`/score ada@example.com`: see a contact; a name or a company will do"
    return Reply(
        text="What you can type after /score",
        blocks=[
            *sections([first, *verbs]),
            *sections(_types(asked.types)),
            context(f"{_may(asked)} Only you see the answers. More: `/score help set`"),
        ],
    )


def _may(asked: Request) -> str:
    """Say what who asks is allowed."""
    if Need.ADMINISTER in asked.rights:
        return "You are an admin here: you may view and set every score, and change what is for admins."
    if Need.SET not in asked.rights:
        return "You may view every score here; admins set them."
    return "You may view and set every score here."


def _types(types: Sequence[ScoreType]) -> list[str]:
    return [
        f"`{one.key}` {escape(one.label)}: {one.range_shown}, in steps of {show(one.step)}"
        + (" (meant where none is named)" if one.is_default else "")
        for one in types
    ]
