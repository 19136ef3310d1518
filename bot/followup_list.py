"""List the follow-ups that wait, page by page; what was done in a list is said above it, drawn anew."""

import re
from dataclasses import dataclass, replace

from bot.blocks.elements import button, section
from bot.blocks.followup import ended_blocks, list_reply
from bot.slack.handling import Block, Outlived, Reply, Request
from storage.alerts.followups import FollowUp, Whose, list_overdue, list_waiting, load_follow_ups
from storage.domain.followups import FollowUpState
from storage.ledger.contacts import contacts

PER_PAGE, MOST_ENDED = 8, 3
_CARRIED = re.compile(r"(open|mine|overdue) (\d{1,18})(?: (\d{1,18}(?:,\d{1,18})*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FollowUpPage:
    """Where somebody is in a list: which one, past which id, and what they ended there, to say what came of it."""

    which: str
    after: int = 0
    ended: tuple[int, ...] = ()

    def carried(self) -> str:
        """Write it for a button."""
        return f"{self.which} {self.after} {','.join(map(str, self.ended))}".strip()

    @staticmethod
    def read(carried: str) -> "FollowUpPage":
        """Read it from a button; raises Outlived."""
        found = _CARRIED.fullmatch(carried)
        if found is None:
            raise Outlived
        return FollowUpPage(found[1], int(found[2]), tuple(int(id) for id in (found[3] or "").split(",") if id))

    def with_ended(self, id: int) -> "FollowUpPage":
        """Give it with one more that was ended; the last few are asked about."""
        return replace(self, ended=(*self.ended, id)[-MOST_ENDED:])


async def follow_ups_page(asked: Request, place: FollowUpPage, *, said: str = "", is_home: bool = False) -> Reply:
    """Answer with those that wait for who asks (`mine`), with all that wait (`open`), or with what is `overdue`.

    *said* stands above them. A click in the Home tab is answered elsewhere, so there no button carries the list.
    """
    found = await _found(asked, place)
    if not found and place.after:  # all of the last page are done by now
        return await follow_ups_page(asked, replace(place, after=0), said=said)
    shown = found[:PER_PAGE]
    people = {one.id: one for one in await contacts(asked.workspace, ids=[one.contact for one in shown])}
    turning = [button("First", action="followups", value=replace(place, after=0).carried())] if place.after else []
    if len(found) > PER_PAGE:
        turning.append(button("Next", action="followups", value=replace(place, after=shown[-1].id).carried()))
    return list_reply(
        [one for one in shown if one.contact in people],
        people,
        {one.key: one for one in asked.types},
        which=place.which,
        place="" if is_home else place.carried(),
        turning=turning,
        above=[*([section(said)] if said else []), *await _questions(asked, place)],
    )


async def _found(asked: Request, place: FollowUpPage) -> list[FollowUp]:
    """Give what is on a page, and one more where there is any."""
    if place.which == "overdue":
        return await list_overdue(asked.workspace, after=place.after, most=PER_PAGE + 1, now=asked.now)
    whose = Whose(id=asked.person.id, address=asked.person.email) if place.which == "mine" else None
    return await list_waiting(asked.workspace, whose=whose, after=place.after, most=PER_PAGE + 1)


async def _questions(asked: Request, place: FollowUpPage) -> list[Block]:
    """Ask what came of what was ended in this list, the latest first."""
    ended = {one.id: one for one in await load_follow_ups(asked.workspace, ids=place.ended)} if place.ended else {}
    untold = [
        one
        for id in reversed(place.ended)
        if (one := ended.get(id)) and one.standing.state is FollowUpState.DONE and one.outcome is None
    ]
    people = {one.id: one for one in await contacts(asked.workspace, ids=[one.contact for one in untold])}
    return [
        block
        for one in untold
        if one.contact in people and one.standing.holder == asked.person.id
        for block in ended_blocks(one, people[one.contact], place=place.carried())
    ]
