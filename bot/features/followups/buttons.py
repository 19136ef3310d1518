"""Handle the buttons of follow-ups.

The message of a follow-up is updated by a job, so that the update is retried. A click in a list is answered with the
current list and a notice above it.
"""

from dataclasses import replace
from datetime import date, timedelta

from bot.blocks.followups import assign_form, ended_blocks, note_form, snooze_form, snoozed_reply, steps_reply
from bot.blocks.refusals import plain_reply, refusal_sentence
from bot.features.followups.lists import ListPage, redraw_list
from bot.slack.access import Need
from bot.slack.handling import OutdatedButton, Reply, Request
from bot.slack.text import escape, parse_number
from storage.alerts.followup_moves import AlreadyOpen, apply_move, record_outcome
from storage.alerts.followups import FollowUp, follow_up, list_steps
from storage.alerts.hours import working_hours
from storage.domain.contacts import Contact
from storage.domain.errors import UnknownContact
from storage.domain.followups import FollowUpMove, FollowUpOutcome, FollowUpState, NotTheirs, TooLate
from storage.ledger.contacts import contacts

HOUR = 3_600_000_000


async def claim(request: Request) -> Reply:
    """Claim the follow-up for the person who clicked, unless somebody else was first."""
    return await _move_follow_up(request, FollowUpMove.CLAIM, "You claimed {}.")


async def take_over(request: Request) -> Reply:
    """Claim a follow-up that another person has claimed, for the contact's owner or an admin."""
    return await _move_follow_up(request, FollowUpMove.TAKE_OVER, "You took over {}.")


async def reopen(request: Request) -> Reply:
    """Reopen a follow-up that is done."""
    return await _move_follow_up(request, FollowUpMove.REOPEN, "{} is open again.")


async def snooze(request: Request) -> Reply:
    """Snooze the follow-up until the next working day."""
    return await _snooze_until(request, "tomorrow")


async def snooze_until(request: Request) -> Reply:
    """Snooze the follow-up until a time on a button, or return the form to choose a date."""
    number, _, choice = request.text.partition(" ")
    if choice == "date":
        return await _open_snooze_form(request, number)
    return await _snooze_until(replace(request, text=number), choice)


async def submit_snooze(request: Request) -> Reply:
    """Snooze the follow-up until the time chosen in the form."""
    choice, day = request.fields.get("choice") or "tomorrow", request.fields.get("date")
    if choice == "date" and not day:
        return Reply(errors={"date": "Choose a date."})
    if choice == "date" and date.fromisoformat(str(day)) < (await working_hours(request.workspace)).local_day(
        request.now
    ):
        return Reply(errors={"date": "Choose a date in the future."})
    moved_request = replace(request, text=str(request.metadata["follow_up"]))
    return await _snooze_until(moved_request, str(day) if choice == "date" else str(choice))


async def _snooze_until(request: Request, choice: str) -> Reply:
    """Snooze for an `hour`, until `tomorrow`, until next `monday`, or until a date, in working hours."""
    await request.learn_zone()
    hours = await working_hours(request.workspace)
    today = hours.local_day(request.now)
    match choice:
        case "hour":
            until = hours.add(request.now, HOUR)
        case "tomorrow":
            until = hours.begin_of(today + timedelta(days=1))
        case "monday":
            until = hours.begin_of(today + timedelta(days=7 - today.weekday()))
        case day:
            until = max(hours.begin_of(date.fromisoformat(day)), hours.first_instant(request.now + HOUR))
    return await _move_follow_up(request, FollowUpMove.SNOOZE, "", until=until)


async def finish(request: Request) -> Reply:
    """Mark the follow-up as done and ask for the outcome."""
    return await _move_follow_up(request, FollowUpMove.DONE, "Marked {} done. What was the outcome?")


async def submit_assignment(request: Request) -> Reply:
    """Assign the follow-up to the person chosen in the form."""
    assignee = request.fields.get("person")
    if not assignee or not await request.is_colleague(str(assignee)):
        return Reply(errors={"person": "Choose an active member of this workspace."})
    moved_request = replace(request, text=str(request.metadata["follow_up"]))
    template = "You claimed {}." if assignee == request.person.id else f"Assigned {{}} to <@{assignee}>."
    return await _move_follow_up(moved_request, FollowUpMove.ASSIGN, template, assignee=str(assignee))


