"""Define what an alert rule remembers of a contact, and how its memory moves on.

A rule is edge-triggered: it fires when a score enters what the rule watches, and re-arms when the score has left it by
a margin.
"""

from dataclasses import dataclass

from storage.domain.records import replace

MOST_FOUND = 3  #: how many decisions in a row can be undone with the memory that each found


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """The state of a rule for one contact; the defaults are the state before the first evaluation. Times in µs."""

    taken: bool = False  #: the score is inside, and the rule has not re-armed since
    pending_until: int | None = None  #: when to evaluate again: the end of the hold, or when `Untouched` may fire
    fired_at: int | None = None  #: when the rule last fired and a follow-up was opened
    seen_at: int = 0  #: everything up to this instant was evaluated
    spent: int = 0  #: how many times the cool-down kept the rule from firing
    enrollment: int = 0  #: the enrollment of the rule for which it holds
    cause: str | None = None  #: the batch of the person's change that decided last; None: time or a program did
    found: "AlertMemory | None" = None  #: the memory that this change found; an undo of the change puts it back

    def __post_init__(self) -> None:
        if self.taken and self.pending_until is not None:
            raise ValueError("an alert rule cannot have taken a contact and wait for the end of its hold at once")

    def has_same_state(self, other: "AlertMemory") -> bool:
        """Return whether another memory differs at most in how far it was evaluated, and in what caused it."""
        return (self.taken, self.pending_until, self.fired_at, self.spent) == (
            other.taken, other.pending_until, other.fired_at, other.spent,
        )  # fmt: skip  # the fields that decide

    def forget_cause(self) -> "AlertMemory":
        """Return the memory without its cause: no undo puts an earlier memory back."""
        return self if self.cause is None and self.found is None else replace(self, cause=None, found=None)

    def attribute(self, found: "AlertMemory", *, batch: str | None) -> "AlertMemory":
        """Return the memory after a change, which found the memory *found*, with the batch of the change as its cause.

        *batch* is None for a change that cannot be undone. A further change of the same batch keeps what the first one
        found.
        """
        if batch is None:
            return self.forget_cause()
        earlier = found.found if found.cause == batch else found
        return replace(self, cause=batch, found=None if earlier is None else earlier.shorten(MOST_FOUND - 1))

    def shorten(self, most: int) -> "AlertMemory":
        """Return the memory with at most *most* earlier memories."""
        if self.found is None:
            return self
        return self.forget_cause() if most == 0 else replace(self, found=self.found.shorten(most - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The result of an evaluation: the new memory, whether the rule fires, whether its open follow-up closes.

    A caller that opens no follow-up although the rule fires must keep the earlier *fired_at* of the memory, because
    the cool-down starts only with a follow-up.
    """

    memory: AlertMemory
    fires: bool = False
    closes: bool = False


def advance(memory: AlertMemory, *, inside: bool, is_left: bool, hold: int, cooldown: int, now: int) -> Decision:
    """Return the decision for a score that is inside what the rule watches, or not.

    *is_left*: the score is outside by the margin, so that the rule re-arms. *hold*: how long the score must stay inside
    before the rule fires. *cooldown*: the least time between two firings.
    """
    if not inside:
        if memory.taken and is_left:
            return Decision(memory=replace(memory, seen_at=now, taken=False, pending_until=None), closes=True)
        return Decision(memory=replace(memory, seen_at=now, pending_until=None))
    if memory.taken:
        return Decision(memory=replace(memory, seen_at=now))
    if memory.pending_until is None and hold:
        return Decision(memory=replace(memory, seen_at=now, pending_until=now + hold))
    if memory.pending_until is not None and now < memory.pending_until:
        return Decision(memory=replace(memory, seen_at=now))
    if memory.fired_at is not None and now < memory.fired_at + cooldown:
        # The contact counts as taken all the same: the rule must re-arm before it can fire.
        spent = memory.spent + 1
        return Decision(memory=replace(memory, seen_at=now, taken=True, pending_until=None, spent=spent))
    return Decision(memory=replace(memory, seen_at=now, taken=True, pending_until=None, fired_at=now), fires=True)
