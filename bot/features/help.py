"""`/score help`: list the verbs and score types, explain a verb, or explain filters."""

from collections.abc import Mapping
from difflib import get_close_matches

from bot.blocks.elements import short_name
from bot.blocks.help import FILTER_TERMS, command_reply, overview_reply
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.examples import fill, fill_examples, load_words
from bot.slack.feature import Verb
from bot.slack.handling import Reply, Request

FILTER = "filter"  #: the verb that is explained with the language of filters


async def help_reply(request: Request, commands: Mapping[str, Verb]) -> Reply:
    """Return the help for all verbs that the person may use, or for the verb in the request. Raises NotAllowed."""
    topic = request.text.casefold()
    allowed = {verb: command for verb, command in commands.items() if may_use(request, command)}
    if topic in commands:
        request.needs(commands[topic].need)
        return await _explain_command(request, commands[topic], is_filter=topic == FILTER)
    if topic:
        near = get_close_matches(topic, list(allowed), n=1)
        suggestion = f"Did you mean `/score help {near[0]}`? " if near else ""
        return plain_reply(f"There is no command `{short_name(request.text)}`. {suggestion}All commands: `/score help`")
    (contact,) = await fill_examples(request, ["{contact}"])
    lines = {verb: f"`/score {command.usage}`: {command.summary}" for verb, command in allowed.items()}
    return overview_reply(lines, request.types, contact=contact, rights=request.rights)


def may_use(request: Request, command: Verb) -> bool:
    """Return whether the person may use a command."""
    return command.need in request.rights


async def _explain_command(request: Request, command: Verb, *, is_filter: bool) -> Reply:
    """Return the help for a verb with examples that the person may use, and for filters their whole language."""
    templates = [*(command.examples_of_setters if Need.SET in request.rights else ()), *command.examples]
    terms = FILTER_TERMS if is_filter else {}
    entries = [entry for lines in terms.values() for entry in lines]
    words = await load_words(request, [*templates, *(text for entry in entries for text in entry)])
    filled = {entry: (fill(entry[0], words), fill(entry[1], words)) for entry in entries}
    return command_reply(
        command.usage,
        command.summary,
        [example for template in templates if (example := fill(template, words)) is not None],
        terms={
            title: [(term, meaning) for entry in lines for term, meaning in [filled[entry]] if term and meaning]
            for title, lines in terms.items()
        },
    )
