"""Say what can become of a follow-up, and who may make it so; the README draws this table."""

from dataclasses import dataclass
from enum import StrEnum

from storage.domain.errors import Refusal


class FollowUpState(StrEnum):
    """Where a follow-up stands."""

    OPEN = "open"
    CLAIMED = "claimed"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"  #: nobody claimed it in time, and somebody else was told
    DONE = "done"
    CLOSED = "closed"  #: by itself: the score fell back


class FollowUpMove(StrEnum):
    """What somebody, or time, does to a follow-up."""

    CLAIM = "claim"
    SNOOZE = "snooze"
    DONE = "done"
    WAKE = "wake"  #: a snooze ends
    RELEASE = "release"  #: a claim that nothing came of ends
    ESCALATE = "escalate"  #: nobody claimed it in time
    FALL_BACK = "fall back"  #: the score left the region


class FollowUpOutcome(StrEnum):
    """What came of a follow-up that is done."""

    MEETING = "meeting"
    NO_REPLY = "no reply"
    BAD_FIT = "bad fit"


#: (state, move) → the state after it; what is not here cannot happen
MOVES: dict[tuple[FollowUpState, FollowUpMove], FollowUpState] = {
    (FollowUpState.OPEN, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.OPEN, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.OPEN, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.OPEN, FollowUpMove.ESCALATE): FollowUpState.ESCALATED,
    (FollowUpState.OPEN, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
    (FollowUpState.ESCALATED, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.ESCALATED, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.ESCALATED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.ESCALATED, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
    (FollowUpState.CLAIMED, FollowUpMove.SNOOZE): FollowUpState.SNOOZED,
    (FollowUpState.CLAIMED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.CLAIMED, FollowUpMove.RELEASE): FollowUpState.OPEN,
    (FollowUpState.SNOOZED, FollowUpMove.CLAIM): FollowUpState.CLAIMED,
    (FollowUpState.SNOOZED, FollowUpMove.DONE): FollowUpState.DONE,
    (FollowUpState.SNOOZED, FollowUpMove.WAKE): FollowUpState.OPEN,
    (FollowUpState.SNOOZED, FollowUpMove.FALL_BACK): FollowUpState.CLOSED,
}
#: in these it waits for somebody
WAITING = (FollowUpState.OPEN, FollowUpState.ESCALATED, FollowUpState.CLAIMED, FollowUpState.SNOOZED)
#: in these nobody has taken it on
NOBODYS = (FollowUpState.OPEN, FollowUpState.ESCALATED)
#: in these it ends by itself when the score falls back; what is claimed is somebody's
LETS_GO = tuple(state for state, move in MOVES if move is FollowUpMove.FALL_BACK)
#: what time does, each at the instant that the follow-up keeps
BY_TIME = (FollowUpMove.WAKE, FollowUpMove.RELEASE, FollowUpMove.ESCALATE)
CLAIM_LASTS = 3 * 24 * 3_600_000_000  #: µs until what is claimed, and not done, is open again


class TooLate(Refusal):
    """Somebody else was faster."""

    def __init__(self, state: FollowUpState, *, holder: str | None) -> None:
        super().__init__(f"it is {state.value}")
        self.state = state
        self.holder = holder  #: Slack's id of who has it, or ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpStatus:
    """A follow-up as far as a move is concerned."""

    state: FollowUpState
    holder: str | None = None  #: who claimed it, snoozed it or ended it


def move_status(status: FollowUpStatus, move: FollowUpMove, *, by: str | None) -> FollowUpStatus:
    """Make a move; raises TooLate where it is not possible any more, or it is another's."""
    after = MOVES.get((status.state, move))
    if after is None or (status.state is FollowUpState.CLAIMED and by is not None and by != status.holder):
        raise TooLate(status.state, holder=status.holder)
    return FollowUpStatus(state=after, holder=by if after not in NOBODYS else None)
