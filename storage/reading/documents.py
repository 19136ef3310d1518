"""Render contacts, scores, histories and explanations as JSON documents, for programs, agents and the terminal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from storage.alerts.followups import FollowUp
from storage.domain.contacts import TEXT_FIELDS, Contact
from storage.domain.durations import write_span
from storage.domain.explain import Contribution, Explanation
from storage.domain.numbers import to_json
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card, CurrentScore
from storage.reading.history import HistoryEntry

#: The most lines of an explanation in a document; older changes are one line for each month.
MOST_CONTRIBUTIONS = 200


def contact(card: Card) -> dict[str, Any]:
    """Render a contact. A missing score is absent."""
    contact = card.contact
    return {
        "id": contact.id,
        "ids": dict(contact.ids),
        **{name: getattr(contact, name) for name in TEXT_FIELDS},
        "tags": list(contact.tags),
        "attributes": dict(contact.attributes),
        "scores": {current_score.score_type.key: score(current_score) for current_score in card.standings},
        "created_at": moment(contact.created_at),
        "updated_at": moment(contact.updated_at),
    }


def score(current_score: CurrentScore) -> dict[str, Any]:
    """Render a score."""
    return {
        "value": to_json(current_score.value),
        "band": current_score.score_type.band(current_score.value),
        "as_of": moment(current_score.as_of),
        "trend_30d": None if current_score.trend is None else to_json(current_score.trend),
        **({} if current_score.band_until is None else {"band_until": moment(current_score.band_until)}),
    }


def score_version(current_score: CurrentScore) -> str:
    """Return the version of a score. Every change makes a new one, even if the value is the same again.

    Decay alone does not change it.
    """
    return f"{current_score.score_type.definition}-{current_score.seen}-{current_score.rank}"


def score_type(score_type: ScoreType) -> Mapping[str, Any]:
    """Render a score type."""
    numbers = {"min": score_type.minimum, "max": score_type.maximum, "step": score_type.step, "start": score_type.start}
    return {
        "key": score_type.key,
        "label": score_type.label,
        **{name: to_json(number) for name, number in numbers.items()},
        "bands": [
            {"name": band.name, "from": to_json(band.start), **({"colour": band.colour} if band.colour else {})}
            for band in score_type.bands
        ],
        "half_life": None if score_type.half_life is None else write_span(score_type.half_life),
        "default": score_type.is_default,
    }


def explanation(explanation: Explanation) -> dict[str, Any]:
    """Render an explanation: the value, and the lines that add up to it."""
    contributions = [contribution(line) for line in explanation.contributions]
    return {"value": to_json(explanation.value), "contributions": contributions}


def contribution(contribution: Contribution) -> dict[str, Any]:
    """Render a line of an explanation. The effects of all lines add up to the value of the score."""
    return {
        "occurred_at": None if contribution.occurred_at is None else moment(contribution.occurred_at),
        "effect": to_json(contribution.effect),
        "op": contribution.op,
        "asked": to_json(contribution.asked),
        "cut": to_json(contribution.cut),
        "cut_by_cap": to_json(contribution.cut_by_cap),
        "cut_by_range": to_json(contribution.cut_by_range),
        "rounded": to_json(contribution.rounded),
        "faded": to_json(contribution.faded),
        "source": contribution.source,
        "actor": contribution.actor,
        "rule": contribution.rule,
        "ended": contribution.ended,
        "reason": contribution.reason,
        "count": contribution.count,
    }


def history_entry(entry: HistoryEntry) -> dict[str, Any]:
    """Render an entry of a score's history."""
    return {
        "occurred_at": moment(entry.occurred_at),
        "op": entry.op.value,
        "amount": to_json(entry.amount),
        "effective": None if entry.effective is None else to_json(entry.effective),
        "source": entry.source,
        "actor": entry.actor,
        "reason": entry.reason,
        "undone": entry.undone,
    }


def follow_up(follow_up: FollowUp, contact: Contact) -> dict[str, Any]:
    """Render a follow-up with the contact that it is about."""
    return {
        "id": follow_up.id,
        "state": follow_up.standing.state.value,
        "contact": {"id": contact.id, **{name: getattr(contact, name) for name in TEXT_FIELDS}},
        "score": follow_up.score,
        "before": None if follow_up.before is None else to_json(follow_up.before),
        "after": None if follow_up.after is None else to_json(follow_up.after),
        "why": follow_up.why,
        "source": follow_up.source,
        "actor": follow_up.actor,
        "reason": follow_up.reason,
        "holder": follow_up.standing.holder,
        "until": None if follow_up.until is None else moment(follow_up.until),
        "overdue_at": None if follow_up.late_at is None else moment(follow_up.late_at),
        "escalate_to": follow_up.escalate_to,
        "outcome": None if follow_up.outcome is None else follow_up.outcome.value,
        "opened_at": moment(follow_up.asked_at),
        "changed_at": moment(follow_up.changed_at),
    }


def moment(at: int) -> str:
    """Render a time in µs since 1970 in the format of RFC 3339, in UTC, without a fraction for a whole second."""
    utc_time = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    return utc_time.isoformat().replace("+00:00", "Z")
