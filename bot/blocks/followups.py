"""Render follow-ups: contact, reason, status and buttons."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.blocks.elements import (
    MISSING,
    actions,
    button,
    context,
    crm_links,
    format_actor,
    format_value,
    format_with_band,
    moment,
    section,
    sections,
    short_name,
    truncate,
)
from bot.blocks.fields import choice_field, field, form, plain, text_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.alerts import followup_rules
from storage.alerts.followups import FiredRule, FollowUp, Step
from storage.domain.business_hours import WorkingHours, write_time
from storage.domain.contacts import Contact
from storage.domain.followups import LONGEST_NOTE, WAITING, FollowUpMove, FollowUpOutcome, FollowUpState, possible_moves
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key
from storage.reading.current_scores import Card

EVENT = "follow_up"  # the event_type in the metadata of a follow-up message
ASSIGN_FORM, SNOOZE_FORM, NOTE_FORM = "assign_follow_up", "snooze_follow_up", "follow_up_note"
LONGEST_WORDS = 150  # characters of a rule
_TITLES = {"mine": "Your follow-ups", "open": "Open follow-ups", "overdue": "Overdue follow-ups"}
_OUTCOMES = {
    FollowUpOutcome.MEETING: "Meeting",
    FollowUpOutcome.NO_REPLY: "No reply",
    FollowUpOutcome.BAD_FIT: "Bad fit",
    FollowUpOutcome.WON: "Won",
    FollowUpOutcome.LOST: "Lost",
    FollowUpOutcome.OTHER: "Other…",
}
#: the choices in the menu of a follow-up: move → (word in the option's value, label)
_MENU = {
    FollowUpMove.ASSIGN: ("assign", "Assign to…"),
    FollowUpMove.SNOOZE: ("until", "Snooze until…"),
    FollowUpMove.RELEASE: ("release", "Release"),
    FollowUpMove.TAKE_OVER: ("take", "Take over"),
    FollowUpMove.REOPEN: ("reopen", "Reopen"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpReader:
    """The only person who reads a message or a list: they see only the buttons that they may use."""

    id: str
    address: str | None  #: the address that contacts have as their owner
    is_admin: bool

    def is_in_charge(self, contact: Contact) -> bool:
        """Return whether the reader may take over what others claimed: an admin, or the owner of the contact."""
        is_owner = bool(self.address and contact.owner) and match_key(self.address or "") == match_key(
            contact.owner or ""
        )
        return self.is_admin or is_owner


def follow_up_reply(
    follow_up: FollowUp,
    contact: Contact,
    types: Mapping[str, ScoreType],
    *,
    owner: str | None,
    links: Mapping[str, str],
    reader: FollowUpReader | None,
) -> Reply:
    """Return the message of a follow-up in its current state.

    *owner* is the Slack user id of the contact's owner, or None if it is unknown. *links* are the link templates of
    sources. *reader* is the only reader of the message, None in a channel.
    """
    head = headline(follow_up, contact, types.get(follow_up.score))
    details = [escape(follow_up.why) if follow_up.why else "", format_actor(follow_up.actor, follow_up.source)]
    details += [f'"{escape(follow_up.reason)}"' if follow_up.reason else ""]
    details.append(
        f"Owner: <@{owner}>" if owner else f"Owner: {escape(contact.owner)}" if contact.owner else "No owner"
    )
    lines = [" · ".join(_reach(contact, links)), *_describe_rules(follow_up, types)]
    moves = _list_moves(follow_up, contact, reader)
    blocks: list[Block] = [
        section(head, accessory=_build_menu(follow_up, moves)),
        context(" · ".join(part for part in details if part)),
    ]
    blocks += [context("\n".join(line for line in lines if line))] if any(lines) else []
    blocks += [section(state)] if (state := standing_line(follow_up)) else []
    blocks += [actions(buttons)] if (buttons := buttons_of(follow_up, moves, reader=reader)) else []
    text = f"{head} {state}".replace("*", "").strip()
    return Reply(text=text, blocks=blocks, contacts=frozenset({contact.id}))


def _reach(contact: Contact, links: Mapping[str, str]) -> list[str]:
    """Return the address of a contact, unless it is the name, and the links to the contact in a CRM."""
    has_name = contact.email is not None and contact.email != contact.shown
    return [*([escape(contact.email)] if contact.email and has_name else []), *crm_links(contact, links)]


def headline(follow_up: FollowUp, contact: Contact, score_type: ScoreType | None, *, card: Card | None = None) -> str:
    """Return the contact, and the score's new and previous value; with *card*, the score now if it is another one."""
    company = f" · {short_name(contact.company)}" if contact.company else ""
    name = f"*{short_name(contact.shown)}*{company}"
    if card is None or score_type is None:
        return f"{name} · {_describe_change(follow_up, score_type, bold=True)}"
    score = card.standing(score_type.key)
    value = score.value if score else None
    if value == follow_up.after:
        return f"{name} · {_describe_change(follow_up, score_type, bold=True)}"
    now = format_with_band(value, score_type, bold=True)
    return f"{name} · {escape(score_type.label)} {now} now, {format_value(follow_up.after)} when created"


