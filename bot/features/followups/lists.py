"""Lists of waiting follow-ups, page by page; a click in a list redraws it with a notice above."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.blocks.elements import button, section
from bot.blocks.followups import FollowUpReader, ended_blocks, list_reply
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.handling import Block, OutdatedButton, Reply, Request
from storage.alerts.followups import Assignee, FollowUp, list_overdue, list_waiting, load_follow_ups
from storage.domain.followups import FollowUpState
from storage.ledger.contacts import contacts
from storage.reading.current_scores import cards_of
from storage.sources.config import link_templates

LISTS = ("open", "mine", "overdue")
PER_PAGE, MOST_ENDED = 8, 3
_CARRIED = re.compile(r"(open|mine|overdue) (\d{1,18})(?: (\d{1,18}(?:,\d{1,18})*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListPage:
    """The position in a list of follow-ups.

    *list_name* is open, mine or overdue; *after* is the last id of the previous page; *ended* are the follow-ups that
    the person finished in this list and is asked about.
    """

    list_name: str
    after: int = 0
    ended: tuple[int, ...] = ()

    def carried(self) -> str:
        """Return the position as the value of a button."""
        return f"{self.list_name} {self.after} {','.join(map(str, self.ended))}".strip()

    @staticmethod
    def read(carried: str) -> "ListPage":
        """Parse the value of a button; raises OutdatedButton."""
        match = _CARRIED.fullmatch(carried)
        if match is None:
            raise OutdatedButton
        return ListPage(match[1], int(match[2]), tuple(int(id) for id in (match[3] or "").split(",") if id))

    def with_ended(self, id: int) -> "ListPage":
        """Return the position with one more finished follow-up; only the last few are kept."""
        return replace(self, ended=(*self.ended, id)[-MOST_ENDED:])


async def list_follow_ups(request: Request) -> Reply:
    """Handle `followups [mine|open|overdue]`."""
    list_name = request.text.casefold() or "open"
    if list_name not in LISTS:
        return plain_reply(
            "Type `/score followups` for all open follow-ups, `/score followups mine` for yours,"
            " or `/score followups overdue` for those that nobody claimed in time."
        )
    return await follow_ups_page(request, ListPage(list_name))


async def turn_follow_ups_page(request: Request) -> Reply:
    """Show another page of the list."""
    return await redraw_list(request, ListPage.read(request.text), "")


async def redraw_list(request: Request, page: ListPage, notice: str) -> Reply:
    """Return a page in place of the list that was clicked, with a notice above it."""
    return replace(await follow_ups_page(request, page, notice=notice), replaces=True)


async def list_at_home(request: Request) -> Sequence[Block]:
    """Return the section of the Home tab with the follow-ups of the person who opened it."""
    return (await follow_ups_page(request, ListPage("mine"), is_home=True)).blocks


async def follow_ups_page(request: Request, page: ListPage, *, notice: str = "", is_home: bool = False) -> Reply:
    """Return a page of follow-ups: of the person who asks (`mine`), all (`open`), or those `overdue`.

    *notice* stands above the list. A click in the Home tab cannot redraw this list, so its buttons carry no position.
    """
    follow_ups = await _load_page(request, page)
    if not follow_ups and page.after:  # every follow-up of the page was finished in the meantime
        return await follow_ups_page(request, replace(page, after=0), notice=notice)
    shown = follow_ups[:PER_PAGE]
    ids = list(dict.fromkeys(item.contact for item in shown))
    cards = {card.contact.id: card for card in await cards_of(request.workspace, ids=ids, now=request.now)}
    page_buttons = [button("First", action="followups", value=replace(page, after=0).carried())] if page.after else []
    if len(follow_ups) > PER_PAGE:
        page_buttons.append(button("Next", action="followups", value=replace(page, after=shown[-1].id).carried()))
    return list_reply(
        [follow_up for follow_up in shown if follow_up.contact in cards],
        cards,
        {score_type.key: score_type for score_type in request.types},
        which=page.list_name,
        place="" if is_home else page.carried(),
        reader=FollowUpReader(
            id=request.person.id, address=request.person.email, is_admin=Need.ADMINISTER in request.rights
        ),
        links=await link_templates(request.workspace),
        turning=page_buttons,
        above=[*([section(notice)] if notice else []), *await _ask_outcomes(request, page)],
    )


async def _load_page(request: Request, page: ListPage) -> list[FollowUp]:
    """Return the follow-ups of a page, and one more if there is a next page."""
    if page.list_name == "overdue":
        return await list_overdue(request.workspace, after=page.after, most=PER_PAGE + 1, now=request.now)
    person = Assignee(id=request.person.id, address=request.person.email) if page.list_name == "mine" else None
    return await list_waiting(request.workspace, assignee=person, after=page.after, most=PER_PAGE + 1)


async def _ask_outcomes(request: Request, page: ListPage) -> list[Block]:
    """Return the questions about outcomes of follow-ups finished in this list, the latest first."""
    ended = {item.id: item for item in await load_follow_ups(request.workspace, ids=page.ended)} if page.ended else {}
    unanswered = [
        item
        for id in reversed(page.ended)
        if (item := ended.get(id)) and item.standing.state is FollowUpState.DONE and item.outcome is None
    ]
    if not unanswered:
        return []
    people = {
        contact.id: contact for contact in await contacts(request.workspace, ids=[item.contact for item in unanswered])
    }
    return [
        block
        for item in unanswered
        if item.contact in people and item.standing.holder == request.person.id
        for block in ended_blocks(item, people[item.contact], place=page.carried())
    ]
