"""`/score help`: list the verbs and score types, or explain a verb."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from bot.blocks.elements import context, section, sections, short_name
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.feature import Command
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType


def help_reply(request: Request, commands: Mapping[str, Command]) -> Reply:
    """Return the help for all verbs, or for the verb in the request."""
    command = commands.get(request.text.casefold())
    if command is not None:
        examples = "\n".join(f"`/score {line}`" for line in command.examples)
        return Reply(text=command.summary, blocks=[section(f"`/score {command.usage}`: {command.summary}\n{examples}")])
    if request.text:
        near = get_close_matches(request.text.casefold(), list(commands), n=1)
        suggestion = f"Did you mean `/score help {near[0]}`? " if near else ""
        return plain_reply(f"There is no command `{short_name(request.text)}`. {suggestion}All commands: `/score help`")
    verbs = [
        f"`/score {command.usage}`: {command.summary}"
        for command in commands.values()
        if command.is_for(request.rights)
    ]
    first = "`/score ada@example.com`: see a contact; a name or a company works too"
    return Reply(
        text="What you can type after /score",
        blocks=[
            *sections([first, *verbs]),
            *sections(_describe_types(request.types)),
            context(f"{_describe_rights(request)} Only you see the answers. More: `/score help set`"),
        ],
    )


def _describe_rights(request: Request) -> str:
    """Return a sentence about the permissions of the person who asks."""
    if Need.ADMINISTER in request.rights:
        return "You are an admin here: you may view and set every score, and use the commands for admins."
    if Need.SET not in request.rights:
        return "You may view every score here; admins set them."
    return "You may view and set every score here."


def _describe_types(types: Sequence[ScoreType]) -> list[str]:
    return [
        f"`{score_type.key}` {escape(score_type.label)}: {score_type.range_shown}, in steps of {show(score_type.step)}"
        + (" (default)" if score_type.is_default else "")
        for score_type in types
    ]