async def _move_follow_up(
    request: Request, move: FollowUpMove, template: str, *, until: int | None = None, assignee: str | None = None
) -> Reply:
    id, page = _parse_value(request.text)
    try:
        moved = await apply_move(
            request.workspace,
            id=id,
            move=move,
            by=request.person.id,
            address=request.person.email,
            is_admin=Need.ADMINISTER in request.rights,
            until=until,
            assignee=assignee,
            now=request.now,
        )
    except (TooLate, NotTheirs, AlreadyOpen) as exc:
        if page is None:
            raise
        admins = [f"<@{admin}>" for admin in await request.name_admins()] if isinstance(exc, NotTheirs) else []
        return await redraw_list(request, page, refusal_sentence(exc, asker=request.person.id, admins=admins))
    contact = await _find_contact(request, moved)
    notice = template.format(escape(contact.shown) if contact else "The contact")
    if move is FollowUpMove.SNOOZE and contact is not None:
        reply = snoozed_reply(moved, contact)
        return reply if page is None else await redraw_list(request, page, reply.text)
    if move is not FollowUpMove.DONE:
        return plain_reply(notice) if page is None else await redraw_list(request, page, notice)
    if page is not None:
        return await redraw_list(request, page.with_ended(moved.id), "")
    # The outcome is asked here too: a follow-up that is only in the digest has no message of its own.
    return Reply(text=notice, blocks=ended_blocks(moved, contact)) if contact else plain_reply(notice)


async def choose_from_menu(request: Request) -> Reply:
    """Handle a choice in the menu of a follow-up: its history, a move, or the form of a move."""
    word, _, number = request.text.rpartition(" ")
    match word:
        case "":
            return await show_steps(request)
        case "until":
            return await _open_snooze_form(request, number)
        case "assign":
            item, contact = await _load_follow_up(request, number)
            return Reply(modal=assign_form(item, contact), instead="/score followups")
        case "release":
            return await _move_follow_up(
                replace(request, text=number), FollowUpMove.RELEASE, "Released {}: it is open again."
            )
        case "take":
            return await take_over(replace(request, text=number))
        case "reopen":
            return await reopen(replace(request, text=number))
        case _:
            raise OutdatedButton


async def _open_snooze_form(request: Request, number: str) -> Reply:
    item, contact = await _load_follow_up(request, number)
    return Reply(modal=snooze_form(item, contact, await working_hours(request.workspace)), instead="/score followups")


async def choose_outcome(request: Request) -> Reply:
    """Record the outcome; only the person who finished the follow-up can choose it."""
    number, _, rest = request.text.partition(" ")
    name, _, page_text = rest.partition(" ")
    id, page = _parse_value(f"{number} {page_text}".strip())
    outcome = FollowUpOutcome.__members__.get(name)
    if outcome is None:
        raise OutdatedButton
    if outcome is FollowUpOutcome.OTHER:
        item, contact = await _load_follow_up(request, number)
        if item.standing.state is FollowUpState.DONE and item.standing.holder == request.person.id:
            return Reply(modal=note_form(item, contact), instead="/score followups")
    notice = await _record_outcome(request, id, outcome)
    return plain_reply(notice) if page is None else await redraw_list(request, page, notice)


async def submit_note(request: Request) -> Reply:
    """Record another outcome with the note entered in the form."""
    note = str(request.fields.get("note") or "").strip()
    if not note:
        return Reply(errors={"note": "Type what came of it."})
    id = int(request.metadata["follow_up"])
    return plain_reply(await _record_outcome(request, id, FollowUpOutcome.OTHER, note=note))


async def _record_outcome(request: Request, id: int, outcome: FollowUpOutcome, *, note: str = "other") -> str:
    """Record the outcome, and return the answer."""
    ended = await record_outcome(
        request.workspace, id=id, outcome=outcome, note=note if outcome is FollowUpOutcome.OTHER else None,
        by=request.person.id, now=request.now,
    )  # fmt: skip  # what, then who and when
    state, holder = ended.standing.state, ended.standing.holder
    if state is not FollowUpState.DONE:
        return "It is open again, so it has no outcome."
    if holder != request.person.id:
        return f"Only <@{holder}> can record the outcome, because they marked it done."
    contact = await _find_contact(request, ended)
    return (
        f"{escape(contact.shown) if contact else 'The contact'}: {escape(ended.note) if ended.note else outcome.value}."
    )


async def show_steps(request: Request) -> Reply:
    """Show the history of the follow-up, only to the person who clicked."""
    item, contact = await _load_follow_up(request, request.text)
    score_type = next((score_type for score_type in request.types if score_type.key == item.score), None)
    return steps_reply(item, contact, score_type, await list_steps(request.workspace, id=item.id))


async def _load_follow_up(request: Request, number: str) -> tuple[FollowUp, Contact]:
    """Return a follow-up and its contact. Raises OutdatedButton, UnknownFollowUp, UnknownContact."""
    item = await follow_up(request.workspace, id=parse_number(number))
    contact = await _find_contact(request, item)
    if contact is None:
        raise UnknownContact
    return item, contact


async def _find_contact(request: Request, item: FollowUp) -> Contact | None:
    existing = await contacts(request.workspace, ids=[item.contact])
    return existing[0] if existing else None


def _parse_value(text: str) -> tuple[int, ListPage | None]:
    """Parse a button's value: the follow-up's id, and the page if the button is in a list. Raises OutdatedButton."""
    id, _, page_text = text.partition(" ")
    return parse_number(id), ListPage.read(page_text) if page_text else None
