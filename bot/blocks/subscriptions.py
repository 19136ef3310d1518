"""Render the subscriptions to events, and the message to an admin that one was turned off."""

from collections.abc import Sequence

from bot.blocks.elements import moment, sections, truncate
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.sources.subscriptions import Subscription

MOST = 20  #: subscriptions in a list
LONGEST_URL = 120  # characters


def subscriptions_reply(subscriptions: Sequence[Subscription]) -> Reply:
    """Return the list of subscriptions, oldest first."""
    if not subscriptions:
        text = "No program gets events yet. Add one in a terminal: `contact-score subscription add https://…`"
        return Reply(text=text, blocks=sections([text]))
    lines = [_describe(subscription) for subscription in subscriptions[:MOST]]
    if len(subscriptions) > MOST:
        lines.append(f"And {len(subscriptions) - MOST:,} more: `contact-score subscription list`")
    return Reply(text="\n".join(lines), blocks=sections(lines))


def subscription_disabled_reply(subscription: Subscription) -> Reply:
    """Return the message that tells an admin that a subscription was turned off."""
    text = (
        f"{_name(subscription)} was turned off: {escape(subscription.problem or 'it failed')}. Its events of the last"
        f" seven days are kept. When it works again, type `contact-score subscription redeliver {subscription.id}` in a"
        " terminal."
    )
    return Reply(text=text, blocks=sections([text]))


def _describe(subscription: Subscription) -> str:
    wanted = ", ".join([*subscription.events, *(f"segment {name}" for name in subscription.segments)])
    if subscription.disabled_at is not None:
        state = f"*off* since {moment(subscription.disabled_at)}: {escape(subscription.problem or '')}"
    elif subscription.failing_since is not None:
        state = f"*failing* since {moment(subscription.failing_since)}: {escape(subscription.problem or '')}"
    else:
        state = "works"
    return f"{_name(subscription)} · {state}\n{escape(wanted)}"


def _name(subscription: Subscription) -> str:
    return f"Subscription {subscription.id}, `{escape_code(truncate(subscription.url, LONGEST_URL))}`"
