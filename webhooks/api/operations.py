"""Define the calls of the API: what each needs, takes and answers. The routes and the description are made of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from webhooks.api import shapes
from webhooks.api.access import ApiRequest
from webhooks.api.contacts import (
    ContactPatch,
    MergeBody,
    NewContact,
    change_contact,
    create_contact,
    delete_contact,
    list_contacts,
    merge_contact,
    show_contact,
)
from webhooks.api.events import list_events
from webhooks.api.explaining import show_explanation, show_history
from webhooks.api.exports import export_csv, export_json
from webhooks.api.followups import Actor, Done, FindMember, FollowUpMoves, Snooze, list_follow_ups
from webhooks.api.imports import create_import, show_import
from webhooks.api.scores import (
    Adjustment,
    ScoreBody,
    adjust_score,
    clear_score,
    list_types,
    put_score,
    show_score,
)
from webhooks.api.segments import list_segment_contacts, list_segments
from webhooks.api.subscriptions import (
    NewSubscription,
    Redelivery,
    SubscriptionPatch,
    create_subscription,
    delete_subscription,
    list_event_deliveries,
    list_subscriptions,
    patch_subscription,
    redeliver_events,
    rotate_secret,
    show_subscription,
)

BASE = "/api/v1"
CONTACT = "/contacts/{key}"
SCORE = f"{CONTACT}/scores/{{type}}"
FOLLOW_UP = "/followups/{id}"
SUBSCRIPTION = "/subscriptions/{id}"
SHOWING = "read write"  #: the scopes of calls that decide where the events of contacts go
PAGES = ("limit", "cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call of the API. *path* is below BASE; *scope* is what the token needs, or several with blanks between them."""

    method: str
    path: str
    scope: str
    handler: Callable[[ApiRequest], Awaitable[web.Response]]
    summary: str
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    takes: tuple[str, ...] = ()  #: the content types of a body that is a file
    status: int = 200
    result: type[BaseModel] | None = None
    kind: str | None = None  #: the content type of an answer that is a file
    problems: tuple[int, ...] = ()  #: the statuses of refusals besides those of every call


