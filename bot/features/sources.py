"""Sources (systems that send scores): list, add, pause, test and rotate them, and replay their quarantine."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bot.blocks.refusals import refusal_sentence
from bot.blocks.sources import (
    EDIT_FORM,
    HEALTH_EVENT,
    MOST_ITEMS,
    MUTED,
    PER_PAGE,
    ROTATE_FORM,
    SOURCE_FORM,
    ListedSource,
    dry_run_reply,
    edit_modal,
    no_delivery_reply,
    quarantine_reply,
    replay_reply,
    rotate_modal,
    rotated_reply,
    source_added_reply,
    source_health_reply,
    source_modal,
    source_reply,
    sources_reply,
)
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import NO_ADMIN_FOUND, JobTools
from bot.slack.text import parse_number
from storage.domain.backoff import PACE
from storage.domain.errors import AlreadyThere, BadName, Refusal, UnknownDelivery
from storage.domain.source_health import SourceHealth
from storage.domain.sources import DAY, Source, SourceSettings
from storage.domain.submissions import Status
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.sources import health as source_health
from storage.sources.config import add_source, find_source, rotate_source, set_source, sources
from storage.sources.deliveries import (
    count_quarantined,
    count_recent,
    discard_items,
    list_quarantined_deliveries,
    list_quarantined_items,
    list_refusals,
    load_latest_raw,
)
from storage.sources.health import TELL, list_troubled
from storage.sources.readback_queue import load_readback_status

DELIVERIES_PER_CLICK = 50  #: deliveries that one click replays


async def show_sources(request: Request) -> Reply:
    """Handle `sources`."""
    return await render_sources_page(request)


async def turn_sources_page(request: Request) -> Reply:
    """Replace the list by the page of sources that starts at the index in the button's value."""
    return replace(await render_sources_page(request, first=parse_number(request.text)), replaces=True)


async def render_sources_page(request: Request, *, first: int = 0) -> Reply:
    """Return the page of sources that starts at index *first*, with recent deliveries, health and quarantine."""
    all_sources = await sources(request.workspace)
    quarantined, unhealthy = await count_quarantined(request.workspace), await list_troubled(request.workspace)
    listed = [
        ListedSource(
            source=source.at(request.now),
            recent=await count_recent(request.workspace, source=source.id, now=request.now),
            health=unhealthy.get(source.slug, SourceHealth.WORKS),
            quarantined=quarantined.get(source.slug, 0),
        )
        for source in all_sources[first : first + PER_PAGE]
    ]
    return sources_reply(listed, request.senders, first=first, total=len(all_sources))


async def show_source(request: Request) -> Reply:
    """Show the settings of a source and the steps to set up the sender."""
    return await render_source(request, request.text)


async def render_source(request: Request, slug: str) -> Reply:
    """Return the settings of a source and the steps to set up the sender."""
    source = (await find_source(request.workspace.team, slug=slug)).at(request.now)
    refused = next(
        (refusal for refusal in await list_refusals(request.workspace) if refusal.source == source.slug), None
    )
    return source_reply(
        source, request.senders, refused, await load_readback_status(request.workspace, source=source.slug)
    )


async def try_source(request: Request) -> Reply:
    """Show the items of a source's last stored delivery with the current settings. Nothing is recorded."""
    source = await find_source(request.workspace.team, slug=request.text)
    latest = await load_latest_raw(request.workspace, source=source.slug)
    if latest is None:
        return no_delivery_reply(source.slug)
    delivery, raw = latest
    items, warnings = request.senders.attempt(source, raw, delivery.key)
    types = {score_type.key: score_type for score_type in request.types}
    sent = raw.body.decode("utf-8", "replace") if "mapping" in request.senders.takes[source.provider] else None
    return dry_run_reply(delivery, items, warnings, types, sent=sent)


async def pause_source(request: Request) -> Reply:
    """Pause a source: its deliveries are answered 503 until it is resumed."""
    return await _set_paused(request, paused=True)


async def resume_source(request: Request) -> Reply:
    """Resume a source: its deliveries are accepted again."""
    return await _set_paused(request, paused=False)


async def _set_paused(request: Request, *, paused: bool) -> Reply:
    slug, _, first = request.text.partition(" ")
    source = await find_source(request.workspace.team, slug=slug)
    settings = replace(source.settings, paused=paused)
    await set_source(request.workspace, slug=slug, settings=settings, by=request.person.id, now=request.now)
    return replace(await render_sources_page(request, first=parse_number(first)), replaces=True)


async def open_source_form(request: Request) -> Reply:
    """Open the form for a new source."""
    return Reply(modal=source_modal(request.senders))


