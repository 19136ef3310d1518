"""When a fact happened, and which batches an undo leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.errors import BadTime
from storage.domain.facts import Undo, rank_merged_rows, stamp, undone_batches

NOW = 1_767_225_600_000_000
DAY = 24 * 60 * 60 * 1_000_000

STAMPS = [
    (None, 0, NOW),  # no time of its own: the receipt
    (None, 7, NOW + 7),  # … plus its place in the delivery
    (NOW - DAY, 7, NOW - DAY),  # its own time, wherever it stands
    (0, 0, 0),  # 1970 itself
    (NOW, 3, NOW),
    (NOW + 1, 0, NOW),  # a clock that is ahead: never later than the receipt
    (NOW + DAY, 0, NOW),  # a day ahead, and no more
]


@pytest.mark.parametrize(("occurred_at", "index", "stamped"), STAMPS)
def test_when_a_fact_happened(occurred_at: int | None, index: int, stamped: int) -> None:
    """A fact happened when its sender says, but never after its receipt."""
    assert stamp(occurred_at, received=NOW, index=index) == stamped


NOT_TIMES = [
    (-1, "the time lies before 1970: check the sender's clock"),
    (NOW + DAY + 1, "sent from the future: check the sender's clock"),
    (10**18, "sent from the future: check the sender's clock"),
]


@pytest.mark.parametrize(("occurred_at", "complaint"), NOT_TIMES)
def test_times_that_cannot_be(occurred_at: int, complaint: str) -> None:
    """A time before 1970, or more than a day ahead, is refused with the reason."""
    with pytest.raises(BadTime) as error:
        stamp(occurred_at, received=NOW)

    assert str(error.value) == complaint


def undo(batch: str, *, undoes: str) -> Undo:
    """Wish that a batch had never happened."""
    return Undo(source="slack", key=batch, occurred_at=1, batch=batch, undoes=undoes)


CHAINS = [
    ([], set()),
    ([("u1", "b")], {"b"}),
    ([("u1", "b"), ("u2", "u1")], {"u1"}),  # undoing the undo restores
    ([("u1", "b"), ("u2", "u1"), ("u3", "u2")], {"b", "u2"}),
    ([("u1", "b"), ("u2", "u1"), ("u3", "b")], {"b", "u1"}),  # undone again, by another one
    ([("u1", "b"), ("u2", "u1"), ("u3", "b"), ("u4", "u3")], {"u1", "u3"}),
    ([("u1", "b"), ("u2", "u1"), ("u3", "b"), ("u4", "u2")], {"b", "u2"}),  # both undos of it stand
    ([("u1", "b"), ("u2", "c")], {"b", "c"}),
    ([("u1", "b"), ("u1b", "b"), ("u2", "u1")], {"b", "u1"}),  # one of two undos taken back: the other stands
]


@pytest.mark.parametrize(("chain", "left_out"), CHAINS)
def test_which_batches_are_left_out(chain: list[tuple[str, str]], left_out: set[str]) -> None:
    """A batch is left out while an undo of it stands."""
    undos = [undo(batch, undoes=undoes) for batch, undoes in chain]

    assert undone_batches(undos) == undone_batches(undos[::-1]) == left_out


@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_chains_agree_with_undoing_one_after_the_other(picks: list[int]) -> None:
    """Whatever is undone in whatever order: each undo decides for those before it, from the last to the first."""
    batches = ["b0", "b1", "b2"]
    undos = []
    for number, pick in enumerate(picks):
        undos.append(undo(f"u{number}", undoes=batches[pick % len(batches)]))
        batches.append(f"u{number}")
    standing = dict.fromkeys(batches, True)
    for later in undos[::-1]:  # nothing later than it is left to be decided
        if standing[later.batch]:
            standing[later.undoes] = False

    assert undone_batches(undos) == {batch for batch, stands in standing.items() if not stands}


def test_a_long_row_of_undos_is_followed_to_its_end() -> None:
    """Somebody who clicks Undo on every receipt, a thousand times, ends where the last click says."""
    undos = [undo("u0", undoes="b")] + [undo(f"u{number}", undoes=f"u{number - 1}") for number in range(1, 1_000)]

    assert "b" not in undone_batches(undos)
    assert "b" in undone_batches(undos[:-1])


@pytest.mark.parametrize(
    ("links", "ranks"),
    [
        ([], {1: 0, 2: 0, 3: 0, 4: 0}),
        ([(1, 2, 2)], {1: 1, 2: 0, 3: 0, 4: 0}),
        ([(1, 2, 1)], {1: 0, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, None)], {1: 0, 2: 0, 3: 0, 4: 0}),  # an earlier version did not say it
        ([(1, 2, 2), (2, 3, 3)], {1: 2, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, 2), (1, 3, 1)], {1: 1, 2: 0, 3: 2, 4: 0}),  # what lacks is taken from 1 before 3
        ([(1, 2, 2), (1, 3, 3)], {1: 2, 2: 1, 3: 0, 4: 0}),  # 1 was 2 by then
        ([(1, 2, None), (3, 4, None), (2, 4, 4)], {1: 1, 2: 1, 3: 0, 4: 0}),
        ([(1, 3, 3), (1, 2, None)], {1: 1, 2: 1, 3: 0, 4: 0}),  # a proof says the same before and after a merge
        ([(1, 2, None), (1, 3, 3)], {1: 1, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, 2), (3, 4, 4), (1, 4, None)], {1: 1, 2: 0, 3: 2, 4: 1}),
        ([(1, 2, 2), (1, 2, 1)], {1: 1, 2: 0, 3: 0, 4: 0}),  # they are one already
        ([(1, 9, 9)], {1: 0, 2: 0, 3: 0, 4: 0}),  # 9 is none of them
    ],
)
def test_which_of_merged_contacts_is_shown(links: list[tuple[int, int, int | None]], ranks: dict[int, int]) -> None:
    """The contact merged into, then those that were merged into it, in the order in which they were."""
    assert rank_merged_rows([1, 2, 3, 4], links) == ranks
