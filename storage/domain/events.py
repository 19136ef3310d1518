"""Define the events that programs are sent, and derive those of a changed score."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from storage.domain.followups import FollowUpMove, FollowUpState
from storage.domain.numbers import to_json

if TYPE_CHECKING:  # it imports all that a change consists of
    from storage.domain.submissions import ScoreChanged

IMPORT = "import"  #: the cause of events that the import of a file, or its undo, produced


class EventType(StrEnum):
    """The types of events."""

    SCORE_CHANGED = "score.changed"
    BAND_ENTERED = "score.band_entered"
    BAND_LEFT = "score.band_left"
    SEGMENT_ENTERED = "segment.entered"
    SEGMENT_LEFT = "segment.left"
    FOLLOWUP_OPENED = "followup.opened"
    FOLLOWUP_CLAIMED = "followup.claimed"
    FOLLOWUP_SNOOZED = "followup.snoozed"
    FOLLOWUP_DONE = "followup.done"
    FOLLOWUP_CLOSED = "followup.closed"
    FOLLOWUP_ESCALATED = "followup.escalated"
    CONTACT_MERGED = "contact.merged"
    CONTACT_DELETED = "contact.deleted"


#: the type of a note in the outbox that a commit wrote a contact, for the events of segments; it is never sent
WRITTEN = "contact.written"

SEGMENT_EVENTS = (EventType.SEGMENT_ENTERED, EventType.SEGMENT_LEFT)
#: the events of entries in the history of a follow-up; other entries, such as the end of a snooze, have none
_FOLLOW_UP_EVENTS: Mapping[str, EventType] = {
    "asked": EventType.FOLLOWUP_OPENED,
    FollowUpMove.CLAIM: EventType.FOLLOWUP_CLAIMED,
    FollowUpMove.ASSIGN: EventType.FOLLOWUP_CLAIMED,
    FollowUpMove.TAKE_OVER: EventType.FOLLOWUP_CLAIMED,
    FollowUpMove.SNOOZE: EventType.FOLLOWUP_SNOOZED,
    FollowUpMove.DONE: EventType.FOLLOWUP_DONE,
    FollowUpMove.FALL_BACK: EventType.FOLLOWUP_CLOSED,
    FollowUpMove.TAKE_BACK: EventType.FOLLOWUP_CLOSED,
    FollowUpMove.ESCALATE: EventType.FOLLOWUP_ESCALATED,
}
#: the events that name contacts by their ids only
BARE = (EventType.CONTACT_MERGED, EventType.CONTACT_DELETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readership:
    """Who follows the changes of a workspace. *watches_segments*: a subscription names a segment."""

    kept_until: int  #: events are written until then, in µs UTC
    watches_segments: bool
    #: the slug of a source → the keys of the score types that are written to its contacts
    write_backs: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to write to the outbox. *data* is what the event says besides the contact; *at* is in µs UTC."""

    workspace: int
    type: str  #: an EventType, or WRITTEN
    contact: int
    at: int
    data: Mapping[str, Any] = field(default_factory=dict)
    cause: str | None = None  #: IMPORT, or None


def find_follow_up_event(move: str, state: str) -> EventType | None:
    """Return the event of an entry in the history of a follow-up, or None. *state* is the state after it."""
    if move == FollowUpMove.TAKE_BACK and state != FollowUpState.CLOSED:
        return None  # a claimed follow-up stays with its holder
    return _FOLLOW_UP_EVENTS.get(move)


def list_score_events(change: "ScoreChanged") -> list[tuple[EventType, dict[str, Any]]]:
    """Return the events of a changed score with their data. A score that shows the same value has none."""
    if change.before == change.after:
        return []
    score_type = change.score_type
    values = {
        "score": score_type.key,
        "value": None if change.after is None else to_json(change.after),
        "previous": None if change.before is None else to_json(change.before),
    }
    left = None if change.before is None else score_type.band(change.before)
    entered = None if change.after is None else score_type.band(change.after)
    events = [(EventType.SCORE_CHANGED, {**values, "band": entered, "previous_band": left})]
    if left is not None and left != entered:
        events.append((EventType.BAND_LEFT, {**values, "band": left}))
    if entered is not None and entered != left:
        events.append((EventType.BAND_ENTERED, {**values, "band": entered}))
    return events
