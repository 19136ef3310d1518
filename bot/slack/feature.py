"""The definition of a feature: its handlers, by the ids under which Slack and the job queue call them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from bot.slack.access import Need
from bot.slack.handling import Block, Reply, Request
from bot.slack.job_handling import JobHandler

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Reply]]
OptionLister: TypeAlias = Callable[[Request], Awaitable[list[Block]]]
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Command:
    """A verb of `/score`: its handler, syntax, summary, example lines and required permission."""

    handler: RequestHandler
    usage: str
    summary: str
    examples: tuple[str, ...]
    need: Need = Need.SEE


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """The tables of one feature; buttons, forms and shortcuts are entered with the permission that they require."""

    verbs: Mapping[str, Command] = field(default_factory=dict)
    buttons: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by action id, of menus too
    forms: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by callback id
    options: Mapping[str, OptionLister] = field(default_factory=dict)  #: by the action id of a menu in a form
    shortcuts: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by callback id
    jobs: Mapping[str, JobHandler] = field(default_factory=dict)  #: by kind
    recurring: Collection[str] = ()  #: the kinds of jobs that are never given up


def join(features: Sequence[Feature]) -> Feature:
    """Return the tables of all features as one feature; raises ValueError if two of them use the same id."""
    return Feature(
        verbs=_join_tables([feature.verbs for feature in features]),
        buttons=_join_tables([feature.buttons for feature in features]),
        forms=_join_tables([feature.forms for feature in features]),
        options=_join_tables([feature.options for feature in features]),
        shortcuts=_join_tables([feature.shortcuts for feature in features]),
        jobs=_join_tables([feature.jobs for feature in features]),
        recurring=[kind for feature in features for kind in feature.recurring],
    )


def _join_tables(tables: Sequence[Mapping[str, Entry]]) -> dict[str, Entry]:
    joined = dict[str, Entry]()
    for table in tables:
        if used := joined.keys() & table.keys():
            raise ValueError(f"two features use the same id: {', '.join(sorted(used))}")
        joined |= table
    return joined