async def submit_source(request: Request) -> Reply:
    """Add the source and return its setup steps and secret; the secret is not shown again."""
    slug, provider = ((request.fields[name] or "").strip() for name in ("slug", "provider"))
    try:
        settings, secrets, api_token = _read_form(request, slug=slug, provider=provider)
        source = await add_source(
            request.workspace, slug=slug, provider=provider, secrets=secrets or (), settings=settings,
            api_token=api_token, by=request.person.id, now=request.now,
        )  # fmt: skip  # identity, secrets and token
    except _WrongField as wrong:
        return Reply(errors={wrong.field: wrong.problem})
    except (AlreadyThere, BadName) as refusal:
        return Reply(errors={"slug": refusal_sentence(refusal)})
    return source_added_reply(source, request.senders)


async def open_edit_form(request: Request) -> Reply:
    """Open the form that changes a source."""
    return Reply(modal=edit_modal(await find_source(request.workspace.team, slug=request.text), request.senders))


async def submit_edit(request: Request) -> Reply:
    """Change the settings of the source. A blank field removes its setting; a blank secret or token is kept."""
    source = await find_source(request.workspace.team, slug=request.metadata["slug"])
    shown = {name: value for name, value in _EMPTY_SETTINGS.items() if name in request.fields}
    before = replace(source, settings=replace(source.settings, **shown))
    try:
        settings, secrets, api_token = _read_form(request, slug=source.slug, provider=source.provider, before=before)
    except _WrongField as wrong:
        return Reply(errors={wrong.field: wrong.problem})
    await set_source(
        request.workspace, slug=source.slug, settings=settings, secrets=secrets, api_token=api_token,
        by=request.person.id, now=request.now,
    )  # fmt: skip  # what, then who and when
    return await render_source(request, source.slug)


#: the settings that a form shows as a text, without their values
_EMPTY_SETTINGS: Mapping[str, Any] = {
    "options": {}, "map": {}, "mapping": None, "public_url": None, "link": None, "rate": None,
    "write_back": {},
}  # fmt: skip  # a row
#: The fields of the forms, in the order in which they are validated: options may decide what the others may be.
_FIELD_ORDER = (
    "options",
    "map",
    "mapping",
    "token_in",
    "public_url",
    "link",
    "rate",
    "secret",
    "api_token",
    "write_back",
)
_OPTION = re.compile(r"--[a-z-]+ ")  #: an option of the command line in a sentence


class _WrongField(Exception):
    """The value of a field cannot be used; *problem* is a sentence."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem


def _read_form(
    request: Request, *, slug: str, provider: str, before: Source | None = None
) -> tuple[SourceSettings, tuple[str, ...] | None, str | None]:
    """Return the settings, the secrets (None: unchanged) and the API token of a source. Raises _WrongField."""
    entered = {name: (request.fields.get(name) or "").strip() for name in _FIELD_ORDER}
    options: dict[str, Any] = {}
    if "follow_ups" in request.fields:
        options["muted"] = request.fields["follow_ups"] == MUTED
    secret = None
    settings, secrets = SourceSettings(), None
    # Add one value at a time, so that the refusal is shown at the field that causes it.
    for name, text in entered.items():
        try:
            if name == "secret":
                secret = text or None
            elif text:
                options[name] = _parse_field(name, text)
            settings, secrets = request.senders.configure(
                request.workspace, slug=slug, provider=provider, secret=secret, options=options, before=before
            )
        except Refusal as refusal:
            raise _WrongField(name, _write_for_slack(refusal_sentence(refusal))) from refusal
    existing = {score_type.key for score_type in request.types}
    for name, keys in (("map", settings.map.values()), ("write_back", settings.write_back.keys())):
        if unknown := [key for key in keys if key not in existing]:
            raise _WrongField(name, f"There is no score type `{unknown[0]}`; existing: {_list_keys(request)}.")
    return settings, secrets, options.get("api_token")


def _parse_field(name: str, text: str) -> object:
    if name in ("options", "map", "write_back"):
        return _split_lines(text)
    if name != "mapping":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Refusal(f"this is not JSON: {exc}") from exc


def _write_for_slack(sentence: str) -> str:
    """Return a refusal without the options of the command line, which a form does not have."""
    return _OPTION.sub("", sentence.replace("--api-token", "API token"))


def _split_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _list_keys(request: Request) -> str:
    return ", ".join(f"`{score_type.key}`" for score_type in request.types[:20])


async def open_rotate_form(request: Request) -> Reply:
    """Open the form that rotates a source's secret."""
    return Reply(modal=rotate_modal(await find_source(request.workspace.team, slug=request.text)))


