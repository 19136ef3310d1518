"""Fold late facts into scores, with the stored effects around them instead of the whole ledger."""

from collections.abc import Mapping

from storage.db.database import Row, Session
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, fold_order, is_rank_enough
from storage.domain.late_facts import LateFold, StoredEffect
from storage.domain.score_types import ScoreType
from storage.ledger import projection
from storage.ledger.facts import ScoreId, parse_fact

#: the number of effects in the first window, and the factor by which each next window is larger
FIRST_WINDOW, WINDOW_GROWTH = 128, 4
_FACT_COLUMNS = ", ".join(
    f"f.{column}"
    for column in (
        *("id", "kind", "source", "dedupe_key", "subject", "op", "amount", "said", "occurred_at", "batch"),
        *("actor", "reason", "activity"),
    )
)
_EFFECTS = "FROM effects p WHERE p.contact_id = given.contact AND p.definition_id = given.definition"


async def fold_late_facts(
    session: Session, folds: Mapping[ScoreId, LateFold]
) -> dict[ScoreId, tuple[ScoreState, dict[int, tuple[Fact, Effect]]]]:
    """Run folds of late facts. Return the new state of each score, and the effects that are new or have changed.

    Scores that turn out to need their whole ledgers are left out. The caller holds the locks of the contacts, and has
    saved all effects of these scores.
    """
    running, size = dict(folds), FIRST_WINDOW
    read_until: dict[ScoreId, int] = {}  # the instant up to which the effects of a score were read
    while running:
        windows = await _load_windows(session, running, read_until, size=size)
        for score_id, fold in list(running.items()):
            effects = windows.get(score_id, [])
            first = read_until.get(score_id, fold.since - 1) + 1
            number = sum(stored.fact.occurred_at >= first for stored in effects)
            fold.add_window(effects, is_last=number <= size)
            if fold.is_finished:
                del running[score_id]
            else:
                read_until[score_id] = effects[-1].fact.occurred_at
        size *= WINDOW_GROWTH
    return {score_id: (fold.state, fold.effects) for score_id, fold in folds.items() if fold.state is not None}


async def _load_windows(
    session: Session, folds: Mapping[ScoreId, LateFold], read_until: Mapping[ScoreId, int], *, size: int
) -> dict[ScoreId, list[StoredEffect]]:
    """Return the next effects of each fold, in the order of the fold: more than *size*, unless fewer are left.

    The first window begins with the last effect before the new facts that has a known state.
    """
    rows = await session.rows(
        "SELECT w.contact AS root, w.score, e.asked, e.effective, e.rank_after, e.rule, e.capped, e.snapshot,"
        f" {_FACT_COLUMNS}"
        " FROM (SELECT given.contact, given.definition, given.score, coalesce(given.start,"
        f" (SELECT p.at {_EFFECTS} AND p.at < given.since AND (given.is_rank_enough OR p.snapshot IS NOT NULL)"
        " ORDER BY p.at DESC LIMIT 1), 0) AS first,"
        f" coalesce((SELECT p.at {_EFFECTS} AND p.at >= given.since ORDER BY p.at LIMIT 1 OFFSET {size}), {2**63 - 1})"
        " AS last FROM given(contact bigint, definition bigint, score text, start bigint, since bigint,"
        " is_rank_enough boolean) OFFSET 0) AS w"
        " JOIN effects e ON e.contact_id = w.contact AND e.definition_id = w.definition"
        " AND e.at >= w.first AND e.at <= w.last JOIN facts f ON f.id = e.fact_id",
        [
            {
                "contact": contact,
                "definition": fold.score_type.definition,
                "score": score,
                "start": read_until[contact, score] + 1 if (contact, score) in read_until else None,
                "since": read_until.get((contact, score), fold.since - 1) + 1,
                "is_rank_enough": is_rank_enough(fold.score_type),
            }
            for (contact, score), fold in folds.items()
        ],
    )
    windows: dict[ScoreId, list[StoredEffect]] = {}
    for row in rows:
        score_id = (row["root"], row["score"])
        windows.setdefault(score_id, []).append(_parse_stored_effect(row, folds[score_id].score_type))
    for effects in windows.values():
        effects.sort(key=lambda stored: fold_order(stored.fact))
    return windows


def _parse_stored_effect(row: Row, score_type: ScoreType) -> StoredEffect:
    fact, effect = parse_fact(row), projection.parse_effect(row)
    after = projection.parse_snapshot(row["snapshot"], effect, fact) if row["snapshot"] else None
    lacks_snapshot = row["snapshot"] is None and projection.has_snapshot(row["id"], score_type)
    return StoredEffect(fact_id=row["id"], fact=fact, effect=effect, after=after, lacks_snapshot=lacks_snapshot)
