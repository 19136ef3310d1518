"""Define the states of a follow-up and the moves between them. The README has the same table."""

from dataclasses import dataclass
from enum import StrEnum

from storage.domain.errors import Refusal


class FollowUpState(StrEnum):
    """The state of a follow-up."""

    OPEN = "open"
    CLAIMED = "claimed"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"  #: nobody claimed it in time, and it was escalated to another person
    DONE = "done"
    CLOSED = "closed"  #: closed automatically: the score fell back, or its change was undone


class FollowUpMove(StrEnum):
    """A transition of a follow-up, made by a person, a timer or a change of the score."""

    CLAIM = "claim"
    SNOOZE = "snooze"
    DONE = "done"
    WAKE = "wake"  #: the snooze ended
    RELEASE = "release"  #: the claim expired without a result
    ESCALATE = "escalate"  #: nobody claimed the follow-up in time
    FALL_BACK = "fall back"  #: the score left the rule's region
    TAKE_BACK = "take back"  #: the change that it was opened for was undone


class FollowUpOutcome(StrEnum):
    """The outcome of a follow-up that is done."""

    MEETING = "meeting"
    NO_REPLY = "no reply"
    BAD_FIT = "bad fit"


#: (state, move) → the next state; every other move is refused
MOVES: dict[tuple[FollowUpState, FollowUpMove], FollowUpState] = {
    (FollowUpState.OPEN, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.OPEN, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.OPEN, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.OPEN, FollowUpMove.ESCALATE): FollowUpState.ESCALATED,
    (FollowUpState.OPEN, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
    (FollowUpState.OPEN, FollowUpMove.TAKE_BACK): FollowUpState.CLOSED,
    (FollowUpState.ESCALATED, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.ESCALATED, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.ESCALATED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.ESCALATED, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
    (FollowUpState.ESCALATED, FollowUpMove.TAKE_BACK): FollowUpState.CLOSED,
    (FollowUpState.CLAIMED, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.CLAIMED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.CLAIMED, FollowUpMove.RELEASE): FollowUpState.OPEN,
    (FollowUpState.SNOOZED, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.SNOOZED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.SNOOZED, FollowUpMove.WAKE): FollowUpState.OPEN,
    (FollowUpState.SNOOZED, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
    (FollowUpState.SNOOZED, FollowUpMove.TAKE_BACK): FollowUpState.CLOSED,
}
#: the states of follow-ups that are not finished
WAITING = (FollowUpState.OPEN, FollowUpState.ESCALATED, FollowUpState.CLAIMED, FollowUpState.SNOOZED)
#: the states of follow-ups that have no holder
NOBODYS = (FollowUpState.OPEN, FollowUpState.ESCALATED)
#: the states that close when the score falls back; a claimed follow-up stays with its holder
LETS_GO = tuple(state for state, move in MOVES if move is FollowUpMove.FALL_BACK)
#: moves that a timer makes, at the instant stored with the follow-up
BY_TIME = (FollowUpMove.WAKE, FollowUpMove.RELEASE, FollowUpMove.ESCALATE)
CLAIM_LASTS = 3 * 24 * 3_600_000_000  #: µs after which a claimed follow-up that is not done reopens


class TooLate(Refusal):
    """Somebody else was faster."""

    def __init__(self, state: FollowUpState, *, holder: str | None) -> None:
        super().__init__(f"it is {state.value}")
        self.state = state
        self.holder = holder  #: the Slack user id of the person who claimed, snoozed or ended the follow-up


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpStatus:
    """The state of a follow-up and its holder."""

    state: FollowUpState
    holder: str | None = None  #: the Slack user id of the person who claimed, snoozed or ended the follow-up


def move_status(status: FollowUpStatus, move: FollowUpMove, *, by: str | None) -> FollowUpStatus:
    """Return the status after a move by the person *by*; None: a timer, or a change of the score.

    Raises TooLate if the state does not allow the move, or if another person has claimed the follow-up.
    """
    after = MOVES.get((status.state, move))
    if after is None or (status.state is FollowUpState.CLAIMED and by is not None and by != status.holder):
        raise TooLate(status.state, holder=status.holder)
    return FollowUpStatus(state=after, holder=by if after not in NOBODYS else None)
