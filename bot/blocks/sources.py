"""Draw the systems that send scores: their list, one with its steps, its quarantine, and their forms."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from bot.blocks.elements import actions, button, context, moment, section, sections, truncate
from bot.blocks.fields import choice_field, plain, text_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code, escape_entities, escape_sentence
from bot.source_admin import Senders, explain_missing_token
from storage.domain.source_health import SourceHealth
from storage.domain.sources import Source
from storage.sources.deliveries import Lately, RefusalCount, Waiting
from storage.sources.health import HealthChange
from storage.sources.readback_queue import Reading

CALLBACK, ROTATE = "source", "rotate"
STANDING_EVENT = "source_standing"  # what a message of ours about a source is known by
PER_PAGE, MOST_ITEMS = 7, 20
PAUSING = (
    "While it is paused it is answered 503, try again in an hour. Nothing is taken, and most senders keep what they"
    " could not deliver and repeat it for some hours or days; what one gives up meanwhile is lost to us."
)
STANDS = {
    SourceHealth.WORKS: "",
    SourceHealth.REFUSED: " · *refused: it does not prove who it is*",
    SourceHealth.UNUSABLE: " · *nothing of it can be used*",
    SourceHealth.SILENT: " · *silent*",
}
KEPT_ASIDE = "All of it waits in quarantine: `/score sources` shows it, and replays it when the cause is mended."
LOOK_THERE = "Look at the sender whether its webhook is still switched on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A source with what came of it lately, how it stands, and how many of its items wait in quarantine."""

    source: Source
    lately: Lately
    standing: SourceHealth
    waiting: int


def sources_reply(shown: Sequence[Listed], *, first: int, total: int) -> Reply:
    """Answer with some of the sources, from place *first* on."""
    buttons = [button("Add a source", action="source_form", value="-", primary=not total)]
    if first + PER_PAGE < total:
        buttons.append(button("More sources", action="sources", value=str(first + PER_PAGE)))
    said = (
        "*Sources:* what sends scores" if total else "*Nothing sends scores yet.* Add a source, and connect your CRM."
    )
    blocks = [block for one in shown for block in (section(_described(one)), actions(_buttons(one, first)))]
    return Reply(text=f"{total} sources", blocks=[section(said), *blocks, actions(buttons)])


def _described(one: Listed) -> str:
    paused = " · *paused*" if one.source.settings.paused else STANDS[one.standing]
    last = f"Last delivery {moment(one.lately.last_at)}" if one.lately.last_at is not None else "Nothing delivered yet"
    counts = [
        f"{count:,} {what}"
        for count, what in (
            (one.lately.applied, "applied"),
            (one.lately.duplicate, "duplicate"),
            (one.lately.ignored, "ignored"),
            (one.lately.quarantined, "quarantined"),
        )
        if count
    ]
    many = "delivery" if one.lately.deliveries == 1 else "deliveries"
    day = f" · in the last day {one.lately.deliveries:,} {many}: {', '.join(counts) or 'no items'}"
    return f"*{one.source.slug}* `{one.source.provider}`{paused}\n{last}{day if one.lately.deliveries else ''}"


def _buttons(one: Listed, first: int) -> list[Block]:
    slug = one.source.slug
    if one.source.settings.paused:
        pause = button("Resume", action="source_resume", value=f"{slug} {first}")
    else:
        confirm = {
            "title": plain(truncate(f"Pause {slug}?", 100)),
            "text": {"type": "plain_text", "text": PAUSING},
            "confirm": plain("Pause"),
            "deny": plain("Cancel"),
        }
        pause = button("Pause", action="source_pause", value=f"{slug} {first}") | {"confirm": confirm}
    buttons = [button("Show", action="source_show", value=slug), button("Test", action="source_try", value=slug), pause]
    if one.source.secrets:
        buttons.append(button("Rotate", action="source_rotate", value=slug))
    if one.waiting:
        buttons.append(button(f"Quarantine ({one.waiting:,})", action="source_aside", value=slug))
    return buttons


def source_reply(source: Source, senders: Senders, refused: RefusalCount | None, reading: Reading) -> Reply:
    """Answer with the steps of one source, what it is set to, what was refused, and what is read of its contacts."""
    kept = source.settings
    told = {
        "Fields": ", ".join(f"{name} is {score}" for name, score in kept.map.items()),
        "Options": ", ".join(f"{name}={value}" for name, value in kept.options.items()),
        "User name": kept.username,
        "Token in": kept.token_in,
        "Address that it signs": kept.public_url,
        "At most": kept.rate,
        "Muted": "its deliveries ask for no follow-up" if kept.muted else None,
        "Paused": "it is answered 503" if kept.paused else None,
        "Live secrets": str(len(source.secrets)),
    }
    lines = [f"{name}: {escape(truncate(value, 300))}" for name, value in told.items() if value]
    if refused is not None:
        many = "request was" if refused.count == 1 else "requests were"
        last = f"{refused.count:,} {many} refused, the last {moment(refused.last_at)}"
        lines.append(f"{last}: {escape_sentence(refused.reason)}. {escape_sentence(refused.hint)}")
    if source.provider in senders.thin:
        lines += _read(reading) if source.reads else [explain_missing_token(source.slug)]
    head = f"*{source.slug}* `{source.provider}` at {escape(senders.url(source))}"
    return Reply(
        text=f"The source {source.slug}",
        blocks=[section(head), *sections(_numbered(senders.told(source))), *sections(lines)],
    )


