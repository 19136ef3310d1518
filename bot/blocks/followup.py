"""Draw a follow-up: who, why, whose it is, and what can be done."""

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

EVENT = "follow_up"  # the type of the metadata that our messages carry
REPEAT = "Possibly a repeat: Slack did not say whether it took this message before."
_TITLES = {"mine": "Your follow-ups", "open": "Follow-ups that wait", "overdue": "Follow-ups that are overdue"}
_OUTCOMES = (
    (FollowUpOutcome.MEETING, "Meeting"),
    (FollowUpOutcome.NO_REPLY, "No reply"),
    (FollowUpOutcome.BAD_FIT, "Bad fit"),
)


def follow_up_reply(one: FollowUp, contact: Contact, score_type: ScoreType | None, *, owner: str | None) -> Reply:
    """Draw the message of a follow-up as it stands; *owner* is Slack's id of the contact's owner, where known."""
    said = headline(one, contact, score_type)
    why = [escape(one.why) if one.why else "", format_actor(one.actor, one.source)]
    why += [f'"{escape(one.reason)}"' if one.reason else ""]
    why.append(f"Owner: <@{owner}>" if owner else f"Owner: {escape(contact.owner)}" if contact.owner else "No owner")
    blocks: list[Block] = [section(said, accessory=_menu(one)), context(" · ".join(part for part in why if part))]
    blocks += [section(state)] if (state := standing_line(one)) else []
    blocks += [actions(buttons)] if (buttons := buttons_of(one)) else []
    return Reply(text=f"{said} {state}".replace("*", "").strip(), blocks=blocks)


def headline(one: FollowUp, contact: Contact, score_type: ScoreType | None) -> str:
    """Say who moved where."""
    company = f" · {short_name(contact.company)}" if contact.company else ""
    label = escape(score_type.label) if score_type else one.score
    now = format_with_band(one.after, score_type, bold=True) if score_type else f"*{format_value(one.after)}*"
    before = "" if one.before in (None, one.after) else f", from {format_value(one.before)}"
    return f"*{short_name(contact.shown)}*{company} · {label} {now}{before}"


def standing_line(one: FollowUp) -> str:
    """Say how a follow-up stands; nothing where it is open."""
    who, when = f"<@{one.standing.holder}>", moment(one.changed_at)
    match one.standing.state:
        case FollowUpState.OPEN:
            return ""
        case FollowUpState.CLAIMED:
            return f"Claimed by {who} · {when}"
        case FollowUpState.ESCALATED:
            whom = f" to <@{one.escalate_to}>" if one.escalate_to else ""
            return f"Nobody claimed it in time: escalated{whom} · {when}"
        case FollowUpState.SNOOZED:
            return f"Snoozed by {who} until {moment(one.until) if one.until else MISSING}"
        case FollowUpState.DONE:
            came_of_it = f": {one.outcome.value}" if one.outcome else ""
            return f"Done by {who}{came_of_it} · {when}"
        case FollowUpState.CLOSED:
            return f"Closed by itself: the score fell back · {when}"


def buttons_of(one: FollowUp, *, place: str = "") -> list[Block]:
    """Give the buttons for what can be done with a follow-up now; in a list they say their *place* in it too."""
    value = f"{one.id} {place}".strip()
    state = one.standing.state
    if state is FollowUpState.DONE and one.outcome is None:
        return [
            button(label, action="outcome", value=f"{one.id} {outcome.name} {place}".strip())
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


def ended_blocks(one: FollowUp, contact: Contact, *, place: str = "") -> list[Block]:
    """Ask whoever ended a follow-up what came of it."""
    return [section(f"{escape(contact.shown)} is done. What came of it?"), actions(buttons_of(one, place=place))]


def _menu(one: FollowUp) -> Block:
    """Make the menu of a follow-up, which is there also when nothing can be done with it any more."""
    options = [{"text": plain("History"), "value": str(one.id)}]
    return {"type": "overflow", "action_id": "follow_up_menu", "options": options}


def steps_reply(one: FollowUp, contact: Contact, score_type: ScoreType | None, steps: Sequence[Step]) -> Reply:
    """Answer with everything that happened to a follow-up, from its beginning."""
    said = headline(one, contact, score_type)
    lines = [f"{moment(step.at)} · {_step(step, one)}" for step in steps]
    return Reply(text=f"History of a follow-up: {said}".replace("*", ""), blocks=[section(said), *sections(lines)])


def _step(step: Step, one: FollowUp) -> str:
    who = f"<@{step.by}>"
    match step.move:
        case "asked":
            reason = f'"{escape(one.reason)}"' if one.reason else ""
            why = [
                f"Asked for {format_actor(one.actor, one.source)}".strip(),
                reason,
                escape(one.why) if one.why else "",
            ]
            return " · ".join(part for part in why if part)
        case FollowUpMove.CLAIM:
            return f"Claimed by {who}"
        case FollowUpMove.SNOOZE:
            return f"Snoozed by {who}"
        case FollowUpMove.DONE:
            return f"Done by {who}"
        case FollowUpMove.WAKE:
            return "Open again: the snooze was over"
        case FollowUpMove.RELEASE:
            return "Open again: claimed three days before, and not done"
        case FollowUpMove.ESCALATE:
            whom = f" to <@{one.escalate_to}>" if one.escalate_to else ""
            return f"Nobody claimed it in time: escalated{whom}"
        case FollowUpMove.FALL_BACK:
            return "Closed by itself: the score fell back"
        case outcome:
            return f"What came of it, says {who}: {outcome}"


def storm_reply(many: Sequence[FollowUp], contacts: Mapping[int, Contact], types: Mapping[str, ScoreType]) -> Reply:
    """Draw very many follow-ups as one list."""
    title = f"Many follow-ups at once, so they are one list: {len(many)}"
    lines = []
    for one in many:
        state = standing_line(one)
        mark = "~" if one.standing.state not in WAITING else ""
        said = headline(one, contacts[one.contact], types.get(one.score))
        lines.append(f"{mark}{said}{mark}{f' · {state}' if state else ''}")
    hint = context("See to them one by one: `/score followups`")
    blocks = [section(f"*{title}*"), *sections(lines), hint]
    return Reply(text=title, blocks=blocks)


def list_reply(
    many: Sequence[FollowUp],
    contacts: Mapping[int, Contact],
    types: Mapping[str, ScoreType],
    *,
    which: str,
    place: str,
    turning: Sequence[Block],
    above: Sequence[Block],
) -> Reply:
    """Answer with what waits for somebody, newest first, under what stands *above* it.

    The buttons carry the *place*, which is blank where a click does not draw the list anew; *turning* turns its pages.
    """
    if not many:
        none = {"mine": "Nothing waits for you.", "overdue": "Nothing is overdue."}.get(
            which, "No follow-up waits for anybody."
        )
        return Reply(text=none, blocks=[*above, section(f"{none} When one is asked for: `/score alerts`")])
    blocks: list[Block] = [*above, section(f"*{_TITLES[which]}*")]
    for one in many:
        state = standing_line(one)
        said = headline(one, contacts[one.contact], types.get(one.score))
        line = f"{said}\n{state or 'Open'} · asked {moment(one.asked_at)}"
        blocks.append(section(line, accessory=_menu(one)))
        blocks.append(actions(buttons_of(one, place=place)))
    if turning:
        blocks.append(actions(turning))
    return Reply(text="1 follow-up" if len(many) == 1 else f"{len(many)} follow-ups", blocks=blocks)
