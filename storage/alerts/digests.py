"""Store the schedules of digests, and gather the content of a digest."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from storage import jobs
from storage.alerts import followups
from storage.alerts.followups import Assignee, FollowUp
from storage.audit import AuditAction, Document, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.business_hours import check_zone, next_time, write_time
from storage.domain.decay import shown
from storage.domain.errors import Refusal
from storage.domain.facts import DAY
from storage.domain.filters import Filter, Sort
from storage.domain.filters.terms import All, Compare, Comparison, Crossed, Direction, Is, Term, Trend
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key
from storage.jobs import NewJob
from storage.reading import current_scores, pages
from storage.reading.current_scores import Card
from storage.scoring.definitions import score_types

DIGEST_JOB = "digest"  #: the kind of the job that sends a digest
MOST_LINES = 10  #: the most contacts in a section
MOST_LOOKED_AT = 200  #: the most rows that a query loads
COOLS_WITHIN = 3 * DAY  #: contacts that leave the top band within this time are listed
#: a contact is a mover if its score changed by at least the range divided by this
MOVER = 20


class UnknownDigest(Refusal):
    """There is no digest there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The schedule of a digest: a message to a channel or a person every working day. Times in µs UTC."""

    id: int
    place: str  #: the Slack id of the channel or the person
    zone: str  #: the name in the time zone database, such as Europe/Berlin
    minute: int  #: the local time to send it, in minutes after midnight
    ranked: tuple[int, ...] | None  #: the top ten contacts when it was last sent
    sent_at: int | None
    made_by: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The content of a digest: what happened since the last digest, and what is about to happen."""

    score_type: ScoreType
    since: int  #: in µs UTC
    hot: Sequence[Card] = ()  #: contacts that entered the top band
    ranked: Sequence[Card] = ()  #: contacts that are new among the top ten
    movers: Sequence[tuple[Card, int]] = ()  #: contacts with the biggest changes, and the change in thousandths
    cooling: Sequence[Card] = ()  #: contacts that will fade out of the top band soon
    follow_ups: Sequence[FollowUp] = ()  #: unclaimed follow-ups of rules that post only to the digest
    overdue: Sequence[FollowUp] = ()  #: unclaimed follow-ups that should have been claimed
    waking: Sequence[FollowUp] = ()  #: follow-ups with a snooze that ends within a day
    top: tuple[int, ...] = ()  #: the ids of the top ten contacts now

    @property
    def is_empty(self) -> bool:
        """Whether the digest has no content."""
        return not any((self.hot, self.ranked, self.movers, self.cooling, self.follow_ups, self.overdue, self.waking))


async def set_digest(workspace: Workspace, *, place: str, zone: str, minute: int, made_by: str, now: int) -> Digest:
    """Create or change the digest of a channel or person, and schedule its next job. Raises UnknownZone.

    *place* is the Slack id of the channel or person, *minute* the local time in minutes after midnight.
    """
    zone = await asyncio.to_thread(check_zone, zone)  # check_zone reads the files of the time zone database

    async def body(session: Session) -> Digest:
        before = await _lock_digest(session, workspace, place)
        rows = await session.rows(
            "INSERT INTO digests (workspace_id, place, zone, minute, ranked, made_by, created_at)"
            " VALUES ($1, $2, $3, $4, 'null', $5, $6) ON CONFLICT (workspace_id, place) DO UPDATE"
            " SET zone = excluded.zone, minute = excluded.minute, made_by = excluded.made_by RETURNING *",
            workspace.id,
            place,
            zone,
            minute,
            made_by,
            now,
        )
        digest = _make_digest(rows[0])
        due = next_time(zone, minute, after=now)
        await session.delete(models.Job.filter(workspace_id=workspace.id, kind=DIGEST_JOB, subject=digest.id))
        job = NewJob(
            workspace=workspace.id, kind=DIGEST_JOB, lane=place, key=f"{digest.id}/{due}", subject=digest.id, due_at=due
        )
        await jobs.enqueue(session, [job], now=now)
        await record_change(
            session, workspace, who=made_by, what=AuditAction.DIGEST_SET, subject=place,
            before=before, after=_describe_digest(digest), now=now,
        )  # fmt: skip  # who and what, then the states
        return digest

    return await database.write(body)


