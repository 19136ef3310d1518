"""Parse the filters that people type: `me` and mentions of colleagues stand for their e-mail addresses."""

from dataclasses import replace

from bot.slack.handling import Request
from bot.slack.text import MENTION
from storage.domain.filters import BadFilter, Filter, Sort, parse
from storage.domain.filters.terms import All, Any, InBand, Is, Not, Term
from storage.reading.segments import segments


async def parse_filter(request: Request, text: str) -> Filter:
    """Parse a filter; without a sort term it sorts by its first score, or the default score, highest first."""
    owners = {"me": request.person.email, **await mentioned_addresses(request, text)}
    query = parse(text, request.types, owners=owners, segments=await segments(request.workspace))
    if query.sort:
        return query
    return replace(query, sort=(Sort((query.scores or (request.types[0],))[0], True),))


async def mentioned_addresses(request: Request, text: str) -> dict[str, str | None]:
    """Return the e-mail addresses of the colleagues mentioned in a text by Slack user id; None if unknown."""
    return {mention[1]: await request.address_of(mention[1]) for mention in MENTION.finditer(text)}


async def name_mentions(request: Request, text: str) -> str:
    """Return a text with the names of the mentioned colleagues, because code does not show mentions."""
    names = {mention[1]: await request.name_of(mention[1]) for mention in MENTION.finditer(text)}
    return MENTION.sub(lambda mention: f"@{names[mention[1]] or mention[1]}", text)


def is_word_filter(request: Request, text: str) -> bool:
    """Return whether all words of a text stand for contacts: a band, a colleague, `me`, `mine`, an owner."""
    owners = {"me": request.person.email or "me"} | {mention[1]: mention[1] for mention in MENTION.finditer(text)}
    try:
        query = parse(text, request.types, owners=owners)
    except BadFilter:
        return False
    return bool(query.texts) and _has_no_words(query.where)


def _has_no_words(term: Term) -> bool:
    match term:
        case All(parts=parts) | Any(parts=parts):
            return all(_has_no_words(part) for part in parts)
        case Not(part=part):
            return _has_no_words(part)
        case _:
            return isinstance(term, (Is, InBand))
