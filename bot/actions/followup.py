"""Act on the buttons of follow-ups; their message is edited by a job, so that it is never forgotten.

A click in a list is answered with the list as it is then, under what happened."""

from dataclasses import replace

from bot.blocks.followup import ended_blocks, steps_reply
from bot.blocks.refusals import plain_reply, refusal_reply, refusal_sentence
from bot.followup_list import FollowUpPage, follow_ups_page
from bot.slack.handling import Outlived, Reply, Request
from bot.slack.text import escape
from storage.alerts.followup_moves import apply_move, record_outcome
from storage.alerts.followups import FollowUp, follow_up, list_steps
from storage.domain.errors import UnknownContact
from storage.domain.facts import DAY
from storage.domain.followups import FollowUpMove, FollowUpOutcome, TooLate
from storage.ledger.contacts import contacts

SNOOZE = DAY


async def claim(asked: Request) -> Reply:
    """Let whoever clicked first have it."""
    return await _moved(asked, FollowUpMove.CLAIM, "{} is yours now.")


async def snooze(asked: Request) -> Reply:
    """Put it away for a day."""
    return await _moved(
        asked, FollowUpMove.SNOOZE, "{} sleeps for a day and comes back then.", until=asked.now + SNOOZE
    )


async def finish(asked: Request) -> Reply:
    """End it, and ask what came of it."""
    return await _moved(asked, FollowUpMove.DONE, "{} is done. What came of it?")


async def _moved(asked: Request, what: FollowUpMove, told: str, *, until: int | None = None) -> Reply:
    id, place = _read(asked.text)
    try:
        one = await apply_move(asked.workspace, id=id, move=what, by=asked.person.id, until=until, now=asked.now)
    except TooLate as late:
        if place is None:
            raise
        return await _anew(asked, place, refusal_sentence(late, asker=asked.person.id))
    said = told.format(await _name(asked, one))
    if what is not FollowUpMove.DONE:
        return plain_reply(said) if place is None else await _anew(asked, place, said)
    if place is not None:
        return await _anew(asked, place.with_ended(one.id), "")
    known = await contacts(asked.workspace, ids=[one.contact])
    # Asked here too: what was asked for in the digest alone has no message of its own.
    return Reply(text=said, blocks=ended_blocks(one, known[0])) if known else plain_reply(said)


async def choose_outcome(asked: Request) -> Reply:
    """Keep the outcome."""
    number, _, rest = asked.text.partition(" ")
    name, _, carried = rest.partition(" ")
    id, place = _read(f"{number} {carried}".strip())
    outcome = FollowUpOutcome.__members__.get(name)
    if outcome is None:
        raise Outlived
    one = await record_outcome(asked.workspace, id=id, outcome=outcome, by=asked.person.id, now=asked.now)
    said = f"{await _name(asked, one)}: {outcome.value}."
    if one.outcome is not outcome or one.standing.holder != asked.person.id:
        said = f"Only <@{one.standing.holder}>, who ended it, says what came of it."
    return plain_reply(said) if place is None else await _anew(asked, place, said)


async def show_steps(asked: Request) -> Reply:
    """Show what happened to it, to whoever asks alone."""
    one = await follow_up(asked.workspace, id=_id(asked.text))
    known = await contacts(asked.workspace, ids=[one.contact])
    if not known:
        return refusal_reply(UnknownContact())
    score_type = next((each for each in asked.types if each.key == one.score), None)
    return steps_reply(one, known[0], score_type, await list_steps(asked.workspace, id=one.id))


async def turn_list(asked: Request) -> Reply:
    """Show another page of the list."""
    return await _anew(asked, FollowUpPage.read(asked.text), "")


async def _anew(asked: Request, place: FollowUpPage, said: str) -> Reply:
    return replace(await follow_ups_page(asked, place, notice=said), replaces=True)


async def _name(asked: Request, one: FollowUp) -> str:
    known = await contacts(asked.workspace, ids=[one.contact])
    return escape(known[0].shown) if known else "The contact"


def _read(text: str) -> tuple[int, FollowUpPage | None]:
    """Read which follow-up a button is about and, where it stands in a list, its place there; raises Outlived."""
    id, _, carried = text.partition(" ")
    return _id(id), FollowUpPage.read(carried) if carried else None


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
