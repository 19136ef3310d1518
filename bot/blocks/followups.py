"""Render follow-ups: contact, reason, status and buttons."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import (
    MISSING,
    actions,
    button,
    context,
    format_actor,
    format_value,
    format_with_band,
    moment,
    section,
    sections,
    short_name,
)
from bot.blocks.fields import plain
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.alerts.followups import FollowUp, Step
from storage.domain.contacts import Contact
from storage.domain.followups import WAITING, FollowUpMove, FollowUpOutcome, FollowUpState
from storage.domain.score_types import ScoreType

EVENT = "follow_up"  # the event_type in the metadata of a follow-up message
_TITLES = {"mine": "Your follow-ups", "open": "Open follow-ups", "overdue": "Overdue follow-ups"}
_OUTCOMES = (
    (FollowUpOutcome.MEETING, "Meeting"),
    (FollowUpOutcome.NO_REPLY, "No reply"),
    (FollowUpOutcome.BAD_FIT, "Bad fit"),
)


def follow_up_reply(follow_up: FollowUp, contact: Contact, score_type: ScoreType | None, *, owner: str | None) -> Reply:
    """Return the message of a follow-up in its current state.

    *owner* is the Slack user id of the contact's owner, or None if it is unknown.
    """
    head = headline(follow_up, contact, score_type)
    details = [escape(follow_up.why) if follow_up.why else "", format_actor(follow_up.actor, follow_up.source)]
    details += [f'"{escape(follow_up.reason)}"' if follow_up.reason else ""]
    details.append(
        f"Owner: <@{owner}>" if owner else f"Owner: {escape(contact.owner)}" if contact.owner else "No owner"
    )
    blocks: list[Block] = [
        section(head, accessory=_history_menu(follow_up)),
        context(" · ".join(part for part in details if part)),
    ]
    blocks += [section(state)] if (state := standing_line(follow_up)) else []
    blocks += [actions(buttons)] if (buttons := buttons_of(follow_up)) else []
    text = f"{head} {state}".replace("*", "").strip()
    return Reply(text=text, blocks=blocks, contacts=frozenset({contact.id}))


def headline(follow_up: FollowUp, contact: Contact, score_type: ScoreType | None) -> str:
    """Return the contact, and the score's new and previous value."""
    company = f" · {short_name(contact.company)}" if contact.company else ""
    label = escape(score_type.label) if score_type else follow_up.score
    now = (
        format_with_band(follow_up.after, score_type, bold=True) if score_type else f"*{format_value(follow_up.after)}*"
    )
    before = "" if follow_up.before in (None, follow_up.after) else f", from {format_value(follow_up.before)}"
    return f"*{short_name(contact.shown)}*{company} · {label} {now}{before}"


def standing_line(follow_up: FollowUp) -> str:
    """Return the state of a follow-up in words; blank if it is open."""
    holder, when = f"<@{follow_up.standing.holder}>", moment(follow_up.changed_at)
    match follow_up.standing.state:
        case FollowUpState.OPEN:
            return ""
        case FollowUpState.CLAIMED:
            note = " · the change was undone meanwhile" if follow_up.taken_back_at is not None else ""
            return f"Claimed by {holder} · {when}{note}"
        case FollowUpState.ESCALATED:
            target = f" to <@{follow_up.escalate_to}>" if follow_up.escalate_to else ""
            return f"Nobody claimed it in time: escalated{target} · {when}"
        case FollowUpState.SNOOZED:
            return f"Snoozed by {holder} until {moment(follow_up.until) if follow_up.until else MISSING}"
        case FollowUpState.DONE:
            outcome = f": {follow_up.outcome.value}" if follow_up.outcome else ""
            return f"Done by {holder}{outcome} · {when}"
        case FollowUpState.CLOSED:
            if follow_up.taken_back_at is not None:
                return f"Taken back: the change was undone · {when}"
            return f"Closed automatically: the score fell back · {when}"


def buttons_of(follow_up: FollowUp, *, place: str = "") -> list[Block]:
    """Return the buttons for the possible actions on a follow-up; in a list, their values include its *place*."""
    value = f"{follow_up.id} {place}".strip()
    state = follow_up.standing.state
    if state is FollowUpState.DONE and follow_up.outcome is None:
        return [
            button(label, action="outcome", value=f"{follow_up.id} {outcome.name} {place}".strip())
            for outcome, label in _OUTCOMES
        ]
    if state not in WAITING:
        return []
    claim = [button("Claim", action="claim", value=value, primary=True)]
    sleep = [button("Snooze", action="snooze", value=value)]
    return [
        *(claim if state is not FollowUpState.CLAIMED else []),
        *(sleep if state is not FollowUpState.SNOOZED else []),
        button("Done", action="done", value=value),
    ]


