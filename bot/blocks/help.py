"""Render help: the commands in groups, one command with its examples, and the language of filters."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import context, section
from bot.slack.access import Need
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

MOST_LINES = 8  # in a group
#: title → verbs; a verb that is in no group is listed under MORE
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Contacts and scores": ("view", "set", "clear", "add", "undo"),
    "Lists": ("filter", "top", "segment", "tag", "untag", "assign"),
    "History": ("history", "why"),
    "Follow-ups": ("alerts", "followups"),
    "People": ("admins",),
    "For admins: contacts": ("merge", "split", "delete"),
    "For admins: settings": ("settings", "rules", "sources", "subscriptions", "setup", "roles", "audit"),
}
MORE = "More"

#: the language of filters: title → (examples as templates, what they find); see `bot.slack.examples`
FILTER_TERMS: Mapping[str, Sequence[tuple[str, str]]] = {
    "Scores": (
        ("{type}>={edge}", "compares the score; also with >, <, <=, = and !="),
        ("{type}:{low}..{high}", "from one number to another, both included"),
        ("{type}:{low}..*", "from a number up"),
        ("{type}:{band}", "in a band"),
        ("{type}:({bands})", "in one of several bands"),
        ("has:{other_type}", "has that score; with -has: does not have it"),
    ),
    "Fields": (
        ("owner:me", "you own it; also owner:@jane for a colleague, or an address"),
        ("tag:{tag}", "has the tag; several in parentheses, with commas"),
        ('company:"{company}"', "the whole company; also with name or email"),
        ('company~"{company}"', "a part of it; also with name or email"),
        ('"{name}"', "words of a name, an address or a company"),
        ("attributes.plan:pro", "an attribute"),
        ("attributes.employees>=50", "an attribute that is a number; has: checks that there is one"),
        ("attributes.last_seen<7d", "an attribute that is a time: how long ago it was"),
    ),
    "Changes": (
        ("{type} rising {change} in 7d", "rose by that much or more; also falling, or moved for either"),
        ("{type} falling 20% in 30d", "the same in percent"),
        ("{type} crossed above {edge} in 7d", "went over a number; also below"),
        ("{type} stale 30d", "did not change for that long"),
        ("updated<7d", "something was recorded in that time"),
    ),
    "Follow-ups and segments": (
        ("followup:open", "also claimed, snoozed, escalated, or none (no open follow-up)"),
        ("segment:{segment}", "the contacts of a saved filter"),
    ),
    "Together": (
        ("{type}>={low} owner:me", "both"),
        ("{type}:{band} OR tag:{tag}", "one of the two; put it in parentheses beside other terms"),
        ("-tag:churned", "not"),
        ("owner:me sort:-{type} limit:20", "the highest first, and how many; sort:name is by name"),
    ),
}


def overview_reply(
    lines: Mapping[str, str], types: Sequence[ScoreType], *, contact: str, rights: frozenset[Need]
) -> Reply:
    """Return the help for all verbs: *lines* maps those that the reader may use to a line each."""
    grouped = {verb for verbs in GROUPS.values() for verb in verbs}
    groups = {**GROUPS, MORE: tuple(verb for verb in lines if verb not in grouped)}
    blocks: list[Block] = []
    for title, verbs in groups.items():
        shown = [lines[verb] for verb in verbs if verb in lines]
        if not blocks:
            shown.insert(0, f"`/score {escape_code(contact)}`: see a contact; a name or a company works too")
        if shown:
            blocks.append(section(f"*{title}*\n" + "\n".join(shown)))
    blocks.append(section("*Score types*\n" + "\n".join(_describe_types(types))))
    blocks.append(context(f"{_describe_rights(rights)} Only you see the answers."))
    blocks.append(
        context(f"With examples: `/score help {'set' if 'set' in lines else 'top'}` · Filters: `/score help filter`")
    )
    return Reply(text="What you can type after /score", blocks=blocks)


def command_reply(
    usage: str, summary: str, examples: Sequence[str], terms: Mapping[str, Sequence[tuple[str, str]]]
) -> Reply:
    """Return the help for one verb, with examples.

    *terms* is the language of filters: title → (term, what it finds).
    """
    lines = [f"`/score {escape_code(usage)}`: {summary}", *(f"`/score {escape_code(line)}`" for line in examples)]
    blocks = [section("\n".join(lines))]
    for title, entries in terms.items():
        shown = [f"`{escape_code(term)}` {escape(meaning)}" for term, meaning in entries]
        blocks += [section("\n".join([f"*{title}*", *shown]))] if shown else []
    if terms:
        blocks.append(context("To save a filter under a name: `/score help segment`"))
    return Reply(text=summary, blocks=blocks)


def _describe_types(types: Sequence[ScoreType]) -> list[str]:
    lines = [
        f"`{score_type.key}` {escape(score_type.label)}: {score_type.range_shown}, in steps of {show(score_type.step)}"
        f"{' (default)' if score_type.is_default else ''}{_describe_bands(score_type)}"
        for score_type in types
    ]
    shown = lines if len(lines) <= MOST_LINES else lines[: MOST_LINES - 1]
    hidden = len(lines) - len(shown)
    return [*shown, *([f"… and {hidden} more"] if hidden else [])]


def _describe_bands(score_type: ScoreType) -> str:
    bands = ", ".join(f"{band.name} {show(band.start)}" for band in score_type.bands)
    return f" · {bands}" if bands else ""


def _describe_rights(rights: frozenset[Need]) -> str:
    """Return a sentence about the permissions of the reader."""
    if Need.ADMINISTER in rights:
        return "You are an admin here: you may view and set every score, and use the commands for admins."
    if Need.SET not in rights:
        return "You may view every score here; admins set them."
    return "You may view and set every score here."