def _describe_change(change: FollowUp | FiredRule, score_type: ScoreType | None, *, bold: bool = False) -> str:
    """Return the change of a score that made a rule fire, such as "Score *85* (hot), from 62"."""
    label = escape(score_type.label) if score_type else change.score
    after = format_value(change.after)
    now = format_with_band(change.after, score_type, bold=bold) if score_type else f"*{after}*" if bold else after
    before = "" if change.before in (None, change.after) else f", from {format_value(change.before)}"
    return f"{label} {now}{before}"


def _describe_rules(follow_up: FollowUp, types: Mapping[str, ScoreType]) -> list[str]:
    """Return a line for each rule that holds a follow-up open, or for all its rules if none does any more.

    A rule that joined later has another cause than the one in the headline, so its line names it.
    """
    lines = list[str]()
    for rule in [rule for rule in follow_up.rules if rule.let_go_at is None] or follow_up.rules:
        words = rule.words if rule.words != follow_up.why else None
        parts = [f"Rule {rule.rule}: {escape(truncate(words, LONGEST_WORDS))}" if words else f"Rule {rule.rule}"]
        if rule.fired_at != follow_up.asked_at or rule.score != follow_up.score:
            parts += [_describe_change(rule, types.get(rule.score)), format_actor(rule.actor, rule.source)]
            parts += [f'"{escape(rule.reason)}"' if rule.reason and rule.reason != follow_up.reason else ""]
        lines.append(" · ".join(part for part in parts if part))
    return lines


def standing_line(follow_up: FollowUp) -> str:
    """Return the state of a follow-up in words; blank if it is open."""
    holder, when = f"<@{follow_up.standing.holder}>", moment(follow_up.changed_at)
    is_taken_back = any(rule.is_taken_back for rule in follow_up.rules)
    match follow_up.standing.state:
        case FollowUpState.OPEN:
            return ""
        case FollowUpState.CLAIMED:
            return f"Claimed by {holder} · {when}{' · the change behind it was undone' if is_taken_back else ''}"
        case FollowUpState.ESCALATED:
            target = f" to <@{follow_up.escalate_to}>" if follow_up.escalate_to else ""
            return f"Nobody claimed it in time: escalated{target} · {when}"
        case FollowUpState.SNOOZED:
            return f"Snoozed by {holder} until {moment(follow_up.until) if follow_up.until else MISSING}"
        case FollowUpState.DONE:
            outcome = f": {follow_up.outcome.value}" if follow_up.outcome else ""
            note = f' · "{escape(follow_up.note)}"' if follow_up.note else ""
            return f"Done by {holder}{outcome}{note} · {when}"
        case FollowUpState.CLOSED:
            reason = "the change was undone" if is_taken_back else "the score fell back"
            return f"Closed automatically: {reason} · {when}"


def _list_moves(follow_up: FollowUp, contact: Contact, reader: FollowUpReader | None) -> tuple[FollowUpMove, ...]:
    """Return the moves to offer: those of the only reader, or in a channel those of anybody."""
    if reader is None:
        return possible_moves(follow_up.standing)
    return possible_moves(follow_up.standing, by=reader.id, is_in_charge=reader.is_in_charge(contact))


