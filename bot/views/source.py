"""Handle the forms that add a source and rotate its secret."""

from typing import Any

from bot.blocks.refusals import refusal_sentence
from bot.blocks.sources import rotated_reply, source_added_reply
from bot.slack.handling import Reply, Request
from storage.domain.errors import AlreadyThere, BadName, Refusal
from storage.domain.sources import DAY
from storage.sources.config import add_source, find_source, rotate_source


async def submit_source(request: Request) -> Reply:
    """Add the source and return its setup steps and secret; the secret is not shown again."""
    entered = {name: (value or "").strip() for name, value in request.fields.items()}
    slug, provider = entered["slug"], entered["provider"]
    values: dict[str, Any] = {"secret": None, "map": (), "options": (), "api_token": None}
    # Each value is checked together with those before it, so that a refusal belongs to its field.
    for name in ("options", "map", "secret", "api_token"):
        values[name] = _split_lines(entered[name]) if name in ("options", "map") else entered[name] or None
        try:
            settings, secrets = request.senders.configure(request.workspace, slug=slug, provider=provider, **values)
        except Refusal as refusal:
            return Reply(errors={name: refusal_sentence(refusal)})
    for score in settings.map.values():
        if score not in {score_type.key for score_type in request.types}:
            return Reply(errors={"map": f"There is no score type `{score}`; existing: {_list_keys(request)}."})
    try:
        source = await add_source(
            request.workspace, slug=slug, provider=provider, secrets=secrets, settings=settings,
            api_token=values["api_token"], now=request.now,
        )  # fmt: skip  # identity, secrets and token
    except (AlreadyThere, BadName) as refusal:
        return Reply(errors={"slug": refusal_sentence(refusal)})
    return source_added_reply(source, request.senders)


def _split_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _list_keys(request: Request) -> str:
    return ", ".join(f"`{score_type.key}`" for score_type in request.types[:20])


async def submit_rotation(request: Request) -> Reply:
    """Rotate the source's secret; previous secrets remain valid for a day."""
    slug = request.metadata["slug"]
    source = await find_source(request.workspace.team, slug=slug)
    try:
        secret = request.senders.next_secret(source, (request.fields.get("secret") or "").strip() or None)
    except Refusal as refusal:
        return Reply(errors={"secret": refusal_sentence(refusal)})
    rotated = await rotate_source(request.workspace, slug=slug, secret=secret, now=request.now)
    return rotated_reply(rotated, until=min(rotated.retiring.values(), default=request.now + DAY))
