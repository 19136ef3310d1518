"""The fold saturates at each step, in one order of facts, and a missing value stays missing."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from storage.domain.contacts import Json
from storage.domain.facts import Change, FieldValue, Op
from storage.domain.fold import Effect, ScoreState, apply_fact, fold, fold_fields, make_initial_state
from storage.domain.score_types import ScoreType

SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1_000, start=0
)
MOOD = ScoreType(
    id=2, definition=2, number=1, key="mood", label="Mood", minimum=-5_000, maximum=5_000, step=500, start=-1_000
)


def change(op: Op, amount: int = 0, *, at: int, source: str = "crm", key: str = "k") -> Change:
    """Return a change of a score."""
    return Change(source=source, key=key, occurred_at=at, batch="b", score="score", op=op, amount=amount)


def moves(*changes: Change, score_type: ScoreType = SCORE) -> list[tuple[int | None, int, int | None]]:
    """Fold changes; return for each the amount asked for, the effect and the rank after it."""
    _, effects = fold([replace(change, score=score_type.key) for change in changes], score_type)
    return [(effect.asked, effect.effective, effect.rank_after) for _, effect in effects]


def test_adding_saturates_at_every_step() -> None:
    """The part of an addition beyond the range is lost: 90 + 20 - 20 is 80, not 90."""
    assert moves(
        change(Op.SET, 90_000, at=1), change(Op.ADD, 20_000, at=2), change(Op.ADD, -20_000, at=3),
        change(Op.ADD, -500_000, at=4), change(Op.ADD, 1_000, at=5),
    ) == [
        (90_000, 90_000, 90_000),
        (20_000, 10_000, 100_000),  # cut at the top
        (-20_000, -20_000, 80_000),
        (-500_000, -80_000, 0),  # cut at the bottom
        (1_000, 1_000, 1_000),
    ]  # fmt: skip  # five changes, five effects


def test_adding_to_a_missing_score_begins_at_the_start() -> None:
    """An addition to a missing score begins at the start value, from which the effect is also measured."""
    assert moves(change(Op.ADD, 500, at=1), score_type=MOOD) == [(500, 500, 500)]
    state, _ = fold([replace(change(Op.ADD, 500, at=1), score=MOOD.key)], MOOD)

    assert state.value(MOOD, now=9) == -500


def test_missing_is_not_zero() -> None:
    """A score has neither value nor rank before the first fact and after a clear."""
    state = make_initial_state(MOOD)

    assert (state.value(MOOD, now=9), state.rank) == (None, None)
    assert moves(change(Op.SET, 2_000, at=1), change(Op.CLEAR, at=2), change(Op.CLEAR, at=3), score_type=MOOD) == [
        (2_000, 3_000, 3_000),
        (None, -3_000, None),  # back to the start, which is not a value
        (None, 0, None),
    ]


def test_setting_a_score_to_its_start_is_not_clearing_it() -> None:
    """A set to the start value gives a value, even 0."""
    state, effects = fold([change(Op.SET, 0, at=1)], SCORE)

    assert (state.value(SCORE, now=9), state.rank) == (0, 0)
    assert effects[0][1] == Effect(asked=0, effective=0, rank_after=0)


def test_adding_after_a_clear_begins_anew() -> None:
    """An addition after a clear begins at the start value."""
    state, _ = fold([change(Op.SET, 90_000, at=1), change(Op.CLEAR, at=2), change(Op.ADD, 5_000, at=3)], SCORE)

    assert state.value(SCORE, now=9) == 5_000


def test_a_set_beyond_the_live_range_is_clamped() -> None:
    """A set beyond the current range is clamped, because a fact may be older than the range."""
    assert moves(
        change(Op.SET, 250_000, at=1), change(Op.ADD, -30_000, at=2),
        change(Op.SET, -7_000, at=3), change(Op.ADD, 5_000, at=4),
    ) == [
        (250_000, 100_000, 100_000),
        (-30_000, -30_000, 70_000),  # counted from the end of the range, not from the value asked for
        (-7_000, -70_000, 0),
        (5_000, 5_000, 5_000),
    ]  # fmt: skip  # four changes, four effects


def test_facts_fold_in_the_order_of_time_then_source_then_key() -> None:
    """Facts at the same time are ordered by source and key, compared as bytes."""
    changes = [
        change(Op.SET, 1_000, at=1, source="crm", key="b"),
        change(Op.SET, 2_000, at=1, source="crm", key="B"),  # a capital sorts before all lowercase letters
        change(Op.SET, 3_000, at=1, source="crm", key="/10"),
        change(Op.SET, 4_000, at=1, source="crm", key="/2"),
        change(Op.SET, 5_000, at=1, source="crm-2", key="a"),  # a prefix sorts first
        change(Op.SET, 6_000, at=1, source="crm", key="é"),
        change(Op.SET, 7_000, at=0, source="z", key="z"),
        change(Op.SET, 8_000, at=1, source="crm", key="\U0001f600"),  # after U+FFFF in UTF-8, before it in UTF-16
        change(Op.SET, 9_000, at=1, source="crm", key="\uffff"),
    ]
    _, effects = fold(changes, SCORE)

    assert [change.amount // 1_000 for change, _ in effects if isinstance(change, Change)] == [
        7,
        3,
        4,
        2,
        1,
        6,
        9,
        8,
        5,
    ]


CHANGES = st.lists(
    st.builds(
        lambda op, steps, at, key: change(op, steps * 1_000, at=at, key=key),
        st.sampled_from(Op),
        st.integers(-150, 150),
        st.integers(0, 3),
        st.text(max_size=3),
    ),
    unique_by=lambda change: change.order,
)


@given(CHANGES, st.randoms(use_true_random=False))
def test_one_step_is_worth_a_whole_fold(changes: list[Change], random: Random) -> None:
    """Applying facts one by one in order gives the same score as folding all of them in any order."""
    shuffled = list(changes)
    random.shuffle(shuffled)
    state: ScoreState = make_initial_state(SCORE)
    effects = []
    for change in sorted(changes, key=lambda change: (change.occurred_at, change.key.encode())):
        state, effect = apply_fact(state, change, SCORE)
        effects.append((change, effect))

    assert fold(shuffled, SCORE) == (state, effects)


@given(CHANGES)
def test_effects_add_up_to_the_score(changes: list[Change]) -> None:
    """The start and all effects add up exactly to the value, and no value is outside of the range."""
    state, effects = fold(changes, SCORE)
    ranks = [effect.rank_after for _, effect in effects]

    assert sum(effect.effective for _, effect in effects) == (state.value(SCORE, now=9) or 0)
    assert all(rank is None or 0 <= rank <= 100_000 for rank in ranks)
    assert (ranks[-1] if ranks else None) == state.value(SCORE, now=9)


def field_value(at: int, *, key: str = "k", **fields: Json) -> FieldValue:
    """Return a fact that states a field of a contact."""
    return FieldValue(source="crm", key=key, occurred_at=at, batch="b", fields=fields)


def test_the_latest_value_of_each_field_wins() -> None:
    """Each field has its latest value in the order of facts, whatever the order of arrival."""
    field_facts = [
        field_value(3, name="Ada L."),
        field_value(1, name="Ada", company="Engines"),
        field_value(2, owner="rep@acme.com", name=None),
    ]

    forwards, backwards = fold_fields(field_facts, {}), fold_fields(field_facts[::-1], {})

    assert forwards == backwards
    assert {name: value for name, (value, _) in forwards.items()} == {
        "name": "Ada L.",
        "company": "Engines",
        "owner": "rep@acme.com",
    }


def test_a_later_blank_empties_a_field() -> None:
    """A later blank value clears a field."""
    known_fields = fold_fields([field_value(1, company="Engines")], {})

    assert fold_fields([field_value(2, company=None)], known_fields)["company"][0] is None
    assert fold_fields([field_value(0, company="Older")], known_fields)["company"][0] == "Engines"
