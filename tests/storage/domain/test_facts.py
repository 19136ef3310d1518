"""When a fact happened, and which batches an undo leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.errors import BadTime
from storage.domain.facts import Undo, rank_merged_rows, stamp, undone_batches

NOW = 1_767_225_600_000_000
DAY = 24 * 60 * 60 * 1_000_000

STAMPS = [
    (None, 0, NOW),  # no time of its own: the time of receipt
    (None, 7, NOW + 7),  # no time of its own: receipt plus position in the delivery
    (NOW - DAY, 7, NOW - DAY),  # its own time, whatever its position
    (0, 0, 0),  # 1970 itself
    (NOW, 3, NOW),
    (NOW + 1, 0, NOW),  # a sender's clock that is ahead: the time of receipt
    (NOW + DAY, 0, NOW),  # a day ahead, which is the most that is accepted
]


@pytest.mark.parametrize(("occurred_at", "index", "stamped"), STAMPS)
def test_when_a_fact_happened(occurred_at: int | None, index: int, stamped: int) -> None:
    """A fact happened at the time that its sender states, but not after its receipt."""
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
    """Return an undo of a batch."""
    return Undo(source="slack", key=batch, occurred_at=1, batch=batch, undoes=undoes)


CHAINS = [
    ([], set()),
    ([("u1", "b")], {"b"}),
    ([("u1", "b"), ("u2", "u1")], {"u1"}),  # undoing the undo restores
    ([("u1", "b"), ("u2", "u1"), ("u3", "u2")], {"b", "u2"}),
    ([("u1", "b"), ("u2", "u1"), ("u3", "b")], {"b", "u1"}),  # undone again, by another undo
    ([("u1", "b"), ("u2", "u1"), ("u3", "b"), ("u4", "u3")], {"u1", "u3"}),
    ([("u1", "b"), ("u2", "u1"), ("u3", "b"), ("u4", "u2")], {"b", "u2"}),  # both undos of b are in force
    ([("u1", "b"), ("u2", "c")], {"b", "c"}),
    ([("u1", "b"), ("u1b", "b"), ("u2", "u1")], {"b", "u1"}),  # one of two undos is undone: the other stays in force
]


@pytest.mark.parametrize(("chain", "left_out"), CHAINS)
def test_which_batches_are_left_out(chain: list[tuple[str, str]], left_out: set[str]) -> None:
    """A batch is left out while an undo of it is in force."""
    undos = [undo(batch, undoes=undoes) for batch, undoes in chain]

    assert undone_batches(undos) == undone_batches(undos[::-1]) == left_out


@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_chains_agree_with_undoing_one_after_the_other(picks: list[int]) -> None:
    """The result equals a plain evaluation of each undo from the last to the first."""
    batches = ["b0", "b1", "b2"]
    undos = []
    for number, pick in enumerate(picks):
        undos.append(undo(f"u{number}", undoes=batches[pick % len(batches)]))
        batches.append(f"u{number}")
    standing = dict.fromkeys(batches, True)
    for later in undos[::-1]:  # later undos are already decided
        if standing[later.batch]:
            standing[later.undoes] = False

    assert undone_batches(undos) == {batch for batch, stands in standing.items() if not stands}


def test_a_long_row_of_undos_is_followed_to_its_end() -> None:
    """A chain of a thousand undos is evaluated to its end, and the last undo decides."""
    undos = [undo("u0", undoes="b")] + [undo(f"u{number}", undoes=f"u{number - 1}") for number in range(1, 1_000)]

    assert "b" not in undone_batches(undos)
    assert "b" in undone_batches(undos[:-1])


@pytest.mark.parametrize(
    ("links", "ranks"),
    [
        ([], {1: 0, 2: 0, 3: 0, 4: 0}),
        ([(1, 2, 2)], {1: 1, 2: 0, 3: 0, 4: 0}),
        ([(1, 2, 1)], {1: 0, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, None)], {1: 0, 2: 0, 3: 0, 4: 0}),  # an earlier version did not record it
        ([(1, 2, 2), (2, 3, 3)], {1: 2, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, 2), (1, 3, 1)], {1: 1, 2: 0, 3: 2, 4: 0}),  # the missing one is taken from contact 1 before contact 3
        ([(1, 2, 2), (1, 3, 3)], {1: 2, 2: 1, 3: 0, 4: 0}),  # contact 1 was already merged into 2
        ([(1, 2, None), (3, 4, None), (2, 4, 4)], {1: 1, 2: 1, 3: 0, 4: 0}),
        ([(1, 3, 3), (1, 2, None)], {1: 1, 2: 1, 3: 0, 4: 0}),  # a proof gives the same before and after a merge
        ([(1, 2, None), (1, 3, 3)], {1: 1, 2: 1, 3: 0, 4: 0}),
        ([(1, 2, 2), (3, 4, 4), (1, 4, None)], {1: 1, 2: 0, 3: 2, 4: 1}),
        ([(1, 2, 2), (1, 2, 1)], {1: 1, 2: 0, 3: 0, 4: 0}),  # both are already merged
        ([(1, 9, 9)], {1: 0, 2: 0, 3: 0, 4: 0}),  # contact 9 is not in the group
    ],
)
def test_which_of_merged_contacts_is_shown(links: list[tuple[int, int, int | None]], ranks: dict[int, int]) -> None:
    """The contact merged into is shown first, then the merged contacts in the order of their merges."""
    assert rank_merged_rows([1, 2, 3, 4], links) == ranks
