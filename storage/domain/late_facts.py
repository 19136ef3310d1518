"""Fold late facts into a score without its whole history.

The fold starts from a stored state before the late facts. It stops at the first later fact after which the state equals
the stored state, for example a set: all effects after that fact stay as they are stored.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from storage.domain.contacts import Json
from storage.domain.facts import Fact
from storage.domain.fold import (
    Effect,
    ScoreState,
    apply_fact,
    fold_order,
    is_rank_enough,
    make_initial_state,
    state_of_rank,
)
from storage.domain.score_types import ScoreType


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEffect:
    """A stored effect with its fact."""

    fact_id: int
    fact: Fact
    effect: Effect
    after: ScoreState | None  #: the state after the fact, if it is stored with the effect
    lacks_snapshot: bool = False  #: whether the effect must be saved again, because an earlier version saved no state


class LateFold:
    """The fold of late facts into one score. The caller adds windows of stored effects until it is finished.

    Facts without a stored effect are not needed: as long as the fields of the contact are the same, they have no effect
    after any state. Therefore the *fields* that conditions of rules read must be the same at all new facts and after
    them.
    """

    def __init__(
        self,
        score_type: ScoreType,
        new_facts: Mapping[int, Fact],
        *,
        stored: ScoreState,
        fields: Mapping[str, Json] | None = None,
        fields_since: int = -1,
    ) -> None:
        """Prepare a fold of at least one new fact. *new_facts*: row id → fact.

        *stored* is the score's state without them. *fields_since* is when the fields that rules read changed last, in
        µs.
        """
        self.score_type = score_type
        self.effects: dict[int, tuple[Fact, Effect]] = {}  #: the new effects and those that differ from the stored ones
        self.state: ScoreState | None = None  #: the new state of the score, once the fold has ended
        self.needs_ledger = False  #: whether the fold has ended because the whole ledger must be folded instead
        self._stored, self._is_rank_enough = stored, is_rank_enough(score_type)
        self._fields, self._fields_since = fields or {}, fields_since
        self._new_facts = deque(sorted(new_facts.items(), key=lambda item: fold_order(item[1])))
        self._state_so_far: ScoreState | None = None  # None before the first window
        self.since = self._new_facts[0][1].occurred_at  #: the instant of the earliest new fact, in µs

    @property
    def is_finished(self) -> bool:
        """Whether the fold needs no further window."""
        return self.state is not None or self.needs_ledger

    def add_window(self, window: Sequence[StoredEffect], *, is_last: bool) -> None:
        """Fold the next stored effects, in the order of the fold. *is_last*: there are no effects after them.

        The first window must begin with the last effect before *since* that has a known state, or with the first effect
        of the score. All windows together must have every effect from there up to some instant.
        """
        if self._state_so_far is None:
            window = self._start_from_stored(window)
        for stored in window:
            if self.is_finished:
                return
            while self._new_facts and fold_order(self._new_facts[0][1]) < fold_order(stored.fact):
                self._apply_new_fact()
            self._apply_stored_fact(stored)
        if is_last and not self.is_finished:
            while self._new_facts:
                self._apply_new_fact()
            assert self._state_so_far is not None
            self.state = replace(self._state_so_far, last=max(self._stored.last, self._state_so_far.last))

    def _start_from_stored(self, window: Sequence[StoredEffect]) -> Sequence[StoredEffect]:
        """Set the state to start from. Return the effects in *window* after it."""
        self._state_so_far, first = make_initial_state(self.score_type), 0
        for index, stored in enumerate(window):
            if stored.fact.occurred_at < self.since and (state := self._restore_state(stored)) is not None:
                self._state_so_far, first = state, index + 1
        # The fold starts with the current fields, so they must not have changed since the state. Before the first fact
        # there are no fields; a fact at the instant of the state may have changed one.
        self.needs_ledger = self._fields_since >= (self._state_so_far.at if first else 0)
        return window[first:]

    def _restore_state(self, stored: StoredEffect) -> ScoreState | None:
        """Return the state after a stored effect, or None if it is not known."""
        if self._is_rank_enough:
            return state_of_rank(stored.effect.rank_after, stored.fact, self.score_type)
        return stored.after

    def _apply_new_fact(self) -> None:
        assert self._state_so_far is not None
        fact_id, fact = self._new_facts.popleft()
        self._state_so_far, effect = apply_fact(self._state_so_far, fact, self.score_type, self._fields)
        if effect is not None:
            self.effects[fact_id] = (fact, effect)

    def _apply_stored_fact(self, stored: StoredEffect) -> None:
        """Apply a fact that has a stored effect. End the fold if the state after it is the stored state."""
        assert self._state_so_far is not None
        self._state_so_far, effect = apply_fact(self._state_so_far, stored.fact, self.score_type, self._fields)
        if effect is None:  # its effect was that of the contact's first fact, which may be another fact now
            self.needs_ledger = True
            return
        is_same_state = stored.after == self._state_so_far
        if effect != stored.effect or stored.lacks_snapshot or not (stored.after is None or is_same_state):
            self.effects[stored.fact_id] = (stored.fact, effect)
        if not self._new_facts and (is_same_state or (self._is_rank_enough and effect == stored.effect)):
            self.state = self._stored
