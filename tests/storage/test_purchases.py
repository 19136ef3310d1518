"""Real purchases (the CDNOW log) create exactly the follow-ups that an independent computation expects."""

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.alerts.memory import count_suppressed
from storage.alerts.rules import remove_rule
from storage.alerts.sweep import sweep_rules
from storage.domain.facts import Op
from storage.ledger.contacts import contacts
from storage.scoring.definitions import add_score_type
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, Team, change

HOUSE = Path(__file__).parent.parent
LOG = HOUSE / "data" / "cdnow_2000.txt"
WHOLE = Path(os.environ.get("CDNOW_LOG", HOUSE / "data" / "cdnow_master.txt"))
HALF_LIFE, EDGE, MARGIN, REST = 30, 60, 10, 14  # in days and points
MOST = 200


@dataclass(frozen=True, slots=True)
class Purchase:
    """One line of the log: customer, time in µs, and whole dollars."""

    customer: str
    at: int
    dollars: int


def purchases(path: Path) -> list[Purchase]:
    """Load the log in the order of days; the purchases of a day are a second apart in the order of lines."""
    purchases = []
    lines = [line for line in path.read_text().splitlines() if line.split()[0].isdecimal()]  # without the header
    for number, line in enumerate(lines):
        customer, day, _, dollars = line.split()
        moment = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
        at = int(moment.timestamp()) * 1_000_000 + number % 80_000 * 1_000_000
        purchases.append(Purchase(customer, at, int(Decimal(dollars))))
    return sorted((purchase for purchase in purchases if purchase.dollars), key=lambda purchase: purchase.at)


def computed(log: list[Purchase]) -> tuple[set[tuple[str, int]], int, int]:
    """Compute follow-ups with floats, independently of the product.

    A customer's heat halves in thirty days. A purchase that brings the heat to 60 fires once, until the heat was at 50
    or less. Return (customer, time) of each follow-up, the number of crossings within the cool-down, and the number of
    purchases that leave the heat at 60 or more.
    """
    heat, last_bought = defaultdict[str, float](float), dict[str, int]()
    claimed, asked_at = set[str](), dict[str, int]()
    firings, spent, naive = set[tuple[str, int]](), 0, 0
    for purchase in log:
        if purchase.customer in last_bought:
            heat[purchase.customer] *= 2 ** (-(purchase.at - last_bought[purchase.customer]) / (HALF_LIFE * DAY))
        if int(heat[purchase.customer] + 0.5) <= EDGE - MARGIN:
            claimed.discard(purchase.customer)
        heat[purchase.customer], last_bought[purchase.customer] = (
            min(heat[purchase.customer] + purchase.dollars, MOST),
            purchase.at,
        )
        if int(heat[purchase.customer] + 0.5) < EDGE:
            continue
        naive += 1
        if purchase.customer not in claimed:
            claimed.add(purchase.customer)
            if purchase.customer in asked_at and purchase.at < asked_at[purchase.customer] + REST * DAY:
                spent += 1
            else:
                asked_at[purchase.customer] = purchase.at
                firings.add((purchase.customer, purchase.at))
    return firings, spent, naive


async def replayed(team: Team, log: list[Purchase], *, sweeping: int) -> tuple[list[tuple[str, int]], int]:
    """Record each purchase at its time, with regular sweeps. Return the follow-ups and how often a cool-down held."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=MOST * 1_000, step=1_000, start=0, bands=(),
        half_life=HALF_LIFE * DAY, is_default=False, by="U0ADMIN", now=log[0].at - 1,
    )  # fmt: skip  # one definition
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await remove_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    words = f"when heat crosses {EDGE} margin {MARGIN} cooldown {REST}d"
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=log[0].at - 1)
    for begin in range(0, len(log), 100):
        some = log[begin : begin + 100]
        await asyncio.gather(
            *(
                team.deliver(
                    change(
                        f"{begin}/{place}",
                        f"{purchase.customer}@example.com",
                        Op.ADD,
                        purchase.dollars,
                        score="heat",
                        at=purchase.at,
                    ),
                    batch=f"{begin}/{place}",
                    received=purchase.at,
                )
                for place, purchase in enumerate(some)
            )
        )
        if sweeping and begin // 100 % sweeping == 0:
            await sweep_rules(team.workspace, now=some[-1].at)
    follow_ups = await load_follow_ups(team.workspace, ids=range(1, 100_000))
    names = {follow_up.contact: follow_up for follow_up in follow_ups}
    people = {
        contact.id: str(contact.email).partition("@")[0] for contact in await contacts(team.workspace, ids=list(names))
    }
    spent = sum((await count_suppressed(team.workspace)).values())
    return [(people[follow_up.contact], follow_up.asked_at) for follow_up in follow_ups], spent


async def check(team: Team, log: list[Purchase], title: str, *, sweeping: int) -> None:
    """Fail unless the follow-ups equal the computed ones, and are fewer than the purchases above the edge."""
    expected, rest, naive = computed(log)
    asked_ups, spent = await replayed(team, log, sweeping=sweeping)

    report_counts(
        title, {"purchases": len(log), "follow-ups": len(asked_ups), "within the rest": spent, "on every update": naive}
    )
    assert sorted(asked_ups) == sorted(expected)
    assert spent == rest
    assert len(asked_ups) < naive


async def test_purchases_ask_for_what_a_plain_computation_says(team: Team) -> None:
    """Each way up to the edge creates one follow-up, although many more purchases leave the heat above the edge."""
    await check(team, purchases(LOG), "the beginning of the CDNOW log", sweeping=3)


@pytest.mark.slow
@pytest.mark.skipif(not WHOLE.exists(), reason="CDNOW_LOG does not name the whole log")
async def test_the_whole_log_asks_for_what_a_plain_computation_says(team: Team) -> None:
    """The complete log of 23,570 customers over eighteen months creates the computed follow-ups."""
    await check(team, purchases(WHOLE), "the whole CDNOW log", sweeping=100)
