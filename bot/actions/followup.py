"""Act on the buttons of follow-ups; their message is edited by a job, so that it is never forgotten."""

from dataclasses import replace

from bot.asking import Asked, Reply
from bot.blocks.elements import actions, section
from bot.blocks.followup import buttons_of, steps_reply
from bot.followups import follow_ups_page
from bot.replies import plain_reply
from bot.text import escape
from storage.contacts import contacts
from storage.domain.facts import DAY
from storage.domain.followups import Move, Outcome
from storage.following_up import move, tell_outcome
from storage.followups import FollowUp, follow_up, steps

SNOOZE = DAY


async def claim(asked: Asked) -> Reply:
    """Let whoever clicked first have it."""
    one = await move(asked.workspace, id=_id(asked.text), move=Move.CLAIM, by=asked.person.id, now=asked.now)
    return plain_reply(f"{await _name(asked, one)} is yours now.")


async def snooze(asked: Asked) -> Reply:
    """Put it away for a day."""
    until = asked.now + SNOOZE
    one = await move(
        asked.workspace, id=_id(asked.text), move=Move.SNOOZE, by=asked.person.id, until=until, now=asked.now
    )
    return plain_reply(f"{await _name(asked, one)} sleeps for a day and comes back then.")


async def finish(asked: Asked) -> Reply:
    """End it."""
    one = await move(asked.workspace, id=_id(asked.text), move=Move.DONE, by=asked.person.id, now=asked.now)
    said = f"{await _name(asked, one)} is done. What came of it?"
    # Asked here too: what stands in a list, or was asked for in the digest alone, has no message of its own.
    return Reply(text=said, blocks=[section(said), actions(buttons_of(one))])


async def tell_what_came_of_it(asked: Asked) -> Reply:
    """Keep the outcome."""
    id, _, name = asked.text.partition(" ")
    outcome = Outcome[name]
    one = await tell_outcome(asked.workspace, id=_id(id), outcome=outcome, by=asked.person.id, now=asked.now)
    if one.outcome is not outcome or one.standing.holder != asked.person.id:
        return plain_reply(f"Only <@{one.standing.holder}>, who ended it, says what came of it.")
    return plain_reply(f"{await _name(asked, one)}: {outcome.value}.")


async def show_steps(asked: Asked) -> Reply:
    """Show what happened to it, to whoever asks alone."""
    one = await follow_up(asked.workspace, id=_id(asked.text))
    known = await contacts(asked.workspace, ids=[one.contact])
    if not known:
        return plain_reply("That contact is no more.")
    score_type = next((each for each in asked.types if each.key == one.score), None)
    return steps_reply(one, known[0], score_type, await steps(asked.workspace, id=one.id))


async def turn_list(asked: Asked) -> Reply:
    """Show the next page of the list."""
    which, _, after = asked.text.partition(" ")
    return replace(await follow_ups_page(asked, which, after=_id(after)), replaces=True)


async def _name(asked: Asked, one: FollowUp) -> str:
    known = await contacts(asked.workspace, ids=[one.contact])
    return escape(known[0].shown) if known else "The contact"


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
