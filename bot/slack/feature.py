"""Define a feature: its handlers, by the ids that Slack and the job queue use for them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from bot.slack.access import Need
from bot.slack.handling import Block, Reply, Request
from bot.slack.job_handling import JobHandler
from storage.audit import AuditEntry
from storage.domain.people import Workspace

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Reply]]
OptionLister: TypeAlias = Callable[[Request], Awaitable[list[Block]]]
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of `/score`: its handler, syntax, summary, examples and required permission.

    The examples are templates, see `bot.slack.examples`; some may need the permission to set scores.
    """

    handler: RequestHandler
    usage: str
    summary: str
    examples: tuple[str, ...]
    need: Need = Need.SEE
    examples_of_setters: tuple[str, ...] = ()

    @property
    def takes_words(self) -> bool:
        """Return whether words may follow the verb."""
        return " " in self.usage


class Inverse(Protocol):
    """A function of storage that undoes a recorded change, and returns the id of the undo's entry."""

    def __call__(self, workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> Awaitable[int]:
        """Undo the change, if everything is still as the change left it; else raise ChangedMeanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """The handlers of one feature. A button, form or shortcut has the permission that it requires and its handler."""

    verbs: Mapping[str, Verb] = field(default_factory=dict)
    buttons: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by action id; and menus
    forms: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by callback id
    options: Mapping[str, OptionLister] = field(default_factory=dict)  #: by the action id of a menu in a form
    shortcuts: Mapping[str, tuple[Need, RequestHandler]] = field(default_factory=dict)  #: by callback id
    inverses: Mapping[str, Inverse] = field(default_factory=dict)  #: by the kind of recorded change that each undoes
    file: tuple[Need, RequestHandler] | None = None  #: for a file in a direct message to the app
    jobs: Mapping[str, JobHandler] = field(default_factory=dict)  #: by kind
    recurring: Collection[str] = ()  #: the kinds of jobs that every workspace has and that are never given up


def join(features: Sequence[Feature]) -> Feature:
    """Return one feature with the handlers of all features. Raises ValueError if two features use the same id."""
    return Feature(
        verbs=_join_tables([feature.verbs for feature in features]),
        buttons=_join_tables([feature.buttons for feature in features]),
        forms=_join_tables([feature.forms for feature in features]),
        options=_join_tables([feature.options for feature in features]),
        shortcuts=_join_tables([feature.shortcuts for feature in features]),
        inverses=_join_tables([feature.inverses for feature in features]),
        file=next((feature.file for feature in features if feature.file is not None), None),
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
