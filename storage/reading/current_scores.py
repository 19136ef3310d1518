"""Read the current scores: the cards of contacts, the top contacts, and past ranks for trends."""

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
from storage.ledger.projection import NEWEST_FIRST
from storage.scoring import definitions

TRENDS = (7, 30, 90)  # days
# The effects of the score `k`; with _FIRST the latest of them in the order of the fold.
_LATEST = (
    "FROM effects e JOIN facts g ON g.id = e.fact_id"
    " WHERE e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
)
_FIRST = f"{NEWEST_FIRST} LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentScore:
    """The current score of a contact for one score type, and its last change. Values in thousandths, times in µs."""

    score_type: ScoreType
    value: int  #: as shown
    rank: int  #: the sort key; it changes only when the score is changed, see `storage.domain.decay`
    as_of: int  #: when the last change that is not undone happened
    seen: int  #: when the last change happened, undone or not
    source: str  #: of the last change that is not undone
    actor: str | None  #: of the same change
    trends: Mapping[int, int]  #: days → the value now minus the value then; no entry if there was no score then
    band_until: int | None  #: when fading will take the score out of its band

    @property
    def trend(self) -> int | None:
        """The value now minus the value 30 days ago, or None if there was no score then."""
        return self.trends.get(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A contact with all its scores, the default score type first."""

    contact: Contact
    standings: tuple[CurrentScore, ...]

    def standing(self, score: str) -> CurrentScore | None:
        """Return the score for the key of a score type, or None if the contact has no such score."""
        return next((standing for standing in self.standings if standing.score_type.key == score), None)


async def card(workspace: Workspace, *, contact: int, now: int) -> Card | None:
    """Load a contact with its scores; None if there is no such contact."""
    cards = await cards_of(workspace, ids=[contact], now=now)
    return cards[0] if cards else None


async def cards_of(workspace: Workspace, *, ids: Collection[int], now: int) -> list[Card]:
    """Load contacts with their scores, in the order of *ids*."""
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
    """Return a SQL expression for the rank that the score `k` had at an instant.

    *instant* is the SQL placeholder or expression of the instant. The expression is NULL if there was no score then.
    """
    return (
        f"CASE WHEN k.last_at <= {instant} THEN k.rank"
        f" ELSE (SELECT e.rank_after {_LATEST} AND e.at <= {instant} {_FIRST}) END"
    )


async def ranks_then(session: Session, requests: Mapping[int, tuple[int, int, int]]) -> dict[int, int | None]:
    """Return the ranks that scores had at past instants, by request.

    *requests* maps any number to (contact, definition, instant). The rank is None if there was no score at the instant;
    a request is missing from the result if the contact has no row for the definition.
    """
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


async def values_then(
    workspace: Workspace, *, contacts: Collection[int], windows: Collection[tuple[str, int]], now: int
) -> dict[tuple[int, str, int], int | None]:
    """Return the values that scores of contacts were shown as earlier; None if a score was missing then.

    *windows* are pairs of the key of a score type and a time before *now* in µs. The result is by contact, key, and
    time.
    """
    if not windows:
        return {}
    types = {score_type.key: score_type for score_type in await definitions.score_types(workspace)}
    wanted = [(contact, types[score], window) for contact in contacts for score, window in windows]
    ranks = await ranks_then(
        database.current_database().reader,
        {
            number: (contact, score_type.definition, now - window)
            for number, (contact, score_type, window) in enumerate(wanted)
        },
    )
    values: dict[tuple[int, str, int], int | None] = {}
    for number, (contact, score_type, window) in enumerate(wanted):
        rank = ranks.get(number)
        values[contact, score_type.key, window] = None if rank is None else shown(score_type, rank, now=now - window)
    return values


async def last_touched(workspace: Workspace, *, contacts: Collection[int]) -> dict[int, int]:
    """Return when the latest fact of each contact happened, in µs: what the filter `updated` compares."""
    rows = await database.read(
        "SELECT given.id, max(f.occurred_at) AS at FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id AND f.workspace_id = $2 GROUP BY given.id",
        [{"id": contact} for contact in contacts],
        workspace.id,
    )
    return {row["id"]: row["at"] for row in rows}


async def top(workspace: Workspace, *, score: str | None, count: int, now: int) -> tuple[ScoreType, list[Card]]:
    """Return a score type and the *count* contacts with its highest scores; the older contact wins a tie.

    *score* is the key of the type; None: the default type.
    """
    score_type = await definitions.score_type(workspace, key=score)
    rows = await database.read(
        "SELECT k.contact_id FROM scores k WHERE k.definition_id = $1 AND k.rank IS NOT NULL"
        " ORDER BY k.rank DESC, k.contact_id LIMIT $2",
        score_type.definition,
        count,
    )
    return score_type, await cards_of(workspace, ids=[row["contact_id"] for row in rows], now=now)
