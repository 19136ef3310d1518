"""`contact-score subscription`: add, list, rotate and remove subscriptions to events, and send events again."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.events import SEGMENT_EVENTS, EventType
from storage.events.deliveries import DeliveryState, EventDelivery, list_deliveries
from storage.events.deliveries import redeliver as redeliver_events
from storage.sources.subscriptions import (
    Subscription,
    add_subscription,
    find_subscription,
    remove_subscription,
    rotate_subscription,
    subscriptions,
)
from webhooks.addresses import AllowedAddresses
from webhooks.signing_secrets import check_signing_secret, new_signing_secret

_EVENTS = ", ".join(type.value for type in EventType)
_EVERY_EVENT = {type.value for type in EventType if type not in SEGMENT_EVENTS}


def add(
    url: Annotated[str, typer.Argument(help="The address that receives events.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help=f"An event to send; repeatable. Without it and --segment all are sent: {_EVENTS}."),
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Send when a contact enters or leaves this segment; repeatable.")
    ] = None,
    imports: Annotated[bool, typer.Option("--imports", help="Also send what the import of a file changes.")] = False,
    secret: Annotated[str | None, typer.Option(help="The signing secret, whsec_…; without it a new one.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Add a subscription and show its signing secret, which is not shown again."""

    async def body(_: Storage, settings: Settings) -> None:
        signing_secret = check_signing_secret(secret) if secret is not None else new_signing_secret()
        subscription = await add_subscription(
            await the_workspace(team), url=url, events=event or (), segments=segment or (), imports=imports,
            secret=signing_secret, by=terminal_user(), now=system_clock(),
        )  # fmt: skip  # what, then who and when
        if problem := await AllowedAddresses(settings.networks).find_problem(url):
            output.note(f"Warning: no event will be sent to this address: {problem}")
        _show_secret(subscription, signing_secret, f"Added the subscription {subscription.id}.", as_json=as_json)

    run(body)


def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the subscriptions, without their secrets."""

    async def body(_: Storage, __: Settings) -> None:
        all_subscriptions = await subscriptions(await the_workspace(team))
        if as_json:
            output.document({"subscriptions": [_render(subscription) for subscription in all_subscriptions]})
            return
        rows = [
            {
                "id": subscription.id,
                "url": subscription.url,
                "events": _shorten_events(subscription),
                "segments": ", ".join(subscription.segments),
                "state": _describe_state(subscription),
                "problem": subscription.problem,
            }
            for subscription in all_subscriptions
        ]
        output.table(rows, none="No subscriptions yet. Add one: contact-score subscription add https://…")

    run(body)


def rotate(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Replace the signing secret of a subscription. For a day, events have a signature of each of the two secrets."""

    async def body(_: Storage, __: Settings) -> None:
        secret = new_signing_secret()
        subscription = await rotate_subscription(
            await the_workspace(team), id=id, secret=secret, by=terminal_user(), now=system_clock()
        )
        _show_secret(subscription, secret, "The previous secret is valid for one more day.", as_json=as_json)

    run(body)


def remove(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Remove a subscription with its deliveries. Events that wait are not sent any more."""

    async def body(_: Storage, __: Settings) -> None:
        await remove_subscription(await the_workspace(team), id=id, by=terminal_user(), now=system_clock())
        if as_json:
            output.document({"removed": id})
        else:
            output.lines(f"Removed the subscription {id}.")

    run(body)


def deliveries(
    id: int,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """List the latest deliveries of a subscription, newest first. They are kept for seven days."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        await find_subscription(workspace, id=id)  # raise on an unknown id
        listed = await list_deliveries(workspace, subscription=id, state=state, limit=limit)
        rows = [_render_delivery(delivery) for delivery in listed]
        if as_json:
            output.document({"deliveries": rows})
        else:
            output.table(rows, none="Nothing was sent yet.")

    run(body)


def redeliver(
    id: Annotated[int, typer.Argument(help="The subscription.")],
    delivery: Annotated[
        list[int] | None, typer.Argument(help="Deliveries to send again. Without them all that failed or wait.")
    ] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Send events again, with the same ids. A subscription that was turned off is turned on."""

    async def body(_: Storage, __: Settings) -> None:
        count = await redeliver_events(
            await the_workspace(team), subscription=id, deliveries=delivery or None, by=terminal_user(),
            now=system_clock(),
        )  # fmt: skip  # what, then who and when
        if as_json:
            output.document({"redelivered": count})
        else:
            output.lines(f"{output.count(count, 'event')} will be sent again.")

    run(body)


def _show_secret(subscription: Subscription, secret: str, note: str, *, as_json: bool) -> None:
    if as_json:
        output.document({**_render(subscription), "secret": secret})
    else:
        output.lines(note, f"Events are sent to {subscription.url}, signed as Standard Webhooks with:", secret)
        output.lines("The secret is not shown again.")


def _render(subscription: Subscription) -> dict[str, object]:
    return {
        "id": subscription.id,
        "url": subscription.url,
        "events": list(subscription.events),
        "segments": list(subscription.segments),
        "imports": subscription.imports,
        "state": _describe_state(subscription),
        "problem": subscription.problem,
        "created_at": output.moment(subscription.created_at),
    }


def _describe_state(subscription: Subscription) -> str:
    if subscription.disabled_at is not None:
        return "off"
    return "works" if subscription.failing_since is None else "failing"


def _shorten_events(subscription: Subscription) -> str:
    return "all" if set(subscription.events) >= _EVERY_EVENT else ", ".join(subscription.events)


def _render_delivery(delivery: EventDelivery) -> dict[str, object]:
    waits = delivery.state is DeliveryState.WAITING
    return {
        "id": delivery.id,
        "event": delivery.event.uid,
        "type": delivery.event.type,
        "contact": delivery.event.contact,
        "happened_at": output.moment(delivery.event.at),
        "state": str(delivery.state),
        "attempts": delivery.attempts,
        "last_attempt_at": None if delivery.last_at is None else output.moment(delivery.last_at),
        "next_attempt_at": output.moment(delivery.due_at) if waits and delivery.due_at else None,
        "status": delivery.status,
        "problem": delivery.problem,
    }
