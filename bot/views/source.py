"""Take the forms that make a source, and that give one another secret."""

from typing import Any

from bot.blocks.refusals import refusal_sentence
from bot.blocks.sources import rotated_reply, source_added_reply
from bot.slack.handling import Reply, Request
from storage.domain.errors import AlreadyThere, BadName, Refusal
from storage.domain.sources import DAY
from storage.sources.config import add_source, find_source, rotate_source


async def submit_source(asked: Request) -> Reply:
    """Make the source; its secret is shown this once."""
    entered = {name: (value or "").strip() for name, value in asked.fields.items()}
    slug, provider = entered["slug"], entered["provider"]
    given: dict[str, Any] = {"secret": None, "map": (), "options": (), "api_token": None}
    # What cannot be taken is said under its field, so each is tried with those before it.
    for name in ("options", "map", "secret", "api_token"):
        given[name] = _lines(entered[name]) if name in ("options", "map") else entered[name] or None
        try:
            settings, secrets = asked.senders.configure(asked.workspace, slug=slug, provider=provider, **given)
        except Refusal as refusal:
            return Reply(errors={name: refusal_sentence(refusal)})
    for score in settings.map.values():
        if score not in {one.key for one in asked.types}:
            return Reply(errors={"map": f"There is no score type `{score}`; there is {_keys(asked)}."})
    try:
        made = await add_source(
            asked.workspace, slug=slug, provider=provider, secrets=secrets, settings=settings,
            api_token=given["api_token"], now=asked.now,
        )  # fmt: skip  # whose, what, and what proves it
    except (AlreadyThere, BadName) as refusal:
        return Reply(errors={"slug": refusal_sentence(refusal)})
    return source_added_reply(made, asked.senders)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _keys(asked: Request) -> str:
    return ", ".join(f"`{one.key}`" for one in asked.types[:20])


async def submit_rotation(asked: Request) -> Reply:
    """Let the source prove itself with another secret, and for a day more with those it has."""
    slug = asked.metadata["slug"]
    source = await find_source(asked.workspace.team, slug=slug)
    try:
        secret = asked.senders.next_secret(source, (asked.fields.get("secret") or "").strip() or None)
    except Refusal as refusal:
        return Reply(errors={"secret": refusal_sentence(refusal)})
    rotated = await rotate_source(asked.workspace, slug=slug, secret=secret, now=asked.now)
    return rotated_reply(rotated, until=min(rotated.retiring.values(), default=asked.now + DAY))
