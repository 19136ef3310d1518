"""Read what a person sees first: the highest scores of the contacts that they own, and those that moved this week."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.db import database
from storage.domain.contacts import Contact
from storage.domain.decay import shown
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key
from storage.ledger.contacts import contacts
from storage.reading.current_scores import Card, cards_of, rank_at

WEEK = 7  # days
# An owner may have any number of contacts, and a week any number of changes: the statements read at most this many.
MOST_OWNED, MOST_CHANGED, MOST_RANKED = 5_000, 200, 500
_OWNED = (
    'SELECT id FROM contacts WHERE workspace_id = $2 AND owner_key COLLATE "C" = $3 AND merged_into IS NULL'
    f" AND NOT is_gone ORDER BY id DESC LIMIT {MOST_OWNED}"
)
_RANKED = (
    "SELECT contact_id AS id FROM scores WHERE definition_id = $1 AND rank IS NOT NULL"
    f" ORDER BY rank DESC LIMIT {MOST_RANKED}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """The contacts that a person should look at: of their own, or of the workspace if they own none with a score."""

    hottest: tuple[Card, ...]  #: the highest scores, highest first
    rising: tuple[Card, ...]  #: the scores that rose most in a week, the largest change first
    falling: tuple[Card, ...]  #: the scores that fell most in a week, the largest change first
    is_own: bool  #: whether the person owns them


async def load_portfolio(
    workspace: Workspace, *, owner: str | None, score_type: ScoreType, hottest: int, movers: int, now: int
) -> Portfolio:
    """Load up to *hottest* highest scores, and up to *movers* scores that rose or fell most in a week.

    *owner* is the address of a person. Only the 200 contacts that changed last can be movers.
    """
    owned = await _list_hottest(workspace, owner, score_type, count=hottest) if owner else []
    highest = owned or await _list_ranked(score_type, count=hottest)
    moved = await _list_moved(workspace, owner if owned else None, score_type, now=now)
    rising = [contact for contact, by in reversed(moved[-movers:]) if by > 0]
    falling = [contact for contact, by in moved[:movers] if by < 0]
    ids = list({*highest, *rising, *falling})
    cards = {card.contact.id: card for card in await cards_of(workspace, ids=ids, now=now)}
    return Portfolio(
        hottest=_pick(cards, highest), rising=_pick(cards, rising), falling=_pick(cards, falling), is_own=bool(owned)
    )


async def list_highest(workspace: Workspace, *, score_type: ScoreType, count: int) -> list[Contact]:
    """Return the *count* contacts with the highest scores, highest first."""
    return await contacts(workspace, ids=await _list_ranked(score_type, count=count))


def week_trend(card: Card, score_type: ScoreType) -> int:
    """Return how much a score moved in a week, in thousandths; 0 if there was no score a week ago."""
    score = card.standing(score_type.key)
    return score.trends.get(WEEK, 0) if score is not None else 0


def _pick(cards: Mapping[int, Card], ids: Sequence[int]) -> tuple[Card, ...]:
    return tuple(cards[id] for id in ids if id in cards)


async def _list_hottest(workspace: Workspace, owner: str, score_type: ScoreType, *, count: int) -> list[int]:
    """Return the ids of the owner's contacts with the highest scores."""
    rows = await database.read(
        f"SELECT k.contact_id FROM ({_OWNED}) o JOIN scores k ON k.contact_id = o.id"
        " WHERE k.definition_id = $1 AND k.rank IS NOT NULL ORDER BY k.rank DESC, k.contact_id LIMIT $4",
        score_type.definition,
        workspace.id,
        match_key(owner),
        count,
    )
    return [row["contact_id"] for row in rows]


async def _list_ranked(score_type: ScoreType, *, count: int) -> list[int]:
    """Return the ids of the contacts with the highest scores."""
    rows = await database.read(
        "SELECT contact_id FROM scores WHERE definition_id = $1 AND rank IS NOT NULL"
        " ORDER BY rank DESC, contact_id LIMIT $2",
        score_type.definition,
        count,
    )
    return [row["contact_id"] for row in rows]


async def _list_moved(
    workspace: Workspace, owner: str | None, score_type: ScoreType, *, now: int
) -> list[tuple[int, int]]:
    """Return the contacts with a score that moved in a week, and by how much (in thousandths), the largest fall first.

    Only of the owner, or without one of the contacts with the workspace's highest scores.
    """
    values: list[object] = [workspace.id, match_key(owner)] if owner else []
    since = now - WEEK * DAY
    instant = f"${len(values) + 2}"
    rows = await database.read(
        f"SELECT k.contact_id, k.rank, {rank_at(instant)} AS rank_then FROM ({_OWNED if owner else _RANKED}) o"
        f" JOIN scores k ON k.contact_id = o.id WHERE k.definition_id = $1 AND k.rank IS NOT NULL"
        f" AND k.last_at > {instant} ORDER BY k.last_at DESC, k.contact_id LIMIT {MOST_CHANGED}",
        score_type.definition,
        *values,
        since,
    )
    moved = [
        (row["contact_id"], shown(score_type, row["rank"], now=now) - shown(score_type, row["rank_then"], now=since))
        for row in rows
        if row["rank_then"] is not None
    ]
    return sorted(moved, key=lambda entry: entry[1])