async def stop_digest(workspace: Workspace, *, place: str, by: str, now: int) -> None:
    """Delete the digest of a channel or person. Raises UnknownDigest."""

    async def body(session: Session) -> None:
        before = await _lock_digest(session, workspace, place)
        if before is None:
            raise UnknownDigest
        await session.delete(models.Digest.filter(workspace_id=workspace.id, place=place))
        await record_change(
            session, workspace, who=by, what=AuditAction.DIGEST_STOPPED, subject=place,
            before=before, after=None, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def _lock_digest(session: Session, workspace: Workspace, place: str) -> Document | None:
    """Return the digest of a channel or person for the record of changes, locked until the transaction ends."""
    rows = await session.rows(
        "SELECT * FROM digests WHERE workspace_id = $1 AND place = $2 FOR NO KEY UPDATE", workspace.id, place
    )
    return _describe_digest(_make_digest(rows[0])) if rows else None


def _describe_digest(digest: Digest) -> Document:
    return {
        "place": digest.place,
        "zone": digest.zone,
        "time": write_time(digest.minute),
        "made_by": digest.made_by,
    }


async def digests(workspace: Workspace) -> list[Digest]:
    """Return the digests of a workspace, oldest first."""
    rows = await database.load(models.Digest.filter(workspace_id=workspace.id).order_by("id"))
    return [_make_digest(row) for row in rows]


async def record_digest_sent(workspace: Workspace, *, id: int, top: Sequence[int], now: int) -> None:
    """Record that a digest was sent, or was skipped because it was empty. *top* are the top ten contacts now."""
    digest = models.Digest.filter(workspace_id=workspace.id, id=id)
    await database.current_database().writer.update(digest, sent_at=now, ranked=json.dumps(list(top)))


async def gather_news(workspace: Workspace, *, digest: Digest, assignee: Assignee | None, now: int) -> News:
    """Gather the content of a digest; with *assignee* only the contacts and follow-ups of this person."""
    owner = assignee.address if assignee else None
    score_type = (await score_types(workspace))[0]
    # The first digest covers the time since it was created, which may include a weekend, and at least a day.
    since = digest.sent_at if digest.sent_at is not None else min(now - DAY, digest.created_at)
    if since > now:  # the last digest was sent by a process with a clock that was ahead
        since = now - DAY
    owner_terms: tuple[Term, ...] = (Is("owner", (match_key(owner),)),) if owner is not None else ()
    _, best = await current_scores.top(workspace, score=score_type.key, count=MOST_LINES, now=now)
    top = tuple(card.contact.id for card in best)
    ranked = [] if digest.ranked is None else [card for card in best if card.contact.id not in digest.ranked]
    edge = score_type.bands[-1].start if len(score_type.bands) > 1 else None
    return News(
        score_type=score_type,
        since=since,
        hot=await _list_hot(workspace, score_type, edge, owner_terms, since=since, now=now),
        ranked=[card for card in ranked if owner is None or match_key(card.contact.owner or "") == match_key(owner)],
        movers=await _list_movers(workspace, score_type, owner_terms, since=since, now=now),
        cooling=await _list_cooling(workspace, score_type, edge, owner_terms, now=now),
        follow_ups=await followups.list_in_digest(workspace, assignee=assignee, most=MOST_LOOKED_AT),
        overdue=await followups.list_overdue(workspace, assignee=assignee, most=MOST_LOOKED_AT, now=now),
        waking=await followups.list_waking(workspace, assignee=assignee, before=now + DAY, most=MOST_LOOKED_AT),
        top=top,
    )


async def _list_hot(
    workspace: Workspace,
    score_type: ScoreType,
    edge: int | None,
    owner_terms: tuple[Term, ...],
    *,
    since: int,
    now: int,
) -> Sequence[Card]:
    if edge is None:
        return ()
    where = All((*owner_terms, Crossed(score_type, True, edge, now - since)))
    query = Filter(where, (Sort(score_type, True),))
    return (await pages.page(workspace, query=query, limit=MOST_LINES, now=now)).cards


async def _list_movers(
    workspace: Workspace, score_type: ScoreType, owner_terms: tuple[Term, ...], *, since: int, now: int
) -> list[tuple[Card, int]]:
    """Return the contacts with the biggest changes since *since*, each with the change, biggest first."""
    least = max(score_type.step, (score_type.maximum - score_type.minimum) // MOVER)
    where = All((*owner_terms, Trend(score_type, Direction.MOVED, least, False, now - since)))
    query = Filter(where, (Sort(score_type, True),))
    cards = (await pages.page(workspace, query=query, limit=MOST_LOOKED_AT, now=now)).cards
    scores = {card.contact.id: (card.contact.id, score_type.definition, since) for card in cards}
    earlier_ranks = await current_scores.ranks_then(database.current_database().reader, scores)
    moved = list[tuple[Card, int]]()
    for card in cards:
        rank, standing = earlier_ranks.get(card.contact.id), card.standing(score_type.key)
        if rank is not None and standing is not None:
            moved.append((card, standing.value - shown(score_type, rank, now=since)))
    return sorted(moved, key=lambda mover: (-abs(mover[1]), mover[0].contact.id))[:MOST_LINES]


async def _list_cooling(
    workspace: Workspace, score_type: ScoreType, edge: int | None, owner_terms: tuple[Term, ...], *, now: int
) -> list[Card]:
    if edge is None or not score_type.half_life:
        return []
    where = All((*owner_terms, Compare(score_type, Comparison.AT_LEAST, edge)))
    # Sort ascending: the lowest scores of the band fade out of it first.
    query = Filter(where, (Sort(score_type, False),))
    cards = (await pages.page(workspace, query=query, limit=MOST_LINES, now=now)).cards
    falling = [(card, card.standing(score_type.key)) for card in cards]
    return [
        card
        for card, standing in falling
        if standing is not None and standing.band_until is not None and standing.band_until <= now + COOLS_WITHIN
    ]


def _make_digest(row: Row) -> Digest:
    ranked = json.loads(row["ranked"])
    return Digest(
        **{name: row[name] for name in ("id", "place", "zone", "minute", "sent_at", "made_by", "created_at")},
        ranked=None if ranked is None else tuple(ranked),
    )