def _read(reading: Reading) -> list[str]:
    """Say how it stands with what is read through a source's API."""
    waiting = f": {reading.waiting:,} wait" if reading.waiting else ""
    lines = [f"Addresses and names are read through its API{waiting}"]
    if reading.problem is not None and reading.problem_at is not None:
        lines.append(f"Not read {moment(reading.problem_at)}: {escape_sentence(reading.problem)}")
    return lines


def _numbered(steps: Iterable[str]) -> list[str]:
    return [f"{number}. {escape_sentence(step)}" for number, step in enumerate(steps, start=1)]


def source_health_reply(changed: HealthChange) -> Reply:
    """Tell an admin that a source has stopped working, or works again."""
    name, last = f"*{changed.source}*", f"It delivered last {moment(changed.last_at)}" if changed.last_at else ""
    why = escape_sentence(f"Because: {changed.reason}. {changed.hint or ''}".strip()) if changed.reason else ""
    match changed.standing:
        case SourceHealth.WORKS:
            said = f"{name} works again. {last}."
        case SourceHealth.REFUSED:
            said = f"{name} has stopped working: its last {changed.refused:,} requests were refused. {why}\n{last}."
        case SourceHealth.UNUSABLE:
            said = f"{name} has stopped working: nothing of its last deliveries could be used. {why}\n" + KEPT_ASIDE
        case SourceHealth.SILENT:
            said = f"{name} has gone silent: it never paused that long. {last}.\n" + LOOK_THERE
        case _:
            assert_never(changed.standing)
    blocks = [section(said), actions([button("Show", action="source_show", value=changed.source)])]
    return Reply(text=said, blocks=blocks)


def source_added_reply(source: Source, senders: Senders) -> Reply:
    """Answer that a source was made, with its secret, this once."""
    secret = source.secrets[0] if source.secrets else ""
    name = source.settings.username
    shown = [
        f"The address is `{escape_entities(senders.url(source))}`",
        *([f"The user name is `{escape_entities(name)}`"] if name else []),
        *([f"The {'password' if name else 'secret'} is `{escape_entities(secret)}`"] if secret else []),
    ]
    return Reply(
        text=f"Made the source {source.slug}.",
        blocks=[
            section(f"*Made the source {source.slug}.* At its side:"),
            *sections(_numbered(senders.told(source, secret=secret))),
            *sections(shown),
            context("Copy the secret now: it is not shown again." if secret else "It needs no secret of ours."),
        ],
    )


def rotated_reply(source: Source, *, until: int) -> Reply:
    """Answer with the new secret of a source, this once."""
    return Reply(
        text=f"{source.slug} has a new secret.",
        blocks=[
            section(f"*{source.slug}* has a new secret: `{escape_entities(source.secrets[0])}`"),
            context(f"It is not shown again. The old one is taken until {moment(until)}: change it at the sender."),
        ],
    )


def quarantine_reply(source: str, items: Sequence[Waiting], total: int) -> Reply:
    """Answer with the items of a source that could not be used, and why."""
    if not items:
        return Reply(text="Empty.", blocks=[section(f"Nothing of *{source}* waits in quarantine.")])
    lines = [
        f"{moment(one.received_at)} delivery {one.delivery}: {escape_sentence(one.reason)}"
        + (f"\n      `{escape_code(truncate(one.item, 150))}`" if one.item else "")
        for one in items
    ]
    more = f", the latest {len(items)}" if total > len(items) else ""
    return Reply(
        text=f"{total} items in quarantine",
        blocks=[
            section(f"*Quarantine of {source}:* {total:,} {'item' if total == 1 else 'items'}{more}"),
            *sections(lines),
            context(
                "Mend the cause first: a score type in `/score settings`, a field by"
                f" `contact-score source set {source} --map …`. What was applied before is not applied twice, and"
                " nobody is asked to follow up."
            ),
            actions([button("Replay all", action="source_replay", value=f"{source} 0", primary=True)]),
        ],
    )


def source_modal(providers: Iterable[str]) -> Block:
    """Make the form of a new source."""
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": plain("Source"),
        "submit": plain("Add"),
        "close": plain("Cancel"),
        "private_metadata": json.dumps({}),
        "blocks": [
            text_field("slug", "Name", hint="A short one, which stays: crm, hubspot-eu.", most=40),
            choice_field(
                "provider", "What sends", {name: name for name in providers},
                hint="generic: your own script. custom: any other sender; it is mapped from the terminal.",
            ),
            text_field(
                "secret", "Its secret", optional=True,
                hint="Where the sender makes it, as HubSpot, Intercom and Close do. Blank: one is made here.",
            ),
            text_field(
                "api_token", "API token", optional=True,
                hint="HubSpot and Attio name contacts by ids alone; with it their addresses and names are read.",
            ),
            text_field(
                "map", "Which field is which score", optional=True, multiline=True,
                hint="A line each: hubspotscore=score. A field that is named like a score type needs none.",
            ),
            text_field(
                "options", "Options", optional=True, multiline=True,
                hint="A line each. Salesforce needs organization_id=00D…, HubSpot takes signature=v2.",
            ),
        ],
    }  # fmt: skip  # a field a line


def rotate_modal(source: Source) -> Block:
    """Make the form that gives a source another secret."""
    about = f"*{source.slug}* gets another secret. The one it has is taken for a day more, so that nothing is lost."
    return {
        "type": "modal",
        "callback_id": ROTATE,
        "title": plain("Rotate"),
        "submit": plain("Rotate"),
        "close": plain("Cancel"),
        "private_metadata": json.dumps({"slug": source.slug}),
        "blocks": [
            section(about),
            text_field(
                "secret", "New secret", optional=True,
                hint="Where the sender makes it. Blank: one is made here, and shown once.",
            ),
        ],
    }  # fmt: skip  # a field a line
