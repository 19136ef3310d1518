"""Define the states of a follow-up and the moves between them. The README has the same table."""

from dataclasses import dataclass
from enum import StrEnum

from storage.domain.errors import Refusal
from storage.domain.texts import clean_text


class FollowUpState(StrEnum):
    """The state of a follow-up."""

    OPEN = "open"
    CLAIMED = "claimed"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"  #: nobody claimed it in time, and it was escalated to another person
    DONE = "done"
    CLOSED = "closed"  #: closed automatically: the score fell back, or the change was undone


class FollowUpMove(StrEnum):
    """A transition of a follow-up, made by a person, a timer or a change of the score."""

    CLAIM = "claim"
    ASSIGN = "assign"  #: to another person, who holds the follow-up from then on
    TAKE_OVER = "take over"  #: from the person who claimed it
    SNOOZE = "snooze"
    DONE = "done"
    REOPEN = "reopen"
    RELEASE = "release"  #: by the person who claimed it, or because the claim expired without a result
    WAKE = "wake"  #: the snooze ended
    ESCALATE = "escalate"  #: nobody claimed the follow-up in time
    FALL_BACK = "fall back"  #: the score left what the last of its rules watches
    TAKE_BACK = "take back"  #: the change that made the last of its rules fire was undone


class FollowUpOutcome(StrEnum):
    """The outcome of a follow-up that is done."""

    MEETING = "meeting"
    NO_REPLY = "no reply"
    BAD_FIT = "bad fit"
    WON = "won"
    LOST = "lost"
    OTHER = "other"  #: explained by a note


#: the moves from every state in which nobody works on the follow-up
_WITHOUT_HOLDER = {
    FollowUpMove.CLAIM: FollowUpState.CLAIMED,
    FollowUpMove.ASSIGN: FollowUpState.CLAIMED,
    FollowUpMove.SNOOZE: FollowUpState.SNOOZED,
    FollowUpMove.DONE: FollowUpState.DONE,
    FollowUpMove.FALL_BACK: FollowUpState.CLOSED,
    FollowUpMove.TAKE_BACK: FollowUpState.CLOSED,
}
#: state → move → the next state; every other move is refused
_MOVES_OF: dict[FollowUpState, dict[FollowUpMove, FollowUpState]] = {
    FollowUpState.OPEN: {**_WITHOUT_HOLDER, FollowUpMove.ESCALATE: FollowUpState.ESCALATED},
    FollowUpState.ESCALATED: _WITHOUT_HOLDER,
    FollowUpState.SNOOZED: {**_WITHOUT_HOLDER, FollowUpMove.WAKE: FollowUpState.OPEN},
    FollowUpState.CLAIMED: {
        FollowUpMove.ASSIGN: FollowUpState.CLAIMED,
        FollowUpMove.TAKE_OVER: FollowUpState.CLAIMED,
        FollowUpMove.SNOOZE: FollowUpState.SNOOZED,
        FollowUpMove.DONE: FollowUpState.DONE,
        FollowUpMove.RELEASE: FollowUpState.OPEN,
    },
    FollowUpState.DONE: {FollowUpMove.REOPEN: FollowUpState.OPEN},
    FollowUpState.CLOSED: {},
}
#: (state, move) → the next state
MOVES = {(state, move): after for state, moves in _MOVES_OF.items() for move, after in moves.items()}
#: the states of follow-ups that are not finished
WAITING = (FollowUpState.OPEN, FollowUpState.ESCALATED, FollowUpState.CLAIMED, FollowUpState.SNOOZED)
#: the states of follow-ups that have no holder
NOBODYS = (FollowUpState.OPEN, FollowUpState.ESCALATED)
#: the states that close when no rule holds them open; a claimed follow-up stays with its holder
CLOSES_BY_ITSELF = tuple(state for state, move in MOVES if move is FollowUpMove.FALL_BACK)
#: moves that a timer makes, at the instant stored with the follow-up; RELEASE may also be made by a person
BY_TIME = (FollowUpMove.WAKE, FollowUpMove.RELEASE, FollowUpMove.ESCALATE)
#: moves that only time or a change of the score makes
_AUTOMATIC = (FollowUpMove.WAKE, FollowUpMove.ESCALATE, FollowUpMove.FALL_BACK, FollowUpMove.TAKE_BACK)
#: moves by which the contact's owner or an admin changes what another person has claimed
_BY_OWNER_OR_ADMIN = (FollowUpMove.TAKE_OVER, FollowUpMove.ASSIGN, FollowUpMove.RELEASE)
CLAIM_LASTS = 3 * 24 * 3_600_000_000  #: µs after which a claimed follow-up that is not done reopens
LONGEST_NOTE = 500  #: characters


