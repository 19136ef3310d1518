"""Render score types, their rules and drafts, and build the forms to change them."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.blocks.alerts import describe_breakage
from bot.blocks.elements import (
    actions,
    button,
    context,
    format_with_band,
    section,
    short_name,
    truncate,
    truncate_markup,
)
from bot.blocks.fields import choice_field, form, number_field, plain, text_field, tick_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.alerts.broken import Breakage
from storage.alerts.followups import ADMINS, DIGEST, OWNERS
from storage.domain.contacts import Contact
from storage.domain.durations import write_span
from storage.domain.numbers import show, show_signed
from storage.domain.rules import Period
from storage.domain.score_types import COLOURS, Band, Rule, ScoreType
from storage.scoring.drafts import Preview

TYPE_FORM = "score_type"
RULE_FORM = "rule"
MOST_CHOICES = 100  # the most options in a menu of Slack
PERIODS = {Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month", Period.EVER: "in all"}
_PAST_TENSE = {"Changing": "Changed", "Narrowing": "Narrowed", "Widening": "Widened", "Moving": "Moved"}
PER_PAGE, MOST_DRAFTS = 12, 3  # score types or rules on a page, and drafts that are shown
MOST_BREAKING = 5  # rules that a preview names


def settings_reply(types: Sequence[ScoreType], drafts: Sequence[ScoreType], *, first: int = 0) -> Reply:
    """Return a page of score types, starting at index *first*, and the first drafts to be applied or canceled."""
    shown = types[first : first + PER_PAGE]
    buttons = [button("Add a score type", action="type_form", value="-")]
    if first + PER_PAGE < len(types):
        buttons.append(button("More score types", action="settings", value=str(first + PER_PAGE)))
    live = {score_type.key: score_type for score_type in types}
    return Reply(
        text=f"{len(types)} score types",
        blocks=[
            section("*Score types*"),
            *(
                section(
                    _describe_type(score_type), accessory=button("Change", action="type_form", value=score_type.key)
                )
                for score_type in shown
            ),
            *(block for draft in drafts[:MOST_DRAFTS] for block in _render_draft(live[draft.key], draft)),
            actions(buttons),
        ],
    )


def _describe_type(score_type: ScoreType) -> str:
    default = " · default" if score_type.is_default else ""
    bands = ", ".join(band.shown for band in score_type.bands) or "none"
    decay = f"halves every {write_span(score_type.half_life)}" if score_type.half_life else "does not fade"
    rules = {0: "no rules", 1: "1 rule"}.get(len(score_type.rules), f"{len(score_type.rules)} rules")
    numbers = f"{score_type.range_shown}, steps of {show(score_type.step)}, starting at {show(score_type.start)}"
    return truncate_markup(
        f"*{escape(score_type.label)}* `{score_type.key}`{default}\n{numbers} · {decay} · {rules}\nBands: {bands}", 500
    )


def _render_draft(live: ScoreType, draft: ScoreType) -> list[Block]:
    buttons = [
        button("See what it changes", action="draft_preview", value=draft_value(draft)),
        button("Cancel", action="draft_cancel", value=draft_value(draft)),
    ]
    return [
        section(f"*Waiting for your decision:* {truncate_markup(describe_difference(live, draft), 300)}"),
        actions(buttons),
    ]


def draft_value(draft: ScoreType) -> str:
    """Return the value of a draft's buttons: the key and the version number."""
    return f"{draft.key} {draft.number}"


def type_modal(score_type: ScoreType | None) -> Block:
    """Return the form to change a score type, or to add a score type if *score_type* is None."""
    is_new = score_type is None
    initial = {
        "label": score_type.label if score_type else None,
        "minimum": show(score_type.minimum) if score_type else "0",
        "maximum": show(score_type.maximum) if score_type else "100",
        "step": show(score_type.step) if score_type else "1",
        "start": show(score_type.start) if score_type else None,
        "bands": format_bands(score_type.bands) if score_type else None,
        "half_life": write_span(score_type.half_life) if score_type and score_type.half_life else None,
    }
    key = text_field(
        "key", "Key", hint="What people type: fit, for /score set ada fit=8. It cannot be changed later.", most=32
    )
    default = tick_field(
        "default", "Default", "Use this score type when a command names none", value="yes", optional=True
    )
    about = section(f"`{score_type.key}`, version {score_type.number}") if score_type else key
    blocks = [
        about,
        text_field("label", "Label", initial=initial["label"], hint="What people read.", most=60),
        number_field("minimum", "Minimum", initial=initial["minimum"]),
        number_field("maximum", "Maximum", initial=initial["maximum"]),
        number_field("step", "Step", initial=initial["step"], hint="1, 0.5, 0.001 …"),
        number_field(
            "start", "Starting value", initial=initial["start"], optional=True,
            hint="Scores start here, and fade toward it. Blank: the value nearest to 0.",
        ),
        text_field(
            "bands", "Bands", initial=initial["bands"], optional=True, multiline=True,
            hint="One per line, lowest first, the first at the minimum: cold:0, then warm:40, then hot:80."
            f" You can add a color for the chart, hot:80:red: {', '.join(COLOURS[:-1])} or {COLOURS[-1]}.",
        ),
        text_field(
            "half_life", "Half-life", initial=initial["half_life"], optional=True,
            hint="30d, 2w or 36h: the time to fade halfway to the starting value. Blank: scores do not fade.",
        ),
        *([] if score_type and score_type.is_default else [default]),
    ]  # fmt: skip  # one field per line
    # The handler refuses the form if the version has changed since the form was opened.
    metadata = {"key": score_type.key if score_type else None, "number": score_type.number if score_type else 0}
    return form(TYPE_FORM, "Score type", blocks, submit="Add" if is_new else "Continue", metadata=metadata)