def make_operations(*, find_member: FindMember) -> list[Operation]:
    """Return all calls of the API."""
    moves = FollowUpMoves(find_member=find_member)
    operations = [
        Operation(
            method="GET", path="/contacts", scope="read", handler=list_contacts, summary="List contacts",
            query=("q", *PAGES), result=shapes.ContactPage,
        ),
        Operation(
            method="POST", path="/contacts", scope="write", handler=create_contact, summary="Create a contact",
            body=NewContact, status=201, result=shapes.Contact, problems=(409, 413),
        ),
        Operation(
            method="GET", path=CONTACT, scope="read", handler=show_contact, summary="Show a contact",
            result=shapes.Contact, problems=(404,),
        ),
        Operation(
            method="PATCH", path=CONTACT, scope="write", handler=change_contact,
            summary="Change fields of a contact, as a JSON merge patch", headers=("If-Match",), body=ContactPatch,
            result=shapes.Contact, problems=(404, 412, 413),
        ),
        Operation(
            method="DELETE", path=CONTACT, scope="write", handler=delete_contact,
            summary="Delete a contact and all its data, for good", headers=("If-Match",), status=204,
            problems=(404, 412),
        ),
        Operation(
            method="POST", path=f"{CONTACT}/merge", scope="write", handler=merge_contact,
            summary="Merge a contact into another", body=MergeBody, result=shapes.Contact, problems=(404, 413),
        ),
        Operation(
            method="GET", path=SCORE, scope="read", handler=show_score, summary="Show a score",
            result=shapes.Score, problems=(404,),
        ),
        Operation(
            method="PUT", path=SCORE, scope="write", handler=put_score,
            summary="Set a score; an unknown address creates the contact", headers=("If-Match",), body=ScoreBody,
            result=shapes.Score, problems=(404, 412, 413),
        ),
        Operation(
            method="DELETE", path=SCORE, scope="write", handler=clear_score, summary="Clear a score",
            headers=("If-Match",), status=204, problems=(404, 412),
        ),
        Operation(
            method="POST", path=f"{SCORE}/adjustments", scope="write", handler=adjust_score,
            summary="Add to a score, once for each Idempotency-Key", headers=("Idempotency-Key", "If-Match"),
            body=Adjustment, result=shapes.Score, problems=(404, 412, 413),
        ),
        Operation(
            method="GET", path=f"{SCORE}/history", scope="read", handler=show_history,
            summary="List the changes of a score, newest first", query=PAGES, result=shapes.HistoryPage,
            problems=(404,),
        ),
        Operation(
            method="GET", path=f"{SCORE}/explanation", scope="read", handler=show_explanation,
            summary="Show the lines that add up to a score", result=shapes.Explanation, problems=(404,),
        ),
        Operation(
            method="GET", path="/score-types", scope="read", handler=list_types, summary="List the score types",
            result=shapes.ScoreTypePage,
        ),
        Operation(
            method="GET", path="/segments", scope="read", handler=list_segments, summary="List the saved filters",
            result=shapes.SegmentPage,
        ),
        Operation(
            method="GET", path="/segments/{name}/contacts", scope="read", handler=list_segment_contacts,
            summary="List the contacts that match a saved filter", query=PAGES, result=shapes.ContactPage,
            problems=(404,),
        ),
        Operation(
            method="GET", path="/followups", scope="read", handler=list_follow_ups,
            summary="List follow-ups, newest first; without a state those that are not finished",
            query=("state", "owner", *PAGES), result=shapes.FollowUpPage,
        ),
        Operation(
            method="GET", path="/events", scope="read", handler=list_events,
            summary="List the events of the last seven days, oldest first, for programs that poll",
            query=("imports", *PAGES), result=shapes.EventPage,
        ),
        Operation(
            method="GET", path="/subscriptions", scope="read", handler=list_subscriptions,
            summary="List the subscriptions to events, without their secrets", result=shapes.SubscriptionPage,
        ),
        Operation(
            method="POST", path="/subscriptions", scope=SHOWING, handler=create_subscription,
            summary="Send events to an address; the answer has the secret that signs them",
            body=NewSubscription, status=201, result=shapes.SubscriptionSecret, problems=(404, 413),
        ),
        Operation(
            method="GET", path=SUBSCRIPTION, scope="read", handler=show_subscription, summary="Show a subscription",
            result=shapes.Subscription, problems=(404,),
        ),
        Operation(
            method="PATCH", path=SUBSCRIPTION, scope=SHOWING, handler=patch_subscription,
            summary="Change a subscription, as a JSON merge patch", body=SubscriptionPatch,
            result=shapes.Subscription, problems=(404, 413),
        ),
        Operation(
            method="DELETE", path=SUBSCRIPTION, scope="write", handler=delete_subscription,
            summary="Remove a subscription; events that wait are not sent any more", status=204, problems=(404,),
        ),
        Operation(
            method="POST", path=f"{SUBSCRIPTION}/rotate", scope="write", handler=rotate_secret,
            summary="Replace the secret; for a day requests are signed with both", result=shapes.SubscriptionSecret,
            problems=(404,),
        ),
        Operation(
            method="GET", path=f"{SUBSCRIPTION}/deliveries", scope="read", handler=list_event_deliveries,
            summary="List the latest deliveries of a subscription, newest first", query=PAGES,
            result=shapes.EventDeliveryPage, problems=(404,),
        ),
        Operation(
            method="POST", path=f"{SUBSCRIPTION}/redeliver", scope="write", handler=redeliver_events,
            summary="Send events again, with the same ids; a subscription that is off is turned on", body=Redelivery,
            result=shapes.Redelivered, problems=(404, 413),
        ),
        Operation(
            method="GET", path="/export.csv", scope="export", handler=export_csv,
            summary="Export contacts as CSV, which can be imported again", query=("q",), kind="text/csv",
        ),
        Operation(
            method="GET", path="/export.jsonl", scope="export", handler=export_json,
            summary="Export contacts as JSON Lines, one contact per line, or the whole ledger", query=("q", "full"),
            kind="application/jsonl",
        ),
        Operation(
            method="POST", path="/imports", scope="write", handler=create_import,
            summary="Import a file of at most 25 MiB in the background", query=("map", "all_columns"),
            headers=("Idempotency-Key",), takes=("text/csv", "application/jsonl"), status=202, result=shapes.Import,
            problems=(413, 415),
        ),
        Operation(
            method="GET", path="/imports/{id}", scope="write", handler=show_import,
            summary="Show what became of an import", result=shapes.Import, problems=(404,),
        ),
    ]  # fmt: skip  # the call, then what it takes and answers
    for name, handler, body, summary in (
        ("claim", moves.claim, Actor, "Claim a follow-up for a person"),
        ("snooze", moves.snooze, Snooze, "Snooze a follow-up"),
        ("done", moves.done, Done, "Finish a follow-up"),
        ("release", moves.release, Actor, "Release a claimed follow-up: it is open again"),
    ):
        operations.append(
            Operation(
                method="POST", path=f"{FOLLOW_UP}/{name}", scope="write", handler=handler, summary=summary, body=body,
                result=shapes.FollowUp, problems=(404, 409, 413),
            )
        )  # fmt: skip  # the call, then what it takes and answers
    return operations
