"""Say what can become of a follow-up, and who may make it so; the README draws this table."""

from dataclasses import dataclass
from enum import StrEnum

from storage.domain.errors import Refusal


class State(StrEnum):
    """Where a follow-up stands."""

    OPEN = "open"
    CLAIMED = "claimed"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"  #: nobody claimed it in time, and somebody else was told
    DONE = "done"
    CLOSED = "closed"  #: by itself: the score fell back


class Move(StrEnum):
    """What somebody, or time, does to a follow-up."""

    CLAIM = "claim"
    SNOOZE = "snooze"
    DONE = "done"
    WAKE = "wake"  #: a snooze ends
    RELEASE = "release"  #: a claim that nothing came of ends
    ESCALATE = "escalate"  #: nobody claimed it in time
    FALL_BACK = "fall back"  #: the score left the region


class Outcome(StrEnum):
    """What came of a follow-up that is done."""

    MEETING = "meeting"
    NO_REPLY = "no reply"
    BAD_FIT = "bad fit"


#: (state, move) → the state after it; what is not here cannot happen
MOVES: dict[tuple[State, Move], State] = {
    (State.OPEN, Move.CLAIM): State.CLAIMED,
    (State.OPEN, Move.SNOOZE): State.SNOOZED,
    (State.OPEN, Move.DONE): State.DONE,
    (State.OPEN, Move.ESCALATE): State.ESCALATED,
    (State.OPEN, Move.FALL_BACK): State.CLOSED,
    (State.ESCALATED, Move.CLAIM): State.CLAIMED,
    (State.ESCALATED, Move.SNOOZE): State.SNOOZED,
    (State.ESCALATED, Move.DONE): State.DONE,
    (State.ESCALATED, Move.FALL_BACK): State.CLOSED,
    (State.CLAIMED, Move.SNOOZE): State.SNOOZED,
    (State.CLAIMED, Move.DONE): State.DONE,
    (State.CLAIMED, Move.RELEASE): State.OPEN,
    (State.SNOOZED, Move.CLAIM): State.CLAIMED,
    (State.SNOOZED, Move.DONE): State.DONE,
    (State.SNOOZED, Move.WAKE): State.OPEN,
    (State.SNOOZED, Move.FALL_BACK): State.CLOSED,
}
#: in these it waits for somebody
WAITING = (State.OPEN, State.ESCALATED, State.CLAIMED, State.SNOOZED)
#: in these nobody has taken it on
NOBODYS = (State.OPEN, State.ESCALATED)
#: in these it ends by itself when the score falls back; what is claimed is somebody's
LETS_GO = tuple(state for state, move in MOVES if move is Move.FALL_BACK)
#: what time does, each at the instant that the follow-up keeps
BY_TIME = (Move.WAKE, Move.RELEASE, Move.ESCALATE)
CLAIM_LASTS = 3 * 24 * 3_600_000_000  #: µs until what is claimed, and not done, is open again


class TooLate(Refusal):
    """Somebody else was faster."""

    def __init__(self, state: State, *, holder: str | None) -> None:
        super().__init__(f"it is {state.value}")
        self.state = state
        self.holder = holder  #: Slack's id of who has it, or ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A follow-up as far as a move is concerned."""

    state: State
    holder: str | None = None  #: who claimed it, snoozed it or ended it


def moved(standing: Standing, move: Move, *, by: str | None) -> Standing:
    """Make a move; raises TooLate where it is not possible any more, or it is another's."""
    after = MOVES.get((standing.state, move))
    if after is None or (standing.state is State.CLAIMED and by is not None and by != standing.holder):
        raise TooLate(standing.state, holder=standing.holder)
    return Standing(state=after, holder=by if after not in NOBODYS else None)