def format_bands(bands: Sequence[Band]) -> str:
    """Return bands as they are typed in the form, one per line."""
    return "\n".join(band.typed for band in bands)


def rules_reply(types: Sequence[ScoreType], *, first: int = 0) -> Reply:
    """Return a page of the rules of all score types, starting at index *first*."""
    rules = [(score_type, index) for score_type in types for index in range(len(score_type.rules))]
    blocks: list[Block] = [section("*Rules:* the points for activities and attributes")]
    label = None
    for score_type, index in rules[first : first + PER_PAGE]:
        if score_type.label != label:
            label = score_type.label
            blocks.append(section(f"*{escape(label)}*"))
        blocks.append(section(_render_rule(score_type.rules[index]), accessory=_rule_menu(score_type, index)))
    without_rules = [escape(score_type.label) for score_type in types if not score_type.rules]
    buttons = [button("Add a rule", action="rule_form", value="-")]
    if first + PER_PAGE < len(rules):
        buttons.append(button("More rules", action="rules", value=str(first + PER_PAGE)))
    footer = [context(f"Without rules: {', '.join(without_rules)}")] if without_rules else []
    return Reply(text=f"{len(rules)} rules", blocks=[*blocks, *footer, actions(buttons)])


def _render_rule(rule: Rule) -> str:
    return f"{escape(truncate(rule.name, 80))}\n{truncate_markup(describe_rule(rule), 400)}"


def describe_rule(rule: Rule) -> str:
    """Return a rule in words, such as "demo_booked: +10 each, at most 20 a day, if `tag:vip`"."""
    condition = f"`{escape_code(truncate(rule.condition.strip(), 200))}`"
    points = show_signed(rule.points)
    if rule.for_each:
        limit = f", at most {show(rule.at_most)}" if rule.at_most is not None else ""
        points += f" for each `{escape_code(truncate(rule.for_each.strip(), 200))}`{limit}"
    if rule.activity is None:
        return f"{points} while {condition}" if rule.condition.strip() else points
    parts = [f"{escape(rule.activity)}: {points}" + ("" if rule.for_each else " each")]
    if rule.cap is not None:
        together = f" together with the group {escape(rule.cap.group)}" if rule.cap.group else ""
        parts.append(f"at most {show(rule.cap.points)} {PERIODS[Period(rule.cap.period)]}{together}")
    return ", ".join([*parts, *([f"if {condition}"] if rule.condition.strip() else [])])


def _rule_menu(score_type: ScoreType, index: int) -> Block:
    """Return the menu of a rule. Its values contain the version of the score type, to detect an outdated menu."""
    reference = f"{score_type.key} {score_type.number} {index}"
    options = [
        {"text": plain("Change"), "value": f"change {reference}"},
        {"text": plain("Remove"), "value": f"remove {reference}"},
    ]
    return {"type": "overflow", "action_id": "rule_menu", "options": options}


