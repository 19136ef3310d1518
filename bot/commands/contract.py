"""Say what a verb of `/score` is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.slack.access import Need
from bot.slack.handling import Reply, Request


@dataclass(frozen=True, slots=True)
class Command:
    """A verb: its handler, how it is typed, what it does in a few words, lines to try, and who may."""

    handler: Callable[[Request], Awaitable[Reply]]
    usage: str
    summary: str
    examples: tuple[str, ...]
    need: Need = Need.SEE
