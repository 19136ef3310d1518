"""Answer a filter, page by page."""

import json
import re
from dataclasses import dataclass, replace

from bot.blocks.contact_list import filter_reply
from bot.blocks.elements import BUTTON_VALUE
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Outlived, Reply, Request
from bot.slack.text import MENTION, escape_code
from storage.domain.filters import Filter, Sort, parse
from storage.reading.pages import count, find_emptying_term, page
from storage.reading.segments import segments

PER_PAGE, MOST_PER_PAGE = 10, 50
_SEVERAL = re.compile(
    r'(?P<field>company|name|tag):(?P<words>[^\s"():<>=~]+(?:\s+(?!OR\b|AND\b|NOT\b)[^\s"():<>=~-]+(?=\s|$))+)'
)
_WHOLE = re.compile(r'(?P<field>company|name|email):(?P<words>"[^"]+"|[^\s"()]+)')
LONGEST = 1400  # a button that turns the page carries the filter, and has room for 2,000 characters


@dataclass(frozen=True, slots=True)
class FilterPage:
    """Where somebody is in the answer of a filter: its text, the cursors of the last pages turned, how many were."""

    text: str
    cursors: tuple[str, ...] = ()
    turned: int = 0

    def carried(self) -> str | None:
        """Write it for a button, forgetting the first pages turned where room is short; none where there is no room."""
        for first in range(max(len(self.cursors), 1)):
            told = {"q": self.text, "c": self.cursors[first:], "n": self.turned}
            written = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
            if len(written) <= BUTTON_VALUE:
                return written
        return None

    def onward(self, cursor: str) -> "FilterPage":
        """Give the page after this one."""
        return replace(self, cursors=(*self.cursors, cursor), turned=self.turned + 1)

    def back(self) -> "FilterPage":
        """Give the page before this one; where it was forgotten, the first."""
        return replace(self, cursors=self.cursors[:-1], turned=self.turned - 1 if len(self.cursors) > 1 else 0)

    @staticmethod
    def read(carried: str) -> "FilterPage":
        """Read it from a button; raises Outlived."""
        try:
            told = json.loads(carried)
            return FilterPage(str(told["q"]), tuple(str(cursor) for cursor in told["c"]), int(told["n"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise Outlived from exc


async def answer_filter(asked: Request, place: FilterPage) -> Reply:
    """Answer with one page of the contacts that a filter finds; raises BadFilter, BadCursor."""
    length = len(json.dumps(place.text, ensure_ascii=False)) - 2
    if length > LONGEST:
        counted = ", quotation marks counted twice" if length > len(place.text) else ""
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {length}{counted}.")
    question = await _read(asked, place.text)
    size = min(question.limit or PER_PAGE, MOST_PER_PAGE)
    total = await count(asked.workspace, asked=question, now=asked.now)
    if not total:
        return await _nobody(asked, question, place.text)
    found = await page(
        asked.workspace, asked=question, limit=size, cursor=place.cursors[-1] if place.cursors else None, now=asked.now
    )
    onward = place.onward(found.next_cursor) if found.next_cursor is not None and question.limit is None else None
    return filter_reply(
        found.cards,
        question.scores or (asked.types[0],),
        text=place.text,
        first=place.turned * size + 1,
        total=total,
        back=place.back().carried() if place.cursors else None,
        onward=onward.carried() if onward is not None else None,
        here=place.carried() or "",  # which has room: either it came in a button, or there is no cursor in it
    )


async def _read(asked: Request, text: str) -> Filter:
    """Parse a filter; where it sorts by nothing, the highest of its first score, or of the default one, come first."""
    owners = {"me": asked.person.email, **await mentioned_addresses(asked, text)}
    question = parse(text, asked.types, owners=owners, segments=await segments(asked.workspace))
    if question.sort:
        return question
    return replace(question, sort=(Sort((question.scores or (asked.types[0],))[0], True),))


async def mentioned_addresses(asked: Request, text: str) -> dict[str, str | None]:
    """Give the addresses of the colleagues mentioned in a text, by Slack's id; none where it is not known."""
    return {found[1]: await asked.address_of(found[1]) for found in MENTION.finditer(text)}


async def _nobody(asked: Request, question: Filter, text: str) -> Reply:
    term = await find_emptying_term(asked.workspace, asked=question, now=asked.now)
    because = f" Nobody is left after `{escape_code(term)}`." if term and len(question.texts) > 1 else ""
    return plain_reply(f"No contact fits `{escape_code(text)}`.{because}{_hint(text, term or text)}")


def _is_of(term: str, several: re.Match[str]) -> bool:
    """Tell whether a term is a field with the first of several words, or one of those that were meant for it too."""
    return several[0].startswith(term) or (several["field"] != "tag" and term in several["words"].split())


def _hint(text: str, term: str) -> str:
    """Say how the *term* that left nobody may have been meant."""
    if term in ("and", "or", "not"):
        return f" `{term}` was looked for as a word; AND, OR and NOT are written in capitals."
    if found := next((one for one in _SEVERAL.finditer(text) if _is_of(term, one)), None):
        words = found["words"].strip("'")
        meant = f'{found["field"]}:"{words}"'
        return f" Several words stand in quotes: `{escape_code(meant)}`"
    if found := _WHOLE.fullmatch(term):
        return f" That asks for the whole of it; for a part: `{escape_code(found['field'] + '~' + found['words'])}`"
    return ""
