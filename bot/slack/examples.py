"""Fill the examples of help with the score types, contacts, segments and rules that exist, so that each works.

An example is a template, such as `set {contact} {value}`. It is left out if the workspace has nothing for a word of it.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from string import Formatter

from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.handling import Reply, Request
from bot.slack.text import escape_code
from storage.alerts.rules import alert_rules
from storage.domain.contacts import Contact
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.portfolio import list_highest
from storage.reading.search import find_by_key
from storage.reading.segments import segments

#: the contact of the README and the demo; in a workspace without contacts, `add` creates it
ADA = "ada@example.com"
LONGEST = 60  # characters of a word
_WORD = re.compile(r"[\w-]+")
LOOKED_UP = 10  # contacts with the highest scores among which one for the examples is chosen


async def fill_examples(request: Request, templates: Sequence[str]) -> list[str]:
    """Return the templates with their words filled in, without those that this workspace has no words for."""
    words = await load_words(request, templates)
    return [filled for template in templates if (filled := fill(template, words)) is not None]


async def ask_for_contact(request: Request, line: str, *, what: str = "Name the contact", usage: str = "") -> Reply:
    """Return the answer to a line that lacks a contact: *what* to do, with an example.

    *usage* stands for the example if this workspace lacks a word of it.
    """
    examples = await fill_examples(request, [line, usage])
    return plain_reply(f"{what}: `/score {escape_code(examples[0])}`")


async def load_words(request: Request, templates: Sequence[str]) -> Mapping[str, str]:
    """Return the words of templates that this workspace has, and others that are loaded with them."""
    names = {name for template in templates for name in _list_words(template)}
    words = dict(describe_types(request.types))
    for load, loaded in _LOADERS:
        if names & set(loaded):
            words |= await load(request)
    return words


def fill(template: str, words: Mapping[str, str]) -> str | None:
    """Return a template with its words filled in, or None if there is none for a word of it."""
    return template.format_map(words) if _list_words(template) <= words.keys() else None


def _list_words(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def describe_types(types: Sequence[ScoreType]) -> Mapping[str, str]:
    """Return the words about score types: of the default type, and with `other_` of another one.

    *type* is the key, *value*, *change* and *edge* are numbers, *low* and *high* a range; *band* is the top band, and
    *bands* are the top two.
    """
    words: dict[str, str] = {}
    for prefix, score_type in zip(("", "other_"), types, strict=False):
        words |= {
            f"{prefix}type": score_type.key,
            f"{prefix}value": show(score_type.example),
            f"{prefix}change": show(score_type.example_change),
            f"{prefix}edge": show(score_type.example_edge),
            f"{prefix}low": show(score_type.example - 2 * score_type.example_change),
            f"{prefix}high": show(score_type.maximum),
        }
        if score_type.bands:
            words[f"{prefix}band"] = score_type.bands[-1].name
            words[f"{prefix}bands"] = ",".join(band.name for band in score_type.bands[-2:])
    return words


async def _load_contacts(request: Request) -> dict[str, str]:
    """Return the words for contacts: *contact* is an address, *duplicate* another one, the rest describe *contact*."""
    known = await find_by_key(request.workspace, key=ADA)
    highest = await list_highest(request.workspace, score_type=request.types[0], count=LOOKED_UP)
    contacts = [*([known] if known else []), *highest]
    addresses = list(dict.fromkeys(contact.email for contact in contacts if contact.email))
    words = {"contact": next(iter(addresses), ADA)}
    if len(addresses) > 1:
        words["duplicate"] = addresses[-1]
    words |= _describe_contact(next((contact for contact in contacts if contact.email == words["contact"]), None))
    return words


def _describe_contact(contact: Contact | None) -> dict[str, str]:
    """Return the words that describe a contact; a text that is long or has quotes is no good example."""
    if contact is None:
        return {}
    id = next((f"{source}:{id}" for source, id in contact.ids.items()), None)
    tag = next(iter(contact.tags), None)
    words = {"id": id, "name": contact.name, "company": contact.company, "tag": tag}
    usable = {name: text for name, text in words.items() if text and len(text) <= LONGEST and '"' not in text}
    if "tag" in usable and not _WORD.fullmatch(usable["tag"]):
        usable["tag"] = f'"{usable["tag"]}"'
    return usable


async def _load_segment(request: Request) -> dict[str, str]:
    """Return the word *segment*: the name of a saved filter."""
    name = next(iter(await segments(request.workspace)), None)
    return {"segment": name} if name is not None else {}


async def _load_rule(request: Request) -> dict[str, str]:
    """Return the word *rule*: the number of an alert rule that the person may change."""
    is_admin = Need.ADMINISTER in request.rights
    rules = [rule for rule in await alert_rules(request.workspace) if is_admin or rule.made_by == request.person.id]
    return {"rule": str(rules[-1].id)} if rules else {}


#: (function that loads words, the words that it loads)
_LOADERS: tuple[tuple[Callable[[Request], Awaitable[dict[str, str]]], Collection[str]], ...] = (
    (_load_contacts, ("contact", "duplicate", "name", "company", "tag", "id")),
    (_load_segment, ("segment",)),
    (_load_rule, ("rule",)),
)
