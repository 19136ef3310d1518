"""Read what the fold made of the ledger: a contact's card, and the top."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import Contact
from storage.domain.decay import band_until, shown
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger import contacts
from storage.ledger.projection import NEWEST
from storage.scoring import definitions

TRENDS = (7, 30, 90)  # days
# The effects of one score, and the latest of them in the order of the fold.
_LATEST = (
    "FROM effects e JOIN facts g ON g.id = e.fact_id"
    " WHERE e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
)
_FIRST = f"{NEWEST} LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentScore:
    """One score of a contact now, and the last change of it. Thousandths and µs."""

    score_type: ScoreType
    value: int  #: as it is shown
    rank: int  #: what it is sorted by; it changes only when the score is changed
    as_of: int  #: when the last change happened that still counts
    seen: int  #: when the last one happened, undone or not
    source: str  #: of the last change
    actor: str | None
    trends: Mapping[int, int]  #: days → the value now less the value then; not there where it was missing then
    band_until: int | None  #: when fading takes it out of its band

    @property
    def trend(self) -> int | None:
        """Give the value now less the value thirty days ago; none where it was missing then."""
        return self.trends.get(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A contact with every score it has, the default type first."""

    contact: Contact
    standings: tuple[CurrentScore, ...]

    def standing(self, score: str) -> CurrentScore | None:
        """Give one of its scores, by the key of the type; none where it is missing."""
        return next((standing for standing in self.standings if standing.score_type.key == score), None)


async def card(workspace: Workspace, *, contact: int, now: int) -> Card | None:
    """Give a contact with its scores, or none where there is no such contact."""
    cards = await cards_of(workspace, ids=[contact], now=now)
    return cards[0] if cards else None


async def cards_of(workspace: Workspace, *, ids: Collection[int], now: int) -> list[Card]:
    """Give contacts with their scores, in the order asked for."""
    people = await contacts.contacts(workspace, ids=list(ids))
    types = await definitions.score_types(workspace)
    past_ranks = "".join(f", {rank_at(f'${number}')} AS rank_{days}" for number, days in enumerate(TRENDS, start=2))
    rows = await database.read(
        f"SELECT k.contact_id, k.definition_id, k.rank, k.last_at, f.occurred_at, f.source, f.actor{past_ranks}"
        f" FROM scores k JOIN facts f ON f.id = (SELECT e.fact_id {_LATEST} {_FIRST})"
        " WHERE k.contact_id IN (SELECT id FROM given(id bigint)) AND k.rank IS NOT NULL",
        [{"id": person.id} for person in people],
        *(now - days * DAY for days in TRENDS),
    )
    scores: dict[int, list[CurrentScore]] = {person.id: [] for person in people}
    by_pair = {(row["contact_id"], row["definition_id"]): row for row in rows}
    for person in people:
        for score_type in types:
            row = by_pair.get((person.id, score_type.definition))
            if row is not None:
                scores[person.id].append(_build_score(score_type, row, now=now))
    return [Card(contact=person, standings=tuple(scores[person.id])) for person in people]


def _build_score(score_type: ScoreType, row: Row, *, now: int) -> CurrentScore:
    value = shown(score_type, row["rank"], now=now)
    past_ranks = {days: row[f"rank_{days}"] for days in TRENDS}
    return CurrentScore(
        score_type=score_type,
        value=value,
        rank=row["rank"],
        as_of=row["occurred_at"],
        seen=row["last_at"],
        source=row["source"],
        actor=row["actor"],
        trends={
            days: value - shown(score_type, rank, now=now - days * DAY)
            for days, rank in past_ranks.items()
            if rank is not None
        },
        band_until=band_until(score_type, row["rank"], now=now),
    )


def rank_at(instant: str) -> str:
    """Write, in SQL, the rank that the score `k` had at an instant, of which *instant* is the placeholder."""
    return (
        f"CASE WHEN k.last_at <= {instant} THEN k.rank"
        f" ELSE (SELECT e.rank_after {_LATEST} AND e.at <= {instant} {_FIRST}) END"
    )


async def ranks_then(session: Session, requests: Mapping[int, tuple[int, int, int]]) -> dict[int, int | None]:
    """Give the ranks that scores had: anything → (contact, definition, instant); none where it was missing."""
    rows = await session.rows(
        f"SELECT given.request, {rank_at('given.instant')} AS rank_then"
        " FROM given(request bigint, contact bigint, definition bigint, instant bigint)"
        " JOIN scores k ON k.contact_id = given.contact AND k.definition_id = given.definition",
        [
            {"request": request, "contact": contact, "definition": definition, "instant": instant}
            for request, (contact, definition, instant) in sorted(requests.items())
        ],
    )
    return {row["request"]: row["rank_then"] for row in rows}


async def top(workspace: Workspace, *, score: str | None, count: int, now: int) -> tuple[ScoreType, list[Card]]:
    """Give the contacts with the highest scores of a type (none: the default one); ties by the older contact."""
    score_type = await definitions.score_type(workspace, key=score)
    rows = await database.read(
        "SELECT k.contact_id FROM scores k WHERE k.definition_id = $1 AND k.rank IS NOT NULL"
        " ORDER BY k.rank DESC, k.contact_id LIMIT $2",
        score_type.definition,
        count,
    )
    return score_type, await cards_of(workspace, ids=[row["contact_id"] for row in rows], now=now)