def rule_modal(types: Sequence[ScoreType], *, score_type: ScoreType | None = None, rule: Rule | None = None) -> Block:
    """Return the form to change a rule, or to add a rule if *rule* is None."""
    cap = rule.cap if rule else None
    choices = {item.key: item.label for item in types[:MOST_CHOICES]}
    type_block = (
        section(f"*{escape(score_type.label)}*")
        if score_type
        else choice_field("type", "Score type", choices, initial=types[0].key)
    )
    metadata: dict[str, Any] = {"type": None, "number": 0, "rule": None}
    if score_type is not None and rule is not None:
        metadata = {"type": score_type.key, "number": score_type.number, "rule": rule.name}
    blocks = [
        type_block,
        text_field("name", "Name", initial=rule.name if rule else None, most=80),
        text_field(
            "activity", "Activity", initial=rule.activity if rule else None, optional=True, most=80,
            hint="The activity, as sources name it: demo_booked. Blank: a contact has the points while the condition"
            " below is true.",
        ),
        number_field("points", "Points", initial=show(rule.points) if rule else None, hint="10; -5 takes away."),
        text_field(
            "for_each", "For each step of an attribute", initial=rule.for_each if rule else None, optional=True,
            most=200, hint="attributes.minutes / 5: the points for each whole 5. Blank: the points once.",
        ),
        number_field(
            "at_most", "Maximum for the attribute",
            initial=show(rule.at_most) if rule and rule.at_most is not None else None, optional=True,
            hint="The most points for the steps of the attribute.",
        ),
        text_field(
            "if", "If", initial=rule.condition if rule else None, optional=True, most=1000,
            hint="About the contact, as in /score filter: tag:vip company~acme",
        ),
        number_field(
            "cap", "Maximum points", initial=show(cap.points) if cap else None, optional=True,
            hint="For one contact, up or down. Blank: without a limit.",
        ),
        choice_field(
            "per", "In a", {Period.DAY: "day", Period.WEEK: "week", Period.MONTH: "month", Period.EVER: "lifetime"},
            initial=cap.period if cap else Period.DAY, hint="Days, weeks and months are in UTC.",
        ),
        text_field(
            "group", "Shared with a group", initial=cap.group if cap else None, optional=True, most=80,
            hint="Rules of a group share one limit: a change here changes it for all of them.",
        ),
    ]  # fmt: skip  # one field per line
    return form(RULE_FORM, "Rule", blocks, submit="Continue", metadata=metadata)


def describe_difference(live: ScoreType, draft: ScoreType, *, is_done: bool = False) -> str:
    """Return the difference between two definitions in words.

    For example "Narrowing Fit to 0 to 50 instead of 0 to 100, with steps of 0.5 instead of 1". *is_done*: in the past
    tense.
    """
    others = _describe_settings(live, draft) + _describe_rules(live, draft)
    label = escape(live.label)
    if (live.minimum, live.maximum) == (draft.minimum, draft.maximum):
        verb = _PAST_TENSE["Changing"] if is_done else "Changing"
        return f"{verb} {label}: {', '.join(others) or 'nothing'}"
    inside = live.minimum <= draft.minimum and draft.maximum <= live.maximum
    around = draft.minimum <= live.minimum and live.maximum <= draft.maximum
    verb = "Narrowing" if inside else "Widening" if around else "Moving"
    target = f"{label} to {draft.range_shown} instead of {live.range_shown}"
    target += f", with {', '.join(others)}" if others else ""
    return f"{_PAST_TENSE[verb] if is_done else verb} {target}"


def _describe_settings(live: ScoreType, draft: ScoreType) -> list[str]:
    changes = [f"called {escape(draft.label)}"] if live.label != draft.label else []
    if live.step != draft.step:
        changes.append(f"steps of {show(draft.step)} instead of {show(live.step)}")
    if live.start != draft.start:
        changes.append(f"starting at {show(draft.start)} instead of {show(live.start)}")
    if live.half_life != draft.half_life:
        changes.append(f"half-life {_format_span(draft.half_life)} instead of {_format_span(live.half_life)}")
    if live.bands != draft.bands:
        new, old = (", ".join(band.shown for band in definition.bands) or "none" for definition in (draft, live))
        changes.append(f"bands {new} instead of {old}")
    return changes


def _format_span(half_life: int | None) -> str:
    return write_span(half_life) if half_life else "none"


def _describe_rules(live: ScoreType, draft: ScoreType) -> list[str]:
    before, after = {rule.name: rule for rule in live.rules}, {rule.name: rule for rule in draft.rules}

    def quote(name: str) -> str:
        old, new = before.get(name), after.get(name)
        was = f" ({describe_rule(old)} → {describe_rule(new)})" if old and new else ""
        return f"“{short_name(name)}”{was}"

    changes = (
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and before[name] != after[name]]),
        ("removed", [name for name in before if name not in after]),
    )
    return [
        f"{change} rule{'s' if len(names) > 1 else ''} {', '.join(quote(name) for name in names[:5])}"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for change, names in changes
        if names
    ]


