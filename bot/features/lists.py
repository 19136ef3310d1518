"""Lists of contacts: filters, saved filters, the highest scores, and sharing a page with a channel."""

import json
import re
from dataclasses import dataclass, replace

from bot.blocks.elements import BUTTON_VALUE, score_called
from bot.blocks.lists import (
    RowDetails,
    filter_reply,
    not_your_segment_reply,
    segment_saved_reply,
    segments_reply,
    shared_reply,
    top_reply,
)
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.examples import describe_types
from bot.slack.feature import Feature, Verb
from bot.slack.filters import mentioned_addresses, name_mentions, parse_filter
from bot.slack.handling import OutdatedButton, Reply, Request
from bot.slack.line import read_top
from bot.slack.text import MENTION, escape, escape_code
from storage.alerts.followups import list_waiting_of
from storage.audit import AuditAction
from storage.domain.filters import BadFilter, Filter, Sort, with_addresses
from storage.domain.filters.terms import All, Crossed, FollowedUp, Has, Trend, Updated, leaf_terms
from storage.reading.current_scores import last_touched, top, values_then
from storage.reading.pages import Page, count, find_emptying_term, page
from storage.reading.segments import (
    Segment,
    delete_segment,
    dependent_rules,
    find_segment,
    restore_segment,
    save_segment,
    segment,
    segments,
)

HOW = (
    "Type `/score segment save hot {type}&gt;={edge}`, `/score segment list`, `segment show NAME` or"
    " `segment delete NAME`."
)
PER_PAGE, MOST_PER_PAGE = 20, 50
_SEVERAL = re.compile(
    r'(?P<field>company|name|tag):(?P<words>[^\s"():<>=~]+(?:\s+(?!(?i:OR|AND|NOT)\b)[^\s"():<>=~-]+(?=\s|$))+)'
)
_WHOLE = re.compile(r'(?P<field>company|name|email):(?P<words>"[^"]+"|[^\s"()]+)')
LONGEST = 1400  # characters; the value of a page button contains the filter and has room for 2,000


@dataclass(frozen=True, slots=True)
class FilterPage:
    """The position in a filter's result: the filter, the cursors of recent pages, and the contacts before this page."""

    text: str
    cursors: tuple[str, ...] = ()
    skipped: int = 0

    def carried(self) -> str | None:
        """Return the position as the value of a button, or None if it does not fit.

        The oldest cursors are dropped if the value would be too long.
        """
        for first in range(max(len(self.cursors), 1)):
            state = {"q": self.text, "c": self.cursors[first:], "s": self.skipped}
            encoded = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
            if len(encoded) <= BUTTON_VALUE:
                return encoded
        return None

    def onward(self, cursor: str, *, shown: int) -> "FilterPage":
        """Return the position of the next page, after a page of *shown* contacts."""
        return replace(self, cursors=(*self.cursors, cursor), skipped=self.skipped + shown)

    def back(self) -> "FilterPage":
        """Return the position of the previous page, or of the first page if the cursor was dropped."""
        skipped = max(self.skipped - PER_PAGE, 0) if len(self.cursors) > 1 else 0
        return replace(self, cursors=self.cursors[:-1], skipped=skipped)

    @staticmethod
    def read(encoded: str) -> "FilterPage":
        """Parse the value of a button; raises OutdatedButton."""
        try:
            state = json.loads(encoded)
            # Earlier versions counted pages of ten contacts.
            skipped = int(state["s"]) if "s" in state else int(state["n"]) * 10
            return FilterPage(str(state["q"]), tuple(str(cursor) for cursor in state["c"]), skipped)
        except (ValueError, KeyError, TypeError) as exc:
            raise OutdatedButton from exc


async def filter_contacts(request: Request) -> Reply:
    """Handle `filter TERMS`, also without the verb."""
    return await answer_filter(request, FilterPage(request.text))


async def has_matches(request: Request) -> bool:
    """Return whether a line without operators matches contacts as a filter, for example by a tag."""
    try:
        query = await parse_filter(request, request.text)
    except BadFilter:
        return False
    return await count(request.workspace, query=query, most=1, now=request.now) > 0


async def turn_page(request: Request) -> Reply:
    """Show the page in the button's value, in place of the current one."""
    return replace(await answer_filter(request, FilterPage.read(request.text)), replaces=True)


