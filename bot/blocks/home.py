"""Render the Home tab: contacts to look at, and for admins the health and the settings of the workspace."""

from collections.abc import Collection, Mapping, Sequence

from bot.blocks.elements import actions, button, contact_rows, context, format_with_band, section, short_name
from bot.slack.handling import Block
from bot.slack.text import escape
from storage.domain.numbers import show
from storage.domain.people import Choices, Setters
from storage.domain.score_types import ScoreType
from storage.domain.source_health import SourceHealth
from storage.reading.current_scores import Card
from storage.reading.portfolio import Portfolio, week_trend
from storage.sources.subscriptions import Subscription

MOST_NAMED = 5  # sources, jobs or subscriptions that a line names
_TROUBLE = {
    SourceHealth.REFUSED: "its requests cannot be verified",
    SourceHealth.UNUSABLE: "none of its items can be used",
    SourceHealth.SILENT: "it sends nothing any more",
}


def portfolio_blocks(portfolio: Portfolio, score_type: ScoreType) -> list[Block]:
    """Return the sections with the highest scores and with the scores that moved most in a week."""
    if not portfolio.hottest:
        return []
    title = "Your hottest contacts" if portfolio.is_own else "Hottest contacts"
    mine = "top 20 owner:me" if portfolio.is_own else "top 20"
    blocks = [
        section(f"*{title}*", accessory=button("Show more", action="run:more", value=mine)),
        *_list_cards(portfolio.hottest, score_type),
    ]
    if not portfolio.is_own:
        blocks.append(
            context("You own no contact with a score. *Make me the owner* on a contact's card makes it yours.")
        )
    if portfolio.rising:
        blocks += [section("*Rising this week*"), *_list_cards(portfolio.rising, score_type, shows_trend=True)]
    if portfolio.falling:
        blocks += [section("*Falling this week*"), *_list_cards(portfolio.falling, score_type, shows_trend=True)]
    return blocks


def _list_cards(cards: Sequence[Card], score_type: ScoreType, *, shows_trend: bool = False) -> list[Block]:
    lines = [_render_line(card, score_type, shows_trend=shows_trend) for card in cards]
    return contact_rows(lines, [card.contact.id for card in cards])


def _render_line(card: Card, score_type: ScoreType, *, shows_trend: bool) -> str:
    score, moved = card.standing(score_type.key), week_trend(card, score_type)
    company = f" · {short_name(card.contact.company)}" if card.contact.company else ""
    value = format_with_band(score.value if score else None, score_type, bold=True)
    trend = f" {'▲' if moved > 0 else '▼'} {show(abs(moved))}" if shows_trend else ""
    return f"*{short_name(card.contact.shown)}*{company}\n{escape(score_type.label)} {value}{trend}"


def health_blocks(
    troubled: Mapping[str, SourceHealth],
    quarantined: int,
    *,
    counts_all: bool,
    failed_jobs: Collection[str],
    subscriptions: Sequence[Subscription],
) -> list[Block]:
    """Return the section for admins about what does not work.

    *quarantined* is the number of items in quarantine, at least that many unless *counts_all*; *failed_jobs* are the
    kinds of jobs that failed in the last week, in words.
    """
    lines = []
    if troubled:
        names = [f"{escape(slug)} ({_TROUBLE[health]})" for slug, health in sorted(troubled.items())]
        lines.append(f"{_count(len(names), 'source')} with problems: {_name_some(names)}")
    if quarantined:
        number = f"{quarantined:,}" if counts_all else f"more than {quarantined:,}"
        lines.append(f"Items in quarantine: {number}")
    if failed_jobs:
        lines.append(f"Jobs that failed this week: {_name_some(sorted(failed_jobs))}")
    failing = [subscription for subscription in subscriptions if subscription.problem and _is_failing(subscription)]
    if failing:
        names = [f"{subscription.id} ({escape(subscription.problem or '')[:80]})" for subscription in failing]
        lines.append(f"{_count(len(failing), 'subscription')} not delivered: {_name_some(names)}")
    text = (
        "\n".join(f":warning: {line}" for line in lines) or ":white_check_mark: Sources, jobs and subscriptions work."
    )
    buttons = [button("Sources", action="run", value="sources")]
    if subscriptions:
        buttons.append(button("Subscriptions", action="run", value="subscriptions"))
    return [section(f"*Health*\n{text}"), actions(buttons)]


def _is_failing(subscription: Subscription) -> bool:
    return subscription.disabled_at is not None or subscription.failing_since is not None


def _name_some(names: Sequence[str]) -> str:
    hidden = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {hidden} more" if hidden > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def settings_blocks(choices: Choices, types: Sequence[ScoreType]) -> list[Block]:
    """Return the section for admins with the settings, and buttons that show them."""
    place = f"<#{choices.alert_channel}>" if choices.alert_channel else "the contact's owner, else an admin"
    setters = "every member" if choices.setters is Setters.MEMBERS else "admins only"
    labels = ", ".join(escape(score_type.label) for score_type in types[:MOST_NAMED])
    more = f" and {len(types) - MOST_NAMED} more" if len(types) > MOST_NAMED else ""
    lines = (f"Follow-ups go to {place}", f"Scores are set by {setters}", f"Score types: {labels}{more}")
    shown = (
        ("Score types", "settings"),
        ("Rules", "rules"),
        ("Alerts", "alerts"),
        ("Setup", "setup"),
        ("Audit log", "audit"),
    )
    buttons = [button(label, action="run", value=line) for label, line in shown]
    return [section("*Settings*\n" + "\n".join(lines)), actions(buttons)]
