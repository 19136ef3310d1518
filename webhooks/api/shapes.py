"""Define the documents that the API answers with, for its description."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from storage.domain.contacts import TEXT_FIELDS
from storage.domain.followups import FollowUpOutcome, FollowUpState
from storage.events.deliveries import DeliveryState

Number = int | float
Band = Annotated[str | None, Field(description="The name of the band that the value is in.")]
Cursor = Annotated[str | None, Field(description="The `cursor` of the next page; null: this is the last one.")]


class Score(BaseModel):
    """The current score of a contact."""

    value: Number
    band: Band
    as_of: Annotated[datetime, Field(description="When the last change happened.")]
    trend_30d: Annotated[Number | None, Field(description="The value minus that of thirty days ago.")]
    band_until: Annotated[datetime | None, Field(description="When fading takes it out of its band.")] = None


class _Contact(BaseModel):
    id: int
    ids: Annotated[dict[str, str], Field(description="The contact's id in each source.")]
    tags: list[str]
    attributes: dict[str, Any]
    scores: Annotated[dict[str, Score], Field(description="By score type; a missing score is absent.")]
    created_at: datetime
    updated_at: datetime


_TEXTS: dict[str, Any] = {name: (str | None, ...) for name in TEXT_FIELDS}
Contact: type[BaseModel] = create_model("Contact", __base__=_Contact, __doc__="A contact with its scores.", **_TEXTS)


class ContactPage(BaseModel):
    """A page of contacts."""

    items: list[Contact]
    next_cursor: Cursor


class ScoreBand(BaseModel):
    """A named range of a score type: from this value to the start of the next band."""

    name: str
    start: Annotated[Number, Field(alias="from")]
    colour: str | None = None


class ScoreType(BaseModel):
    """What is measured: its range, step and bands."""

    key: str
    label: str
    min: Number
    max: Number
    step: Number
    start: Annotated[Number, Field(description="The value that additions begin with.")]
    bands: list[ScoreBand]
    half_life: Annotated[str | None, Field(description="The time in which half of the distance to `start` fades.")]
    default: bool


class ScoreTypePage(BaseModel):
    """All score types."""

    items: list[ScoreType]
    next_cursor: Cursor


class HistoryEntry(BaseModel):
    """A change of a score."""

    occurred_at: datetime
    op: Literal["set", "add", "clear", "activity", "fields"]
    amount: Annotated[Number, Field(description="What was asked for.")]
    effective: Annotated[Number | None, Field(description="What it changed; null if it was undone.")]
    source: str
    actor: Annotated[str | None, Field(description="A Slack user id, or `token NAME`.")]
    reason: str | None
    undone: bool


class HistoryPage(BaseModel):
    """A page of changes, newest first."""

    items: list[HistoryEntry]
    next_cursor: Cursor


class Contribution(BaseModel):
    """A line of an explanation."""

    occurred_at: datetime | None
    effect: Number
    op: str
    asked: Number
    cut: Number
    cut_by_cap: Number
    cut_by_range: Number
    rounded: Number
    faded: Number
    source: str | None
    actor: str | None
    rule: str | None
    ended: Annotated[bool, Field(description="The rule no longer applies.")]
    reason: str | None
    count: int


class Explanation(BaseModel):
    """The lines that add up to a score: the sum of their effects is the value."""

    value: Number
    contributions: list[Contribution]


class Segment(BaseModel):
    """A saved filter."""

    name: str
    filter: str


class SegmentPage(BaseModel):
    """All segments."""

    items: list[Segment]
    next_cursor: Cursor


_Person: dict[str, Any] = {"id": (int, ...), **_TEXTS}
FollowUpContact: type[BaseModel] = create_model("FollowUpContact", __doc__="The contact of a follow-up.", **_Person)


class FollowUp(BaseModel):
    """A request to get in touch with a contact, and what became of it."""

    id: int
    state: FollowUpState
    contact: FollowUpContact
    score: Annotated[str, Field(description="The key of the score type.")]
    before: Number | None
    after: Number | None
    why: Annotated[str | None, Field(description="The rule's trigger, if the score does not explain itself.")]
    source: str
    actor: str | None
    reason: str | None
    holder: Annotated[str | None, Field(description="The Slack user id of who claimed, snoozed or finished it.")]
    until: Annotated[datetime | None, Field(description="When the claim or the snooze ends.")]
    overdue_at: datetime | None
    escalate_to: str | None
    outcome: FollowUpOutcome | None
    note: Annotated[str | None, Field(description="What was written about the outcome.")]
    opened_at: datetime
    changed_at: datetime


class FollowUpPage(BaseModel):
    """A page of follow-ups, newest first."""

    items: list[FollowUp]
    next_cursor: Cursor


class Event(BaseModel):
    """Something that happened, as subscriptions get it. *data* has the contact and what the type adds."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]


class EventPage(BaseModel):
    """A page of events, oldest first. The next request with the cursor returns the events since."""

    items: list[Event]
    next_cursor: str


class Subscription(BaseModel):
    """An address that events are sent to."""

    id: int
    url: str
    events: list[str]
    segments: list[str]
    imports: bool
    state: Annotated[Literal["works", "failing", "off"], Field(description="`off`: it failed for days, or is gone.")]
    problem: Annotated[str | None, Field(description="Why the latest attempt failed.")]
    created_at: datetime


class SubscriptionSecret(Subscription):
    """A subscription with its new signing secret, which is shown only once."""

    secret: str


class SubscriptionPage(BaseModel):
    """All subscriptions."""

    items: list[Subscription]
    next_cursor: Cursor


class EventDelivery(BaseModel):
    """An event for a subscription, and what became of it."""

    id: int
    event: Annotated[str, Field(description="The id of the event, which is the `webhook-id` of its requests.")]
    type: str
    contact: int
    happened_at: datetime
    state: DeliveryState
    attempts: int
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    status: Annotated[int | None, Field(description="The status of the latest answer.")]
    problem: str | None


class EventDeliveryPage(BaseModel):
    """A page of deliveries, newest first."""

    items: list[EventDelivery]
    next_cursor: Cursor


class Redelivered(BaseModel):
    """The number of events that will be sent again."""

    redelivered: int


class ImportSummary(BaseModel):
    """The result of an import. The numbers are numbers of lines."""

    new: int
    changed: int
    same: int
    wrong: Annotated[int, Field(description="Lines that were not imported.")]
    lost: Annotated[int, Field(description="Imported lines of which a cell was left out.")]
    unasked: Annotated[int, Field(description="Follow-ups that were not created, because an import creates none.")]
    batch: Annotated[str, Field(description="What `/score undo` takes to undo the import.")]
    columns: Annotated[dict[str, str], Field(description="The field of each imported column.")]
    unused_columns: list[str]


class ImportedLine(BaseModel):
    """A line that was not imported completely."""

    line: int
    reason: str


class Import(BaseModel):
    """A file that was sent to be imported."""

    id: str
    state: Literal["waiting", "queued", "running", "done", "failed"]
    created_at: datetime
    finished_at: datetime | None
    summary: ImportSummary | None
    errors: Annotated[list[ImportedLine], Field(description="The first twenty.")]
    problem: Annotated[str | None, Field(description="Why it failed.")]


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str | None = None
    id: Annotated[int | None, Field(description="With 409: the contact that exists.")] = None