def ended_blocks(follow_up: FollowUp, contact: Contact, *, place: str = "") -> list[Block]:
    """Return the question to the person who finished a follow-up: what was the outcome?"""
    return [
        section(f"Marked {escape(contact.shown)} done. What was the outcome?"),
        actions(buttons_of(follow_up, place=place)),
    ]


def _history_menu(follow_up: FollowUp) -> Block:
    """Return the menu of a follow-up, which is also present when no button is."""
    options = [{"text": plain("History"), "value": str(follow_up.id)}]
    return {"type": "overflow", "action_id": "follow_up_menu", "options": options}


def steps_reply(follow_up: FollowUp, contact: Contact, score_type: ScoreType | None, steps: Sequence[Step]) -> Reply:
    """Return all steps of a follow-up, oldest first."""
    head = headline(follow_up, contact, score_type)
    lines = [f"{moment(step.at)} · {_describe_step(step, follow_up)}" for step in steps]
    return Reply(text=f"History of a follow-up: {head}".replace("*", ""), blocks=[section(head), *sections(lines)])


def _describe_step(step: Step, follow_up: FollowUp) -> str:
    actor = f"<@{step.by}>"
    match step.move:
        case "asked":
            reason = f'"{escape(follow_up.reason)}"' if follow_up.reason else ""
            parts = [
                f"Created {format_actor(follow_up.actor, follow_up.source)}".strip(),
                reason,
                escape(follow_up.why) if follow_up.why else "",
            ]
            return " · ".join(part for part in parts if part)
        case FollowUpMove.CLAIM:
            return f"Claimed by {actor}"
        case FollowUpMove.SNOOZE:
            return f"Snoozed by {actor}"
        case FollowUpMove.DONE:
            return f"Done by {actor}"
        case FollowUpMove.WAKE:
            return "Reopened: the snooze ended"
        case FollowUpMove.RELEASE:
            return "Reopened: claimed three days ago and not marked done"
        case FollowUpMove.ESCALATE:
            target = f" to <@{follow_up.escalate_to}>" if follow_up.escalate_to else ""
            return f"Nobody claimed it in time: escalated{target}"
        case FollowUpMove.FALL_BACK:
            return "Closed automatically: the score fell back"
        case "undo":
            return f"Undone by {actor}"
        case FollowUpMove.TAKE_BACK:
            return "Taken back: the change was undone"
        case outcome:
            return f"Outcome recorded by {actor}: {outcome}"


def storm_reply(
    follow_ups: Sequence[FollowUp], contacts: Mapping[int, Contact], types: Mapping[str, ScoreType]
) -> Reply:
    """Return very many follow-ups as a single list without buttons."""
    title = f"Many follow-ups at once, in one list: {len(follow_ups)}"
    lines = []
    for follow_up in follow_ups:
        state = standing_line(follow_up)
        mark = "~" if follow_up.standing.state not in WAITING else ""
        head = headline(follow_up, contacts[follow_up.contact], types.get(follow_up.score))
        lines.append(f"{mark}{head}{mark}{f' · {state}' if state else ''}")
    hint = context("Claim them one by one: `/score followups`")
    blocks = [section(f"*{title}*"), *sections(lines), hint]
    return Reply(text=title, blocks=blocks, contacts=_list_contacts(follow_ups))


def _list_contacts(follow_ups: Sequence[FollowUp]) -> frozenset[int]:
    return frozenset(follow_up.contact for follow_up in follow_ups)


def list_reply(
    follow_ups: Sequence[FollowUp],
    contacts: Mapping[int, Contact],
    types: Mapping[str, ScoreType],
    *,
    which: str,
    place: str,
    turning: Sequence[Block],
    above: Sequence[Block],
) -> Reply:
    """Return a list of waiting follow-ups in the given order, below the *above* blocks.

    *place* becomes part of the buttons' values; it is blank if a click does not redraw the list. *turning* are the
    buttons for other pages.
    """
    if not follow_ups:
        sentence = {"mine": "You have no open follow-ups.", "overdue": "No follow-ups are overdue."}.get(
            which, "No open follow-ups."
        )
        return Reply(text=sentence, blocks=[*above, section(f"{sentence} Alert rules: `/score alerts`")])
    blocks: list[Block] = [*above, section(f"*{_TITLES[which]}*")]
    for follow_up in follow_ups:
        state = standing_line(follow_up)
        head = headline(follow_up, contacts[follow_up.contact], types.get(follow_up.score))
        line = f"{head}\n{state or 'Open'} · created {moment(follow_up.asked_at)}"
        blocks.append(section(line, accessory=_history_menu(follow_up)))
        blocks.append(actions(buttons_of(follow_up, place=place)))
    if turning:
        blocks.append(actions(turning))
    text = "1 follow-up" if len(follow_ups) == 1 else f"{len(follow_ups)} follow-ups"
    return Reply(text=text, blocks=blocks, contacts=_list_contacts(follow_ups))
