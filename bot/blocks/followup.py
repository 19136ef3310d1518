"""Draw a follow-up: who, why, whose it is, and what can be done."""

from collections.abc import Mapping, Sequence

from bot.asking import Block, Reply
from bot.blocks.elements import (
    MISSING,
    actions,
    amount,
    brief,
    button,
    by,
    context,
    moment,
    section,
    sections,
    with_band,
)
from bot.text import escape
from storage.domain.contacts import Contact
from storage.domain.followups import WAITING, Outcome, State
from storage.domain.score_types import ScoreType
from storage.followups import FollowUp

EVENT = "follow_up"  # the type of the metadata that our messages carry
REPEAT = "Possibly a repeat: Slack did not say whether it took this message before."
_TITLES = {"mine": "Your follow-ups", "open": "Follow-ups that wait", "overdue": "Follow-ups that are overdue"}
_OUTCOMES = ((Outcome.MEETING, "Meeting"), (Outcome.NO_REPLY, "No reply"), (Outcome.BAD_FIT, "Bad fit"))


def follow_up_reply(
    one: FollowUp, contact: Contact, score_type: ScoreType | None, *, owner: str | None, repeat: bool = False
) -> Reply:
    """Draw the message of a follow-up as it stands; *owner* is Slack's id of the contact's owner, where known."""
    said = headline(one, contact, score_type)
    why = [escape(one.why) if one.why else "", by(one.actor, one.source)]
    why += [f'"{escape(one.reason)}"' if one.reason else ""]
    why.append(f"Owner: <@{owner}>" if owner else f"Owner: {escape(contact.owner)}" if contact.owner else "No owner")
    blocks: list[Block] = [section(said), context(" · ".join(part for part in why if part))]
    blocks += [section(state)] if (state := standing_line(one)) else []
    blocks += [context(REPEAT)] if repeat else []
    blocks += [actions(buttons)] if (buttons := buttons_of(one)) else []
    return Reply(text=f"{said} {state}".replace("*", "").strip(), blocks=blocks)


def headline(one: FollowUp, contact: Contact, score_type: ScoreType | None) -> str:
    """Say who moved where."""
    company = f" · {brief(contact.company)}" if contact.company else ""
    label = escape(score_type.label) if score_type else one.score
    now = with_band(one.after, score_type, bold=True) if score_type else f"*{amount(one.after)}*"
    before = "" if one.before is None else f", from {amount(one.before)}"
    return f"*{brief(contact.shown)}*{company} · {label} {now}{before}"


def standing_line(one: FollowUp) -> str:
    """Say how a follow-up stands; nothing where it is open."""
    who, when = f"<@{one.standing.holder}>", moment(one.changed_at)
    match one.standing.state:
        case State.OPEN:
            return ""
        case State.CLAIMED:
            return f"Claimed by {who} · {when}"
        case State.ESCALATED:
            whom = f" to <@{one.escalate_to}>" if one.escalate_to else ""
            return f"Nobody claimed it in time: escalated{whom} · {when}"
        case State.SNOOZED:
            return f"Snoozed by {who} until {moment(one.until) if one.until else MISSING}"
        case State.DONE:
            came_of_it = f": {one.outcome.value}" if one.outcome else ""
            return f"Done by {who}{came_of_it} · {when}"
        case State.CLOSED:
            return f"Closed by itself: the score fell back · {when}"


def buttons_of(one: FollowUp) -> list[Block]:
    """Give the buttons for what can be done with a follow-up now."""
    value = str(one.id)
    state = one.standing.state
    if state is State.DONE and one.outcome is None:
        return [button(label, action="outcome", value=f"{value} {outcome.name}") for outcome, label in _OUTCOMES]
    if state not in WAITING:
        return []
    claim = [button("Claim", action="claim", value=value, primary=True)]
    sleep = [button("Snooze", action="snooze", value=value)]
    return [
        *(claim if state is not State.CLAIMED else []),
        *(sleep if state is not State.SNOOZED else []),
        button("Done", action="done", value=value),
    ]


def storm_reply(
    many: Sequence[FollowUp], contacts: Mapping[int, Contact], types: Mapping[str, ScoreType], *, repeat: bool = False
) -> Reply:
    """Draw very many follow-ups as one list."""
    title = f"Many follow-ups at once, so they are one list: {len(many)}"
    lines = []
    for one in many:
        state = standing_line(one)
        mark = "~" if one.standing.state not in WAITING else ""
        said = headline(one, contacts[one.contact], types.get(one.score))
        lines.append(f"{mark}{said}{mark}{f' · {state}' if state else ''}")
    hint = context("See to them one by one: `/score followups`")
    blocks = [section(f"*{title}*"), *sections(lines), hint, *([context(REPEAT)] if repeat else [])]
    return Reply(text=title, blocks=blocks)


def list_reply(
    many: Sequence[FollowUp],
    contacts: Mapping[int, Contact],
    types: Mapping[str, ScoreType],
    *,
    which: str,
    onward: int | None,
) -> Reply:
    """Answer with what waits for somebody, newest first."""
    if not many:
        none = {"mine": "Nothing waits for you.", "overdue": "Nothing is overdue."}.get(
            which, "No follow-up waits for anybody."
        )
        return Reply(text=none, blocks=[section(f"{none} When one is asked for: `/score alerts`")])
    blocks: list[Block] = [section(f"*{_TITLES[which]}*")]
    for one in many:
        state = standing_line(one)
        said = headline(one, contacts[one.contact], types.get(one.score))
        blocks.append(section(f"{said}\n{state or 'Open'} · asked {moment(one.asked_at)}"))
        blocks.append(actions(buttons_of(one)))
    if onward is not None:
        blocks.append(actions([button("Next", action="followups", value=f"{which} {onward}")]))
    return Reply(text=f"{len(many)} follow-ups", blocks=blocks)
