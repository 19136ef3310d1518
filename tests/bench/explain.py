"""Explain the scores of all customers of the CDNOW log at ten instants, and compare with the scores shown.

python -m tests.bench.explain FILE [DATABASE_URL …]; without a URL on a temporary SQLite file."""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from storage.bootstrap import open_storage
from storage.db.database import read
from storage.domain.explain import MONTH
from storage.domain.facts import Op
from storage.domain.submissions import Status
from storage.reading.current_scores import cards_of
from storage.reading.history import why
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.bench.replay import BATCH, Purchase, purchases
from tests.storage.teams import DAY, NOW, Team, change

INSTANTS = 10
SCORES = ("score", "heat")  # a constant and a fading type, both with the maximum 100
HALF_LIFE = 30 * DAY
MOST = 3  # changes in lines of their own; earlier ones are summed by month
AT_ONCE = 500


async def explain(team: Team, log: Sequence[Purchase], *, share: int = 1) -> Counter[str]:
    """Record the log up to each instant, and explain every contact, or each *share*-th one. Return the counts."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=None, bands=[],
        half_life=HALF_LIFE, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    counts = Counter(customers=0, instants=0, differences=0)
    pending = sorted(log, key=_at)
    for place, now in enumerate(instants(log)):
        happened = [purchase for purchase in pending if _at(purchase) <= now]
        pending = pending[len(happened) :]
        await _hand_in(team, happened, now=now)
        ids = [int(row["id"]) for row in await read("SELECT id FROM contacts ORDER BY id")]
        part = ids[place % share :: share]
        counts["customers"] = len(ids)
        counts["instants"] += 1
        for begin in range(0, len(part), AT_ONCE):
            await _ask(team, part[begin : begin + AT_ONCE], now=now, counts=counts)
    return counts


def instants(log: Sequence[Purchase]) -> list[int]:
    """Return instants in µs, from each customer's first purchase until a month after the last purchase."""
    first: dict[str, int] = {}
    for purchase in log:
        first[purchase.customer] = min(first.get(purchase.customer, _at(purchase)), _at(purchase))
    begin, end = max(first.values()), max(map(_at, log)) + 30 * DAY
    return [begin + (end - begin) * place // (INSTANTS - 1) for place in range(INSTANTS)]


def _at(purchase: Purchase) -> int:
    return int(datetime.strptime(purchase.day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000


async def _hand_in(team: Team, happened: Sequence[Purchase], *, now: int) -> None:
    for begin in range(0, len(happened), BATCH):
        items = [
            change(str(purchase.line), purchase.email, Op.ADD, round(purchase.dollars), score=score, at=_at(purchase))
            for purchase in happened[begin : begin + BATCH]
            for score in SCORES
        ]
        recorded = await team.deliver(*items, batch=f"{now}-{begin}", received=now)
        assert recorded.count(Status.APPLIED) == len(items), recorded


async def _ask(team: Team, ids: Sequence[int], *, now: int, counts: Counter[str]) -> None:
    for card in await cards_of(team.workspace, ids=ids, now=now):
        assert len(card.standings) == len(SCORES), card
        for standing in card.standings:
            key = standing.score_type.key
            _, explanation = await why(team.workspace, contact=card.contact.id, score=key, most=MOST, now=now)
            assert explanation is not None, (card.contact.email, key, now)
            counts["scores explained"] += 1
            counts["lines"] += len(explanation.contributions)
            counts["of months"] += sum(line.op == MONTH for line in explanation.contributions)
            counts["cut"] += any(line.cut for line in explanation.contributions)
            counts["faded"] += any(line.faded for line in explanation.contributions)
            if not sum(line.effect for line in explanation.contributions) == explanation.value == standing.value:
                counts["differences"] += 1
                print(card.contact.email, key, now, standing.value, explanation)


async def main() -> None:
    """Explain the whole log on each database, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("database_url", nargs="*", help="of an empty database; by default a SQLite file of its own")
    words = parser.parse_args()
    log = purchases(words.file)
    with tempfile.TemporaryDirectory(prefix="contact-score-explain-") as folder:
        for url in words.database_url or [f"sqlite://{folder}/explain.db"]:
            started = time.monotonic()
            storage = await open_storage(url)
            try:
                team = Team(await add_workspace("T0CDNOW", name="CDNOW", by="U0ADMIN", now=NOW))
                counts = await explain(team, log)
            finally:
                await storage.close()
            parts = ", ".join(f"{name} {number:,}" for name, number in counts.items())
            seconds = time.monotonic() - started
            print(f"{url.partition(':')[0]}: purchases {len(log):,}, {parts}, in {seconds:.0f} s")
            assert counts["differences"] == 0


if __name__ == "__main__":
    asyncio.run(main())
