"""Subscriptions to events: list, add, change and remove them, and tell an admin that one was turned off."""

import re
from dataclasses import dataclass, replace

from bot.blocks.refusals import refusal_sentence
from bot.blocks.subscriptions import (
    EDIT_FORM,
    IMPORTS,
    PER_PAGE,
    SUBSCRIPTION_FORM,
    changed_reply,
    secret_reply,
    subscription_disabled_reply,
    subscription_form,
    subscriptions_reply,
)
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import NO_ADMIN_FOUND, NOTICE, JobTools
from bot.slack.text import parse_number
from storage.domain.backoff import PACE
from storage.domain.errors import BadAddress, BadName, UnknownSegment, UnknownSubscription
from storage.domain.facts import DAY
from storage.events.deliveries import TELL, redeliver
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.sources.subscriptions import (
    add_subscription,
    change_subscription,
    find_subscription,
    remove_subscription,
    rotate_subscription,
    subscriptions,
)


async def show_subscriptions(request: Request) -> Reply:
    """Handle `subscriptions`."""
    return subscriptions_reply(await subscriptions(request.workspace))


async def turn_page(request: Request) -> Reply:
    """Replace the list by the page of subscriptions that starts at the index in the button's value."""
    return await _replace_page(request, first=parse_number(request.text))


async def _replace_page(request: Request, *, first: int, note: str = "") -> Reply:
    listed = await subscriptions(request.workspace)
    first = min(first, max(len(listed) - 1, 0) // PER_PAGE * PER_PAGE)  # the last of the page may have been removed
    return replace(subscriptions_reply(listed, first=first, note=note), replaces=True)


async def open_form(request: Request) -> Reply:
    """Open the form for a new subscription."""
    return Reply(modal=subscription_form())


async def submit_subscription(request: Request) -> Reply:
    """Add the subscription and return its secret, which is not shown again."""
    entered = _read_form(request)
    try:
        subscription = await add_subscription(
            request.workspace, url=entered.url, events=entered.events, segments=entered.segments,
            imports=entered.imports, secret=request.senders.new_signing_secret(), by=request.person.id,
            now=request.now,
        )  # fmt: skip  # what, then who and when
    except (BadName, UnknownSegment) as refusal:
        return _show_errors(refusal)
    problem = await request.senders.find_address_problem(subscription.url)
    return secret_reply(subscription, f"Added the subscription {subscription.id}.", problem)


async def open_edit_form(request: Request) -> Reply:
    """Open the form that changes a subscription."""
    subscription = await find_subscription(request.workspace, id=parse_number(request.text))
    return Reply(modal=subscription_form(subscription))


async def submit_edit(request: Request) -> Reply:
    """Change the subscription. Without events and segments it gets every event that needs no segment."""
    entered = _read_form(request)
    before = await find_subscription(request.workspace, id=request.metadata["id"])
    try:
        subscription = await change_subscription(
            request.workspace, id=request.metadata["id"], url=entered.url, events=entered.events,
            segments=entered.segments, imports=entered.imports, by=request.person.id, now=request.now,
        )  # fmt: skip  # what, then who and when
    except (BadName, UnknownSegment) as refusal:
        return _show_errors(refusal)
    problem = await request.senders.find_address_problem(subscription.url)
    return changed_reply(before, subscription, problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entered:
    """The values of the form."""

    url: str
    events: list[str]
    segments: list[str]
    imports: bool


def _read_form(request: Request) -> _Entered:
    def split(name: str) -> list[str]:
        return [word for word in re.split(r"[\s,]+", request.fields.get(name) or "") if word]

    return _Entered(
        url=(request.fields["url"] or "").strip(),
        events=split("events"),
        segments=split("segments"),
        imports=request.fields.get("imports") == IMPORTS,
    )


def _show_errors(refusal: BadName | UnknownSegment) -> Reply:
    """Return the refusal at the field that causes it."""
    field = "segments" if isinstance(refusal, UnknownSegment) else "events"
    return Reply(errors={"url" if isinstance(refusal, BadAddress) else field: refusal_sentence(refusal)})


async def rotate(request: Request) -> Reply:
    """Replace the secret of a subscription, and return the new one, which is not shown again."""
    subscription = await rotate_subscription(
        request.workspace, id=parse_number(request.text), secret=request.senders.new_signing_secret(),
        by=request.person.id, now=request.now,
    )  # fmt: skip  # what, then who and when
    note = f"Subscription {subscription.id} has a new secret; for a day requests are signed with the old one as well."
    return secret_reply(subscription, note)


async def remove(request: Request) -> Reply:
    """Remove a subscription, and replace the list."""
    id, _, first = request.text.partition(" ")
    await remove_subscription(request.workspace, id=parse_number(id), by=request.person.id, now=request.now)
    return await _replace_page(request, first=parse_number(first), note=f"Removed the subscription {id}.")


async def send_again(request: Request) -> Reply:
    """Send the events that failed or wait again, turn the subscription on if it is off, and replace the list."""
    id, _, first = request.text.partition(" ")
    count = await redeliver(request.workspace, subscription=parse_number(id), by=request.person.id, now=request.now)
    events = "1 event is" if count == 1 else f"{count:,} events are"
    return await _replace_page(request, first=parse_number(first), note=f"{events} sent again to subscription {id}.")


async def report_disabled(tools: JobTools, job: Job) -> JobResult:
    """Notify an admin that a subscription was turned off, unless it was turned on again or removed meanwhile."""
    try:
        subscription = await find_subscription(tools.workspace, id=job.subject)
    except UnknownSubscription:
        return JobResult()
    if subscription.disabled_at is None:
        return JobResult()
    reply = subscription_disabled_reply(subscription)
    if not await tools.post_to_admin(job, reply, job.id, event=NOTICE, since=tools.clock() - DAY):
        raise GiveUp(NO_ADMIN_FOUND)
    return JobResult(pace=PACE)


FEATURE = Feature(
    verbs={
        "subscriptions": Verb(
            show_subscriptions,
            "subscriptions",
            "the programs that get events, and whether they accept them",
            ("subscriptions",),
            Need.ADMINISTER,
        ),
    },
    buttons={
        "subscriptions": (Need.ADMINISTER, turn_page),
        "subscription_form": (Need.ADMINISTER, open_form),
        "subscription_edit": (Need.ADMINISTER, open_edit_form),
        "subscription_rotate": (Need.ADMINISTER, rotate),
        "subscription_remove": (Need.ADMINISTER, remove),
        "subscription_redeliver": (Need.ADMINISTER, send_again),
    },
    forms={
        SUBSCRIPTION_FORM: (Need.ADMINISTER, submit_subscription),
        EDIT_FORM: (Need.ADMINISTER, submit_edit),
    },
    jobs={TELL: report_disabled},
)