async def submit_rotation(request: Request) -> Reply:
    """Rotate the secret of the source. The previous secrets remain valid for a day."""
    slug = request.metadata["slug"]
    source = await find_source(request.workspace.team, slug=slug)
    try:
        secret = request.senders.next_secret(source, (request.fields.get("secret") or "").strip() or None)
    except Refusal as refusal:
        return Reply(errors={"secret": refusal_sentence(refusal)})
    rotated = await rotate_source(request.workspace, slug=slug, secret=secret, by=request.person.id, now=request.now)
    return rotated_reply(rotated, until=min(rotated.retiring.values(), default=request.now + DAY))


async def show_quarantine(request: Request) -> Reply:
    """Show a source's quarantined items and the reasons."""
    return await _render_quarantine(request, request.text)


async def _render_quarantine(request: Request, slug: str) -> Reply:
    items = await list_quarantined_items(request.workspace, source=slug, most=MOST_ITEMS)
    return quarantine_reply(slug, items, (await count_quarantined(request.workspace)).get(slug, 0))


async def discard_quarantined(request: Request) -> Reply:
    """Discard one item in quarantine, or all items of the oldest deliveries, at most DELIVERIES_PER_CLICK.

    The button's value is `SLUG DELIVERY POSITION` for one item, else `SLUG`.
    """
    slug, *item = request.text.split(" ")
    if item:
        ids, positions = [parse_number(item[0])], [parse_number(item[-1])]
    else:
        ids = await list_quarantined_deliveries(request.workspace, source=slug, after=0, most=DELIVERIES_PER_CLICK)
        positions = None
    for id in ids:
        with suppress(UnknownDelivery):  # somebody else discarded or replayed it
            await discard_items(
                request.workspace, id=id, positions=positions, by=request.person.id, now=request.now
            )  # fmt: skip  # what, then who and when
    return replace(await _render_quarantine(request, slug), replaces=True)


async def replay_source(request: Request) -> Reply:
    """Replay the oldest deliveries of a source that have quarantined items, at most DELIVERIES_PER_CLICK.

    The button's value is `SLUG AFTER`: the source, and the id of the last delivery that was replayed, or 0.
    """
    slug, _, after = request.text.partition(" ")
    ids = await list_quarantined_deliveries(
        request.workspace, source=slug, after=parse_number(after), most=DELIVERIES_PER_CLICK
    )
    counts, failures = Counter[Status](), list[str]()
    for id in ids:
        try:
            recorded = await request.senders.replay(request.workspace, id, request.person.id, request.now)
        except Refusal as refusal:
            failures.append(refusal_sentence(refusal))
            continue
        counts.update(outcome.status for outcome in recorded.outcomes)
        failures += [outcome.reason or "" for outcome in recorded.outcomes if outcome.status is Status.QUARANTINED]
    return replay_reply(slug, ids, counts, failures, has_more=len(ids) == DELIVERIES_PER_CLICK)


async def report_source_health(tools: JobTools, job: Job) -> JobResult:
    """Notify an admin that the health of a source changed, unless an earlier job reported the change."""
    changed = await source_health.load_unreported(tools.workspace, source=job.subject)
    if changed is None:
        return JobResult()
    reply = source_health_reply(changed)
    if not await tools.post_to_admin(job, reply, job.id, event=HEALTH_EVENT, since=changed.since):
        raise GiveUp(NO_ADMIN_FOUND)
    await source_health.record_reported(tools.workspace, changed=changed)
    return JobResult(pace=PACE)


FEATURE = Feature(
    verbs={
        "sources": Verb(
            show_sources,
            "sources",
            "the systems that send scores, and what they sent",
            ("sources",),
            Need.ADMINISTER,
        ),
    },
    buttons={
        "sources": (Need.ADMINISTER, turn_sources_page),
        "source_form": (Need.ADMINISTER, open_source_form),
        "source_show": (Need.ADMINISTER, show_source),
        "source_try": (Need.ADMINISTER, try_source),
        "source_pause": (Need.ADMINISTER, pause_source),
        "source_resume": (Need.ADMINISTER, resume_source),
        "source_rotate": (Need.ADMINISTER, open_rotate_form),
        "source_aside": (Need.ADMINISTER, show_quarantine),
        "source_replay": (Need.ADMINISTER, replay_source),
        "source_discard": (Need.ADMINISTER, discard_quarantined),
        "source_edit": (Need.ADMINISTER, open_edit_form),
    },
    forms={
        SOURCE_FORM: (Need.ADMINISTER, submit_source),
        EDIT_FORM: (Need.ADMINISTER, submit_edit),
        ROTATE_FORM: (Need.ADMINISTER, submit_rotation),
    },
    jobs={TELL: report_source_health},
)