def buttons_of(
    follow_up: FollowUp, moves: Collection[FollowUpMove], *, place: str = "", reader: FollowUpReader | None = None
) -> list[Block]:
    """Return the buttons for *moves* of a follow-up; in a list, their values include its *place*."""
    value = f"{follow_up.id} {place}".strip()
    state, holder = follow_up.standing.state, follow_up.standing.holder
    if state is FollowUpState.DONE and follow_up.outcome is None and (reader is None or reader.id == holder):
        return [
            button(label, action="outcome", value=f"{follow_up.id} {outcome.name} {place}".strip())
            for outcome, label in _OUTCOMES.items()
        ]
    buttons = []
    if FollowUpMove.CLAIM in moves:
        buttons.append(button("Claim", action="claim", value=value, primary=True))
    if FollowUpMove.TAKE_OVER in moves and reader is not None:
        buttons.append(button("Take over", action="take_over", value=value))
    if FollowUpMove.SNOOZE in moves and state is not FollowUpState.SNOOZED:
        buttons.append(button("Snooze", action="snooze", value=value))
    if FollowUpMove.DONE in moves:
        buttons.append(button("Done", action="done", value=value))
    return buttons


def ended_blocks(follow_up: FollowUp, contact: Contact, *, place: str = "") -> list[Block]:
    """Return the question to the person who finished a follow-up: what was the outcome? Or they reopen it."""
    reopen = button("Reopen", action="reopen", value=f"{follow_up.id} {place}".strip())
    return [
        section(f"Marked {escape(contact.shown)} done. What was the outcome?"),
        actions([*buttons_of(follow_up, (), place=place), reopen]),
    ]


def snoozed_reply(follow_up: FollowUp, contact: Contact) -> Reply:
    """Return the answer to a snooze: until when, and buttons for another time."""
    until = moment(follow_up.until) if follow_up.until else MISSING
    text = f"Snoozed {escape(contact.shown)} until {until}."
    others = [("hour", "1 hour"), ("monday", "Next Monday"), ("date", "Another time…")]
    buttons = [button(label, action="snooze_until", value=f"{follow_up.id} {choice}") for choice, label in others]
    return Reply(text=text, blocks=[section(text), actions(buttons)], contacts=frozenset({contact.id}))


def _build_menu(follow_up: FollowUp, moves: Collection[FollowUpMove]) -> Block:
    """Return the menu of a follow-up: its history, which is always there, and the rarer of the *moves*."""
    options = [{"text": plain("History"), "value": str(follow_up.id)}]
    options += [
        {"text": plain(label), "value": f"{word} {follow_up.id}"}
        for move, (word, label) in _MENU.items()
        if move in moves
    ]
    return {"type": "overflow", "action_id": "follow_up_menu", "options": options}


def assign_form(follow_up: FollowUp, contact: Contact) -> Block:
    """Return the form that assigns a follow-up to a person."""
    person = {"type": "users_select", "action_id": "person", "placeholder": plain("Choose a person")}
    return form(
        ASSIGN_FORM,
        "Assign the follow-up",
        [section(f"*{escape(contact.shown)}*"), field("person", "Assign to", person)],
        submit="Assign",
        metadata={"follow_up": follow_up.id},
    )


def snooze_form(follow_up: FollowUp, contact: Contact, hours: WorkingHours) -> Block:
    """Return the form that snoozes a follow-up until a chosen time."""
    opens = write_time(hours.opens)
    choices = {
        "hour": "1 hour",
        "tomorrow": f"Tomorrow {opens}",
        "monday": f"Next Monday {opens}",
        "date": "The date below",
    }
    date = {"type": "datepicker", "action_id": "date"}
    hint = f"It comes back in working hours: Monday to Friday, {opens} to {write_time(hours.closes)} ({hours.zone})."
    return form(
        SNOOZE_FORM,
        "Snooze the follow-up",
        [
            section(f"*{escape(contact.shown)}*"),
            choice_field("choice", "Until", choices, initial="tomorrow", hint=hint),
            field("date", "Date", date, optional=True),
        ],
        submit="Snooze",
        metadata={"follow_up": follow_up.id},
    )