async def share_page(request: Request) -> Reply:
    """Post the page in the button's value to the channel, with current values."""
    reply = await answer_filter(request, FilterPage.read(request.text))
    return shared_reply(reply, by=request.person.id, value=request.text)


async def send_page_to_me(request: Request) -> Reply:
    """Send the page in the button's value to the person alone, with current values."""
    return replace(await answer_filter(request, FilterPage.read(request.text)), direct=True)


async def answer_filter(request: Request, filter_page: FilterPage) -> Reply:
    """Return a page of the contacts that match a filter; raises BadFilter, BadCursor."""
    length = len(json.dumps(filter_page.text, ensure_ascii=False)) - 2
    if length > LONGEST:
        note = ", quotation marks counted twice" if length > len(filter_page.text) else ""
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {length}{note}.")
    query = await parse_filter(request, filter_page.text)
    size = min(query.limit or PER_PAGE, MOST_PER_PAGE)
    result = await page(
        request.workspace,
        query=query,
        limit=size,
        cursor=filter_page.cursors[-1] if filter_page.cursors else None,
        now=request.now,
    )
    if not result.total:
        return await _reply_no_match(request, query, filter_page.text)
    next_page = (
        filter_page.onward(result.next_cursor, shown=len(result.cards))
        if result.next_cursor is not None and query.limit is None
        else None
    )
    return filter_reply(
        result.cards,
        query.scores or (request.types[0],),
        query,
        await _load_details(request, query, result),
        text=await name_mentions(request, filter_page.text),
        first=filter_page.skipped + 1,
        total=result.total,
        back=filter_page.back().carried() if filter_page.cursors else None,
        onward=next_page.carried() if next_page is not None else None,
        current=filter_page.carried() or "",  # always fits: it was in a button before, or it has no cursor
        change=filter_page.text if Need.SET in request.rights else None,
        changes=min(result.total, query.limit or result.total),
    )


async def _load_details(request: Request, query: Filter, result: Page) -> RowDetails:
    """Return what the filter asks for of the contacts of a page and their cards do not have."""
    terms, ids = leaf_terms(query.where), [card.contact.id for card in result.cards]
    windows = {(term.score.key, term.window) for term in terms if isinstance(term, Trend | Crossed)}
    asks_updates = any(isinstance(term, Updated) for term in terms)
    asks_follow_ups = any(isinstance(term, FollowedUp) for term in terms)
    follow_ups = await list_waiting_of(request.workspace, contacts=ids) if asks_follow_ups else []
    return RowDetails(
        past=await values_then(request.workspace, contacts=ids, windows=windows, now=result.as_of),
        touched=await last_touched(request.workspace, contacts=ids) if asks_updates else {},
        follow_ups={follow_up.contact: follow_up for follow_up in reversed(follow_ups)},
    )


async def _reply_no_match(request: Request, query: Filter, text: str) -> Reply:
    term = await find_emptying_term(request.workspace, query=query, now=request.now)
    reason = f" No contacts are left after `{escape_code(term)}`." if term and len(query.texts) > 1 else ""
    shown = escape_code(await name_mentions(request, text))
    return plain_reply(f"No contacts match `{shown}`.{reason}{_suggest_syntax(text, term or text)}")


def _is_part_of(term: str, match: re.Match[str]) -> bool:
    """Return whether a term is the beginning of an unquoted phrase, or a later word of it."""
    return match[0].startswith(term) or (match["field"] != "tag" and term in match["words"].split())


def _suggest_syntax(text: str, term: str) -> str:
    """Return a hint how to write *term*, after which no contact is left; blank if there is none."""
    if match := next((candidate for candidate in _SEVERAL.finditer(text) if _is_part_of(term, candidate)), None):
        words = match["words"].strip("'")
        quoted = f'{match["field"]}:"{words}"'
        return f" Put several words in quotes: `{escape_code(quoted)}`"
    if match := _WHOLE.fullmatch(term):
        return f" That matches the whole field; for a part: `{escape_code(match['field'] + '~' + match['words'])}`"
    return ""


