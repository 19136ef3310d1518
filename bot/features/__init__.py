"""The features of the bot, and their tables: verbs, buttons, forms, options, shortcuts and jobs."""

from contextlib import suppress
from dataclasses import replace

from bot.blocks.refusals import choose_contact_reply
from bot.features import (
    alerts,
    audit,
    bulk,
    contacts,
    delete,
    failures,
    followups,
    history,
    imports,
    lists,
    merge,
    roles,
    scores,
    scoring,
    setup,
    sources,
    split,
    subscriptions,
    undo,
    write_backs,
)
from bot.features.help import help_reply
from bot.features.home import home_reply, list_contacts, list_health, show_settings
from bot.slack.feature import join
from bot.slack.filters import is_word_filter
from bot.slack.handling import Reply, Request
from bot.slack.line import Unclear, is_filter, near_filter, near_verb, read_contact, read_set, verb_of
from bot.slack.lookup import find_all, is_name, is_source_id
from bot.slack.text import escape_code

#: the order of the verbs in `/score help`
_FEATURES = (
    scores.FEATURE,
    contacts.FEATURE,
    lists.FEATURE,
    bulk.FEATURE,
    history.FEATURE,
    alerts.FEATURE,
    followups.FEATURE,
    scoring.FEATURE,
    sources.FEATURE,
    subscriptions.FEATURE,
    write_backs.FEATURE,
    merge.FEATURE,
    split.FEATURE,
    delete.FEATURE,
    setup.FEATURE,
    roles.FEATURE,
    audit.FEATURE,
    imports.FEATURE,
    failures.FEATURE,
)
FEATURES = (*_FEATURES[:5], undo.make_feature(join(_FEATURES).inverses), *_FEATURES[5:])
TABLES = join(FEATURES)
#: what the Home tab shows, from the top
HOME_SECTIONS = (
    *(failures.list_problems, alerts.list_broken_at_home, setup.ask_at_home, followups.list_at_home),
    *(list_contacts, list_health, show_settings),
)
VERBS = ("help", *TABLES.verbs)
ASKING_HELP = ("?", "-h", "--help")  #: lines that mean `help`
LONGEST_LINE = 10_000  # characters; a line that sets ninety score types is half as long


async def run_line(request: Request) -> Reply:
    """Run the line after `/score` and return the reply.

    Raises Unclear if the line is too long. A line without a verb is a contact or a filter; a likely typo is suggested.
    """
    line = request.text
    if len(line) > LONGEST_LINE:
        raise Unclear(f"A line has at most {LONGEST_LINE:,} characters; this one has {len(line):,}.")
    asking = verb_of(line, VERBS)
    if not line or asking.verb == "help" or line in ASKING_HELP:
        return await help_reply(replace(request, text=asking.rest if asking.verb else ""), TABLES.verbs)
    if asking.verb is not None:
        command = TABLES.verbs[asking.verb]
        request.needs(command.need)
        if asking.rest and not command.takes_words:
            question = f"`/score {asking.verb}` takes no words, and nothing was done. Did you mean it alone?"
            return choose_contact_reply(question, [(f"/score {asking.verb}", asking.verb)])
        request = replace(request, text=asking.rest)
        return await bulk.change_several(request, asking.verb) or await command.handler(request)
    matches = await find_all(request, read_contact(line))
    if is_word_filter(request, line) and not is_name(line, matches):
        return await lists.filter_contacts(request)
    if matches:
        return await scores.view_score(request)
    suggestion = await _suggest_line(request, line)
    if suggestion:
        shown = f"/score {suggestion}"
        return choose_contact_reply(f"Did you mean `{escape_code(shown)}`?", [(shown, suggestion)])
    if is_filter(line) and not await is_source_id(request, line):
        return await lists.filter_contacts(request)
    if await lists.has_matches(request):
        return await lists.filter_contacts(request)
    return await scores.view_score(request)


async def _suggest_line(request: Request, line: str) -> str | None:
    """Return the probable command for a line that matches no contact: a corrected verb or a missing verb, or None."""
    word = line.partition(" ")[0]
    suggestion = near_verb(line, VERBS)
    if suggestion and not is_name(word, await find_all(request, word)):
        return suggestion
    if is_filter(line):
        return None
    if suggestion := near_filter(line, request.types):
        return suggestion
    with suppress(Unclear):
        return f"set {line}" if await find_all(request, read_set(line, request.types).contact) else None
    return None


async def draw_home(request: Request) -> Reply:
    """Return the Home tab."""
    return await home_reply(request, HOME_SECTIONS)
