"""Render the daily digest: changes of scores and waiting follow-ups."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import context, day, format_with_band, section, sections, short_name
from bot.blocks.followups import headline, standing_line
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.alerts.digests import News
from storage.alerts.followups import FollowUp
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card

DIGEST_EVENT = "digest"  # the event_type in the metadata of a digest message


def digest_reply(news: News, cards: Mapping[int, Card], types: Mapping[str, ScoreType], *, place: str) -> Reply:
    """Return the digest without its empty sections.

    *cards* are the contacts of its follow-ups by id, with their scores now; *place* is the id of the Slack channel or
    user that receives it.
    """
    label, bands = escape(news.score_type.label), news.score_type.bands
    groups = [
        (f"Newly {bands[-1].name if bands else 'hot'}", [_render_card(card, news.score_type) for card in news.hot]),
        ("New in the top 10", [_render_card(card, news.score_type) for card in news.ranked]),
        (
            "Biggest movers",
            [
                f"{'▲' if by > 0 else '▼'} {show(abs(by))} · {_render_card(card, news.score_type)}"
                for card, by in news.movers
            ],
        ),
        ("To follow up", _render_follow_ups(news.follow_ups, cards, types)),
        ("Unclaimed for too long", _render_follow_ups(news.overdue, cards, types)),
        ("Snoozes that end today", _render_follow_ups(news.waking, cards, types)),
        ("About to cool", [_render_cooling(card, news.score_type) for card in news.cooling]),
    ]
    lines = [line for title, entries in groups if entries for line in ("", f"*{title}*", *entries)][1:]
    title = f"{label} since {day(news.since)}"
    stop = f"`/score alerts digest off in` <#{place}>" if place[:1] in ("C", "G") else "`/score alerts digest off`"
    hint = context(f"Open follow-ups: `/score followups` · Turn this off: {stop}")
    blocks = [section(f"*{title}*"), *sections(lines), hint]
    shown = [*news.hot, *news.ranked, *(card for card, _ in news.movers), *news.cooling]
    named = frozenset({*(card.contact.id for card in shown), *cards})
    return Reply(text=f"{label}: what is new", blocks=blocks, contacts=named)


def _render_card(card: Card, score_type: ScoreType) -> str:
    score = card.standing(score_type.key)
    name, value = short_name(card.contact.shown), score.value if score else None
    return f"{name} {format_with_band(value, score_type, bold=True)}"


def _render_cooling(card: Card, score_type: ScoreType) -> str:
    score = card.standing(score_type.key)
    until = f" until {day(score.band_until)}" if score and score.band_until else ""
    return f"{_render_card(card, score_type)}{until}"


def _render_follow_ups(
    follow_ups: Sequence[FollowUp], cards: Mapping[int, Card], types: Mapping[str, ScoreType]
) -> list[str]:
    lines = list[str]()
    for follow_up in follow_ups[:10]:
        card = cards.get(follow_up.contact)
        if card is not None:
            state, why = standing_line(follow_up), escape(follow_up.why) if follow_up.why else ""
            parts = [headline(follow_up, card.contact, types.get(follow_up.score), card=card), why, state]
            lines.append(" · ".join(part for part in parts if part))
    return lines + ([f"… and {len(follow_ups) - 10} more"] if len(follow_ups) > 10 else [])
