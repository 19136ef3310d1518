"""Draw the message of a day: what happened to scores, and what waits."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import context, day, format_with_band, section, sections, short_name
from bot.blocks.followup import headline, standing_line
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.alerts.digests import News
from storage.alerts.followups import FollowUp
from storage.domain.contacts import Contact
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card

DIGEST_EVENT = "digest"  # the type of the metadata that such a message carries


def digest_reply(news: News, people: Mapping[int, Contact], types: Mapping[str, ScoreType], *, place: str) -> Reply:
    """Draw what is not empty; *people* are those of its follow-ups, *place* Slack's id of where it goes."""
    label, bands = escape(news.score_type.label), news.score_type.bands
    parts = [
        (f"Newly {bands[-1].name if bands else 'hot'}", [_card(card, news.score_type) for card in news.hot]),
        ("New in the top 10", [_card(card, news.score_type) for card in news.ranked]),
        (
            "Biggest movers",
            [f"{'▲' if by > 0 else '▼'} {show(abs(by))} · {_card(card, news.score_type)}" for card, by in news.movers],
        ),
        ("To follow up", _follow_ups(news.asked, people, types)),
        ("Unclaimed for too long", _follow_ups(news.overdue, people, types)),
        ("Snoozes that end today", _follow_ups(news.waking, people, types)),
        ("About to cool", [_cooling(card, news.score_type) for card in news.cooling]),
    ]
    lines = [line for title, said in parts if said for line in ("", f"*{title}*", *said)][1:]
    title = f"{label} since {day(news.since)}"
    stop = f"`/score alerts digest off in` <#{place}>" if place[:1] in ("C", "G") else "`/score alerts digest off`"
    hint = context(f"See to follow-ups: `/score followups` · Stop this: {stop}")
    blocks = [section(f"*{title}*"), *sections(lines), hint]
    return Reply(text=f"{label}: what is new", blocks=blocks)


def _card(card: Card, score_type: ScoreType) -> str:
    standing = card.standing(score_type.key)
    name, value = short_name(card.contact.shown), standing.value if standing else None
    return f"{name} {format_with_band(value, score_type, bold=True)}"


def _cooling(card: Card, score_type: ScoreType) -> str:
    standing = card.standing(score_type.key)
    until = f" until {day(standing.band_until)}" if standing and standing.band_until else ""
    return f"{_card(card, score_type)}{until}"


def _follow_ups(many: Sequence[FollowUp], people: Mapping[int, Contact], types: Mapping[str, ScoreType]) -> list[str]:
    lines = list[str]()
    for one in many[:10]:
        if one.contact in people:
            state, why = standing_line(one), escape(one.why) if one.why else ""
            said = [headline(one, people[one.contact], types.get(one.score)), why, state]
            lines.append(" · ".join(part for part in said if part))
    return lines + ([f"… and {len(many) - 10} more"] if len(many) > 10 else [])