async def manage_segments(request: Request) -> Reply:
    """Handle `segment save NAME TERMS`, `segment list`, `segment show NAME` and `segment delete NAME`."""
    action, _, rest = request.text.partition(" ")
    name, _, text = rest.strip().partition(" ")
    match action.casefold(), name.casefold(), text.strip():
        case ("" | "list", "", ""):
            return segments_reply(await segments(request.workspace), request.types[0])
        case ("save", name, text) if name and text:
            return await _save_segment(request, name, text)
        case ("show", name, "") if name:
            return await answer_filter(request, FilterPage((await segment(request.workspace, name=name)).text))
        case ("delete", name, "") if name:
            return await _delete_segment(request, name)
        case _:
            return plain_reply(HOW.format_map(describe_types(request.types)))


async def _delete_segment(request: Request, name: str) -> Reply:
    existing = await segment(request.workspace, name=name)
    if not _may_change(request, existing):
        return not_your_segment_reply(existing, "delete", admins=await request.name_admins())
    previous = await delete_segment(request.workspace, name=name, by=request.person.id, now=request.now)
    return plain_reply(f"Deleted the segment *{escape(name)}*, which was `{escape_code(previous)}`.")


def _may_change(request: Request, existing: Segment) -> bool:
    """Return whether the person made a segment or is an admin."""
    return existing.made_by == request.person.id or Need.ADMINISTER in request.rights


async def _save_segment(request: Request, name: str, text: str) -> Reply:
    if len(text) > LONGEST:
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {len(text)}.")
    addresses = await mentioned_addresses(request, text)
    for mention in MENTION.finditer(text):
        if addresses[mention[1]] is None:
            sentence = "I do not know that colleague's address; type it: owner:rep@example.com"
            raise BadFilter(sentence, text=text, column=mention.start(), width=len(mention[0]))
    existing = await find_segment(request.workspace, name=name)
    if existing is not None and not _may_change(request, existing):
        return not_your_segment_reply(existing, "change", admins=await request.name_admins())
    text = with_addresses(text, addresses)  # an address has the same meaning everywhere
    previous = await save_segment(request.workspace, name=name, text=text, by=request.person.id, now=request.now)
    rules = await dependent_rules(request.workspace, name=name) if previous not in (None, text) else []
    return segment_saved_reply(name, text, previous, rules, by=request.person.id)


async def top_contacts(request: Request) -> Reply:
    """Handle `top [N] [TYPE] [TERMS]`."""
    count, score, terms = read_top(request.text, request.types)
    if not terms:
        score_type, cards = await top(request.workspace, score=score, count=count, now=request.now)
        return top_reply(cards, score_type)
    score_type = request.type(score or request.types[0].key)
    query = await parse_filter(request, terms)
    scored = replace(query, where=All((query.where, Has(score_type))), sort=(Sort(score_type, True),), limit=None)
    result = await page(request.workspace, query=scored, limit=count, cursor=None, now=request.now)
    if not result.cards:
        keys = ", ".join(known.key for known in request.types)
        return plain_reply(
            f"No contacts with a {score_called(score_type.label)} match `{escape_code(terms)}`. Score types: {keys}."
        )
    details = await _load_details(request, query, result)
    return top_reply(result.cards, score_type, query, details, text=await name_mentions(request, terms))


FEATURE = Feature(
    verbs={
        "filter": Verb(
            filter_contacts,
            "filter TERMS",
            "list the contacts that match; the word filter may be left out",
            (
                "filter {type}>={low} owner:me -tag:churned sort:-{type} limit:20",
                "{type}:{band} OR (has:{other_type} tag:{tag})",
                "filter {type} rising {change} in 30d",
            ),
        ),
        "segment": Verb(
            manage_segments,
            "segment save NAME TERMS | list | show NAME | delete NAME",
            "save a filter under a name",
            ("segment save hot {type}>={edge}", "segment list", "segment show {segment}", "filter segment:{segment}"),
        ),
        "top": Verb(
            top_contacts, "top [N] [TYPE] [TERMS]", "the highest scores", ("top", "top 5 {other_type}", "top me")
        ),
    },
    buttons={
        "page": (Need.SEE, turn_page),
        "share": (Need.SEE, share_page),
        "share_direct": (Need.SEE, send_page_to_me),
    },
    inverses=dict.fromkeys((AuditAction.SEGMENT_SAVED, AuditAction.SEGMENT_DELETED), restore_segment),
)
