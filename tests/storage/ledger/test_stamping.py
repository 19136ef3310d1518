"""The time of a fact: the sender's time, limited by the receipt; changes without a time come last."""

import asyncio

from storage.domain.facts import Op, Unusable
from storage.domain.submissions import Status
from storage.reading.current_scores import card
from tests.storage.teams import DAY, NOW, SECOND, Team, change, field_item, set_to

ADA = "ada@example.com"


async def times(team: Team, score: str = "score") -> list[int]:
    """Return the times of the changes of Ada's score, relative to NOW, oldest first."""
    return [line.occurred_at - NOW for line in reversed(await team.lines(ADA, score))]


async def test_a_sender_s_time_is_kept(team: Team) -> None:
    """A sender's time is kept, even before all known facts, and the score follows the order of these times."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 5), batch="d1")
    await team.deliver(set_to("b", ADA, 20, at=NOW - 9 * DAY), batch="d2", received=NOW + DAY)
    await team.deliver(set_to("c", ADA, 30, at=0), batch="d3", received=NOW + DAY)

    assert await times(team) == [-NOW, -9 * DAY, -5]
    assert await team.value(ADA) == 10_000


async def test_nothing_happens_after_its_receipt(team: Team) -> None:
    """A time up to a day ahead of the receipt counts as the time of receipt."""
    await team.deliver(set_to("a", ADA, 10, at=NOW + 1), batch="d1")
    recorded = await team.deliver(
        set_to("b", ADA, 20, at=NOW + 5 + DAY), set_to("c", ADA, 30, at=NOW + 6 + DAY), batch="d2", received=NOW + 5
    )

    assert [outcome.status for outcome in recorded.outcomes] == [Status.APPLIED, Status.QUARANTINED]
    assert await times(team) == [0, 5]


async def test_items_without_a_time_keep_the_order_of_their_delivery(team: Team) -> None:
    """Items without a time happened at their receipt, each a microsecond after the previous item of the delivery."""
    unusable = Unusable(key="x", reason="no", raw="{}")
    items = [change(f"{9 - number}", ADA, Op.ADD, number) for number in range(3)]  # the keys sort backwards
    await team.deliver(items[0], unusable, items[1], set_to("s", ADA, 50, at=NOW - 1), items[2])

    assert await times(team) == [-1, 0, 2, 4]
    assert [line.amount for line in reversed(await team.lines(ADA))] == [50_000, 0, 1_000, 2_000]


async def test_what_we_stamp_comes_after_all_that_the_score_has_seen(team: Team) -> None:
    """A fact without a time comes after all facts of its score, even from a replica with a clock that is behind."""
    await team.deliver(set_to("z", ADA, 10), batch="d1")
    await team.deliver(set_to("y", ADA, 20), batch="d2")
    await team.deliver(set_to("x", ADA, 30), batch="d3", received=NOW - SECOND)

    assert await times(team) == [0, 1, 2]
    assert await team.value(ADA) == 30_000


async def test_a_person_s_change_never_loses_to_an_older_one(team: Team) -> None:
    """A person's change is the latest one of the score, whatever the clocks of senders say."""
    await team.deliver(set_to("a", ADA, 10, at=NOW), batch="d1")
    await team.ask(set_to("p", ADA, 70), batch="p", received=NOW - SECOND)
    assert await team.value(ADA) == 70_000

    await team.ask(set_to("q", ADA, 80), batch="q", received=NOW - SECOND)
    assert (await times(team), await team.value(ADA)) == ([0, 1, 2], 80_000)


async def test_the_changes_of_one_command_come_in_the_order_they_were_typed(team: Team) -> None:
    """The changes of one command are a microsecond apart in the order typed, so the later one counts."""
    await team.ask(change("a", ADA, Op.SET, 30), change("b", ADA, Op.ADD, 5), change("0", ADA, Op.SET, 7), batch="p")
    assert (await times(team), await team.value(ADA)) == ([0, 1, 2], 7_000)


async def test_people_at_the_same_moment_come_one_after_the_other(team: Team) -> None:
    """Simultaneous commands are a microsecond apart, and each has its own before and after values."""
    outcomes = await asyncio.gather(
        *(team.ask(change(f"{9 - n}", ADA, Op.ADD, 10), batch=f"{9 - n}", actor=f"U{n}") for n in range(4))
    )

    assert [[(move.before, move.after) for move in outcome.score_changes] for outcome in outcomes] == [
        [(None, 10_000)],
        [(10_000, 20_000)],
        [(20_000, 30_000)],
        [(30_000, 40_000)],
    ]
    assert await times(team) == [0, 1, 2, 3]
    assert [line.actor for line in await team.lines(ADA)] == ["U3", "U2", "U1", "U0"]


async def test_an_older_fact_of_a_sender_does_not_push_a_newer_one_away(team: Team) -> None:
    """An older fact of a sender keeps its time, and does not replace a newer value."""
    await team.ask(set_to("p", ADA, 70), batch="p", received=NOW + SECOND)
    recorded = await team.deliver(set_to("a", ADA, 10, at=NOW), received=NOW + 2 * SECOND)

    assert [(move.before, move.after) for move in recorded.score_changes] == [
        (70_000, 70_000)
    ]  # the answer reports no move
    assert await times(team) == [0, SECOND]


async def test_only_the_same_score_is_waited_for(team: Team) -> None:
    """Facts of other contacts, and facts about fields, do not move the time of a change."""
    await team.deliver(set_to("a", "bob@example.com", 10, at=NOW), field_item("b", ADA, at=NOW, name="Ada"))
    await team.ask(set_to("p", ADA, 70), batch="p", received=NOW - SECOND)

    assert await times(team) == [-SECOND]


async def test_a_repeat_is_not_stamped_again(team: Team) -> None:
    """A repeat does not change the time of a fact."""
    await team.ask(set_to("p", ADA, 70), batch="p")
    await team.ask(set_to("p", ADA, 70), batch="p", received=NOW + SECOND)

    assert await times(team) == [0]


async def test_a_score_is_as_of_its_last_fact(team: Team) -> None:
    """The card shows when the score last changed, and who changed it."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - DAY))
    await team.ask(set_to("p", ADA, 70), batch="p", actor="U1", received=NOW + SECOND)
    await team.deliver(set_to("b", ADA, 20, at=NOW - 2 * DAY), batch="d2", received=NOW + 2 * SECOND)
    contact_card = await card(team.workspace, contact=(await team.contact(ADA)).id, now=NOW)

    assert contact_card is not None
    assert [
        (standing.value, standing.as_of, standing.source, standing.actor) for standing in contact_card.standings
    ] == [(70_000, NOW + SECOND, "slack", "U1")]