def preview_reply(
    live: ScoreType, preview: Preview, contacts: Mapping[int, Contact], breaking: Mapping[int, Breakage]
) -> Reply:
    """Return the effects of a draft, with buttons to apply or cancel it.

    *contacts* are the contacts that the preview names, by id, *breaking* the alert rules that the draft would break.
    """
    difference, counts = describe_difference(live, preview.draft), ", ".join(_describe_counts(live, preview))
    value = draft_value(preview.draft)
    buttons = [
        button("Apply without alerts", action="draft_apply", value=value, primary=True),
        button("Apply and alert", action="draft_ask", value=value),
        button("Cancel", action="draft_cancel", value=value),
    ]
    hint = (
        "*Apply and alert* creates these follow-ups, *Apply without alerts* creates none." if preview.follow_ups else ""
    )
    lines = _list_changes(live, preview, contacts)
    lines += _list_alerts(preview, contacts) if preview.follow_ups else []
    lines += [describe_breaking(breaking)] if breaking else []
    return Reply(
        text=f"{difference}: {counts}.",
        blocks=[
            section(f"*{difference}:* {counts}."),
            *(section(line) for line in lines),
            context(f"Until you decide, nobody sees a different score. {hint}".strip()),
            actions(buttons),
        ],
        contacts=frozenset(contacts),
    )


def describe_breaking(breaking: Mapping[int, Breakage]) -> str:
    """Return a warning about the alert rules that a change breaks."""
    rules = [
        f"rule {id} ({describe_breakage(breakage).rstrip('.')})"
        for id, breakage in list(breaking.items())[:MOST_BREAKING]
    ]
    rules += [f"{len(breaking) - MOST_BREAKING} more"] if len(breaking) > MOST_BREAKING else []
    return f"*Broken by this:* alert {', '.join(rules)}. See `/score alerts`"


def _describe_counts(live: ScoreType, preview: Preview) -> list[str]:
    counts = [f"{_pluralize(preview.changed, 'contact changes', 'contacts change')}"]
    if len(preview.draft.bands) > 1:
        counts.append(f"{_pluralize(preview.entering, 'becomes', 'become')} {preview.draft.bands[-1].name}")
    if len(live.bands) > 1:
        counts.append(f"{_pluralize(preview.leaving, 'leaves', 'leave')} {live.bands[-1].name}")
    return [*counts, _pluralize(preview.follow_ups, "follow-up would be created", "follow-ups would be created")]


def _pluralize(count: int, singular: str, plural: str) -> str:
    return f"{count:,} {singular if count == 1 else plural}"


def _list_changes(live: ScoreType, preview: Preview, contacts: Mapping[int, Contact]) -> list[str]:
    """Return the first contacts that enter or leave the top band, or otherwise change, a line for each."""
    draft = preview.draft
    groups = []
    if preview.first_entering:
        groups.append((f"Into {draft.bands[-1].name}", preview.first_entering, preview.entering))
    if preview.first_leaving:
        groups.append((f"Out of {live.bands[-1].name}", preview.first_leaving, preview.leaving))
    if preview.first_others:
        groups.append(("Other changes", preview.first_others, preview.others))
    lines = []
    for title, changes, count in groups:
        named = [
            f"{short_name(contacts[id].shown)} {format_with_band(before, live)} → {format_with_band(after, draft)}"
            for id, before, after in changes
            if id in contacts
        ]
        rest = count - len(named)
        lines.append(f"{title}: {', '.join(named)}{f' and {rest:,} more' if rest else ''}")
    return lines


def _list_alerts(preview: Preview, contacts: Mapping[int, Contact]) -> list[str]:
    """Return a line for each place in which a draft would post follow-ups, with the names of the first contacts."""
    names: dict[str, list[str]] = {}
    for follow_up in preview.first_follow_ups:
        if follow_up.contact in contacts:
            names.setdefault(follow_up.lane, []).append(short_name(contacts[follow_up.contact].shown))
    lines = [f"Alerts {_describe_lane(lane)}: {', '.join(dict.fromkeys(names[lane]))}" for lane in names]
    rest = preview.follow_ups - sum(map(len, names.values()))
    return [*lines, f"… and {_pluralize(rest, 'more alert', 'more alerts')}"] if rest else lines


def _describe_lane(lane: str) -> str:
    """Return where the follow-ups of a lane are posted, in words."""
    if lane == DIGEST:
        return "in the digest"
    if lane.startswith(OWNERS):
        return f"to {escape(lane.removeprefix(OWNERS))}"
    return "to an admin" if lane == ADMINS else f"in <#{lane}>"


def applied_reply(before: ScoreType, after: ScoreType, *, follow_up_count: int | None) -> Reply:
    """Return the reply to applying a draft. *follow_up_count*: None if it was applied without alerts."""
    note = "No follow-ups were created."
    if follow_up_count is not None:
        note = f"{_pluralize(follow_up_count, 'follow-up was created', 'follow-ups were created')}."
    value = f"{after.key} {before.number} {after.number}"
    difference = describe_difference(before, after, is_done=True)
    return Reply(
        text=difference,
        blocks=[
            section(f"*{difference}.* {note}"),
            actions([button("Take it back", action="draft_back", value=value)]),
        ],
        replaces=True,
    )
