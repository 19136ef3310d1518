"""Say what people's face is handed of the one for programs, by whoever puts both together: data, and what to call."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.domain.facts import ItemRequest
from storage.domain.people import Workspace
from storage.domain.sources import Source, SourceSettings
from storage.domain.submissions import Raw, Recorded

HIDDEN = "…"


def explain_missing_token(slug: str) -> str:
    """Say that a source without a token names its contacts by ids, and what to do about it."""
    return (
        "Its contacts are known by their ids alone; for addresses and names give it an API token:"
        f" contact-score source set {slug} --api-token TOKEN"
    )


class Configures(Protocol):
    """Check what was said of a new source; give what is to be kept of it, and its secrets. Raises a Refusal."""

    def __call__(
        self,
        workspace: Workspace,
        *,
        slug: str,
        provider: str,
        secret: str | None,
        map: Sequence[str],
        options: Sequence[str],
        api_token: str | None,
    ) -> tuple[SourceSettings, tuple[str, ...]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """The kinds of senders there are, and what is done with the sources of them."""

    steps: Mapping[str, Sequence[str]]  #: provider → what to do at its side; `{url}`, `{secret}` and SLUG stand in it
    id_only: Collection[str]  #: the providers that name contacts by ids alone, and can be asked who they are
    address: str  #: how senders reach us
    configure: Configures
    #: the next secret of a source, checked where one is given, else made; raises a Refusal
    next_secret: Callable[[Source, str | None], str]
    #: say what would be taken of a request that is kept, given its key, and what to think about before it is
    attempt: Callable[[Source, Raw, str], tuple[Sequence[ItemRequest], Sequence[str]]]
    #: read a kept delivery of a workspace again, given its id and the time; raises a Refusal
    replay: Callable[[Workspace, int, int], Awaitable[Recorded]]

    def url(self, source: Source) -> str:
        """Give the address that a source sends to."""
        return f"{self.address.rstrip('/')}/webhooks/{source.workspace.team}/{source.slug}"

    def setup_steps(self, source: Source, *, secret: str = HIDDEN) -> list[str]:
        """Give what to do at the side of a source, a step a line."""
        steps = self.steps.get(source.provider, ())
        return [step.format(url=self.url(source), secret=secret).replace("SLUG", source.slug) for step in steps]
