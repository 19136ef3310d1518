"""Render the preview of a draft definition of a score type, and the result of applying it."""

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
    """Return the difference between two definitions in words.

    For example "Narrowing Fit to 0 to 50, with steps of 0.5 in place of 1"; *is_done* selects the past tense.
    """
    others = _describe_settings(live, draft) + _describe_rules(live, draft)
    label = escape(live.label)
    if (live.minimum, live.maximum) == (draft.minimum, draft.maximum):
        verb = _DONE["Changing"] if is_done else "Changing"
        return f"{verb} {label}: {', '.join(others) or 'nothing'}"
    inside = live.minimum <= draft.minimum and draft.maximum <= live.maximum
    around = draft.minimum <= live.minimum and live.maximum <= draft.maximum
    verb = "Narrowing" if inside else "Widening" if around else "Moving"
    target = f"{label} to {draft.range_shown}{', with ' if others else ''}{', '.join(others)}"
    return f"{_DONE[verb] if is_done else verb} {target}"


def _describe_settings(live: ScoreType, draft: ScoreType) -> list[str]:
    changes = [f"called {escape(draft.label)}"] if live.label != draft.label else []
    if live.step != draft.step:
        changes.append(f"steps of {show(draft.step)} instead of {show(live.step)}")
    if live.start != draft.start:
        changes.append(f"starting at {show(draft.start)} instead of {show(live.start)}")
    if live.half_life != draft.half_life:
        changes.append(f"half-life {_format_span(draft.half_life)} instead of {_format_span(live.half_life)}")
    if live.bands != draft.bands:
        changes.append(f"bands {', '.join(band.shown for band in draft.bands) or 'none'}")
    return changes


def _format_span(half_life: int | None) -> str:
    return write_span(half_life) if half_life else "none"


def _describe_rules(live: ScoreType, draft: ScoreType) -> list[str]:
    before, after = {rule.name: rule for rule in live.rules}, {rule.name: rule for rule in draft.rules}
    changes = (
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and before[name] != after[name]]),
        ("removed", [name for name in before if name not in after]),
    )
    return [
        f"{change} rule{'s' if len(names) > 1 else ''} “{'”, “'.join(short_name(name) for name in names[:5])}”"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for change, names in changes
        if names
    ]


def preview_reply(live: ScoreType, preview: Preview, contacts: Mapping[int, Contact]) -> Reply:
    """Return the effects of a draft, with buttons to apply or cancel it."""
    sentence = f"{heading(live, preview.draft)}: {', '.join(_describe_counts(live, preview))}."
    value = f"{preview.draft.key} {preview.draft.number}"
    buttons = [
        button("Apply without alerts", action="draft_apply", value=value, primary=True),
        button("Apply and alert", action="draft_ask", value=value),
        button("Cancel", action="draft_cancel", value=value),
    ]
    hint = "*Apply and alert* creates these follow-ups, *Apply without alerts* creates none." if preview.asking else ""
    return Reply(
        text=sentence,
        blocks=[
            section(f"*{heading(live, preview.draft)}:* {', '.join(_describe_counts(live, preview))}."),
            *([section(_list_first_contacts(preview, contacts))] if preview.first else []),
            context(f"Until you decide, nobody sees a different score. {hint}".strip()),
            actions(buttons),
        ],
    )


def _describe_counts(live: ScoreType, preview: Preview) -> list[str]:
    counts = [f"{_pluralize(preview.changed, 'contact changes', 'contacts change')}"]
    if len(preview.draft.bands) > 1:
        counts.append(f"{_pluralize(preview.entering, 'becomes', 'become')} {preview.draft.bands[-1].name}")
    if len(live.bands) > 1:
        counts.append(f"{_pluralize(preview.leaving, 'leaves', 'leave')} {live.bands[-1].name}")
    return [*counts, _pluralize(preview.asking, "follow-up would be created", "follow-ups would be created")]


def _pluralize(count: int, singular: str, plural: str) -> str:
    return f"{count:,} {singular if count == 1 else plural}"


def _list_first_contacts(preview: Preview, contacts: Mapping[int, Contact]) -> str:
    named = [
        f"{short_name(contacts[id].shown)} {format_value(before)} → {format_value(after)}"
        for id, before, after in preview.first
        if id in contacts
    ]
    rest = preview.entering - len(named)
    return f"Into {preview.draft.bands[-1].name}: {', '.join(named)}{f' and {rest:,} more' if rest else ''}"


def applied_reply(before: ScoreType, after: ScoreType, *, follow_up_count: int | None) -> Reply:
    """Return the reply to applying a draft; *follow_up_count* is None if it was applied without creating follow-ups."""
    note = "No follow-ups were created."
    if follow_up_count is not None:
        note = f"{_pluralize(follow_up_count, 'follow-up was created', 'follow-ups were created')}."
    value = f"{after.key} {before.number} {after.number}"
    return Reply(
        text=heading(before, after, is_done=True),
        blocks=[
            section(f"*{heading(before, after, is_done=True)}.* {note}"),
            actions([button("Take it back", action="draft_back", value=value)]),
        ],
        replaces=True,
    )
