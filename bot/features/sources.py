"""Sources (systems that send scores): list, add, pause, test and rotate them, and replay their quarantine."""

from collections import Counter
from dataclasses import replace
from typing import Any

from bot.blocks.refusals import refusal_sentence
from bot.blocks.sources import (
    HEALTH_EVENT,
    MOST_ITEMS,
    PER_PAGE,
    ROTATE_FORM,
    SOURCE_FORM,
    ListedSource,
    dry_run_reply,
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
from bot.slack.feature import Command, Feature
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import NO_ADMIN_FOUND, JobTools
from bot.slack.text import parse_number
from storage.domain.backoff import PACE
from storage.domain.errors import AlreadyThere, BadName, Refusal
from storage.domain.source_health import SourceHealth
from storage.domain.sources import DAY
from storage.domain.submissions import Status
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.sources import health as source_health
from storage.sources.config import add_source, find_source, rotate_source, set_source, sources
from storage.sources.deliveries import (
    count_quarantined,
    count_recent,
    latest_raw,
    list_refusals,
    quarantine,
    set_aside_deliveries,
)
from storage.sources.health import TELL, list_troubled
from storage.sources.readback_queue import readback_status

AT_ONCE = 50  #: deliveries that one click replays


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
    return sources_reply(listed, first=first, total=len(all_sources))


async def show_source(request: Request) -> Reply:
    """Show the settings of a source and the steps to set up the sender."""
    source = (await find_source(request.workspace.team, slug=request.text)).at(request.now)
    refused = next(
        (refusal for refusal in await list_refusals(request.workspace) if refusal.source == source.slug), None
    )
    return source_reply(source, request.senders, refused, await readback_status(request.workspace, source=source.slug))


async def try_source(request: Request) -> Reply:
    """Show the items of a source's last stored delivery with the current settings. Nothing is recorded."""
    source = await find_source(request.workspace.team, slug=request.text)
    latest = await latest_raw(request.workspace, source=source.slug)
    if latest is None:
        return no_delivery_reply(source.slug)
    delivery, raw = latest
    items, warnings = request.senders.attempt(source, raw, delivery.key)
    return dry_run_reply(delivery, items, warnings, {score_type.key: score_type for score_type in request.types})


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
    return Reply(modal=source_modal(request.senders.steps))


async def submit_source(request: Request) -> Reply:
    """Add the source and return its setup steps and secret; the secret is not shown again."""
    entered = {name: (value or "").strip() for name, value in request.fields.items()}
    slug, provider = entered["slug"], entered["provider"]
    values: dict[str, Any] = {"secret": None, "map": (), "options": (), "api_token": None}
    # Add one value at a time, so that the refusal is shown at the field that causes it.
    for name in ("options", "map", "secret", "api_token"):
        values[name] = _split_lines(entered[name]) if name in ("options", "map") else entered[name] or None
        try:
            settings, secrets = request.senders.configure(request.workspace, slug=slug, provider=provider, **values)
        except Refusal as refusal:
            return Reply(errors={name: refusal_sentence(refusal)})
    for score in settings.map.values():
        if score not in {score_type.key for score_type in request.types}:
            return Reply(errors={"map": f"There is no score type `{score}`; existing: {_list_keys(request)}."})
    try:
        source = await add_source(
            request.workspace, slug=slug, provider=provider, secrets=secrets, settings=settings,
            api_token=values["api_token"], by=request.person.id, now=request.now,
        )  # fmt: skip  # identity, secrets and token
    except (AlreadyThere, BadName) as refusal:
        return Reply(errors={"slug": refusal_sentence(refusal)})
    return source_added_reply(source, request.senders)


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
    items = await quarantine(request.workspace, source=request.text, most=MOST_ITEMS)
    return quarantine_reply(request.text, items, (await count_quarantined(request.workspace)).get(request.text, 0))


async def replay_source(request: Request) -> Reply:
    """Replay the deliveries of a source that have quarantined items, oldest first, at most AT_ONCE per click."""
    slug, _, after = request.text.partition(" ")
    ids = await set_aside_deliveries(request.workspace, source=slug, after=parse_number(after), most=AT_ONCE)
    counts, failures = Counter[Status](), list[str]()
    for id in ids:
        try:
            recorded = await request.senders.replay(request.workspace, id, request.person.id, request.now)
        except Refusal as refusal:
            failures.append(refusal_sentence(refusal))
            continue
        counts.update(outcome.status for outcome in recorded.outcomes)
        failures += [outcome.reason or "" for outcome in recorded.outcomes if outcome.status is Status.QUARANTINED]
    return replay_reply(slug, ids, counts, failures, has_more=len(ids) == AT_ONCE)


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
        "sources": Command(
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
    },
    forms={SOURCE_FORM: (Need.ADMINISTER, submit_source), ROTATE_FORM: (Need.ADMINISTER, submit_rotation)},
    jobs={TELL: report_source_health},
)