class TooLate(Refusal):
    """Somebody else was faster."""

    def __init__(self, state: FollowUpState, *, holder: str | None) -> None:
        super().__init__(f"it is {state.value}")
        self.state = state
        self.holder = holder  #: the Slack user id of the person who claimed, snoozed or ended the follow-up


class NotTheirs(Refusal):
    """Only the contact's owner or an admin may do this, because somebody else claimed the follow-up."""

    def __init__(self, *, holder: str | None) -> None:
        super().__init__("somebody else claimed it: only the contact's owner or an admin can take it over")
        self.holder = holder


class BadNote(Refusal):
    """The outcome `other` needs a note of 1 to 500 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpStatus:
    """The state of a follow-up and its holder."""

    state: FollowUpState
    holder: str | None = None  #: the Slack user id of the person who claimed, snoozed or ended the follow-up


def move_status(
    status: FollowUpStatus,
    move: FollowUpMove,
    *,
    by: str | None,
    assignee: str | None = None,
    is_in_charge: bool = False,
) -> FollowUpStatus:
    """Return the status after a move by the person *by*; None: a timer, or a change of the score.

    *assignee* is the person to assign to. *is_in_charge*: the person is an admin, or the owner of the contact.
    Raises TooLate if the state does not allow the move, or if another person has claimed the follow-up; NotTheirs for a
    move of a claimed follow-up that only its holder, the contact's owner and admins may make.
    """
    after = MOVES.get((status.state, move))
    is_anothers = status.state is FollowUpState.CLAIMED and by is not None and by != status.holder
    if after is None or (is_anothers and move not in _BY_OWNER_OR_ADMIN):
        raise TooLate(status.state, holder=status.holder)
    if is_anothers and not is_in_charge:
        raise NotTheirs(holder=status.holder)
    holder = assignee if move is FollowUpMove.ASSIGN else by
    return FollowUpStatus(state=after, holder=holder if after not in NOBODYS else None)


def possible_moves(
    status: FollowUpStatus, *, by: str | None = None, is_in_charge: bool = True
) -> tuple[FollowUpMove, ...]:
    """Return the moves that a person may make, in the order of `FollowUpMove`.

    *by* None: the moves that anybody may make, for a message that many people read.
    """
    moves = [move for state, move in MOVES if state is status.state and move not in _AUTOMATIC]
    if by is not None and status.state is FollowUpState.CLAIMED:
        mine = by == status.holder
        moves = [
            move
            for move in moves
            if (move is not FollowUpMove.TAKE_OVER if mine else is_in_charge and move in _BY_OWNER_OR_ADMIN)
        ]
    return tuple(sorted(moves, key=list(FollowUpMove).index))


def check_note(outcome: FollowUpOutcome, note: str | None) -> str | None:
    """Return the note of an outcome, or None if it is blank. Raises BadNote."""
    note = (clean_text(note, lines=True) if note else None) or None
    if note is None and outcome is FollowUpOutcome.OTHER:
        raise BadNote("the outcome `other` needs a note")
    if note is not None and len(note) > LONGEST_NOTE:
        raise BadNote(f"the note has {len(note):,} characters; the most are {LONGEST_NOTE}")
    return note
