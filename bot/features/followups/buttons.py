"""Handle the buttons of follow-ups.

The message of a follow-up is updated by a job, so that the update is retried. A click in a list is answered with the
current list and a notice above it.
"""

from bot.blocks.followups import ended_blocks, steps_reply
from bot.blocks.refusals import plain_reply, refusal_sentence
from bot.features.followups.lists import FollowUpPage, redraw_list
from bot.slack.handling import Outlived, Reply, Request
from bot.slack.text import escape, parse_number
from storage.alerts.followup_moves import apply_move, record_outcome
from storage.alerts.followups import FollowUp, follow_up, list_steps
from storage.domain.errors import UnknownContact
from storage.domain.facts import DAY
from storage.domain.followups import FollowUpMove, FollowUpOutcome, TooLate
from storage.ledger.contacts import contacts

SNOOZE = DAY


async def claim(request: Request) -> Reply:
    """Claim the follow-up for the person who clicked, unless somebody else was first."""
    return await _move_follow_up(request, FollowUpMove.CLAIM, "You claimed {}.")


async def snooze(request: Request) -> Reply:
    """Snooze the follow-up for a day."""
    return await _move_follow_up(request, FollowUpMove.SNOOZE, "Snoozed {} for a day.", until=request.now + SNOOZE)


async def finish(request: Request) -> Reply:
    """Mark the follow-up as done and ask for the outcome."""
    return await _move_follow_up(request, FollowUpMove.DONE, "Marked {} done. What was the outcome?")


async def _move_follow_up(request: Request, move: FollowUpMove, template: str, *, until: int | None = None) -> Reply:
    id, page = _parse_value(request.text)
    try:
        moved = await apply_move(
            request.workspace, id=id, move=move, by=request.person.id, until=until, now=request.now
        )
    except TooLate as exc:
        if page is None:
            raise
        return await redraw_list(request, page, refusal_sentence(exc, asker=request.person.id))
    notice = template.format(await _name_contact(request, moved))
    if move is not FollowUpMove.DONE:
        return plain_reply(notice) if page is None else await redraw_list(request, page, notice)
    if page is not None:
        return await redraw_list(request, page.with_ended(moved.id), "")
    existing = await contacts(request.workspace, ids=[moved.contact])
    # The outcome is asked here too: a follow-up that is only in the digest has no message of its own.
    return Reply(text=notice, blocks=ended_blocks(moved, existing[0])) if existing else plain_reply(notice)


async def choose_outcome(request: Request) -> Reply:
    """Record the outcome; only the person who finished the follow-up can choose it."""
    number, _, rest = request.text.partition(" ")
    name, _, page_text = rest.partition(" ")
    id, page = _parse_value(f"{number} {page_text}".strip())
    outcome = FollowUpOutcome.__members__.get(name)
    if outcome is None:
        raise Outlived
    ended = await record_outcome(request.workspace, id=id, outcome=outcome, by=request.person.id, now=request.now)
    notice = f"{await _name_contact(request, ended)}: {outcome.value}."
    if ended.outcome is not outcome or ended.standing.holder != request.person.id:
        notice = f"Only <@{ended.standing.holder}> can record the outcome, because they marked it done."
    return plain_reply(notice) if page is None else await redraw_list(request, page, notice)


async def show_steps(request: Request) -> Reply:
    """Show the history of the follow-up, only to the person who clicked."""
    item = await follow_up(request.workspace, id=parse_number(request.text))
    existing = await contacts(request.workspace, ids=[item.contact])
    if not existing:
        raise UnknownContact
    score_type = next((score_type for score_type in request.types if score_type.key == item.score), None)
    return steps_reply(item, existing[0], score_type, await list_steps(request.workspace, id=item.id))


async def _name_contact(request: Request, item: FollowUp) -> str:
    existing = await contacts(request.workspace, ids=[item.contact])
    return escape(existing[0].shown) if existing else "The contact"


def _parse_value(text: str) -> tuple[int, FollowUpPage | None]:
    """Parse a button's value: the follow-up's id, and the page if the button is in a list. Raises Outlived."""
    id, _, page_text = text.partition(" ")
    return parse_number(id), FollowUpPage.read(page_text) if page_text else None
