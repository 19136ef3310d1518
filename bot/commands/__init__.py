"""The verbs of `/score`, and the dispatch of a line to its verb."""

from contextlib import suppress
from dataclasses import replace

from bot.blocks.contact_list import choose_contact_reply
from bot.commands.add_contact import add_contact
from bot.commands.alerts import manage_alerts
from bot.commands.clear_score import clear_score
from bot.commands.contract import Command
from bot.commands.delete_contact import delete_contact
from bot.commands.filter_contacts import filter_contacts
from bot.commands.followups import list_follow_ups
from bot.commands.help import help_reply
from bot.commands.history import show_history
from bot.commands.merge_contacts import merge_contacts
from bot.commands.rules import show_rules
from bot.commands.segments import manage_segments
from bot.commands.set_score import set_score
from bot.commands.settings import show_settings
from bot.commands.setup import show_setup
from bot.commands.sources import show_sources
from bot.commands.top_contacts import top_contacts
from bot.commands.undo import undo
from bot.commands.view_score import view_score
from bot.commands.why import explain_score
from bot.slack.access import Need
from bot.slack.handling import Reply, Request
from bot.slack.line import Unclear, is_filter, near_filter, near_verb, read_contact, read_set, verb_of
from bot.slack.lookup import find_all, is_name
from bot.slack.text import MENTION, escape_code
from storage.sources.config import sources

COMMANDS = {
    "view": Command(
        view_score, "view CONTACT", "see all scores of a contact", ("ada@example.com", "view ada", 'view "Top Gun"')
    ),
    "set": Command(
        set_score,
        "set CONTACT VALUES [because …]",
        "set scores, or add to them; `set` alone opens a form",
        ("set ada@example.com 85", "set ada fit=8 renewal=60 because great demo", "set ada +5"),
        Need.SET,
    ),
    "clear": Command(
        clear_score,
        "clear CONTACT [TYPE…]",
        "clear a score; a cleared score is missing, not zero",
        ("clear ada@example.com fit",),
        Need.SET,
    ),
    "add": Command(
        add_contact,
        "add EMAIL [name:… company:… owner:…]",
        "add a contact, or change its name, company or owner",
        ("add ada@example.com", 'add ada@example.com name:"Ada Lovelace" company:Acme owner:me'),
        Need.SET,
    ),
    "filter": Command(
        filter_contacts,
        "filter TERMS",
        "list the contacts that match; the word filter may be left out",
        (
            "filter score>=80 owner:me -tag:churned sort:-score limit:20",
            "fit:hot OR (fit:7..10 has:renewal)",
            "filter attributes.plan:pro attributes.employees>=50 attributes.last_seen<7d",
        ),
    ),
    "segment": Command(
        manage_segments,
        "segment save NAME TERMS | list | show NAME | delete NAME",
        "save a filter under a name",
        ("segment save hot score>=80", "segment show hot", "filter segment:hot owner:me"),
    ),
    "top": Command(top_contacts, "top [N] [TYPE]", "the highest scores", ("top", "top 5 fit")),
    "history": Command(
        show_history,
        "history CONTACT [TYPE] [90d]",
        "every change of a score; with a number of days also a chart",
        ("history ada fit", "history ada fit 90d"),
    ),
    "why": Command(
        explain_score, "why CONTACT [TYPE]", "what a score is made of, in lines that add up to it", ("why ada fit",)
    ),
    "undo": Command(undo, "undo", "undo your last change", ("undo",), Need.SET),
    "alerts": Command(
        manage_alerts,
        "alerts [add | try | pause | resume | remove | digest]",
        "when the team is alerted to follow up",
        (
            *(
                "alerts",
                "alerts add when score crosses 80 if owner:me in #sales",
                "alerts try when score rises 15 in 7d",
            ),
            *("alerts pause 3", "alerts digest 9:00"),
        ),
    ),
    "followups": Command(
        list_follow_ups, "followups [mine | open | overdue]", "the open follow-ups", ("followups", "followups mine")
    ),
    "settings": Command(
        show_settings,
        "settings",
        "for admins: see, change and add score types",
        ("settings",),
        Need.ADMINISTER,
    ),
    "rules": Command(
        show_rules, "rules", "for admins: the points for activities and attributes", ("rules",), Need.ADMINISTER
    ),
    "sources": Command(
        show_sources,
        "sources",
        "for admins: the systems that send scores, and what they sent",
        ("sources",),
        Need.ADMINISTER,
    ),
    "merge": Command(
        merge_contacts,
        "merge CONTACT into CONTACT",
        "for admins: merge two contacts; Undo splits them again",
        ("merge ada.l@example.com into ada@example.com",),
        Need.ADMINISTER,
    ),
    "delete": Command(
        delete_contact,
        "delete CONTACT",
        "for admins: delete a contact for good",
        ("delete ada@example.com",),
        Need.ADMINISTER,
    ),
    "setup": Command(
        show_setup, "setup", "for admins: where follow-ups go, who sets scores", ("setup",), Need.ADMINISTER
    ),
}
LONGEST_LINE = 10_000  # characters; a line that sets ninety score types is half as long
VERBS = ("help", *COMMANDS)


async def carry_out(request: Request) -> Reply:
    """Run the line after `/score` and return the reply.

    Raises Unclear if the line is too long. A line without a verb is a contact or a filter; a likely typo is suggested.
    """
    line = request.text
    if len(line) > LONGEST_LINE:
        raise Unclear(f"A line has at most {LONGEST_LINE:,} characters; this one has {len(line):,}.")
    asking = verb_of(line, VERBS)
    if not line or asking.verb == "help":
        return help_reply(replace(request, text=asking.rest), COMMANDS)
    if asking.verb is not None:
        command = COMMANDS[asking.verb]
        request.needs(command.need)
        return await command.handler(replace(request, text=asking.rest))
    if MENTION.fullmatch(line) or await find_all(request, read_contact(line)):
        return await view_score(request)
    suggestion = await _suggest_line(request, line)
    if suggestion:
        shown = f"/score {suggestion}"
        return choose_contact_reply(f"Did you mean `{escape_code(shown)}`?", [(shown, suggestion)])
    if is_filter(line) and not await _is_source_id(request, line):
        return await filter_contacts(request)
    return await view_score(request)


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


async def _is_source_id(request: Request, line: str) -> bool:
    """Return whether a line is `source:id` with the name of a known source; such a line is not a filter."""
    slug, _, id = line.partition(":")
    return (
        bool(id) and " " not in line and slug.casefold() in {source.slug for source in await sources(request.workspace)}
    )
