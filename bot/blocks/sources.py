"""Render sources (systems that send scores): the list, one source, its quarantine, dry runs, and the forms."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from bot.blocks.elements import ALL_SECTIONS, actions, button, confirm, context, moment, section, sections, truncate
from bot.blocks.fields import choice_field, form, text_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code, escape_entities, escape_sentence
from bot.source_admin import HIDDEN, LABELS, ONLY_IDS, Senders, fill_steps, write_step_for_slack
from storage.domain.describe import describe_item, describe_reference
from storage.domain.facts import Ignored, ItemRequest, Unusable
from storage.domain.score_types import ScoreType
from storage.domain.source_health import SourceHealth
from storage.domain.sources import Source
from storage.domain.submissions import Status, refusal_reason
from storage.sources.deliveries import Delivery, QuarantinedItem, RecentCounts, RefusalCount
from storage.sources.health import HealthChange
from storage.sources.readback_queue import ReadbackStatus

SOURCE_FORM, EDIT_FORM, ROTATE_FORM = "source", "source_edit", "rotate"
HEALTH_EVENT = "source_standing"  # the event type in the metadata of messages about the health of a source
PER_PAGE, MOST_ITEMS = 7, 10  # sources on a page, and items of a quarantine that are shown
MOST_TESTED = 20  # items that a test shows
MOST_SENT = 1500  # characters of a request that a test shows
MOST_TYPED = 3000  # characters that a field of a form holds
MUTED, LOUD = "muted", "loud"  # the values of the choice whether a source's changes create follow-ups
PAUSING = (
    "While a source is paused, its requests are answered 503 and nothing is recorded. Most senders retry for some hours"
    " or days. A delivery that its sender stops retrying is lost."
)
HEALTH_NOTES = {
    SourceHealth.WORKS: "",
    SourceHealth.REFUSED: " · *refused: its requests cannot be verified*",
    SourceHealth.UNUSABLE: " · *none of its items can be used*",
    SourceHealth.SILENT: " · *silent*",
}
QUARANTINE_HINT = "Everything is in quarantine: `/score sources` shows it. Replay it after you fix the cause."
DISCARDING = "This cannot be undone."
SENDER_HINT = "Check at the sender that its webhook is still on."


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSource:
    """A source with the counts of its recent deliveries, its health, and its number of quarantined items."""

    source: Source
    recent: RecentCounts
    health: SourceHealth
    quarantined: int


def sources_reply(shown: Sequence[ListedSource], senders: Senders, *, first: int, total: int) -> Reply:
    """Return a page of sources, starting at index *first*."""
    buttons = [button("Add a source", action="source_form", value="-", primary=not total)]
    if first + PER_PAGE < total:
        buttons.append(button("More sources", action="sources", value=str(first + PER_PAGE)))
    title = (
        "*Sources:* what sends scores" if total else "*Nothing sends scores yet.* Add a source, and connect your CRM."
    )
    blocks = [
        block
        for listed in shown
        for block in (section(_describe_source(listed, senders)), actions(_render_buttons(listed, senders, first)))
    ]
    count = "1 source" if total == 1 else f"{total} sources"
    return Reply(text=count, blocks=[section(title), *blocks, actions(buttons)])


def _describe_source(listed: ListedSource, senders: Senders) -> str:
    state = " · *paused*" if listed.source.settings.paused else HEALTH_NOTES[listed.health]
    if senders.awaits_secret(listed.source):
        state = " · *needs its secret*"
    last = (
        f"Last delivery {moment(listed.recent.last_at)}"
        if listed.recent.last_at is not None
        else "Nothing delivered yet"
    )
    counts = [
        f"{count:,} {status}"
        for count, status in (
            (listed.recent.applied, "applied"),
            (listed.recent.duplicate, "duplicate"),
            (listed.recent.ignored, "ignored"),
            (listed.recent.quarantined, "quarantined"),
        )
        if count
    ]
    noun = "delivery" if listed.recent.deliveries == 1 else "deliveries"
    recent = f" · in the last day {listed.recent.deliveries:,} {noun}: {', '.join(counts) or 'no items'}"
    return (
        f"*{listed.source.slug}* `{listed.source.provider}`{state}\n{last}{recent if listed.recent.deliveries else ''}"
    )


def _render_buttons(listed: ListedSource, senders: Senders, first: int) -> list[Block]:
    slug = listed.source.slug
    if listed.source.settings.paused:
        pause = button("Resume", action="source_resume", value=f"{slug} {first}")
    else:
        pause = button("Pause", action="source_pause", value=f"{slug} {first}")
        pause |= confirm(f"Pause {slug}?", PAUSING, "Pause")
    buttons = [button("Show", action="source_show", value=slug), _test_button(slug), pause]
    if listed.source.secrets:
        buttons.append(button("Rotate", action="source_rotate", value=slug))
    if senders.awaits_secret(listed.source):
        buttons.append(_secret_button(slug))
    if listed.quarantined:
        buttons.append(button(f"Quarantine ({listed.quarantined:,})", action="source_aside", value=slug))
    return buttons


def _secret_button(slug: str) -> Block:
    return button("Enter its secret", action="source_edit", value=slug, primary=True)


def _edit_button(slug: str) -> Block:
    return button("Edit", action="source_edit", value=slug)


def _test_button(slug: str) -> Block:
    return button("Test", action="source_try", value=slug)


def _render_steps_buttons(source: Source, senders: Senders) -> Block:
    """Return the buttons that the setup steps name."""
    secret = [_secret_button(source.slug)] if senders.awaits_secret(source) else []
    return actions([*secret, _edit_button(source.slug), _test_button(source.slug)])


def _count_secrets(source: Source) -> str:
    if source.is_locked:
        return "they need a key that Contact Score does not have, so its requests are answered 503"
    return str(len(source.secrets))


def source_reply(source: Source, senders: Senders, refused: RefusalCount | None, readbacks: ReadbackStatus) -> Reply:
    """Return the setup steps, settings, refused requests and read-back status of a source."""
    settings = source.settings
    details = {
        "Fields": ", ".join(f"{name} is {score}" for name, score in settings.map.items()),
        "Options": ", ".join(f"{name}={value}" for name, value in settings.options.items()),
        "User name": settings.username,
        "Token in": settings.token_in,
        "Where each value is": json.dumps(settings.mapping, ensure_ascii=False) if settings.mapping else None,
        "Address that it signs": settings.public_url,
        "At most": settings.rate,
        "Contacts link to": settings.link,
        "Muted": "its deliveries create no follow-ups" if settings.muted else None,
        "Paused": "its requests are answered 503" if settings.paused else None,
        "Live secrets": _count_secrets(source),
    }
    lines = [f"{name}: {escape(truncate(value, 300))}" for name, value in details.items() if value]
    if refused is not None:
        noun = "request was" if refused.count == 1 else "requests were"
        summary = f"{refused.count:,} {noun} refused, the last {moment(refused.last_at)}"
        lines.append(f"{summary}: {escape_sentence(refused.reason)}. {escape_sentence(refused.hint)}")
    if source.provider in senders.id_only:
        lines += _describe_readbacks(readbacks) if source.reads else [f"{ONLY_IDS} press Edit"]
    head = f"*{source.slug}* `{source.provider}` at {escape(senders.url(source))}"
    return Reply(
        text=f"The source {source.slug}",
        blocks=[
            section(head),
            *_warn_of_unreachable_address(senders),
            *sections(_number_steps(source, senders)),
            *sections(lines),
            *_warn_of_missing_secret(source, senders),
            _render_steps_buttons(source, senders),
        ],
    )


def _warn_of_unreachable_address(senders: Senders) -> list[Block]:
    """Return a warning if senders do not reach the addresses of sources, as a list of at most one block."""
    problem = senders.explain_reach()
    sign = "" if senders.is_demo else ":warning: "
    return [context(f"{sign}{escape_sentence(problem)}")] if problem is not None else []


def _warn_of_missing_secret(source: Source, senders: Senders) -> list[Block]:
    if not senders.awaits_secret(source):
        return []
    name = senders.signed_with[source.provider]
    return [section(f":warning: Its requests are refused until you enter {name}.")]


def _describe_readbacks(readbacks: ReadbackStatus) -> list[str]:
    """Return lines with the status of reading contacts back through the API of a source."""
    queue_note = f": {readbacks.waiting:,} wait" if readbacks.waiting else ""
    lines = [f"Addresses and names are read through its API{queue_note}"]
    if readbacks.problem is not None and readbacks.problem_at is not None:
        lines.append(f"Not read {moment(readbacks.problem_at)}: {escape_sentence(readbacks.problem)}")
    return lines


def _number_steps(source: Source, senders: Senders, *, secret: str = HIDDEN) -> list[str]:
    """Return the setup steps at the sender. The URL and the secret are not reformatted, so that they can be copied."""
    open_steps = [step for step in senders.steps.get(source.provider, ()) if not step.is_done(source)]
    steps = [escape_sentence(write_step_for_slack(step)) for step in open_steps]
    url = escape_entities(senders.url(source))
    filled = fill_steps(steps, source=source, url=url, secret=escape_entities(secret))
    return [f"{number}. {step}" for number, step in enumerate(filled, start=1)]


def source_health_reply(change: HealthChange) -> Reply:
    """Return the message that tells an admin that a source stopped working or works again."""
    name, last = f"*{change.source}*", f"Its last delivery came {moment(change.last_at)}" if change.last_at else ""
    reason = escape_sentence(f"Because: {change.reason}. {change.hint or ''}".strip()) if change.reason else ""
    match change.standing:
        case SourceHealth.WORKS:
            text = f"{name} works again. {last}."
        case SourceHealth.REFUSED:
            text = f"{name} has stopped working: its last {change.refused:,} requests were refused. {reason}\n{last}."
        case SourceHealth.UNUSABLE:
            text = (
                f"{name} has stopped working: no item of its last deliveries could be used. {reason}\n"
                + QUARANTINE_HINT
            )
        case SourceHealth.SILENT:
            text = f"{name} has gone silent: nothing has arrived for three days. {last}.\n" + SENDER_HINT
        case _:
            assert_never(change.standing)
    blocks = [section(text), actions([button("Show", action="source_show", value=change.source)])]
    return Reply(text=text, blocks=blocks)


def source_added_reply(source: Source, senders: Senders) -> Reply:
    """Return the reply for a new source: the only message that shows the secret, unless the sender makes it itself."""
    has_own_secret = source.provider in senders.signed_with
    secret = source.secrets[0] if source.secrets and not has_own_secret else ""
    name = source.settings.username
    note = "Copy the secret now: it is not shown again." if secret else "This source needs no secret."
    notes = [] if has_own_secret else [context(note)]
    lines = [
        f"The address is `{escape_entities(senders.url(source))}`",
        *([f"The user name is `{escape_entities(name)}`"] if name else []),
        *([f"The {'password' if name else 'secret'} is `{escape_entities(secret)}`"] if secret else []),
    ]
    return Reply(
        text=f"Added the source {source.slug}.",
        blocks=[
            section(f"*Added the source {source.slug}.* At the sender:"),
            *sections(_number_steps(source, senders, secret=secret)),
            *sections(lines),
            *_warn_of_unreachable_address(senders),
            *notes,
            *_warn_of_missing_secret(source, senders),
            _render_steps_buttons(source, senders),
        ],
    )


def rotated_reply(source: Source, *, until: int) -> Reply:
    """Return the reply with the new secret of a source: the only message that shows the secret."""
    return Reply(
        text=f"{source.slug} has a new secret.",
        blocks=[
            section(f"*{source.slug}* has a new secret: `{escape_entities(source.secrets[0])}`"),
            context(f"It is not shown again. The old one is accepted until {moment(until)}: change it at the sender."),
        ],
    )


def quarantine_reply(source: str, items: Sequence[QuarantinedItem], total: int) -> Reply:
    """Return the quarantined items of a source, with the reasons. *total* includes the items that are not shown."""
    if not items:
        return Reply(text="Empty.", blocks=[section(f"Nothing from *{source}* is in quarantine.")])
    latest = f", the latest {len(items)}" if total > len(items) else ""
    noun = "item" if total == 1 else "items"
    discard_all = button("Discard all", action="source_discard", value=source)
    discard_all |= confirm(f"Discard {total:,} {noun}?", DISCARDING, "Discard")
    return Reply(
        text=f"{total:,} {noun} in quarantine",
        blocks=[
            section(f"*Quarantine of {source}:* {total:,} {noun}{latest}"),
            *_render_quarantined(source, items),
            context(
                "Fix the cause first: add the score type in `/score settings`, or press Edit and map the field."
                " Then press Replay all. Items that were applied before are not applied again, and no follow-ups are"
                " created."
            ),
            actions(
                [
                    button("Replay all", action="source_replay", value=f"{source} 0", primary=True),
                    _edit_button(source),
                    discard_all,
                ]
            ),
        ],
    )


def _render_quarantined(source: str, items: Sequence[QuarantinedItem]) -> list[Block]:
    """Return a section for each item with a button that discards it; without room for the buttons, only the lines."""
    lines = [
        f"{moment(item.received_at)} delivery {item.delivery}: {escape_sentence(truncate(item.reason, 250))}"
        + (f"\n      `{escape_code(truncate(item.item, 140))}`" if item.item else "")
        for item in items
    ]
    rows = [
        section(
            line,
            accessory=button(
                "Discard", action=f"source_discard:{index}", value=f"{source} {item.delivery} {item.position}"
            )
            | confirm("Discard this item?", DISCARDING, "Discard"),
        )
        for index, (line, item) in enumerate(zip(lines, items, strict=True))
    ]
    return rows if len(json.dumps(rows)) <= ALL_SECTIONS else sections(lines)


def source_modal(senders: Senders) -> Block:
    """Return the form for a new source."""
    own = ", ".join(senders.signed_with)
    blocks = [
        text_field("slug", "Name", hint="A short name, which cannot be changed later: crm, hubspot-eu.", most=40),
        choice_field(
            "provider", "What sends", {name: name for name in senders.steps},
            hint="generic: your own script. custom: any other sender; you say later where its values are.",
        ),
        text_field(
            "secret", LABELS["secret"], optional=True,
            hint=f"These make their own, and you paste it here or later: {own}. Blank: for others one is generated.",
        ),
        text_field(
            "api_token", LABELS["api-token"], optional=True,
            hint="HubSpot and Attio send only ids of contacts. With a token, addresses and names are read as well.",
        ),
        text_field(
            "map", LABELS["map"], optional=True, multiline=True,
            hint="One per line: hubspotscore=score. A field with the name of a score type needs no line.",
        ),
        text_field(
            "options", LABELS["option"], optional=True, multiline=True,
            hint="One per line. Salesforce needs organization_id=00D…, HubSpot takes signature=v2.",
        ),
    ]  # fmt: skip  # one field per line
    return form(SOURCE_FORM, "Source", blocks, submit="Add")


def edit_modal(source: Source, senders: Senders) -> Block:
    """Return the form that changes a source, with the fields that its provider uses."""
    settings, takes = source.settings, senders.takes[source.provider]
    own = senders.signed_with.get(source.provider)
    hint = f"Paste {own}." if own else "It replaces the current one at once; Rotate accepts both for a day."
    hint += "" if senders.awaits_secret(source) else " Blank keeps the current one."
    fields = [
        (True, text_field("secret", LABELS["secret"], optional=True, hint=hint)),
        _prefilled("map", LABELS["map"], _write_pairs(settings.map), "One per line: hubspotscore=score.", lines=True),
        _prefilled(
            "mapping", LABELS["mapping"],
            json.dumps(settings.mapping, ensure_ascii=False, indent=1) if settings.mapping else "",
            'JMESPath expressions: {"email": "item.email", "property": "\'fit\'", "value": "item.score"}',
            lines=True,
        ),
        _prefilled(
            "options", LABELS["option"], _write_pairs(settings.options),
            "One per line, such as off_step=round or out_of_range=clamp.", lines=True,
        ),
        _prefilled(
            "token_in", LABELS["token-in"], settings.token_in or "", "bearer, header:NAME, query:NAME or form:NAME."
        ),
        _prefilled("public_url", LABELS["public-url"], settings.public_url or "", "If a proxy changes the address."),
        (True, text_field("api_token", LABELS["api-token"], optional=True, hint="Blank keeps the current one.")),
        _prefilled(
            "write_back", LABELS["write-back"], _write_pairs(settings.write_back),
            "One per line, with the CRM's property: score=contact_score. It needs an API token.", lines=True,
        ),
        _prefilled(
            "link", "Link to a contact in the CRM", settings.link or "",
            "With {id} for the contact's id. Follow-ups link to it: https://app.hubspot.com/contacts/1/contact/{id}",
        ),
        _prefilled("rate", "Most requests", settings.rate or "", "200/s, 1000/min or 5000/h."),
    ]  # fmt: skip  # one field per line
    blocks = [block for fits, block in fields if fits and block["block_id"] in {*takes, "secret", "link", "rate"}]
    choices = {LOUD: "Its changes create follow-ups", MUTED: "Its changes create none"}
    blocks.append(choice_field("follow_ups", "Follow-ups", choices, initial=MUTED if settings.muted else LOUD))
    return form(EDIT_FORM, truncate(f"Edit {source.slug}", 24), blocks, submit="Save", metadata={"slug": source.slug})


def _prefilled(name: str, label: str, text: str, hint: str, *, lines: bool = False) -> tuple[bool, Block]:
    """Return a field with the current *text*, and whether the text fits. A field that is left out changes nothing."""
    field = text_field(name, label, initial=text, hint=hint, optional=True, multiline=lines, most=MOST_TYPED)
    return len(text) <= MOST_TYPED, field


def _write_pairs(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def rotate_modal(source: Source) -> Block:
    """Return the form that rotates the secret of a source."""
    about = f"*{source.slug}* gets a new secret. The current one is accepted for another day, so that nothing is lost."
    secret = text_field(
        "secret",
        "New secret",
        optional=True,
        hint="Paste it if the sender generates it. Blank: it is generated here, and shown once.",
    )
    return form(ROTATE_FORM, "Rotate", [section(about), secret], submit="Rotate", metadata={"slug": source.slug})


def dry_run_reply(
    delivery: Delivery,
    items: Sequence[ItemRequest],
    warnings: Sequence[str],
    types: Mapping[str, ScoreType],
    *,
    sent: str | None,
) -> Reply:
    """Return the reply to a test of a source.

    *items* and *warnings* are the result of parsing its last stored delivery again; nothing is recorded. Of more than
    MOST_TESTED items, those that would be quarantined are shown first. *sent* is the body of the delivery if the
    source has a mapping of its own, else None.
    """
    amount = "1 item" if len(items) == 1 else f"{len(items):,} items"
    head = f"*Test of {delivery.source}:* its last delivery, {moment(delivery.received_at)}, holds {amount}"
    rendered = [_render_item(item, types, received=delivery.received_at) for item in items]
    if len(rendered) > MOST_TESTED:
        rendered.sort(key=lambda line: not line[0])
    lines = [text for _, text in rendered[:MOST_TESTED]] or ["Nothing would be recorded: it holds no items."]
    lines += [f"… and {len(items) - MOST_TESTED:,} more"] if len(items) > MOST_TESTED else []
    return Reply(
        text=f"A test of {delivery.source}",
        blocks=[
            section(head),
            *([section(f"```{escape_code(truncate(sent, MOST_SENT))}```")] if sent else []),
            *sections(lines),
            *sections([f":warning: {escape_sentence(warning)}" for warning in warnings]),
            context("This test changed nothing and sent nothing."),
        ],
    )


def no_delivery_reply(source: str) -> Reply:
    """Return the reply for a source without a stored delivery."""
    text = f"*Test of {source}:* no delivery is stored yet. Send one from the sender, then test again."
    return Reply(text=text, blocks=[section(text)])


def _render_item(item: ItemRequest, types: Mapping[str, ScoreType], *, received: int) -> tuple[bool, str]:
    """Return whether an item would be quarantined, and what it would do."""
    if isinstance(item, Ignored | Unusable):
        return isinstance(item, Unusable), escape_sentence(describe_item(item))
    if reason := refusal_reason(item, types, received=received):
        return True, f"{escape(describe_reference(item.contact))} → quarantined: {escape_sentence(reason)}"
    return False, escape(describe_item(item))


def replay_reply(
    slug: str, ids: Sequence[int], counts: Mapping[Status, int], failures: Sequence[str], *, has_more: bool
) -> Reply:
    """Return the outcome of replaying deliveries: the items by status, and why some are still in quarantine."""
    summary = ", ".join(f"{counts[status]:,} {status}" for status in Status if counts.get(status)) or "nothing to apply"
    amount = "1 delivery" if len(ids) == 1 else f"{len(ids):,} deliveries"
    text = f"Replayed {amount} of *{slug}*: {summary}." if ids else f"Nothing more from *{slug}* is in quarantine."
    reasons = [
        f"Still in quarantine ({count:,}): {escape_sentence(reason)}"
        for reason, count in Counter(failures).most_common(5)
    ]
    more = [button("Replay the next", action="source_replay", value=f"{slug} {ids[-1]}")] if has_more else []
    blocks = [section(text), *sections(reasons), *([actions(more)] if more else [])]
    return Reply(text=text, blocks=blocks, replaces=True)
