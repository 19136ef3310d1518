"""Draw lists of contacts: the ones a name may mean, and the ones with the highest scores."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import (
    BUTTON_VALUE,
    actions,
    button,
    context,
    format_with_band,
    score_called,
    section,
    sections,
    short_name,
)
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.domain.contacts import Contact
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card


def choose_contact_reply(question: str, choices: Sequence[tuple[str, str]], *, action: str = "run") -> Reply:
    """Ask which was meant; each choice is (what its button says, the line it runs).

    A line that a button has no room for is not run in part: it has none.
    """
    choices = [(label, line) for label, line in choices if len(line) <= BUTTON_VALUE]
    rows = [choices[place : place + 5] for place in range(0, len(choices), 5)]
    buttons: list[Block] = [
        actions([button(label, action=f"{action}:{number}", value=line) for label, line in row])
        for number, row in enumerate(rows)
    ]
    return Reply(text=question, blocks=[section(question), *buttons])


def distinct_name(contact: Contact) -> str:
    """Name a contact so that it can be told from others of that name."""
    known = [text for text in (contact.company, contact.email) if text and text != contact.shown]
    return " · ".join([contact.shown, *known])


def filter_reply(
    cards: Sequence[Card],
    scores: Sequence[ScoreType],
    *,
    text: str,
    first: int,
    total: int,
    back: str | None,
    onward: str | None,
    here: str,
) -> Reply:
    """Answer with a page of what a filter finds; *back*, *onward* and *here* are what its buttons carry."""
    lines = [_line(card, scores) for card in cards]
    shown = f"{first}–{first + len(cards) - 1} of {total}" if total > len(cards) else f"{total}"
    title = f"{shown} {'contact fits' if total == 1 else 'contacts fit'}"
    turning = [("Back", back), ("Next", onward)]
    buttons = [button(label, action="page", value=value) for label, value in turning if value is not None]
    buttons.append(button("Share to channel", action="share", value=here))
    head = section(f"*{title}* `{escape_code(text)}`" if text else f"*{title}*")
    return Reply(text=f"{title} {escape(text)}", blocks=[head, *sections(lines), actions(buttons)])


def segments_reply(known: Mapping[str, str]) -> Reply:
    """Answer with the saved filters."""
    if not known:
        what = "No segment is saved yet."
        return Reply(text=what, blocks=[section(f"{what} Save one: `/score segment save hot score&gt;=80`")])
    lines = [f"*{escape(name)}*  `{escape_code(text)}`" for name, text in known.items()]
    title = f"{len(known)} {'segment' if len(known) == 1 else 'segments'}"
    small = context("`/score segment show hot` shows who is in one; `segment:hot` stands for it in any filter.")
    return Reply(text=title, blocks=[section(f"*{title}*"), *sections(lines), small])


def shared_reply(reply: Reply, *, by: str) -> Reply:
    """Make of an answer what everybody in a channel may read: without its buttons, saying who shared it."""
    kept = [block for block in reply.blocks if block["type"] != "actions"]
    return Reply(text=reply.text, blocks=[*kept, context(f"Shared by <@{by}>")], public=True)


def _line(card: Card, scores: Sequence[ScoreType]) -> str:
    company = f" · {short_name(card.contact.company)}" if card.contact.company else ""
    values = {one.score_type.key: one.value for one in card.standings}
    numbers = [f"{escape(one.label)} {format_with_band(values.get(one.key), one, bold=True)}" for one in scores]
    return f"*{short_name(card.contact.shown)}*{company} · {', '.join(numbers)}"


def top_reply(cards: Sequence[Card], score_type: ScoreType) -> Reply:
    """Answer with the contacts of the highest scores."""
    if not cards:
        what = f"Nobody has a {score_called(score_type.label)} yet."
        hint = f"Set one: `/score set ada@example.com {score_type.key}={show(score_type.maximum)}`"
        return Reply(text=what, blocks=[section(f"{what} {hint}")])
    lines = []
    for place, card in enumerate(cards, start=1):
        value = next(one.value for one in card.standings if one.score_type.key == score_type.key)
        company = f" · {short_name(card.contact.company)}" if card.contact.company else ""
        lines.append(
            f"{place}. *{short_name(card.contact.shown)}*{company}  {format_with_band(value, score_type, bold=True)}"
        )
    title = f"Top {len(cards)} by {escape(score_type.label)}"
    ties = context("Of equal scores the contact known longest comes first.")
    return Reply(text=title, blocks=[section(f"*{title}*"), *sections(lines), ties])