def note_form(follow_up: FollowUp, contact: Contact) -> Block:
    """Return the form that records another outcome of a follow-up, with a note."""
    return form(
        NOTE_FORM,
        "What was the outcome?",
        [section(f"*{escape(contact.shown)}*"), text_field("note", "Outcome", most=LONGEST_NOTE, multiline=True)],
        submit="Save",
        metadata={"follow_up": follow_up.id},
    )


def steps_reply(follow_up: FollowUp, contact: Contact, score_type: ScoreType | None, steps: Sequence[Step]) -> Reply:
    """Return all steps of a follow-up, oldest first."""
    head = headline(follow_up, contact, score_type)
    lines = [f"{moment(step.at)} · {_describe_step(step, follow_up)}" for step in steps]
    return Reply(text=f"History of a follow-up: {head}".replace("*", ""), blocks=[section(head), *sections(lines)])


def _describe_step(step: Step, follow_up: FollowUp) -> str:
    actor = f"<@{step.by}>{f' (token {escape(step.token)})' if step.token else ''}"
    match step.move:
        case followup_rules.OPENED:
            reason = f'"{escape(follow_up.reason)}"' if follow_up.reason else ""
            parts = [
                f"Created {format_actor(follow_up.actor, follow_up.source)}".strip(),
                reason,
                escape(follow_up.why) if follow_up.why else "",
            ]
            return " · ".join(part for part in parts if part)
        case followup_rules.JOINED:
            return f"Joined by rule {step.detail}"
        case followup_rules.LEFT:
            return f"Rule {step.detail} no longer applies"
        case FollowUpMove.CLAIM:
            return f"Claimed by {actor}"
        case FollowUpMove.ASSIGN:
            return f"Assigned to <@{step.detail}> by {actor}"
        case FollowUpMove.TAKE_OVER:
            return f"Taken over from <@{step.detail}> by {actor}"
        case FollowUpMove.SNOOZE:
            return f"Snoozed by {actor}"
        case FollowUpMove.DONE:
            return f"Done by {actor}"
        case FollowUpMove.REOPEN:
            return f"Reopened by {actor}"
        case FollowUpMove.WAKE:
            return "Reopened: the snooze ended"
        case FollowUpMove.RELEASE if step.by is not None:
            return f"Released by {actor}"
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
            return "Closed automatically: the change was undone"
        case outcome:
            note = f' · "{escape(step.detail)}"' if step.detail else ""
            return f"Outcome recorded by {actor}: {outcome}{note}"


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
    cards: Mapping[int, Card],
    types: Mapping[str, ScoreType],
    *,
    which: str,
    place: str,
    reader: FollowUpReader,
    links: Mapping[str, str],
    turning: Sequence[Block],
    above: Sequence[Block],
) -> Reply:
    """Return a list of waiting follow-ups in the given order, below the *above* blocks, for its only reader.

    *cards* are the contacts with their scores now. *place* becomes part of the buttons' values; it is blank if a click
    does not redraw the list. *turning* are the buttons for other pages.
    """
    if not follow_ups:
        sentence = {"mine": "You have no open follow-ups.", "overdue": "No follow-ups are overdue."}.get(
            which, "No open follow-ups."
        )
        return Reply(text=sentence, blocks=[*above, section(f"{sentence} Alert rules: `/score alerts`")])
    blocks: list[Block] = [*above, section(f"*{_TITLES[which]}*")]
    for follow_up in follow_ups:
        card = cards[follow_up.contact]
        contact, state = card.contact, standing_line(follow_up)
        head = headline(follow_up, contact, types.get(follow_up.score), card=card)
        about = [state or "Open", f"created {moment(follow_up.asked_at)}", *_reach(contact, links)]
        moves = _list_moves(follow_up, contact, reader)
        blocks.append(section(f"{head}\n{' · '.join(about)}", accessory=_build_menu(follow_up, moves)))
        if buttons := buttons_of(follow_up, moves, place=place, reader=reader):
            blocks.append(actions(buttons))
    if turning:
        blocks.append(actions(turning))
    text = "1 follow-up" if len(follow_ups) == 1 else f"{len(follow_ups)} follow-ups"
    return Reply(text=text, blocks=blocks, contacts=_list_contacts(follow_ups))
