"""Functions and data about sources that the service injects, because Slack's handlers do not import `webhooks`."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.domain.facts import ItemRequest
from storage.domain.people import Workspace
from storage.domain.sources import Source, SourceSettings
from storage.domain.submissions import Raw, Recorded

HIDDEN = "…"


def explain_missing_token(slug: str) -> str:
    """Return a sentence for a source without an API token: its contacts have only ids, and how to add the token."""
    return (
        "Its contacts are known by their ids alone; for addresses and names give it an API token:"
        f" contact-score source set {slug} --api-token TOKEN"
    )


def webhook_url(address: str, source: Source) -> str:
    """Return the URL to which a source sends; *address* is the public URL of the service."""
    return f"{address.rstrip('/')}/webhooks/{source.workspace.team}/{source.slug}"


def fill_steps(steps: Sequence[str], *, source: Source, url: str, secret: str = HIDDEN) -> list[str]:
    """Return the setup steps of a provider with the URL and the secret of a source."""
    return [step.format(url=url, secret=secret).replace("SLUG", source.slug) for step in steps]


class Configures(Protocol):
    """A function that validates the settings of a new source and returns them with its secrets. Raises a Refusal."""

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
    """The providers of sources, and functions to configure, test and replay a source."""

    steps: Mapping[str, Sequence[str]]  #: provider → setup steps, with placeholders `{url}`, `{secret}` and SLUG
    id_only: Collection[str]  #: providers that send only contact ids, but return the contacts through an API
    address: str  #: the public URL of the service
    configure: Configures
    #: (source, secret) → the next secret: the given one after validation, or a generated one; raises a Refusal
    next_secret: Callable[[Source, str | None], str]
    #: (source, stored request, delivery key) → (items, warnings) of a dry run
    attempt: Callable[[Source, Raw, str], tuple[Sequence[ItemRequest], Sequence[str]]]
    #: (workspace, delivery id, user, now) → the result of replaying a stored delivery; raises a Refusal
    replay: Callable[[Workspace, int, str, int], Awaitable[Recorded]]

    def url(self, source: Source) -> str:
        """Return the webhook URL of a source."""
        return webhook_url(self.address, source)
