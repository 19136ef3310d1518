"""The definition of a `/score` verb."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.slack.access import Need
from bot.slack.handling import Reply, Request


@dataclass(frozen=True, slots=True)
class Command:
    """A verb of `/score`: its handler, syntax, summary, example lines and required permission."""

    handler: Callable[[Request], Awaitable[Reply]]
    usage: str
    summary: str
    examples: tuple[str, ...]
    need: Need = Need.SEE
