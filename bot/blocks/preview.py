"""Draw what another definition of a score type would change, and what became of it."""

from collections.abc import Mapping

from bot.blocks.elements import actions, button, context, format_value, section, short_name
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.durations import write_span
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.scoring.drafts import Preview

_DONE = {"Changing": "Changed", "Narrowing": "Narrowed", "Widening": "Widened", "Moving": "Moved"}


def heading(live: ScoreType, draft: ScoreType, *, is_done: bool = False) -> str:
    """Say in words what a draft makes other, or made: Narrowing Fit to 0 to 50, with steps of 0.5 in place of 1."""
    others = _numbers(live, draft) + _rules(live, draft)
    label = escape(live.label)
    if (live.minimum, live.maximum) == (draft.minimum, draft.maximum):
        verb = _DONE["Changing"] if is_done else "Changing"
        return f"{verb} {label}: {', '.join(others) or 'nothing'}"
    inside = live.minimum <= draft.minimum and draft.maximum <= live.maximum
    around = draft.minimum <= live.minimum and live.maximum <= draft.maximum
    verb = "Narrowing" if inside else "Widening" if around else "Moving"
    what = f"{label} to {draft.range_shown}{', with ' if others else ''}{', '.join(others)}"
    return f"{_DONE[verb] if is_done else verb} {what}"


def _numbers(live: ScoreType, draft: ScoreType) -> list[str]:
    told = [f"called {escape(draft.label)}"] if live.label != draft.label else []
    if live.step != draft.step:
        told.append(f"steps of {show(draft.step)} in place of {show(live.step)}")
    if live.start != draft.start:
        told.append(f"starting at {show(draft.start)} in place of {show(live.start)}")
    if live.half_life != draft.half_life:
        told.append(f"half-life {_span(draft.half_life)} in place of {_span(live.half_life)}")
    if live.bands != draft.bands:
        told.append(f"bands {', '.join(one.shown for one in draft.bands) or 'none'}")
    return told


def _span(half_life: int | None) -> str:
    return write_span(half_life) if half_life else "none"


def _rules(live: ScoreType, draft: ScoreType) -> list[str]:
    before, after = {one.name: one for one in live.rules}, {one.name: one for one in draft.rules}
    told = (
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and before[name] != after[name]]),
        ("removed", [name for name in before if name not in after]),
    )
    return [
        f"{what} rule{'s' if len(names) > 1 else ''} “{'”, “'.join(short_name(name) for name in names[:5])}”"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for what, names in told
        if names
    ]


def preview_reply(live: ScoreType, told: Preview, contacts: Mapping[int, Contact]) -> Reply:
    """Answer with what a draft would change, and ask whether to apply it."""
    said = f"{heading(live, told.draft)}: {', '.join(_counts(live, told))}."
    value = f"{told.draft.key} {told.draft.number}"
    buttons = [
        button("Apply quietly", action="draft_apply", value=value, primary=True),
        button("Apply and ask", action="draft_ask", value=value),
        button("Cancel", action="draft_cancel", value=value),
    ]
    asks = "*Apply and ask* asks for these follow-ups, *Apply quietly* for none." if told.asking else ""
    return Reply(
        text=said,
        blocks=[
            section(f"*{heading(live, told.draft)}:* {', '.join(_counts(live, told))}."),
            *([section(_first(told, contacts))] if told.first else []),
            context(f"Until you decide, nobody sees another score. {asks}".strip()),
            actions(buttons),
        ],
    )


def _counts(live: ScoreType, told: Preview) -> list[str]:
    told_of = [f"{_many(told.changed, 'contact changes', 'contacts change')}"]
    if len(told.draft.bands) > 1:
        told_of.append(f"{_many(told.entering, 'becomes', 'become')} {told.draft.bands[-1].name}")
    if len(live.bands) > 1:
        told_of.append(f"{_many(told.leaving, 'leaves', 'leave')} {live.bands[-1].name}")
    return [*told_of, _many(told.asking, "follow-up would be asked for", "follow-ups would be asked for")]


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _first(told: Preview, contacts: Mapping[int, Contact]) -> str:
    named = [
        f"{short_name(contacts[id].shown)} {format_value(before)} → {format_value(after)}"
        for id, before, after in told.first
        if id in contacts
    ]
    rest = told.entering - len(named)
    return f"Into {told.draft.bands[-1].name}: {', '.join(named)}{f' and {rest:,} more' if rest else ''}"


def applied_reply(before: ScoreType, now: ScoreType, *, asked: int | None) -> Reply:
    """Answer that a draft is live, and how many follow-ups were asked for; none where nobody was to be asked."""
    told = "Nobody was asked to follow up."
    if asked is not None:
        told = f"{_many(asked, 'follow-up was asked for', 'follow-ups were asked for')}."
    value = f"{now.key} {before.number} {now.number}"
    return Reply(
        text=heading(before, now, is_done=True),
        blocks=[
            section(f"*{heading(before, now, is_done=True)}.* {told}"),
            actions([button("Take it back", action="draft_back", value=value)]),
        ],
        replaces=True,
    )
