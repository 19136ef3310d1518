"""Answer a filter, page by page."""

import json
from dataclasses import dataclass, replace

from bot.asking import Asked, Reply
from bot.blocks.contact_list import filter_reply
from bot.replies import plain_reply
from bot.text import MENTION, escape
from storage.domain.filters import Filter, Sort, parse
from storage.queries import count, emptied_by, page
from storage.segments import segments

PER_PAGE, MOST_PER_PAGE = 10, 50
LONGEST = 1400  # a button that turns the page carries the filter, and has room for 2,000 characters
MOST_BACK = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is in the answer of a filter: its text, and the cursors of the pages turned so far."""

    text: str
    cursors: tuple[str, ...] = ()

    def carried(self) -> str:
        """Write it for a button."""
        return json.dumps({"q": self.text, "c": self.cursors}, separators=(",", ":"))

    @staticmethod
    def read(carried: str) -> "Place":
        """Read it from a button."""
        told = json.loads(carried)
        return Place(str(told["q"]), tuple(str(cursor) for cursor in told["c"]))


async def answer_filter(asked: Asked, place: Place) -> Reply:
    """Answer with one page of the contacts that a filter finds; raises BadFilter, BadCursor."""
    if len(place.text) > LONGEST:
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {len(place.text)}.")
    question = await _read(asked, place.text)
    size = min(question.limit or PER_PAGE, MOST_PER_PAGE)
    total = await count(asked.workspace, asked=question, now=asked.now)
    if not total:
        return await _nobody(asked, question, place.text)
    found = await page(
        asked.workspace, asked=question, limit=size, cursor=place.cursors[-1] if place.cursors else None, now=asked.now
    )
    back = replace(place, cursors=place.cursors[:-1]).carried() if place.cursors else None
    onward = None
    if found.next_cursor is not None and question.limit is None and len(place.cursors) < MOST_BACK:
        onward = replace(place, cursors=(*place.cursors, found.next_cursor)).carried()
    return filter_reply(
        found.cards,
        question.scores or (asked.types[0],),
        text=place.text,
        first=len(place.cursors) * size + 1,
        total=total,
        back=back,
        onward=onward,
        here=place.carried(),
    )


async def _read(asked: Asked, text: str) -> Filter:
    """Parse a filter; where it sorts by nothing, the highest of its first score, or of the default one, come first."""
    owners = {"me": asked.person.email, **await addresses(asked, text)}
    question = parse(text, asked.types, owners=owners, segments=await segments(asked.workspace))
    if question.sort:
        return question
    return replace(question, sort=(Sort((question.scores or (asked.types[0],))[0], True),))


async def addresses(asked: Asked, text: str) -> dict[str, str | None]:
    """Give the addresses of the colleagues mentioned in a text, by Slack's id; none where it is not known."""
    return {found[1]: await asked.address_of(found[1]) for found in MENTION.finditer(text)}


async def _nobody(asked: Asked, question: Filter, text: str) -> Reply:
    term = await emptied_by(asked.workspace, asked=question, now=asked.now)
    because = f" Nobody is left after `{escape(term)}`." if term and len(question.texts) > 1 else ""
    return plain_reply(f"No contact fits `{escape(text)}`.{because}")
